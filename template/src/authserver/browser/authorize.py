"""The authorization endpoint (RFC 6749 section 3.1): a list of checks, then the sign-in page.

An unusable client or redirect URI is answered here with 400, and never redirected to. Every later error goes
to the redirect URI (section 4.1.2.1), with `iss` (RFC 9207): at once only where somebody has vouched for it,
else by a page, from which the person may go on (RFC 9700 section 4.11.2: anybody may register an address).
"""

import re
from urllib.parse import parse_qs, quote, urlencode, urlsplit

from mcp.server.auth.provider import AuthorizeError
from mcp.shared.auth import InvalidRedirectUriError
from pydantic import AnyUrl
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from authserver import limits, pages
from authserver.browser.attempts import address_buckets
from authserver.browser.binding import bind_request
from authserver.browser.problems import Refusal, wants_page
from authserver.browser.sessions import kept_session
from authserver.logs import refused
from authserver.model.clients import RegisteredClient, destination, is_loopback, same_redirect_uri
from authserver.model.issued import AuthorizationRequest
from authserver.pages.elsewhere import see_other
from authserver.provider import Provider
from authserver.requests.addresses import client_address
from authserver.requests.reading import BadRequest, Parameters, parse_parameters, read_parameters

# RFC 7636 section 4.2: the base64url of a SHA-256, without padding.
_CHALLENGE = re.compile(r"[A-Za-z0-9_-]{43}")


async def authorize(server: Provider, request: Request) -> Response:
    """Check an authorization request and send the browser to sign in; raises Refusal."""
    parameters = await _parameters(request)
    if "client_id" not in parameters:
        raise Refusal("no_app", status=400)
    client = await server.get_client(parameters["client_id"])
    if client is None:
        if server.settings.registration == "static":
            raise Refusal("apps_are_added", status=400)
        raise Refusal("unknown_client", status=400)
    try:
        redirect_uri = client.exact_redirect_uri(parameters.get("redirect_uri"))
    except InvalidRedirectUriError:
        raise Refusal("bad_redirect", status=400) from None
    if not client.approved:
        raise Refusal("waiting_for_approval", status=403, client_id=client.client_id)
    state = parameters.get("state")
    try:
        checked = _checked(server, request, client, parameters, redirect_uri)
        await _limit(server, request)
        location = await server.authorize(client, checked)
    except AuthorizeError as error:
        return await tell_error(
            server,
            request,
            client,
            redirect_uri,
            state,
            error=error.error,
            error_description=error.error_description or "",
        )
    response = see_other(location)
    [request_id] = parse_qs(urlsplit(location).query)["request"]
    bind_request(server, response, request_id, direct=_is_direct(request, parameters))
    return response


async def _limit(server: Provider, request: Request) -> None:
    factor = limits.AUTHORIZATION_REQUESTS_FOR_AN_ATTEMPT
    counted = address_buckets(server, request, "authorization requests", factor=factor)
    wait = await server.storage.sign_ins.take_attempt(counted)
    if wait > 0:
        raise Refusal("slow", status=429, wait=wait)


async def _parameters(request: Request) -> Parameters:
    """Return the parameters; raises BadRequest.

    That another one is repeated is told to the client: only these two decide where it would be told.
    """
    if request.method == "POST":
        parameters = await read_parameters(request)
    else:
        parameters = parse_parameters(request.scope["query_string"])
    if parameters.repeated & {"client_id", "redirect_uri"}:
        raise BadRequest("client_id or redirect_uri is repeated")
    return parameters


def _is_direct(request: Request, parameters: Parameters) -> bool:
    """Say whether this may be answered without asking: opened by a program or by us, not by a page elsewhere.

    Browsers say so (Fetch Metadata section 2.4); those that do not are not believed. A client that sends
    `prompt` wants the user to be asked (OpenID Connect Core section 3.1.2.1).
    """
    return request.headers.get("sec-fetch-site") in ("none", "same-origin") and "prompt" not in parameters


def _checked(
    server: Provider,
    request: Request,
    client: RegisteredClient,
    parameters: Parameters,
    redirect_uri: str,
) -> AuthorizationRequest:
    """Return the parameters of a sound request; raises AuthorizeError."""
    if parameters.repeated:
        raise AuthorizeError("invalid_request", "a parameter is repeated")
    if "request" in parameters or "request_uri" in parameters:
        raise AuthorizeError("invalid_request", "request objects are not supported")
    if parameters.get("response_mode", "query") != "query":
        raise AuthorizeError("invalid_request", "the only response_mode is query")
    if parameters.get("response_type") != "code":
        raise AuthorizeError("unsupported_response_type", "response_type must be code")
    if parameters.get("code_challenge_method") != "S256":
        raise AuthorizeError("invalid_request", "code_challenge_method must be S256")
    challenge = parameters.get("code_challenge", "")
    if not _CHALLENGE.fullmatch(challenge):
        raise AuthorizeError("invalid_request", "code_challenge must be 43 base64url characters")
    if len(parameters.get("state", "")) > limits.MAXIMUM_STATE_CHARACTERS:
        longest = limits.MAXIMUM_STATE_CHARACTERS
        raise AuthorizeError("invalid_request", f"state is longer than {longest} characters")
    return AuthorizationRequest(
        state=parameters.get("state"),
        scopes=client.validate_scope(parameters.get("scope")),
        code_challenge=challenge,
        redirect_uri=AnyUrl(redirect_uri),
        exact_redirect_uri=redirect_uri,
        redirect_uri_provided_explicitly="redirect_uri" in parameters,
        resources=parameters.resources,
        address=client_address(request, server.settings),
    )


async def tell_error(
    server: Provider,
    request: Request,
    client: RegisteredClient,
    redirect_uri: str,
    state: str | None,
    *,
    error: str,
    error_description: str,
) -> Response:
    """Return an error that no person asked for: to the client at once, or as a page that leads there.

    Nobody is sent to an address that is only a stranger's word (RFC 9700 section 4.11.2): that neither the
    operator nor this user allowed, and that is not on the browser's own computer. Programs get JSON then.
    """
    told = {"error": error, "error_description": error_description}
    refused(f"{error}: {error_description}")
    onward = redirect_to_client(server, redirect_uri, state, **told)
    vouched_for = client.vouched_for or is_loopback(redirect_uri)
    if vouched_for or await _allowed(server, request, client, redirect_uri):
        return onward
    # Clients take a 400 for an unknown client, and register again.
    status = 403 if error == "access_denied" else 400
    if not wants_page(request):
        return JSONResponse(told, status, {"Cache-Control": "no-store"})
    return pages.page(
        request,
        "app_error",
        status=status,
        client_name=client.client_name or client.client_id,
        detail=error_description,
        redirect_target=destination(redirect_uri),
        onward=onward.headers["location"],
    )


async def _allowed(server: Provider, request: Request, client: RegisteredClient, redirect_uri: str) -> bool:
    """Say whether somebody is signed in who lets this client, at this address, act for them."""
    session = await kept_session(server, request)
    return session is not None and any(
        grant.client_id == client.client_id and same_redirect_uri(redirect_uri, grant.redirect_uri)
        for grant in await server.storage.grants.all(session.subject)
    )


def redirect_to_client(server: Provider, redirect_uri: str, state: str | None, **parameters: str) -> Response:
    """Return the authorization response: parameters, state and issuer added to the redirect URI.

    303, so that a browser never posts a credential on to the client (RFC 9700 section 4.12).
    """
    if state is not None:
        parameters["state"] = state
    # Some clients read `+` as it stands.
    query = urlencode(parameters | {"iss": server.issuer}, quote_via=quote)
    separator = "&" if "?" in redirect_uri else "?"
    return see_other(f"{redirect_uri}{separator}{query}")
