"""What is fed with anything at all: five doors through which text and bytes of strangers come in.

A target returns when the door held: what came in was taken, or refused by the one error that says why. Everything
else (another exception, a wrong exit code, a traceback, no answer in time) is raised.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import io
import logging
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

from flowforge.engine.message import Malformed, Message, decode, is_newer
from flowforge.errors import DatabaseUnavailable, DefinitionError, ExpressionError, InputError, ServerStartError
from flowforge.model import inputs as model_inputs
from flowforge.model.expression import parse
from flowforge.model.json import encode
from flowforge.model.load import canonical, from_data, load
from flowforge_cli import app, render
from flowforge_cli.exit_codes import ExitCode
from flowforge_streams.delivery import Delivery
from flowforge_streams.letters import read_letter, write_letter
from tests.chaos.kit.load import SHAPES

#: Seconds in which everything here is over a thousand times: a hang guard, not a budget.
PATIENCE = 30

CONTEXT: dict[str, Any] = {
    "input": {"x": 1, "y": 2.5, "s": "text", "rows": [{"price": 3, "qty": 2}, {"price": 1.5, "qty": 0}], "n": None},
    "steps": {"a": {"status": "completed", "error": None, "output": {"body": {"id": 7}, "status_code": 200}}},
    "run": {"id": "0199", "attempt": 1},
    "item": [1, 2, 3],
}


class Hung(Exception):
    """Something took far longer than it may."""


@contextmanager
def in_time() -> Iterator[None]:
    """Interrupt what does not end."""

    def interrupt(*_: object) -> None:
        raise Hung

    before = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, PATIENCE)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def definition(text: str) -> None:
    """A definition loads, and says the same when written and read again; or it is refused, with places to look at."""
    with in_time():
        try:
            loaded = load(text, filename="fuzz.yaml")
        except DefinitionError as error:
            if not error.diagnostics:
                raise
            with quiet():
                render.diagnostics(error.diagnostics, text, "fuzz.yaml")
            return
        again = from_data(canonical(loaded.workflow))
        assert again.plan.digest == loaded.plan.digest


def expression(source: str) -> None:
    """An expression gives JSON, twice the same; or it is refused, quoting itself."""
    with in_time():
        try:
            parsed = parse(source)
            value = parsed.evaluate(CONTEXT)
        except ExpressionError as error:
            if error.source != source:
                raise
            return
        assert encode(parsed.evaluate(CONTEXT)) == encode(value)


def run_input(schema: Mapping[str, Any], text: str | bytes) -> None:
    """An input is taken, or refused."""
    from flowforge.client.starts import parse_input

    with in_time(), contextlib.suppress(InputError):
        value: Any = parse_input(text)
        model_inputs.validate(dict(schema), value)


def entry(fields: Mapping[str, bytes]) -> None:
    """An entry of a stream is a message or malformed, never an error; buried, it can be read back."""
    delivery = Delivery("lane", "1-0", dict(fields), delivered=1, reclaimed=False)
    with in_time():
        answer = decode(delivery)
        assert isinstance(answer, Message | Malformed)
        if is_newer(delivery):
            assert isinstance(answer, Malformed)
        letter = write_letter(delivery, answer.reason if isinstance(answer, Malformed) else "")
        written = {name: value if isinstance(value, bytes) else str(value).encode() for name, value in letter.items()}
        assert read_letter("1-0", written).entry_id == "1-0"
        if isinstance(answer, Message):
            assert 0 <= answer.step < 2**31
            assert 0 <= answer.dispatch_no < 2**31


#: How a command may end whose servers cannot be reached; 1 would be a fault of ours.
ENDS = {int(code) for code in ExitCode} - {ExitCode.INTERNAL}


def command(arguments: Sequence[str], stdin: bytes = b"") -> None:
    """A command ends with an exit code of the contract, and says so without a traceback."""
    with in_time(), contextlib.chdir(place()), nowhere(), quiet(stdin) as said:
        try:
            code = app.run(list(arguments))
        except SystemExit as leaving:
            code = leaving.code if isinstance(leaving.code, int) else int(ExitCode.OK)
    text = said.getvalue()
    assert code in ENDS, f"exit code {code}: {text[-2000:]}"
    assert "Traceback" not in text or "--debug" in arguments, text[-2000:]


@functools.cache
def place() -> Path:
    """A folder with definitions to name on a command line; commands may write what they like into it."""
    folder = Path(tempfile.mkdtemp(prefix="fuzz-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    (folder / "hello.yaml").write_text(f"name: hello\n{SHAPES['linear']}")
    (folder / "bad.yaml").write_text(f"name: bad\n{SHAPES['linear'].replace('depends_on: a', 'depends_on: z')}")
    return folder


@contextmanager
def quiet(stdin: bytes = b"") -> Iterator[io.StringIO]:
    """Keep what is printed, and give it something to read."""
    said = io.StringIO()
    streams = {"stdout": said, "stderr": said, "stdin": io.TextIOWrapper(io.BytesIO(stdin), errors="replace")}
    with contextlib.ExitStack() as stack:
        for name, stream in streams.items():
            stack.enter_context(mock.patch.object(sys, name, stream))
        yield said


@contextmanager
def nowhere() -> Iterator[None]:
    """Let there be no server, and none to start; leave logging and signals as they were."""

    async def unreachable(*_: object, **__: object) -> Any:
        raise DatabaseUnavailable("Postgres cannot be reached: it is not there")

    def unstartable(*_: object, **__: object) -> Any:
        raise ServerStartError("there are no servers here")

    handlers, level = list(logging.getLogger().handlers), logging.getLogger().level
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    environment = {"FLOWFORGE_DATABASE_URL": "postgresql:///x?host=/nowhere", "FLOWFORGE_REDIS_URL": "unix:///nowhere"}
    with contextlib.ExitStack() as stack:
        stack.enter_context(mock.patch.dict(os.environ, environment))
        stack.enter_context(mock.patch("flowforge.store.database.connect", unreachable))
        stack.enter_context(mock.patch("flowforge.client.core.AsyncClient.open", unreachable))
        for name in ("up", "down"):
            stack.enter_context(mock.patch(f"flowforge.local.{name}", unstartable))
        stack.enter_context(mock.patch("flowforge_cli.supervising.supervise", unstartable))
        stack.enter_context(mock.patch("flowforge.store.schema.upgrade", unstartable))
        stack.enter_context(mock.patch("flowforge.store.schema.downgrade", unstartable))
        try:
            yield
        finally:
            logging.getLogger().handlers[:] = handlers
            logging.getLogger().setLevel(level)
            for number, handler in before.items():
                signal.signal(number, handler)
