"""The service that the demo's workflow calls: it takes its time, counts its calls, and honours idempotency keys.

A call with a key it has seen is answered with the first answer and has no second effect, as a payment provider
would do it.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

#: Seconds that one effect takes: long enough to be interrupted.
SLOW = {"charge": 0.7}
QUICK = 0.02


@dataclass
class Effects:
    """What one kind of call did."""

    #: The idempotency key of every call, in order.
    keys: list[str] = field(default_factory=list)
    #: Key of each effect, and the answer it gave.
    done: dict[str, dict[str, Any]] = field(default_factory=dict)

    def document(self, step: str) -> dict[str, Any]:
        """Return the counts."""
        return {"step": step, "calls": len(self.keys), "keys": len(set(self.keys)), "effects": len(self.done)}


class Service:
    """What has been asked of the service, by step."""

    def __init__(self) -> None:
        self.effects: dict[str, Effects] = {}
        self._lock = threading.Lock()
        self._arrived: dict[str, threading.Event] = {}

    def arrived(self, step: str) -> threading.Event:
        """Return the event that is set when the first call for a step comes in."""
        with self._lock:
            return self._arrived.setdefault(step, threading.Event())

    def handle(self, step: str, key: str) -> dict[str, Any]:
        """Have the effect, unless the key has had it; return the answer."""
        with self._lock:
            effects = self.effects.setdefault(step, Effects())
            effects.keys.append(key)
            known = effects.done.get(key)
            answer = known or {"id": f"{step}-{len(effects.done) + 1}"}
            effects.done[key] = answer
        self.arrived(step).set()
        if known is not None:
            return {**answer, "repeated": True}
        time.sleep(SLOW.get(step, QUICK))
        return {**answer, "repeated": False}


class _Handler(BaseHTTPRequestHandler):
    """One call: `POST /<step>`."""

    protocol_version = "HTTP/1.1"
    service: Service

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        answer = self.service.handle(self.path.strip("/"), self.headers.get("Idempotency-Key", ""))
        body = json.dumps(answer).encode()
        try:
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
        except OSError:
            # The worker that asked is dead; that is what the demo is about.
            self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's word
        """Say nothing."""


@contextmanager
def running() -> Iterator[tuple[Service, str]]:
    """Run a service in a thread; yields it and its address."""
    service = Service()
    handler = type("Handler", (_Handler,), {"service": service})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield service, f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
