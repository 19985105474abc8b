"""Real servers in a home of the test's own, stopped again however the test ends."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psycopg
import pytest

from flowforge.errors import ServerStartError
from flowforge.local import Endpoints, Home, down
from flowforge.local.process import everyone
from flowforge.local.sockets import socket_folder


@pytest.fixture
def make_home(tmp_path: Path) -> Iterator[Callable[..., Home]]:
    """A factory of homes whose servers are stopped at the end."""
    homes: list[Home] = []

    def make(path: Path | str = "home") -> Home:
        homes.append(Home(tmp_path / path))
        return homes[-1]

    yield make
    for home in homes:
        with suppress(ServerStartError):
            down(home)
        for found in everyone():
            if home.marker in found.command and found.program.startswith(("postgres", "valkey", "redis")):
                os.kill(found.process.pid, signal.SIGKILL)
        if not socket_folder(home).is_relative_to(home.path):
            shutil.rmtree(socket_folder(home), ignore_errors=True)


@pytest.fixture
def home(make_home: Callable[..., Home]) -> Home:
    """An empty home."""
    return make_home()


@pytest.fixture
def eventually() -> Callable[..., Any]:
    """Poll until a condition holds; its value is the answer."""

    def poll(condition: Callable[[], Any], *, within: float = 60.0) -> Any:
        deadline = time.monotonic() + within
        while not (answer := condition()):
            assert time.monotonic() < deadline, f"did not happen within {within} s"
            time.sleep(0.005)
        return answer

    return poll


@pytest.fixture
def query() -> Callable[..., list[tuple[Any, ...]]]:
    """Run one statement in a connection of its own."""

    def run(at: Endpoints, sql: str, *, fetch: bool = True) -> list[tuple[Any, ...]]:
        with psycopg.connect(at.database_url, autocommit=True) as connection:
            cursor = connection.execute(sql)
            return cursor.fetchall() if fetch else []

    return run


@pytest.fixture
def valkey() -> Callable[..., str]:
    """Send one command to the stream server and return its raw answer."""

    def run(at: Endpoints, command: str) -> str:
        path = at.redis_url.removeprefix("unix://").partition("?")[0]
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(10)
            client.connect(path)
            client.sendall(command.encode() + b"\r\n")
            return client.recv(65536).decode()

    return run


@pytest.fixture
def start_client() -> Iterator[Callable[[str], subprocess.Popen[str]]]:
    """Run Python code in processes of their own."""
    clients: list[subprocess.Popen[str]] = []

    def start(code: str, *arguments: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", code, *arguments]
        clients.append(subprocess.Popen(command, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True))
        return clients[-1]

    yield start
    for client in clients:
        client.kill()
        client.communicate()
