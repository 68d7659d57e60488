"""Scopes: what a client may ask for, what a user may grant, and what a tool needs.

The user's `server.py` defines them and marks its tools, resources and prompts with `requires`.
"""

import contextlib
import functools
import inspect
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from fastmcp.decorators import get_fastmcp_meta
from fastmcp.exceptions import AuthorizationError
from fastmcp.server.dependencies import get_access_token
from fastmcp.utilities.components import FastMCPComponent

F = TypeVar("F", bound=Callable[..., Any])

# OpenID Connect Core sections 3.1.2.1, 5.4 and 11: clients add them out of habit; they mean nothing here.
OPENID_SCOPES = frozenset({"openid", "profile", "email", "offline_access"})

ALL = "*"
"""In a user's entitlement: every scope there is, also those defined later."""

_MARK = "__authserver_scopes__"
_BARE = "__authserver_bare__"
"""On the function that `requires` was given: whoever calls that one passes no check."""


@dataclass(frozen=True, slots=True)
class Scope:
    """A right that a user can grant to a client.

    `sentence` tells the user on the consent page what the client will be able to do. A `default` scope is
    granted when a client asks for none, and every user may grant it. `includes` names narrower scopes.
    """

    name: str
    sentence: str
    default: bool = False
    includes: tuple[str, ...] = ()


class Scopes:
    """The scopes of one server."""

    def __init__(self, scopes: Iterable[Scope]) -> None:
        """Take the scopes of a server; raises ValueError where they do not fit together."""
        self._scopes = {scope.name: scope for scope in scopes}
        for scope in self._scopes.values():
            # RFC 6749 section 3.3: scope-token = 1*( %x21 / %x23-5B / %x5D-7E )
            if not scope.name or any(
                not "!" <= character <= "~" or character in '"\\' for character in scope.name
            ):
                raise ValueError(f"scope {scope.name!r}: RFC 6749 does not allow this name")
            if scope.name in OPENID_SCOPES or scope.name == ALL:
                raise ValueError(f"scope {scope.name!r}: this name is reserved")
            if unknown := set(scope.includes) - self._scopes.keys():
                raise ValueError(f"scope {scope.name!r} includes unknown scopes: {sorted(unknown)}")
        if not self.default:
            raise ValueError("at least one scope must be a default one")
        self.effective = functools.lru_cache(maxsize=1024)(self._effective)
        """Return what a token amounts to, by its scopes and what its user may grant: asked at each call."""

    @property
    def names(self) -> list[str]:
        """All names, in the order of their definition."""
        return list(self._scopes)

    @property
    def default(self) -> list[str]:
        """The names of the default scopes."""
        return [scope.name for scope in self._scopes.values() if scope.default]

    def sentence(self, name: str) -> str:
        """Return what granting the scope means, in words for the user."""
        return self._scopes[name].sentence

    def known(self, names: Iterable[str]) -> list[str]:
        """Return those of `names` that are defined, each once, in the order of their definition."""
        wanted = set(names)
        return [name for name in self._scopes if name in wanted]

    def expand(self, names: Iterable[str]) -> frozenset[str]:
        """Return `names` and all scopes that they include, directly or not."""
        found: set[str] = set()
        waiting = [name for name in names if name in self._scopes]
        while waiting:
            name = waiting.pop()
            if name not in found:
                found.add(name)
                waiting.extend(self._scopes[name].includes)
        return frozenset(found)

    def asked(self, names: Sequence[str] | None) -> list[str]:
        """Return what a request asks for: the known ones, or the defaults where it asks for none.

        Empty where it asks only for scopes that do not exist: the caller answers `invalid_scope`.
        """
        wanted = [name for name in names or () if name and name not in OPENID_SCOPES]
        return self.known(wanted) if wanted else self.default

    def narrowed(self, names: Sequence[str], held: Iterable[str]) -> list[str]:
        """Return what a request for `names` gets of what is `held`: all of it where it asks for none."""
        wanted = [name for name in names if name not in OPENID_SCOPES]
        return self.known(self.expand(wanted or held) & self.expand(held))

    def entitled(self, entitlement: Sequence[str] | None) -> frozenset[str]:
        """Return all scopes that a user with this entitlement may grant."""
        if entitlement is None:
            return self.expand(self.default)
        return self.expand(self._scopes if ALL in entitlement else entitlement)

    def allowed(self, names: Iterable[str], entitlement: Sequence[str] | None) -> list[str]:
        """Return those of `names`, narrowed where they must be, that the user may grant."""
        return self.known(self.expand(names) & self.entitled(entitlement))

    def _effective(self, names: tuple[str, ...], entitlement: tuple[str, ...] | None) -> tuple[str, ...]:
        return tuple(self.known(self.expand(self.allowed(names, entitlement))))


def requires(*names: str) -> Callable[[F], F]:
    """Let only callers whose token holds all these scopes run a tool, resource or prompt.

    Goes under `@mcp.tool`; raises TypeError above it, where it would guard nothing. The check is part of the
    function, so it holds whatever way leads there; the HTTP layer answers 403 `insufficient_scope` before
    that, from which clients know to ask for more. Raises AuthorizationError in a call without a token, too:
    over stdio there is no sign-in.
    """

    def decorate(function: F) -> F:
        if isinstance(function, FastMCPComponent) or get_fastmcp_meta(function) is not None:
            name = getattr(function, "__name__", None) or getattr(function, "name", "function")
            raise TypeError(
                f"{name} is registered already, without what @requires adds: write @mcp.tool (@mcp.resource,"
                " @mcp.prompt) first, and @requires in the line below it"
            )
        if inspect.iscoroutinefunction(function):

            @functools.wraps(function)
            async def guarded(*args: Any, **kwargs: Any) -> Any:
                check_token(names)
                return await function(*args, **kwargs)
        else:

            @functools.wraps(function)
            def guarded(*args: Any, **kwargs: Any) -> Any:
                check_token(names)
                return function(*args, **kwargs)

        setattr(guarded, _MARK, names)
        with contextlib.suppress(AttributeError):  # of a function that is not Python's
            setattr(getattr(function, "__func__", function), _BARE, True)
        return guarded  # type: ignore[return-value]  # the same signature, by functools.wraps

    return decorate


def scopes_required_by(function: Callable[..., Any]) -> tuple[str, ...]:
    """Return the scopes that `requires` put on a function."""
    names: tuple[str, ...] = getattr(function, _MARK, ())
    return names


def is_bare(function: Callable[..., Any]) -> bool:
    """Say whether this is a function that `requires` guards elsewhere, and not what came of that."""
    return hasattr(function, _BARE) and not hasattr(function, _MARK)


def check_token(names: Iterable[str]) -> None:
    """Raise AuthorizationError unless the token of this call holds all these scopes."""
    token = get_access_token()
    missing = [name for name in names if token is None or name not in token.scopes]
    if missing:
        raise AuthorizationError(f"This needs the scope {' '.join(missing)}.")
