"""Every route of the authorization server, and what stands before them.

None of these needs an access token: pages ask for a session, `/token`, `/revoke` and `/introspect` for the
client's own authentication. The MCP endpoint is FastMCP's route; FastMCP lets no request in there without a
token that `Provider.verify_token` knows.
"""

from collections.abc import Awaitable, Callable
from functools import partial

from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from authserver import pages
from authserver.browser import account, consent, front
from authserver.browser.authorize import authorize
from authserver.browser.handling import WordedRoute, endpoint
from authserver.endpoints import health, metadata
from authserver.endpoints.errors import answers_errors
from authserver.endpoints.introspect import introspect
from authserver.endpoints.register import refuse, register
from authserver.endpoints.revoke import revoke
from authserver.endpoints.token import token
from authserver.middleware.guard import Guard
from authserver.pages import branding
from authserver.provider import Provider

Handler = Callable[[Provider, Request], Awaitable[Response]]


def create(server: Provider) -> list[Route]:
    """Return the routes, those for programs first."""
    branding.load()  # a mistake in it stops the start
    resource_metadata = server.resource_metadata.removeprefix(server.issuer)

    def program(path: str, method: str, handler: Handler) -> Route:
        return WordedRoute(path, answers_errors(partial(handler, server)), methods=[method])

    def document(path: str, answer: Response) -> Route:
        return WordedRoute(path, answer, methods=["GET"])  # an answer is an ASGI application, too

    return [
        program("/token", "POST", token),
        document("/.well-known/oauth-authorization-server", metadata.authorization_server(server)),
        document("/.well-known/openid-configuration", metadata.authorization_server(server)),
        document("/.well-known/oauth-protected-resource", metadata.protected_resource(server)),
        document(resource_metadata, metadata.protected_resource(server)),
        document(resource_metadata + "/", metadata.protected_resource(server, ending="/")),
        program("/revoke", "POST", revoke),
        program("/register", "POST", refuse if server.settings.registration == "static" else register),
        program("/introspect", "POST", introspect),
        *server.tokens.routes,
        program("/healthz", "GET", health.healthz),
        program("/readyz", "GET", health.Readiness().readyz),
        endpoint("/authorize", GET=partial(authorize, server), POST=partial(authorize, server)),
        front.mcp_address(server),
        *server.login.routes,
        endpoint("/consent", GET=partial(consent.show, server), POST=partial(consent.decide, server)),
        endpoint("/account", GET=partial(account.show, server)),
        endpoint("/account/apps", POST=partial(account.end_app, server)),
        endpoint("/account/devices", POST=partial(account.end_devices, server)),
        endpoint(
            "/account/secure",
            GET=partial(account.show_securing, server),
            POST=partial(account.secure, server),
        ),
        endpoint(
            "/account/sign-out",
            GET=partial(account.show_sign_out, server),
            POST=partial(account.sign_out, server),
        ),
        endpoint("/logout", POST=partial(account.log_out, server)),
        Route(pages.STYLE_PATH, pages.style),
        Route(pages.OWN_STYLE_PATH, pages.own_style),
        Route(pages.LOGO_PATH, pages.logo),
    ]


def middleware(server: Provider) -> list[Middleware]:
    """Return what every request passes."""
    return [Middleware(Guard, server=server)]
