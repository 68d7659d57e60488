"""What doctor says of the directory."""

from collections.abc import Iterator

from authserver.findings import Finding, judged, note
from authserver.login.ldap.directory import Directory
from authserver.login.ldap.settings import Settings
from authserver.login.ldap.survey import survey
from authserver.with_password import second_factor

_SLOW_MINUTES = 60


def checks(settings: Settings) -> Iterator[Finding]:
    """Judge who may sign in, how soon what is closed there ends here, and what the directory shows.

    Asks the directory. A connection without encryption, except to loopback, is refused at the start.
    """
    return judged(RULES, settings)


def closed_accounts_go_on(settings: Settings) -> Iterator[Finding]:
    """Find that who is closed in the directory keeps access here for long.

    Source: NIST SP 800-53, control AC-2(3).
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


def an_empty_copy_ends_all(settings: Settings) -> Iterator[Finding]:
    """Find that a directory that shows nobody ends the access of everybody at once.

    Source: this server.
    """
    if settings.ldap_many_gone == "agree":
        yield note(
            "AUTH_LDAP_MANY_GONE",
            "a directory that shows nobody, such as an empty replica, would end everybody's access at once",
            "Set wait again",
        )


def everybody_may_sign_in(settings: Settings) -> Iterator[Finding]:
    """Find that all people of the directory may sign in.

    Source: NIST SP 800-53, control AC-6.
    """
    if settings.ldap_filter == type(settings).model_fields["ldap_filter"].default:
        yield note(
            "AUTH_LDAP_FILTER",
            f"everybody under {settings.ldap_base} may sign in",
            "Narrow it to a group where only some should",
        )


def directory_set_up_wrongly(settings: Settings) -> Iterator[Finding]:
    """Find that the directory itself shows that a setting cannot do what it is for, or it gives no answer.

    Source: this server.
    """
    yield from survey(settings, Directory(settings))


RULES = (
    closed_accounts_go_on,
    an_empty_copy_ends_all,
    everybody_may_sign_in,
    directory_set_up_wrongly,
    *second_factor.RULES,
)
