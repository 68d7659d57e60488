"""What ends a command."""


class OperatorError(Exception):
    """Something that the operator is told. The text is one line and holds no secret."""
