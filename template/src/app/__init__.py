"""Yours: the server and its tools."""
