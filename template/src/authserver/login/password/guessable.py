"""Passwords that somebody would try first: common ones, and those made of what everybody knows here.

NIST SP 800-63B section 3.1.1.2 wants both refused. zxcvbn knows common passwords, words, names, dates and
rows of keys, and what people make of them; it asks nobody.
"""

import re

from zxcvbn import zxcvbn

from authserver import limits


def is_guessable(password: str, *known: str) -> bool:
    """Say whether too few guesses lead to a password, or to what is left of it without `known` names."""
    words = {word for name in known for word in (name, *re.split(r"[\W_]+", name)) if len(word) > 2}
    names = sorted(words | {word[::-1] for word in words}, key=len, reverse=True)
    left = re.sub("|".join(map(re.escape, names)), "", password, flags=re.IGNORECASE) if names else password
    return any(_guesses(text) < limits.MINIMUM_PASSWORD_GUESSES for text in {password, left})


def _guesses(text: str) -> int:
    return int(zxcvbn(text[: limits.JUDGED_PASSWORD_CHARACTERS])["guesses"]) if text else 0
