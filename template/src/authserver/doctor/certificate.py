"""What doctor says of a certificate: that of this server, or that of a proxy in front of it."""

from collections.abc import Iterator
from pathlib import Path

from authserver import clock
from authserver.findings import Finding, note, unsafe
from authserver.settings import CoreSettings, SettingsError
from authserver.tls import Pair

_DAY_SECONDS = 86_400
# Whoever has new certificates made by a program gets one when a third of its life is left.
_EARLY_DAYS, _EARLY_SHARE = 30, 1 / 3
_LATE_DAYS, _LATE_SHARE = 7, 1 / 10


def unusable_certificate(settings: CoreSettings) -> Iterator[Finding]:
    """Find that the next start would be refused: it does not fit its key, or ran out.

    Source: RFC 9525 section 6, RFC 5280 section 6.1.3.
    """
    try:
        if pair := Pair.of(settings):
            pair.context()
    except SettingsError as error:
        variable, _, why = str(error).partition(": ")
        yield unsafe(variable, why.partition(". Example")[0], "Put a pair there that fits")


def certificate_ends(settings: CoreSettings) -> Iterator[Finding]:
    """Find that the certificate of this server runs out soon.

    Source: RFC 5280 section 4.1.2.5.
    """
    if (file := settings.tls_certificate_file) is not None:
        yield from _ends("AUTH_TLS_CERTIFICATE_FILE", file)


def proxys_certificate_ends(file: Path) -> Iterator[Finding]:
    """Find that the certificate of the proxy in front, in the file of `doctor --certificate`, runs out soon.

    Source: RFC 5280 section 4.1.2.5.
    """
    yield from _ends(str(file), file)


def _ends(about: str, file: Path) -> Iterator[Finding]:
    try:
        leaf = Pair(file, file, "").leaf()
    except SettingsError as error:
        why = str(error).partition(": ")[2].partition(". Example")[0]
        yield unsafe(about, why, "Put a certificate there")
        return
    life = (leaf.not_valid_after_utc - leaf.not_valid_before_utc).total_seconds() / _DAY_SECONDS
    left = (leaf.not_valid_after_utc.timestamp() - clock.now()) / _DAY_SECONDS
    if left < min(_EARLY_DAYS, life * _EARLY_SHARE):
        judge = unsafe if left < min(_LATE_DAYS, life * _LATE_SHARE) else note
        ends = f"it is good for {left:.1f} more days" if left > 0 else "it has run out"
        yield judge(about, ends, "Get a new one: it is taken without a restart")


RULES = (unusable_certificate, certificate_ends)
