"""The answers to the template's questions: one import each."""

from authserver.login import password as login
from authserver.storage import sqlite as storage
from authserver.tokens import opaque as tokens

__all__ = ["login", "storage", "tokens"]
