"""What doctor says of the settings that every project has."""

import os
from collections.abc import Iterator
from urllib.parse import urlsplit

from dotenv import dotenv_values

from authserver.findings import Finding, note, unsafe
from authserver.folders import ENV, in_the_project
from authserver.private_files import open_to_others
from authserver.settings import LOOPBACK_HOSTS, CoreSettings, secrets_among

_HOUR_SECONDS = 3600
_DAY_SECONDS = 86_400

# How long things may last before doctor speaks of it, in seconds.
_LONG = {
    "refresh_token_seconds": 90 * _DAY_SECONDS,
    "grant_seconds": 366 * _DAY_SECONDS,
    "session_seconds": 14 * _DAY_SECONDS,
}


def check_settings(settings: CoreSettings) -> Iterator[Finding]:
    """Judge addresses, limits, lifetimes, and the files that hold secrets."""
    yield from _addresses(settings)
    yield from _limits(settings)
    yield from _lifetimes(settings)
    yield from _secrets(settings)
    if os.name == "posix" and os.geteuid() == 0:
        yield note("root", "this runs as root", "Run the server as a user of its own")


def _addresses(settings: CoreSettings) -> Iterator[Finding]:
    if not settings.secure or urlsplit(settings.public_url).hostname in LOOPBACK_HOSTS:
        yield unsafe(
            "AUTH_PUBLIC_URL",
            f"{settings.public_url} is for this machine only",
            "Set it to the https address that people and their clients use",
        )
    if settings.secure and not settings.trusted_proxies:
        yield note(
            "AUTH_TRUSTED_PROXIES",
            "it is empty: all who come by the proxy that brings https count as one, and one can stop all",
            "Set it to the address from which that proxy connects",
        )
    for network in settings.trusted_proxies:
        if network.prefixlen < (8 if network.version == 4 else 32):
            yield unsafe(
                "AUTH_TRUSTED_PROXIES",
                f"{network} lets visitors write their own address, so that limits by address do not hold",
                "Name the proxies only",
            )
    for beginning in settings.redirect_schemes:
        if ":" not in beginning:
            yield note(
                "AUTH_REDIRECT_SCHEMES",
                f"apps can register all addresses of {beginning}:, also those that install things",
                "Name more of the app's own address, such as cursor://anysphere.cursor-mcp/",
            )
    for origin in settings.allowed_origins:
        if origin.startswith("http:") and urlsplit(origin).hostname not in LOOPBACK_HOSTS:
            yield unsafe(
                "AUTH_ALLOWED_ORIGINS",
                f"pages of {origin} can be changed on their way",
                "Use its https address",
            )


def _limits(settings: CoreSettings) -> Iterator[Finding]:
    if settings.limit_sign_ins_per_minute == 0:
        yield unsafe(
            "AUTH_LIMIT_SIGN_INS_PER_MINUTE",
            "0 lets one address try passwords of all accounts, and begin sign-ins, without end",
            "Set it to what your largest site needs",
        )
    if settings.limit_refreshes_per_hour == 0:
        yield note(
            "AUTH_LIMIT_REFRESHES_PER_HOUR",
            "0 lets one app fill the storage with tokens",
            "Set it to what your busiest app needs",
        )
    if settings.limit_registrations_per_minute == 0:
        yield note(
            "AUTH_LIMIT_REGISTRATIONS_PER_MINUTE",
            "0 lets one address register clients as fast as it can",
            "Set it, unless the proxy in front limits",
        )
    if settings.registration == "open":
        yield note(
            "AUTH_REGISTRATION",
            "any app may register; a person still has to allow it",
            "Set approval or static where you know your apps",
        )


def _lifetimes(settings: CoreSettings) -> Iterator[Finding]:
    if settings.access_token_seconds > _DAY_SECONDS:
        yield unsafe(
            "AUTH_ACCESS_TOKEN_SECONDS",
            f"a stolen token opens the door for {settings.access_token_seconds // _HOUR_SECONDS} hours",
            "Set an hour or less: clients refresh by themselves",
        )
    if settings.refresh_replay_seconds > _HOUR_SECONDS:
        yield unsafe(
            "AUTH_REFRESH_REPLAY_SECONDS",
            "a refresh token that was stolen after its use works that long unnoticed",
            "Set a minute",
        )
    for name, limit in _LONG.items():
        seconds: int = getattr(settings, name)
        if seconds > limit:
            yield note(f"AUTH_{name.upper()}", f"{seconds // _DAY_SECONDS} days are long", "Lower it")


def _secrets(settings: CoreSettings) -> Iterator[Finding]:
    if settings.new_store:
        yield note(
            "AUTH_NEW_STORE",
            "if the store is ever empty, a start begins anew, and the first account may grant everything",
            "Set it to false once there is an account",
        )
    if settings.secret_key_previous or settings.secret_key_previous_file:
        yield note(
            "AUTH_SECRET_KEY_PREVIOUS", "it is still set", "Run keys rewrap, and take it out a minute later"
        )
    secret = secrets_among(settings)
    env = in_the_project(ENV)
    held = {f"AUTH_{name.upper()}" for name in secret} & dotenv_values(env).keys()
    if held and open_to_others(env):
        yield unsafe(".env", f"others can read it, and it holds {min(held)}", "chmod 600 .env")
    made = settings.made_key_path
    if made is not None and made.exists():
        if open_to_others(made):
            yield unsafe(str(made), "others can read the secret key", f"chmod 600 {made}")
        if not settings.secret_key and not settings.secret_key_file:
            yield note(
                "AUTH_SECRET_KEY",
                f"it lies beside the data, in {made}",
                "Keep backups of the two apart",
            )
    for name in secret:
        file = getattr(settings, f"{name}_file", None)
        # In a container, where such files are mounted with wide rights, nobody else is there.
        if file is not None and open_to_others(file):
            yield note(f"AUTH_{name.upper()}_FILE", f"others can read {file}", f"chmod 600 {file}")
