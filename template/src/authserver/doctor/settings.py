"""What doctor says of the settings that every project has: addresses, limits, lifetimes."""

from collections.abc import Iterator
from ipaddress import IPv4Network, IPv6Network, collapse_addresses
from urllib.parse import urlsplit

from authserver.doctor import certificate, secrets
from authserver.findings import Finding, judged, note, unsafe
from authserver.settings import LOOPBACK_HOSTS, CoreSettings

_HOUR_SECONDS = 3600
_DAY_SECONDS = 86_400

# How long things may last before doctor speaks of it, in seconds.
_LONG = {
    "refresh_token_seconds": 90 * _DAY_SECONDS,
    "grant_seconds": 366 * _DAY_SECONDS,
}
_LONG_SESSION_SECONDS = 14 * _DAY_SECONDS
_LONG_CONSENT_DAYS = 90

# The shortest prefixes of networks in which only proxies can be, IPv4 and IPv6; and those that are doubtful.
_WIDEST = {4: 8, 6: 32}
_WIDE = {4: 16, 6: 48}


def check_settings(settings: CoreSettings) -> Iterator[Finding]:
    """Judge the settings of every project, and the files that they name."""
    return judged((*RULES, *certificate.RULES, *secrets.RULES), settings)


def local_address(settings: CoreSettings) -> Iterator[Finding]:
    """Find that clients are told an address of this machine, or one without TLS.

    Source: RFC 9700 section 2.6, RFC 6749 section 3.1.
    """
    if not settings.secure or urlsplit(settings.public_url).hostname in LOOPBACK_HOSTS:
        yield unsafe(
            "AUTH_PUBLIC_URL",
            f"{settings.public_url} is for this machine only",
            "Set it to the https address that people and their clients use",
        )


def no_proxy(settings: CoreSettings) -> Iterator[Finding]:
    """Find that a proxy must bring https, and it is not named: limits count all visitors as one.

    Source: RFC 9700 section 4.13.
    """
    if settings.secure and not settings.trusted_proxies and settings.tls_key_file is None:
        yield note(
            "AUTH_TRUSTED_PROXIES",
            "it is empty: all who come by the proxy that brings https count as one, and one can stop all",
            "Set it to the address from which that proxy connects",
        )


def wide_proxies(settings: CoreSettings) -> Iterator[Finding]:
    """Find that so many addresses pass for a proxy that visitors are among them.

    Source: RFC 9700 section 4.13.
    """
    named = settings.trusted_proxies
    four = collapse_addresses([network for network in named if isinstance(network, IPv4Network)])
    six = collapse_addresses([network for network in named if isinstance(network, IPv6Network)])
    joined: list[IPv4Network | IPv6Network] = [*four, *six]
    for network in joined:
        judge = unsafe if network.prefixlen < _WIDEST[network.version] else note
        if network.prefixlen < _WIDE[network.version]:
            yield judge(
                "AUTH_TRUSTED_PROXIES",
                f"{network} lets visitors write their own address, so that limits by address do not hold",
                "Name the proxies only",
            )


def wide_schemes(settings: CoreSettings) -> Iterator[Finding]:
    """Find that codes may be sent to any address of an app's scheme.

    Source: RFC 9700 sections 2.1 and 4.1, RFC 8252 section 7.1.
    """
    for beginning in settings.redirect_schemes:
        if ":" not in beginning:
            yield note(
                "AUTH_REDIRECT_SCHEMES",
                f"apps can register all addresses of {beginning}:, also those that install things",
                "Name more of the app's own address, such as cursor://anysphere.cursor-mcp/",
            )


def plain_origin(settings: CoreSettings) -> Iterator[Finding]:
    """Find that a web page may call the server that comes without TLS.

    Source: RFC 9700 section 2.6.
    """
    for origin in settings.allowed_origins:
        if origin.startswith("http:") and urlsplit(origin).hostname not in LOOPBACK_HOSTS:
            yield unsafe(
                "AUTH_ALLOWED_ORIGINS",
                f"pages of {origin} can be changed on their way",
                "Use its https address",
            )


def open_registration(settings: CoreSettings) -> Iterator[Finding]:
    """Find that any app may register.

    Source: RFC 7591 section 5, RFC 9700 section 4.11.2.
    """
    if settings.registration == "open":
        yield note(
            "AUTH_REGISTRATION",
            "any app may register; a person still has to allow it",
            "Set approval or static where you know your apps",
        )


def remembered_long(settings: CoreSettings) -> Iterator[Finding]:
    """Find that for months an app gets codes without that anybody is asked.

    Source: RFC 9700 section 4.11.2, RFC 8252 section 8.6.
    """
    if settings.remember_consent_days > _LONG_CONSENT_DAYS:
        yield note(
            "AUTH_REMEMBER_CONSENT_DAYS",
            f"for {settings.remember_consent_days} days a program that passes for an app is let in unasked",
            "Lower it, or set 0",
        )


def sign_ins_unlimited(settings: CoreSettings) -> Iterator[Finding]:
    """Find that one address may try passwords without end.

    Source: RFC 6749 section 10.10, NIST SP 800-63B section 5.2.2.
    """
    if settings.limit_sign_ins_per_minute == 0:
        yield unsafe(
            "AUTH_LIMIT_SIGN_INS_PER_MINUTE",
            "0 lets one address try passwords of all accounts, and begin sign-ins, without end",
            "Set it to what your largest site needs",
        )


def refreshes_unlimited(settings: CoreSettings) -> Iterator[Finding]:
    """Find that one app may have tokens made without end.

    Source: RFC 9700 section 4.14.
    """
    if settings.limit_refreshes_per_hour == 0:
        yield note(
            "AUTH_LIMIT_REFRESHES_PER_HOUR",
            "0 lets one app fill the storage with tokens",
            "Set it to what your busiest app needs",
        )


def registrations_unlimited(settings: CoreSettings) -> Iterator[Finding]:
    """Find that one address may register clients without end.

    Source: RFC 7591 section 5.
    """
    if settings.limit_registrations_per_minute == 0:
        yield note(
            "AUTH_LIMIT_REGISTRATIONS_PER_MINUTE",
            "0 lets one address register clients as fast as it can",
            "Set it, unless the proxy in front limits",
        )


def long_access_tokens(settings: CoreSettings) -> Iterator[Finding]:
    """Find that a stolen access token is good for more than a day.

    Source: RFC 9700 section 4.10, RFC 6750 section 5.3.
    """
    if settings.access_token_seconds > _DAY_SECONDS:
        yield unsafe(
            "AUTH_ACCESS_TOKEN_SECONDS",
            f"a stolen token opens the door for {settings.access_token_seconds // _HOUR_SECONDS} hours",
            "Set an hour or less: clients refresh by themselves",
        )


def long_replay(settings: CoreSettings) -> Iterator[Finding]:
    """Find that a refresh token that was used and then stolen is good for more than an hour.

    Source: RFC 9700 section 4.14.2.
    """
    if settings.refresh_replay_seconds > _HOUR_SECONDS:
        yield unsafe(
            "AUTH_REFRESH_REPLAY_SECONDS",
            "a refresh token that was stolen after its use works that long unnoticed",
            "Set a minute",
        )


def long_grants(settings: CoreSettings) -> Iterator[Finding]:
    """Find that refresh tokens that nobody uses, or what somebody allowed, last very long.

    Source: RFC 9700 section 4.14.2.
    """
    for name, limit in _LONG.items():
        seconds: int = getattr(settings, name)
        if seconds > limit:
            yield note(f"AUTH_{name.upper()}", f"{seconds // _DAY_SECONDS} days are long", "Lower it")


def long_sessions(settings: CoreSettings) -> Iterator[Finding]:
    """Find that a browser that somebody left stays signed in for weeks.

    Source: NIST SP 800-63B section 7.2.
    """
    if settings.session_seconds > _LONG_SESSION_SECONDS:
        days = settings.session_seconds // _DAY_SECONDS
        yield note("AUTH_SESSION_SECONDS", f"{days} days are long", "Lower it")


def empty_store_taken(settings: CoreSettings) -> Iterator[Finding]:
    """Find that an empty store is taken for a new one, in which the first account may grant everything.

    Source: CWE-1188.
    """
    if settings.new_store:
        yield note(
            "AUTH_NEW_STORE",
            "if the store is ever empty, a start begins anew, and the first account may grant everything",
            "Set it to false once there is an account",
        )


RULES = (
    local_address,
    empty_store_taken,
    no_proxy,
    wide_proxies,
    wide_schemes,
    plain_origin,
    open_registration,
    remembered_long,
    sign_ins_unlimited,
    refreshes_unlimited,
    registrations_unlimited,
    long_access_tokens,
    long_replay,
    long_grants,
    long_sessions,
)
