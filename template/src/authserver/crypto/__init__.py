"""Secret values, the secret key, and what it seals."""
