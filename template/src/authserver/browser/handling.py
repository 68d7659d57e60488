"""Routes for people: what a page's handler raises becomes a page that says what to do next."""

from collections.abc import Awaitable, Callable

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from authserver.browser.navigation import is_navigation
from authserver.browser.problems import Refusal, problem
from authserver.pages.elsewhere import Elsewhere
from authserver.requests.arrival import in_time
from authserver.requests.reading import BadRequest

Handler = Callable[[Request], Awaitable[Response]]


class WordedRoute(Route):
    """A route whose requests arrive in time, and that says in words, too, what methods it has.

    RFC 9110 section 15.5.6. How long bodies take that routes of `app` read is theirs to say.
    """

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        methods = self.methods or ()
        if scope["method"] in methods:
            await super().handle(scope, in_time(receive), send)
            return
        request = Request(scope)
        allowed = ", ".join(sorted(methods))
        response = problem(request, "wrong_method", status=405, allowed=allowed)
        response.headers["Allow"] = allowed
        await response(scope, receive, send)


def endpoint(path: str, **handlers: Handler) -> Route:
    """Return a route with a handler for each method, which is called where somebody opens the page."""

    async def handle(request: Request) -> Response:
        if not is_navigation(request):
            return problem(request, "not_opened", status=403)
        try:
            return await handlers[request.method](request)
        except BadRequest as error:
            return problem(request, "bad_request", status=error.status, detail=error.description)
        except Refusal as refusal:
            return refusal.answer(request)
        except Elsewhere as elsewhere:
            return elsewhere.response

    return WordedRoute(path, handle, methods=list(handlers))
