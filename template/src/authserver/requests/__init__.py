"""What comes in: bodies, queries, and from where."""
