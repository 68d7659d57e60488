"""What runs in the database now: SQL files, one for each subject, which say what may change in them."""

NUMBER = 1
"""Which functions these are. Raise it by one with each change of a file here: a database that has a lower
number gets them all again, one that has a higher number keeps what it has."""
