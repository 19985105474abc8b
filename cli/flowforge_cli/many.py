"""Starting a run for each line of a file: `flowforge run TARGET --input-file orders.jsonl`.

Lines are read, checked and committed some hundred at a time, so a file of millions takes no memory; a line that is no
input stops it there, and what was started before is said. With a key in each line the same file can be given again.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from flowforge_cli import inputs, render
from flowforge_cli.exit_codes import ExitCode

if TYPE_CHECKING:
    from flowforge.client import AsyncClient
    from flowforge.engine.plans import PlannedVersion
    from flowforge.engine.starting import Start

#: Lines committed in one transaction.
TOGETHER = 500


@dataclass(frozen=True)
class File:
    """A file of inputs, one JSON value a line, and what goes for all of them."""

    path: str
    #: Field of each input that holds its idempotency key, dots for what is nested.
    key: str | None
    #: `name=value`, put into each input.
    pairs: Sequence[str]
    labels: dict[str, str]
    priority: int
    json: bool


async def start(client: AsyncClient, version: PlannedVersion, file: File) -> int:
    """Start a run for each line; print their ids, one a line, in order."""
    started = repeated = 0
    with _opened(file.path) as stream:
        requests = _requests(client, version, file, stream)
        try:
            while chunk := list(islice(requests, TOGETHER)):
                for (line, _), one in zip(chunk, await client.start_many([ask for _, ask in chunk]), strict=True):
                    _print(line, str(one.id), file, duplicate=one.duplicate)
                    repeated += one.duplicate
                started += len(chunk)
                render.progress(f"{started:,} runs started")
        finally:
            render.progress_done()
            known = f", {repeated:,} of them earlier" if repeated else ""
            render.say(f"{started:,} runs of {version.plan.name}@{version.version} are started{known}")
    return ExitCode.OK


def _print(line: int, run_id: str, file: File, *, duplicate: bool) -> None:
    if file.json:
        render.json_line({"schema": "flowforge/started/v1", "line": line, "id": run_id, "duplicate": duplicate})
    else:
        render.out(run_id)


@contextmanager
def _opened(path: str) -> Iterator[BinaryIO]:
    from flowforge.errors import InputError, NotFound

    if path == "-":
        yield sys.stdin.buffer
        return
    try:
        stream = Path(path).open("rb")  # noqa: SIM115 - closed below
    except FileNotFoundError:
        raise NotFound(f"there is no file {path}", hint="one JSON value a line, or - for stdin") from None
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from None
    with stream:
        yield stream


def _requests(
    client: AsyncClient, version: PlannedVersion, file: File, stream: BinaryIO
) -> Iterator[tuple[int, Start]]:
    """Yield (line number, request) for the lines that are not empty; errors name the line."""
    from flowforge.client.starts import parse_input
    from flowforge.errors import InputError, UsageError

    for number, line in enumerate(stream, 1):
        if not line.strip():
            continue
        try:
            value = _with(parse_input(line), file.pairs)
            key = None if file.key is None else _key(value, file.key)
            yield (
                number,
                client.prepare(
                    version,
                    value,
                    idempotency_key=key,
                    labels=file.labels,
                    priority=file.priority,
                    trigger="cli",
                ),
            )
        except (InputError, UsageError) as error:
            name = "stdin" if file.path == "-" else file.path
            raise InputError(f"{name}, line {number}: {error.message}", hint=error.hint) from None


def _with(value: Any, pairs: Sequence[str]) -> Any:
    from flowforge.errors import InputError

    if pairs and not isinstance(value, dict):
        raise InputError("-i adds to a mapping, and this is not one")
    for pair in pairs:
        inputs.assign(value, pair)
    return value


def _key(value: Any, path: str) -> str:
    """Return the idempotency key that an input holds."""
    from flowforge.errors import InputError

    found = value
    for name in path.split("."):
        found = found.get(name) if isinstance(found, dict) else None
    if isinstance(found, bool) or not isinstance(found, str | int):
        raise InputError(f"the input has no text or number at '{path}'", hint="--key names the field of the key")
    return str(found)
