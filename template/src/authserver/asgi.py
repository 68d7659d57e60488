"""The ASGI application, as our own command runs it: `uvicorn --factory authserver.asgi:create_app`."""

import fastmcp
from starlette.applications import Starlette

from authserver import logs
from authserver.upstream import refuse_settings


def create_app() -> Starlette:
    """Return the application of `app.server:mcp`; raises SettingsError."""
    # An air-gapped server opens no connection that no setting asks for.
    fastmcp.settings.check_for_updates = "off"
    from app.server import mcp  # noqa: PLC0415  # the user's module: after the settings above

    logs.configure()
    refuse_settings()
    # Stateless: clients carry no cookies, so sessions would not find their way to one of several workers.
    return mcp.http_app(path="/mcp", stateless_http=True, host_origin_protection=False)
