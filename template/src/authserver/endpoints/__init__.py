"""The HTTP endpoints for programs: each parses, checks in a fixed order, and calls the ten methods.

They stand in for FastMCP's and the SDK's handlers where those fall short of the RFCs or of real clients; a
test for each shortfall fails on the day it is mended upstream (`tests/authserver/test_upstream.py`).
"""
