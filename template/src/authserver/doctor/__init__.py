"""The `doctor` command: what is unsafe for production, and whether an advisory concerns this project.

What only one storage, login or token format has is judged by its own function `checks(settings)`.
"""
