"""OAuth errors as responses (RFC 6749 section 5.2)."""

from collections.abc import Awaitable, Callable, Mapping
from math import ceil

from mcp.server.auth.provider import RegistrationError, TokenError
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from authserver.logs import refused
from authserver.model.issued import TooManyRefreshes
from authserver.requests.reading import BadRequest

NO_STORE = {"Cache-Control": "no-store", "Pragma": "no-cache"}

Handler = Callable[[Request], Awaitable[Response]]


class OAuthError(Exception):
    """An error that the client is told. Neither text holds anything secret."""

    def __init__(
        self,
        error: str,
        description: str,
        *,
        status: int = 400,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(error)
        self.error = error
        self.description = description
        self.status = status
        self.headers = headers or {}

    def response(self) -> Response:
        """Return the error as JSON that nobody caches, and keep it for the log."""
        refused(f"{self.error}: {self.description}")
        return JSONResponse(
            {"error": self.error, "error_description": self.description},
            status_code=self.status,
            headers=NO_STORE | dict(self.headers),
        )


def too_many_requests(wait_seconds: float, setting: str) -> OAuthError:
    """Return the error for a client that must wait, since a setting says so (RFC 6585 section 4)."""
    seconds = max(1, ceil(wait_seconds))
    return OAuthError(
        "temporarily_unavailable",
        f"too many requests: try again in {seconds} seconds ({setting})",
        status=429,
        headers={"Retry-After": str(seconds)},
    )


def unreadable(error: BadRequest) -> Response:
    """Return the answer to a request that cannot be read."""
    return OAuthError("invalid_request", error.description, status=error.status).response()


def answers_errors(handler: Handler) -> Handler:
    """Turn what a handler raises into the OAuth error that the RFC names."""

    async def handle(request: Request) -> Response:
        try:
            return await handler(request)
        except OAuthError as error:
            return error.response()
        except BadRequest as error:
            return unreadable(error)
        except TooManyRefreshes as error:
            return too_many_requests(error.wait_seconds, "AUTH_LIMIT_REFRESHES_PER_HOUR").response()
        except (TokenError, RegistrationError) as error:
            return OAuthError(error.error, error.error_description or "").response()

    return handle
