"""What must hold of receipts: they tell what the histories tell, each tenant's chain is whole, each batch is signed.

Invariant 12 (checker.py). What a receipt says is held against the events up to its own; words and forms are those that
the outside reads.
"""

from __future__ import annotations

import json
import zlib
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, NamedTuple
from uuid import UUID

import psycopg
from psycopg.rows import DictRow

from flowforge.model import merkle, receipt_key
from flowforge.model.documents import rfc3339
from flowforge.model.event import Event, EventType
from flowforge.model.fold import FoldedRun, FoldedStep, fold
from flowforge.model.receipt import UNDOING
from tests.support.invariants.history import RUN_ENDS

_RUN_WORDS = {"completed": "EXECUTED", "failed": "FAILED", "cancelled": "CANCELLED"}
_STEP_WORDS = {
    "completed": "SUCCESS",
    "failed": "FAILED",
    "skipped": "SKIPPED",
    "cancelled": "CANCELLED",
    "compensated": "COMPENSATED",
}


class Receipt(NamedTuple):
    """A receipt as it is kept."""

    run_id: UUID
    digest: str
    body: dict[str, Any]


def read(connection: psycopg.Connection[DictRow]) -> list[Receipt]:
    """Return all receipts, in the order in which they were made."""
    query = """
    SELECT r.run_id, r.position, b.bodies FROM receipts r JOIN receipt_batches b ON b.id = r.batch_id
    ORDER BY b.id, r.position
    """
    found: list[Receipt] = []
    for row in connection.execute(query).fetchall():
        text = zlib.decompress(row["bodies"]).split(b"\n")[row["position"]]
        found.append(Receipt(row["run_id"], sha256(text).hexdigest(), json.loads(text)))
    return found


def by_run(receipts: Sequence[Receipt]) -> defaultdict[UUID, list[Receipt]]:
    """Sort receipts by their runs."""
    grouped: defaultdict[UUID, list[Receipt]] = defaultdict(list)
    for one in receipts:
        grouped[one.run_id].append(one)
    return grouped


def chains(connection: psycopg.Connection[DictRow], receipts: Sequence[Receipt]) -> Iterator[str]:
    """Each tenant's chain has every number once, each names the one before, and its head is the last."""
    last: dict[str, tuple[int, str | None]] = defaultdict(lambda: (0, None))
    for run_id, digest, body in receipts:
        tenant, no = body["tenant"], body["receipt_no"]
        if (no - 1, body["previous_hash"]) != last[tenant]:
            yield f"receipt {no} of {tenant} (run {run_id}) does not follow {last[tenant]}"
        last[tenant] = no, digest
    for row in connection.execute("SELECT tenant, no, encode(hash, 'hex') AS hash FROM receipt_chains").fetchall():
        if last[row["tenant"]] != (row["no"], row["hash"]):
            yield f"the chain of {row['tenant']} ends with {last[row['tenant']]}, its head says {row['no']}"


def batches(connection: psycopg.Connection[DictRow]) -> Iterator[str]:
    """Each batch has the hashes of its bodies, and its key has signed their root."""
    query = """
    SELECT b.id, b.bodies, b.hashes, b.signature, k.public_key,
           (SELECT count(*) FROM receipts r WHERE r.batch_id = b.id)
    FROM receipt_batches b JOIN receipt_keys k ON k.id = b.key_id
    """
    for row in connection.execute(query).fetchall():
        texts = zlib.decompress(row["bodies"]).split(b"\n")
        hashes = [sha256(text).digest() for text in texts]
        if b"".join(hashes) != bytes(row["hashes"]) or row["count"] != len(texts):
            yield f"batch {row['id']} of receipts has other bodies than hashes"
        elif not receipt_key.signed(bytes(row["public_key"]), bytes(row["signature"]), merkle.root(hashes)):
            yield f"batch {row['id']} of receipts is not signed by its key"


@dataclass(frozen=True, slots=True)
class Told:
    """One run's receipts, beside its row and its history."""

    row: DictRow
    events: Sequence[Event]
    receipts: Sequence[Receipt]

    def violations(self, *, complete: bool) -> Iterator[str]:
        """Yield what is wrong; with *complete* a run that has ended must have a receipt of that."""
        before: str | None = None
        for no, one in enumerate(self.receipts, start=1):
            for line in self._receipt(no, one, before):
                yield f"receipt {one.body['receipt_no']} {line}"
            before = one.digest
        told = sum(event.type is EventType.RECEIPT_GENERATED for event in self.events)
        if told != len(self.receipts):
            yield f"its history tells of {told} receipts, there are {len(self.receipts)}"
        end = max((no for no, event in enumerate(self.events) if event.type in RUN_ENDS), default=-1)
        newest = self.receipts[-1].body["events"] if self.receipts else -1
        if complete and self.row["finished_at"] is not None and newest <= end:
            yield "has ended and has no receipt of that"
        if self.receipts and not any(event.type is EventType.RUN_RETRIED for event in self.events[newest:]):
            yield from self._digests(self.receipts[-1].body)

    def _receipt(self, no: int, one: Receipt, before: str | None) -> Iterator[str]:
        body, at = one.body, one.body["events"]
        event = self.events[at] if at < len(self.events) else None
        data = {} if event is None else event.data or {}
        if event is None or event.type is not EventType.RECEIPT_GENERATED or data.get("hash") != one.digest:
            yield f"is not what event {at + 1} tells of"
        if (body["run_receipt_no"], body["supersedes"]) != (no, before):
            yield f"is number {body['run_receipt_no']} of its run after {body['supersedes']}, not {no} after {before}"
        yield from _content(self.events[:at], body)

    def _digests(self, body: dict[str, Any]) -> Iterator[str]:
        for name in ("definition_digest", "input_digest", "output_digest"):
            if body[name] != self.row[name]:
                yield f"its receipt has the {name} {body[name]}, its rows have {self.row[name]}"


def _content(events: Sequence[Event], body: dict[str, Any]) -> Iterator[str]:
    """Hold what a receipt says against the history up to it."""
    run = fold(events)
    said = (body["status"], body["started_at"], body["finished_at"], _code(body["error"]))
    true = (_RUN_WORDS.get(run.status.value), rfc3339(run.started_at), rfc3339(run.finished_at), _code(run.error))
    if said != true:
        yield f"says {said} of its run, the history {true}"
    for step in body["steps"]:
        yield from _step(step, run.steps.get(step["id"], FoldedStep()))
    named = {step["id"] for step in body["steps"]}
    for step_id, folded in run.steps.items():
        if step_id not in named and not step_id.endswith(UNDOING) and folded.status.value in _STEP_WORDS:
            yield f"does not name step {step_id}, which is {folded.status.value}"
    yield from _undone(events, run, body)
    acted = [no for no, event in enumerate(events, start=1) if (event.data or {}).get("actor") is not None]
    if [action["seq"] for action in body["operator_actions"]] != acted:
        yield f"names the actions {[action['seq'] for action in body['operator_actions']]}, there were {acted}"


def _step(said: dict[str, Any], step: FoldedStep) -> Iterator[str]:
    error = None if step.status.value == "completed" else _code(step.error)
    words = (said["status"], said["attempts"], said["started_at"], said["finished_at"], _code(said["error"]))
    status = _STEP_WORDS.get(step.status.value, "NOT_STARTED")
    true = (status, step.attempt, rfc3339(step.started_at), rfc3339(step.finished_at), error)
    if words != true:
        yield f"says {words} of step {said['id']}, the history {true}"


def _undone(events: Sequence[Event], run: FoldedRun, body: dict[str, Any]) -> Iterator[str]:
    """What a receipt says was undone is what the history says, in the same order."""
    when = {event.step: no for no, event in enumerate(events) if event.type is EventType.STEP_COMPENSATED}
    now = [name for name, step in run.steps.items() if step.status.value == "compensated"]
    undone = sorted(now, key=when.__getitem__)
    said = [step["id"] for step in body["compensation"]["steps"] if step["status"] == "SUCCESS"]
    if said != undone:
        yield f"says that {said} were undone, the history {undone}"


def _code(error: dict[str, Any] | None) -> str | None:
    return None if not error else str(error["code"])
