"""What only logins with a password have: the form, the second factor, a pool for slow checks."""
