"""The outside world of the tests: an HTTP server that remembers every call and behaves as badly as it is told to."""

from __future__ import annotations

import json
import socket
import struct
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

from tests.support.eventually import eventually_sync

#: How the server answers one call.
Answer = Callable[["Handler"], None]
_ATTEMPT = ("FlowForge-Attempt", "FlowForge-Token")
#: Longest time that a call is held when nobody lets go.
LONGEST = 110.0


@dataclass(frozen=True, slots=True)
class Call:
    """One request as it arrived."""

    method: str
    path: str
    key: str | None
    at: float
    body: Any
    #: Which attempt of its step asked for it, and under which token.
    attempt: int = 0
    token: int = 0

    @property
    def run(self) -> str:
        """The run that asked for it."""
        return (self.key or "").partition(":")[0]

    @property
    def step(self) -> str:
        """The step that asked for it."""
        return (self.key or "").partition(":")[2]


class Handler(BaseHTTPRequestHandler):
    """Records a request, then answers as its path is told to."""

    protocol_version = "HTTP/1.1"
    server: Sink

    def _serve(self) -> None:
        text = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        try:
            body = json.loads(text) if text else None
        except ValueError:
            body = text.decode(errors="replace")
        key, attempt, token = (self.headers.get(name) for name in ("Idempotency-Key", *_ATTEMPT))
        call = Call(self.command, urlsplit(self.path).path, key, time.time(), body, int(attempt or 0), int(token or 0))
        answer = self.server.record(call)
        with suppress(OSError):
            answer(self)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _serve  # noqa: N815 - names of the standard library

    def reply(self, status: int, body: Any, headers: Mapping[str, str]) -> None:
        """Send a whole answer."""
        text = json.dumps(body).encode()
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", "Content-Length": str(len(text)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the standard library's name
        """Say nothing."""


class Sink(ThreadingHTTPServer):
    """The server; every test has paths of its own in it."""

    daemon_threads = True
    request_queue_size = 512

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self._lock = threading.Lock()
        self._calls: dict[str, list[Call]] = defaultdict(list)
        self._answers: dict[str, list[Answer]] = {}

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.server_port}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of connections that break: that is what tests make them do."""

    def record(self, call: Call) -> Answer:
        """Keep a call; return how it is answered."""
        with self._lock:
            self._calls[call.path].append(call)
            # A path without answers of its own has those of the path above it.
            answers = self._answers.get(call.path) or self._answers.get(call.path.rpartition("/")[0]) or [reply()]
            return answers.pop(0) if len(answers) > 1 else answers[0]

    def expect(self, path: str, answers: list[Answer]) -> None:
        """Set the answers of a path: one after the other, the last one for ever."""
        with self._lock:
            self._answers[path] = answers

    def calls(self, prefix: str) -> list[Call]:
        """Return the calls whose path begins with a prefix, as they arrived."""
        with self._lock:
            found = [call for path, calls in self._calls.items() if path.startswith(prefix) for call in calls]
        return sorted(found, key=lambda call: call.at)


@contextmanager
def serving() -> Iterator[Sink]:
    """Run a sink in a thread of its own."""
    with Sink() as sink:
        thread = threading.Thread(target=sink.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        try:
            yield sink
        finally:
            sink.shutdown()
            thread.join()


# -- answers -------------------------------------------------------------------------------------------------


def reply(status: int = 200, body: Any = None, **headers: str) -> Answer:
    """Answer at once; `retry_after` is written as Retry-After."""
    named = {name.replace("_", "-").title(): value for name, value in headers.items()}
    return lambda handler: handler.reply(status, {} if body is None else body, named)


def slowly(seconds: float) -> Answer:
    """Answer after a while."""

    def answer(handler: Handler) -> None:
        time.sleep(seconds)
        handler.reply(200, {}, {})

    return answer


def reset(handler: Handler) -> None:
    """Break the connection without an answer."""
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    handler.close_connection = True
    handler.connection.close()


def drip(handler: Handler) -> None:
    """Begin an answer and send a byte now and then, for as long as anybody listens."""
    handler.send_response(200)
    handler.send_header("Content-Length", "100000")
    handler.end_headers()
    for _ in range(int(LONGEST * 20)):
        handler.wfile.write(b" ")
        time.sleep(0.05)


def together(parties: int) -> Answer:
    """Answer only when that many calls are there at the same time."""
    barrier = threading.Barrier(parties)

    def answer(handler: Handler) -> None:
        barrier.wait(LONGEST)
        handler.reply(200, {}, {})

    return answer


@dataclass(slots=True)
class Hold:
    """Holds calls until it is released, then lets another answer go ahead."""

    then: Answer = field(default_factory=reply)
    _released: threading.Event = field(default_factory=threading.Event)

    def __call__(self, handler: Handler) -> None:
        self._released.wait(LONGEST)
        self.then(handler)

    def release(self) -> None:
        """Let all calls go, those to come as well."""
        self._released.set()


class Effects:
    """The part of a sink that belongs to one test."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._prefix = f"/{uuid4().hex[:12]}"
        self._holds: list[Hold] = []
        self.url = sink.url + self._prefix

    def answer(self, path: str, *answers: Answer) -> None:
        """Set the answers of a path: one after the other, the last one for ever."""
        self._sink.expect(f"{self._prefix}/{path}", list(answers))

    def hold(self, path: str, then: Answer | None = None, *, after: tuple[Answer, ...] = ()) -> Hold:
        """Hold the first call of a path; calls after it get the answers *after*, or are held as well."""
        hold = Hold(then or reply())
        self._holds.append(hold)
        self.answer(path, hold, *after)
        return hold

    def calls(self, path: str = "") -> list[Call]:
        """Return the calls of a path; without one, all calls of the test."""
        found = self._sink.calls(f"{self._prefix}/{path}")
        return [call for call in found if not path or call.path == f"{self._prefix}/{path}"]

    def paths(self) -> list[str]:
        """Return the paths that were called, in order, as the test knows them."""
        return [call.path.removeprefix(f"{self._prefix}/") for call in self.calls()]

    def arrived(self, path: str, count: int = 1) -> list[Call]:
        """Wait for calls of a path; return those that came."""
        return eventually_sync(  # type: ignore[no-any-return]
            lambda: len(found := self.calls(path)) >= count and found, what=f"{count} calls of {path}"
        )

    def close(self) -> None:
        """Let everything go."""
        for hold in self._holds:
            hold.release()
