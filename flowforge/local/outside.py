"""A small HTTP service on this machine, for demonstrations: what a workflow calls, answered by a function."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

#: Takes the path of a call, without slashes around it, and its idempotency key; returns the status and the document.
Respond = Callable[[str, str], tuple[int, dict[str, Any]]]


class _Handler(BaseHTTPRequestHandler):
    """One call: `POST /<path>`."""

    protocol_version = "HTTP/1.1"
    respond: Respond

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        status, document = self.respond(self.path.strip("/"), self.headers.get("Idempotency-Key", ""))
        body = json.dumps(document).encode()
        try:
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
        except OSError:
            # Who asked is gone, or has stopped waiting; that is what is shown here.
            self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's word
        """Say nothing."""


@contextmanager
def serving(respond: Respond) -> Iterator[str]:
    """Serve in threads until the end of the block; yields the address."""
    handler = type("Handler", (_Handler,), {"respond": staticmethod(respond)})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
