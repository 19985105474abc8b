"""The proxy of the fault suite does what it says: a fault that is not injected would make every scenario pass."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import suppress

import pytest

from tests.chaos.kit.proxy import Proxy, Way
from tests.support.eventually import eventually_sync


class Echo:
    """A server that sends back what it gets, a line at a time."""

    def __init__(self) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.heard: list[bytes] = []
        self.connections: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                one, _ = self.listener.accept()
                self.connections.append(one)
                threading.Thread(target=self._serve, args=(one,), daemon=True).start()

    def _serve(self, one: socket.socket) -> None:
        with suppress(OSError):
            while piece := one.recv(4096):
                self.heard.append(piece)
                one.sendall(piece)
        one.close()


@pytest.fixture
def echo() -> Iterator[Echo]:
    one = Echo()
    yield one
    one.listener.close()
    for connection in one.connections:
        connection.close()


@pytest.fixture
def proxy(echo: Echo) -> Iterator[Proxy]:
    one = Proxy(echo.port)
    yield one
    one.close()


@pytest.fixture
def client(proxy: Proxy) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", proxy.port), timeout=20) as one:
        one.sendall(b"hello")
        assert one.recv(100) == b"hello"
        yield one


def silent(client: socket.socket) -> bool:
    """Say whether nothing comes for a moment."""
    client.settimeout(0.2)
    try:
        client.recv(100)
    except TimeoutError:
        return True
    finally:
        client.settimeout(20)
    return False


def is_reset(client: socket.socket) -> None:
    """Assert that the connection ends with RST, after whatever still arrives."""
    with pytest.raises(ConnectionResetError):
        b"".join(iter(lambda: client.recv(100), b""))


def test_what_is_frozen_arrives_after_the_thaw(proxy: Proxy, client: socket.socket, echo: Echo):
    proxy.freeze()
    client.sendall(b"later")
    assert silent(client)
    assert echo.heard == [b"hello"]
    proxy.restore()
    assert client.recv(100) == b"later"


def test_whoever_connects_to_a_frozen_network_waits(proxy: Proxy):
    proxy.freeze()
    with socket.create_connection(("127.0.0.1", proxy.port), timeout=20) as client:
        client.sendall(b"x")
        assert silent(client)
        proxy.restore()
        assert client.recv(100) == b"x"


def test_what_is_dropped_is_lost_and_its_connection_ends_when_the_network_heals(proxy: Proxy, client: socket.socket):
    proxy.drop()
    client.sendall(b"lost")
    assert silent(client)
    proxy.restore()
    is_reset(client)


def test_a_reset_is_a_reset_and_not_an_end(proxy: Proxy, client: socket.socket):
    assert proxy.reset() == 1
    is_reset(client)


def ask(port: int) -> bytes:
    """Connect and say something; return the answer."""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as client:
        client.sendall(b"hello")
        return client.recv(100)


def test_new_connections_are_refused_and_old_ones_go_on(proxy: Proxy, client: socket.socket):
    proxy.refuse()
    with pytest.raises((ConnectionResetError, BrokenPipeError)):
        ask(proxy.port)
    client.sendall(b"still here")
    assert client.recv(100) == b"still here"


def test_a_half_open_connection_is_silent_and_its_server_has_seen_the_end(
    proxy: Proxy, client: socket.socket, echo: Echo
):
    assert proxy.half_open() == 1
    client.sendall(b"anybody?")
    assert silent(client)
    eventually_sync(lambda: echo.connections[0].fileno() == -1, what="the server sees the end")
    assert echo.heard == [b"hello"]


def test_a_connection_is_cut_after_a_number_of_bytes(proxy: Proxy, client: socket.socket, echo: Echo):
    cut = proxy.cut_after(3, Way.UP)
    client.sendall(b"abcdef")
    is_reset(client)
    assert cut.done.is_set()
    eventually_sync(lambda: b"".join(echo.heard) == b"helloabc", what="three bytes arrive")


def test_a_connection_is_cut_before_a_sequence_arrives_and_somebody_is_told(
    proxy: Proxy, client: socket.socket, echo: Echo
):
    """The server has said it, the client never hears it; the next connection is left alone."""
    told: list[bytes] = []
    proxy.cut_before(b"COMMIT", then=lambda: told.append(b"".join(echo.heard)))
    client.sendall(b"xx COMMIT yy")
    is_reset(client)
    assert told == [b"helloxx COMMIT yy"]
    with socket.create_connection(("127.0.0.1", proxy.port), timeout=20) as other:
        other.sendall(b"COMMIT")
        assert other.recv(100) == b"COMMIT"


def test_an_orderly_end_is_passed_on(proxy: Proxy, client: socket.socket):
    client.shutdown(socket.SHUT_WR)
    assert client.recv(100) == b""
    eventually_sync(lambda: proxy.connections == 0, what="the connection is forgotten")
