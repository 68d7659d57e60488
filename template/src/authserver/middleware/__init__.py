"""What every request passes before a route is found, outermost first: guard, spelling, origins, step-up."""
