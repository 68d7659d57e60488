"""What doctor says of the directory."""

from collections.abc import Iterator

from authserver.findings import Finding, note
from authserver.login.ldap.directory import Directory
from authserver.login.ldap.settings import Settings
from authserver.login.ldap.survey import survey
from authserver.with_password import second_factor

_SLOW_MINUTES = 60


def checks(settings: Settings) -> Iterator[Finding]:
    """Judge who may sign in, how soon what is closed there ends here, and what the directory shows.

    Asks the directory. A connection without encryption, except to loopback, is refused at the start.
    """
    if settings.ldap_bind_template is not None:
        yield note(
            "AUTH_LDAP_BIND_TEMPLATE",
            "without a service account, what is closed in the directory keeps apps until they expire",
            "Set AUTH_LDAP_BIND_DN instead",
        )
    elif settings.ldap_check_minutes > _SLOW_MINUTES:
        yield note(
            "AUTH_LDAP_CHECK_MINUTES",
            f"what is closed in the directory keeps access for up to {settings.ldap_check_minutes} minutes",
            "Lower it",
        )
    if settings.ldap_many_gone == "agree":
        yield note(
            "AUTH_LDAP_MANY_GONE",
            "a directory that shows nobody, such as an empty replica, would end everybody's access at once",
            "Set wait again",
        )
    if settings.ldap_filter == type(settings).model_fields["ldap_filter"].default:
        yield note(
            "AUTH_LDAP_FILTER",
            f"everybody under {settings.ldap_base} may sign in",
            "Narrow it to a group where only some should",
        )
    yield from survey(settings, Directory(settings))
    yield from second_factor.checks(settings)
