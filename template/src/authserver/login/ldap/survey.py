"""What the directory itself shows to be set up wrongly.

A directory answers what it lets the service account see, and says nothing of the rest.
"""

from collections.abc import Iterator
from itertools import islice
from typing import Any

from authserver import limits
from authserver.findings import Finding, note, unsafe
from authserver.login.ldap.directory import Directory, Find, Unavailable
from authserver.login.ldap.names import normalised
from authserver.login.ldap.settings import Settings

# [MS-ADTS] section 3.1.1.3.4.1.1: what Active Directory says it is.
_ACTIVE_DIRECTORY = b"1.2.840.113556.1.4.800"
# [MS-ADTS] section 3.1.1.3.4.4.3, LDAP_MATCHING_RULE_TRANSITIVE_EVAL: groups within groups, there alone.
_NESTED = ":1.2.840.113556.1.4.1941:"
# Each of its accounts has it: [MS-ADA3] section 2.342.
_ALWAYS_THERE = "userAccountControl"
_MEMBERS = ["member", "uniqueMember"]


def survey(settings: Settings, directory: Directory) -> list[Finding]:
    """Return what is wrong, or an operator should know. Blocks, a while for each server that is away."""
    found = []
    for url in settings.ldap_servers:
        try:
            looked = directory.survey(url, lambda find: list(_findings(settings, find)))
        except Unavailable:
            found.append(
                unsafe("AUTH_LDAP_SERVERS", f"{url} gave no answer that can be used", "The log says why")
            )
        else:
            found += [finding for finding in looked if finding not in found]
    return found


def _findings(settings: Settings, find: Find) -> Iterator[Finding]:
    people = find(settings.ldap_base, settings.ldap_filter, [_ALWAYS_THERE])
    root = find("", "(objectClass=*)", ["supportedCapabilities"], scope="BASE")
    capabilities = [value for entry in root for value in _values(entry, "supportedCapabilities")]
    is_active = _ACTIVE_DIRECTORY in capabilities or settings.ldap_id_attribute.casefold() == "objectguid"
    if people and is_active and not any(_values(person, _ALWAYS_THERE) for person in people):
        yield unsafe(
            "AUTH_LDAP_BIND_DN",
            f"the service account sees no {_ALWAYS_THERE}, so that closed accounts count as open",
            f"Let it read {_ALWAYS_THERE} and accountExpires",
        )
    if not is_active:
        for name in ("ldap_filter", "ldap_groups_filter"):
            if _NESTED in getattr(settings, name):
                yield note(
                    f"AUTH_{name.upper()}",
                    f"only Active Directory knows {_NESTED.strip(':')}, this directory finds nobody by it",
                    "Name the groups in which people are themselves",
                )
    for group in islice(settings.ldap_group_scopes, limits.GROUPS_LOOKED_AT):
        yield from _group(settings, find, group)


def _group(settings: Settings, find: Find, group: str) -> Iterator[Finding]:
    entries = find(group, "(objectClass=*)", _MEMBERS, scope="BASE")
    if not entries:
        yield note("AUTH_LDAP_GROUP_SCOPES", f"there is no {group}", "Its scopes are for nobody")
    if _NESTED in settings.ldap_groups_filter:
        return
    people = normalised(settings.ldap_base)
    members = [value.decode(errors="replace") for kind in _MEMBERS for value in _values(entries, kind)]
    others = [member for member in members if not normalised(member).endswith(people)]
    for member in others[: limits.GROUPS_LOOKED_AT]:
        if find(member, "(|(member=*)(uniqueMember=*))", _MEMBERS, scope="BASE"):
            yield note(
                "AUTH_LDAP_GROUP_SCOPES",
                f"{group} holds the group {member}, whose members are not its own here",
                "Map that group, too",
            )


def _values(entries: Any, attribute: str) -> list[bytes]:
    entries = entries if isinstance(entries, list) else [entries]
    return [value for entry in entries for value in entry["raw_attributes"].get(attribute) or []]
