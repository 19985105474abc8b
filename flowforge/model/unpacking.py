"""Capsules out of bytes that anybody may have made: checked, or refused with what is wrong and where.

Nothing is believed: not the size that a header states, not the types of values, not the numbers of events. What is
read is data only; a definition in it is compiled when it is asked for, with all checks, and never executed.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, TypeVar
from uuid import UUID

from flowforge.errors import CapsuleError
from flowforge.model.capsule import MAX_CHILDREN_DEPTH, SCHEMA, Capsule, Log
from flowforge.model.documents import Compensation, Run, RunEvent, Step
from flowforge.model.event import EventType
from flowforge.model.fold import fold
from flowforge.model.json import MAX_DEPTH, InvalidJson, decode, encode
from flowforge.model.status import RunStatus, StepStatus

#: Bytes of a file, and of what it holds once it is unpacked.
MAX_FILE, MAX_CONTENT = 128 * 1024 * 1024, 512 * 1024 * 1024
#: Begins the name of every format of capsules.
_FORMATS = "flowforge/capsule/"
#: Begins every gzip file.
MAGIC = b"\x1f\x8b"
#: Containers around a value that may itself be nested as deep as any.
_AROUND = 8

E = TypeVar("E", bound=StrEnum)


def unpack(content: bytes, *, name: str = "the file") -> Capsule:
    """Return the capsule that a file's bytes hold; CapsuleError says what is wrong with them."""
    if len(content) > MAX_FILE:
        raise CapsuleError(f"{name} is larger than {MAX_FILE:,} bytes, which no capsule is")
    if not content.startswith(MAGIC):
        raise CapsuleError(f"{name} is not a capsule: it is not compressed with gzip", hint=_HINT)
    try:
        document = decode(_inflated(content, name))
        encode(document, max_depth=MAX_DEPTH + _AROUND * MAX_CHILDREN_DEPTH)
    except InvalidJson as error:
        raise CapsuleError(f"{name} is not a capsule: its content {error.message}", hint=_HINT) from None
    if not isinstance(document, dict):
        raise CapsuleError(f"{name} is not a capsule: it holds no JSON object", hint=_HINT)
    return _capsule(_Reader(document, name), 0)


_HINT = "flowforge export RUN -o FILE writes one"


def _inflated(content: bytes, name: str) -> bytes:
    """Return what is in a gzip file, as long as that is not absurdly much."""
    unzip = zlib.decompressobj(zlib.MAX_WBITS | 16)
    try:
        found = unzip.decompress(content, MAX_CONTENT + 1)
    except zlib.error:
        raise CapsuleError(f"{name} is damaged: it cannot be unpacked") from None
    if len(found) > MAX_CONTENT:
        raise CapsuleError(f"{name} unpacks to more than {MAX_CONTENT:,} bytes, which no capsule does")
    if not unzip.eof:
        raise CapsuleError(f"{name} is damaged: its end is missing")
    if unzip.unused_data:
        raise CapsuleError(f"{name} is damaged: something follows its end")
    return found


class _Reader:
    """A mapping of the document, with its place in it for errors."""

    def __init__(self, values: Mapping[str, Any], place: str) -> None:
        self._values, self.place = values, place

    def wrong(self, name: str, what: str) -> CapsuleError:
        return CapsuleError(f"{self.place}: '{name}' {what}", hint=_HINT)

    def value(self, name: str, default: Any = None) -> Any:
        return self._values.get(name, default)

    def text(self, name: str) -> str:
        found = self._values.get(name)
        if not isinstance(found, str):
            raise self.wrong(name, "is not a text")
        return found

    def maybe_text(self, name: str) -> str | None:
        return None if self._values.get(name) is None else self.text(name)

    def number(self, name: str, default: int | None = None) -> int:
        found = self._values.get(name, default)
        if isinstance(found, bool) or not isinstance(found, int) or not -(2**31) <= found < 2**31:
            raise self.wrong(name, "is not a whole number")
        return found

    def maybe_number(self, name: str) -> int | None:
        return None if self._values.get(name) is None else self.number(name)

    def moment(self, name: str) -> datetime:
        found = self.maybe_moment(name)
        if found is None:
            raise self.wrong(name, "is missing")
        return found

    def maybe_moment(self, name: str) -> datetime | None:
        text = self.maybe_text(name)
        if text is None:
            return None
        try:
            found = datetime.fromisoformat(text)
            if found.tzinfo is None:
                raise self.wrong(name, "is a time without a zone")
            return found.astimezone(UTC)
        except (ValueError, OverflowError):
            raise self.wrong(name, "is not a time") from None

    def run_id(self, name: str) -> UUID:
        try:
            return UUID(self.text(name))
        except ValueError:
            raise self.wrong(name, "is not the id of a run") from None

    def maybe_run_id(self, name: str) -> UUID | None:
        return None if self._values.get(name) is None else self.run_id(name)

    def one_of(self, name: str, kind: type[E]) -> E:
        try:
            return kind(self.text(name))
        except ValueError:
            raise self.wrong(name, f"is '{self.text(name)[:40]}', which this release does not know") from None

    def maybe_mapping(self, name: str) -> dict[str, Any] | None:
        found = self._values.get(name)
        if found is not None and not isinstance(found, dict):
            raise self.wrong(name, "is not an object")
        return found

    def maybe_error(self, name: str) -> dict[str, Any] | None:
        found = self.maybe_mapping(name)
        if found is not None:
            self.inner(name).text("code")
        return found

    def inner(self, name: str) -> _Reader:
        found = self.maybe_mapping(name)
        if found is None:
            raise self.wrong(name, "is missing")
        return _Reader(found, f"{self.place}: {name}")

    def each(self, name: str) -> Iterator[_Reader]:
        found = self._values.get(name, [])
        if not isinstance(found, list):
            raise self.wrong(name, "is not a list")
        for no, one in enumerate(found):
            if not isinstance(one, dict):
                raise self.wrong(f"{name}[{no}]", "is not an object")
            yield _Reader(one, f"{self.place}: {name}[{no}]")

    def texts(self, name: str) -> tuple[str, ...]:
        found = self._values.get(name, [])
        if not isinstance(found, list) or not all(isinstance(one, str) for one in found):
            raise self.wrong(name, "is not a list of texts")
        return tuple(found)

    def whole(self) -> dict[str, Any]:
        return dict(self._values)


def _of_another_format(found: _Reader, schema: str) -> CapsuleError:
    writer = found.value("flowforge")
    by = f", written by FlowForge {str(writer)[:20]}" if writer is not None else ""
    return CapsuleError(
        f"{found.place} is a {schema[:60]}{by}; this release reads {SCHEMA}",
        hint="open it with the release that wrote it, or a later one",
    )


def _capsule(found: _Reader, depth: int) -> Capsule:
    schema = found.value("schema")
    if isinstance(schema, str) and schema != SCHEMA and schema.startswith(_FORMATS):
        raise _of_another_format(found, schema)
    if schema != SCHEMA:
        what = f"is {str(schema)[:60]!r}; this release reads {SCHEMA}"
        raise found.wrong("schema", what if schema is None else f"says it is no capsule: {str(schema)[:60]!r}")
    if depth > MAX_CHILDREN_DEPTH:
        raise found.wrong("children", f"lie in each other more than {MAX_CHILDREN_DEPTH} deep")
    run = _run(found.inner("run"))
    events = tuple(_event(one, run.id, no) for no, one in enumerate(found.each("events"), 1))
    try:
        fold(event.plain() for event in events)
    except KeyError as error:
        raise found.wrong("events", f"speak of step {error}, which they have not told of before") from None
    if not events or events[0].type != EventType.RUN_CREATED:
        raise found.wrong("events", f"does not begin with {EventType.RUN_CREATED.value}")
    return Capsule(
        run=_with_seq(run, len(events)),
        events=events,
        definition=found.inner("definition").whole(),
        exported_at=found.moment("exported_at"),
        logs=tuple(Log(one.text("step"), one.number("attempt"), one.text("text")) for one in found.each("logs")),
        receipts=tuple(one.whole() for one in found.each("receipts")),
        children=tuple(_capsule(one, depth + 1) for one in found.each("children")),
        redacted=found.texts("redacted"),
    )


def _with_seq(run: Run, seq: int) -> Run:
    from dataclasses import replace

    return replace(run, seq=seq)


def _event(found: _Reader, run: UUID, seq: int) -> RunEvent:
    if found.number("seq") != seq:
        raise found.wrong("seq", f"is {found.number('seq')}, not {seq}: the history has gaps")
    kind = found.one_of("type", EventType)
    data = found.maybe_mapping("data") or {}
    _require(found, kind, data)
    return RunEvent(
        run, seq, kind.value, found.moment("at"), found.maybe_text("step"), found.maybe_number("attempt"), data
    )


def _require(found: _Reader, kind: EventType, data: Mapping[str, Any]) -> None:
    """Refuse events without what the history is rebuilt from."""
    for name, needed in _NEEDED.get(kind, {}).items():
        if not isinstance(data.get(name), needed):
            raise found.wrong("data", f"of {kind.value} has no '{name}' as it should be")
    told = _Reader(data, f"{found.place}: data")
    told.maybe_error("error")
    for name in _TIMES:
        told.maybe_moment(name)
    for name in _NUMBERS:
        told.maybe_number(name)
    if kind is EventType.RUN_RETRIED:
        told.texts("steps")
        told.texts("waiting")
    if kind.value.startswith("step.") and found.maybe_text("step") is None:
        raise found.wrong("step", "is missing")


#: What events may say beside, where they do.
_TIMES, _NUMBERS = ("due_at", "retry_at"), ("approvals", "items", "version")
_ERROR: dict[str, type] = {"error": dict}
_NEEDED: dict[EventType, dict[str, type]] = {
    EventType.RUN_FAILING: _ERROR,
    EventType.RUN_COMPENSATING: _ERROR,
    EventType.RUN_FAILED: _ERROR,
    EventType.STEP_RETRYING: _ERROR,
    EventType.STEP_FAILED: _ERROR,
    EventType.RUN_RETRIED: {"steps": list},
    EventType.STEP_STARTED: {"worker": str},
}


def _run(found: _Reader) -> Run:
    compensation = found.inner("compensation")
    parent = found.inner("parent") if found.maybe_mapping("parent") else None
    labels = found.maybe_mapping("labels") or {}
    return Run(
        id=found.run_id("id"),
        workflow=found.text("workflow"),
        version=found.number("version"),
        status=found.one_of("status", RunStatus),
        input=found.value("input"),
        output=found.value("output"),
        error=found.maybe_error("error"),
        trigger=found.text("trigger"),
        created_at=found.moment("created_at"),
        labels={str(key): str(value) for key, value in labels.items()},
        priority=found.number("priority", 0),
        replay_of=found.maybe_run_id("replay_of"),
        idempotency_key=found.maybe_text("idempotency_key"),
        started_at=found.maybe_moment("started_at"),
        finished_at=found.maybe_moment("finished_at"),
        deadline_at=found.maybe_moment("deadline_at"),
        steps=tuple(_step(one) for one in found.each("steps")),
        compensation=Compensation(
            compensation.text("status"),
            tuple(_step(one) for one in compensation.each("steps")),
            compensation.texts("not_reversible"),
        ),
        parent=None if parent is None else (parent.run_id("run"), parent.maybe_text("step")),
    )


def _step(found: _Reader) -> Step:
    return Step(
        id=found.text("id"),
        name=found.text("name"),
        type=found.text("type"),
        status=found.one_of("status", StepStatus),
        attempts=found.number("attempts", 0),
        crashes=found.number("crashes", 0),
        worker=found.maybe_text("worker"),
        output=found.value("output"),
        error=found.maybe_error("error"),
        progress=found.value("progress"),
        queued_at=found.maybe_moment("queued_at"),
        started_at=found.maybe_moment("started_at"),
        finished_at=found.maybe_moment("finished_at"),
        due_at=found.maybe_moment("due_at"),
        waits_for=_waits_for(found),
    )


def _waits_for(found: _Reader) -> dict[str, Any] | None:
    wanted = found.maybe_mapping("waits_for")
    if wanted is None:
        return None
    told = found.inner("waits_for")
    if "approval" in wanted:
        told.number("missing")
        asked = told.inner("approval")
        asked.maybe_text("prompt")
        if asked.value("approvers") is not None:
            asked.texts("approvers")
    elif "signal" in wanted:
        told.maybe_text("signal")
    elif "items" in wanted:
        told.number("items")
        told.number("open")
    else:
        told.maybe_text("run")
    return wanted
