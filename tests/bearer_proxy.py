"""A small proxy that adds a bearer token, for clients that know no OAuth."""

import contextlib
import http.client
import http.server
import threading
from collections.abc import Iterator
from urllib.parse import urlsplit


@contextlib.contextmanager
def bearer_proxy(upstream: str, access_token: str) -> Iterator[str]:
    """Pass everything on to `upstream`, with the token; yield the proxy's address."""
    target = urlsplit(upstream).netloc

    class Handler(http.server.BaseHTTPRequestHandler):
        def _pass_on(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
            # Its own address becomes the server's; a foreign Host or Origin stays what it is.
            headers = {name: value.replace(own, target) for name, value in self.headers.items()}
            connection = http.client.HTTPConnection(target, timeout=60)
            connection.request(
                self.command, self.path, body, headers | {"Authorization": f"Bearer {access_token}"}
            )
            answer = connection.getresponse()
            self.send_response(answer.status)
            for name, value in answer.getheaders():
                if name.lower() not in ("transfer-encoding", "connection", "date"):
                    self.send_header(name, value)
            self.send_header("Connection", "close")
            self.end_headers()
            with contextlib.suppress(OSError):  # whoever asked has gone
                while part := answer.read1():
                    self.wfile.write(part)
            connection.close()

        do_GET = do_POST = do_DELETE = do_OPTIONS = _pass_on  # noqa: N815

        def log_message(self, *_: object) -> None:
            pass

    listener = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    listener.daemon_threads = True
    own = f"127.0.0.1:{listener.server_port}"
    threading.Thread(target=listener.serve_forever, daemon=True).start()
    try:
        yield f"http://{own}"
    finally:
        listener.shutdown()
        listener.server_close()
