"""Names, filters and attributes of a directory as text: what they may be, and how they compare."""

import re
import unicodedata

from ldap3.core.exceptions import LDAPExceptionError
from ldap3.operation.search import parse_filter
from ldap3.utils.dn import escape_rdn, parse_dn

from authserver import limits

_ATTRIBUTE = re.compile(r"[A-Za-z][A-Za-z0-9-]*|[0-9]+(\.[0-9]+)+")

_SPACES = re.compile(" +")

# What stands for a byte in a distinguished name: RFC 4514 section 3, `pair`.
_ESCAPED = re.compile(rb"\\([0-9A-Fa-f]{2}|.)", re.DOTALL)


def is_dn(text: str) -> bool:
    """Say whether this is a distinguished name (RFC 4514)."""
    try:
        return bool(parse_dn(text, strip=True))
    except LDAPExceptionError:
        return False


def normalised(dn: str) -> str:
    """Return a distinguished name as directories compare it, escaped in one way.

    Its values have one case, one form of accents, and single spaces (RFC 4518 section 2).
    """
    return "".join(
        f"{kind.lower()}={escape_rdn(_SPACES.sub(' ', folded(_unescaped(value))))}{separator}"
        for kind, value, separator in parse_dn(dn, strip=True)
    )


def _unescaped(value: str) -> str:
    """Return what a value of a distinguished name stands for (RFC 4514 section 2.4)."""
    return _ESCAPED.sub(
        lambda found: bytes.fromhex(found[1].decode()) if len(found[1]) > 1 else found[1], value.encode()
    ).decode(errors="replace")


def is_filter(text: str) -> bool:
    """Say whether this is a search filter (RFC 4515)."""
    try:
        parse_filter(text, None, False, False, None, False)  # type: ignore[no-untyped-call]
    except (LDAPExceptionError, RecursionError):
        return False
    return True


def is_attribute(text: str) -> bool:
    """Say whether this can be the name of an attribute (RFC 4512 section 2.5)."""
    return _ATTRIBUTE.fullmatch(text) is not None


def escaped(value: bytes) -> str:
    """Return a value for a search filter, every byte escaped (RFC 4515 section 3)."""
    return "".join(f"\\{byte:02x}" for byte in value)


def folded(name: str) -> str:
    """Return a name as it is compared: one case, one form of accents (NFC)."""
    return unicodedata.normalize("NFC", name).casefold()


def is_shown(name: str) -> bool:
    """Say whether a name can be shown to people as it is."""
    clean = name.isprintable() and name == name.strip() and "\ufffd" not in name
    return clean and 0 < len(name) <= limits.MAXIMUM_NAME_CHARACTERS
