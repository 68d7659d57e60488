"""What every request passes before a route is found: the guard, and the questions that it asks in turn."""
