"""Receipts: what is recorded of a run that has ended, in the one form that is hashed, signed and shown.

A receipt has two parts. The *body* says what happened; its hash is taken over its canonical form (RFC 8785: members
sorted, no white space, UTF-8), so anybody can take it again. The *proof* says who vouches for it: the hash, the way
from it to the root of its batch (merkle.py), and the signature of that root. Inputs and outputs are named by digests,
so a receipt can be handed to somebody who must not see them. Invariant: everything but the proof is under the hash,
and everything in the proof follows from the hash and the key.
"""

from __future__ import annotations

import hashlib
import json
from base64 import b64encode
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias
from uuid import UUID

from pydantic_core import to_json

from flowforge.model.event import EventType

SCHEMA = "flowforge/receipt/v1"
ALGORITHM = "Ed25519"
#: What is signed is this and the root of a batch: a signature made for something else is none for a receipt.
SIGNED = b"flowforge/receipt/v1\n"
#: Ends the id of the step that undoes the one it is named after.
UNDOING = ":compensate"
#: Integers beyond are not the same number to every reader of JSON.
LARGEST = 2**53 - 1

#: How members follow each other where people read them: what happened first, the place in the chain last.
_ORDER = (
    *("schema", "workflow_id", "status", "timestamp", "run", "version", "definition_digest", "trigger"),
    *("idempotency_key", "replay_of", "created_at", "started_at", "finished_at", "error", "input_digest"),
    *("output_digest", "steps", "compensation", "operator_actions", "events", "installation", "tenant", "receipt_no"),
    *("previous_hash", "run_receipt_no", "supersedes"),
)
_STEP_ORDER = (
    *("id", "name", "type", "status", "attempts", "crashes", "started_at", "finished_at", "error", "output_digest"),
)
_ACTION_ORDER = ("seq", "type", "actor", "at", "reason", "step", "details")
#: The order for readers of the members whose elements have one of their own.
_ORDERS = {"steps": _STEP_ORDER, "operator_actions": _ACTION_ORDER}

#: The words of source document 002 for how a run, and a step, ended.
RUN_STATUS = {"completed": "EXECUTED", "failed": "FAILED", "cancelled": "CANCELLED"}
STEP_STATUS = {
    "completed": "SUCCESS",
    "failed": "FAILED",
    "skipped": "SKIPPED",
    "cancelled": "CANCELLED",
    "compensated": "COMPENSATED",
}
NOT_STARTED = "NOT_STARTED"

Document: TypeAlias = "dict[str, Any]"


class Node(NamedTuple):
    """A step as its version defines it."""

    no: int
    id: str
    name: str
    type: str


class Outline(NamedTuple):
    """A version, as far as receipts name it."""

    workflow: str
    version: int
    digest: str
    steps: tuple[Node, ...]
    #: The steps that undo others, by the id of the step they undo.
    undoing: Mapping[str, Node]

    @classmethod
    def of(cls, workflow: str, version: int, digest: str, nodes: Iterable[Node]) -> Outline:
        """Sort a version's steps into those that do and those that undo."""
        nodes = tuple(nodes)
        undoing = {node.id.removesuffix(UNDOING): node for node in nodes if node.id.endswith(UNDOING)}
        return cls(workflow, version, digest, tuple(n for n in nodes if not n.id.endswith(UNDOING)), undoing)


class StepFacts(NamedTuple):
    """What a step's row says; times are text already."""

    status: str
    attempts: int = 0
    crashes: int = 0
    started_at: str | None = None
    finished_at: str | None = None
    error: Mapping[str, Any] | None = None
    output_digest: bytes | None = None


class RunFacts(NamedTuple):
    """What a run's row says; times are text already."""

    id: UUID
    status: str
    #: Number of the last event before the receipt's own.
    events: int
    trigger: str
    created_at: str
    started_at: str | None
    finished_at: str
    idempotency_key: str | None
    replay_of: UUID | None
    error: Mapping[str, Any] | None
    input_digest: bytes
    output_digest: bytes | None


class Action(NamedTuple):
    """What somebody did to a run: an event that names an actor."""

    seq: int
    type: str
    at: str
    step: str | None
    data: Mapping[str, Any]


class Place(NamedTuple):
    """Where a receipt stands: in its tenant's chain, and among the receipts of its run."""

    installation: str
    tenant: str
    no: int
    #: Hash of the receipt before it in the chain.
    previous: str | None
    #: From 1; a run that was retried and ended again gets another one.
    run_no: int
    #: Hash of the run's receipt before this one.
    supersedes: str | None
    at: str


def build(
    outline: Outline, run: RunFacts, steps: Mapping[int, StepFacts], actions: Sequence[Action], place: Place
) -> Document:
    """Return the body of a receipt, its members sorted as the canonical form wants them."""
    return {
        "compensation": _compensation(outline, run, steps) if outline.undoing else _NOTHING_UNDONE,
        "created_at": run.created_at,
        "definition_digest": outline.digest,
        "error": _error(run.error),
        "events": run.events,
        "finished_at": run.finished_at,
        "idempotency_key": run.idempotency_key,
        "input_digest": run.input_digest.hex(),
        "installation": place.installation,
        "operator_actions": [_action(one) for one in actions],
        "output_digest": None if run.output_digest is None else run.output_digest.hex(),
        "previous_hash": place.previous,
        "receipt_no": place.no,
        "replay_of": None if run.replay_of is None else str(run.replay_of),
        "run": str(run.id),
        "run_receipt_no": place.run_no,
        "schema": SCHEMA,
        "started_at": run.started_at,
        "status": RUN_STATUS[run.status],
        "steps": [_step(node, steps.get(node.no, _UNTOUCHED)) for node in outline.steps],
        "supersedes": place.supersedes,
        "tenant": place.tenant,
        "timestamp": place.at,
        "trigger": run.trigger,
        "version": outline.version,
        "workflow_id": outline.workflow,
    }


_UNTOUCHED = StepFacts("pending")


def _step(node: Node, facts: StepFacts) -> Document:
    status, attempts, crashes, started_at, finished_at, error, output_digest = facts
    return {
        "attempts": attempts,
        "crashes": crashes,
        "error": _error(error),
        "finished_at": finished_at,
        "id": node.id,
        "name": node.name,
        "output_digest": None if output_digest is None else output_digest.hex(),
        "started_at": started_at,
        "status": STEP_STATUS.get(status, NOT_STARTED),
        "type": node.type,
    }


def _error(error: Mapping[str, Any] | None) -> Document | None:
    """Return what a receipt says of an error; its details may be anything and stay where they are."""
    if not error:
        return None
    return {"code": str(error.get("code", "ERROR")), "message": str(error.get("message", ""))}


def _action(action: Action) -> Document:
    reason = action.data.get("reason")
    details = {name: plain(value) for name, value in sorted(action.data.items()) if name not in ("actor", "reason")}
    return {
        "actor": str(action.data["actor"]),
        "at": action.at,
        "details": details,
        "reason": None if reason is None else str(reason),
        "seq": action.seq,
        "step": action.step,
        "type": action.type,
    }


def plain(value: Any) -> Any:
    """Return text, truth and whole numbers, and lists of them, as they are; anything else is named by its digest."""
    if value is None or isinstance(value, str | bool):
        return value
    if isinstance(value, int) and abs(value) <= LARGEST:
        return value
    if isinstance(value, list) and all(not isinstance(item, list) and plain(item) == item for item in value):
        return value
    return {"digest": digest_of(value)}


_NOTHING_UNDONE: Document = {"not_reversible": [], "status": "none", "steps": []}


def _compensation(outline: Outline, run: RunFacts, steps: Mapping[int, StepFacts]) -> Document:
    """Say what was undone, in the order in which that happened, what should have been, and what could not be."""
    undone = [(undone, steps[undo.no]) for undone, undo in outline.undoing.items() if _began(steps.get(undo.no))]
    if run.status == "completed" or not (undone or _compensated(outline, steps)):
        return _NOTHING_UNDONE
    undone.sort(key=lambda one: (one[1].started_at or one[1].finished_at or "", one[0]))
    begun = {step_id for step_id, _ in undone}
    done = [node.id for node in outline.steps if node.no in steps and steps[node.no].status == "completed"]
    left = [step_id for step_id in reversed(done) if step_id in outline.undoing and step_id not in begun]
    listed = [_undone(step_id, facts) for step_id, facts in undone] + [_undone(one, _UNTOUCHED) for one in left]
    complete = all(one["status"] == STEP_STATUS["completed"] for one in listed)
    return {
        "not_reversible": [step_id for step_id in done if step_id not in outline.undoing],
        "status": "completed" if complete else "failed",
        "steps": listed,
    }


def _began(facts: StepFacts | None) -> bool:
    return facts is not None and facts.status in STEP_STATUS


def _compensated(outline: Outline, steps: Mapping[int, StepFacts]) -> bool:
    return any(node.no in steps and steps[node.no].status == "compensated" for node in outline.steps)


def _undone(step_id: str, facts: StepFacts) -> Document:
    return {
        "attempts": facts.attempts,
        "error": _error(facts.error),
        "finished_at": facts.finished_at,
        "id": step_id,
        "started_at": facts.started_at,
        "status": STEP_STATUS.get(facts.status, NOT_STARTED),
    }


def generated(no: int, digest: str) -> str:
    """Return the event that tells of a receipt, as the JSON text of a row of history."""
    return f'[{{"type":"{EventType.RECEIPT_GENERATED}","data":{{"receipt_no":{no},"hash":"{digest}"}}}}]'


def sorted_json(body: Document) -> bytes:
    """Write a body that was just built: its members are sorted, so this is its canonical form."""
    return to_json(body)


def canonical(value: object) -> bytes:
    """Return the canonical form of any JSON value without fractions (RFC 8785)."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False, sort_keys=True, separators=(",", ":")).encode()


def digest_of(value: object) -> str:
    """Return the digest under which a receipt names an input or output: of its JSON text as it is stored."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def body_of(document: Mapping[str, Any]) -> Document:
    """Return what is under the hash: all but the proof."""
    return {name: value for name, value in document.items() if name != "proof"}


def hash_of(document: Mapping[str, Any]) -> str:
    """Return the hash of a receipt's body, whatever its proof says."""
    return hashlib.sha256(canonical(body_of(document))).hexdigest()


def key_id(public_key: bytes) -> str:
    """Return the short name of a public key."""
    return hashlib.sha256(public_key).hexdigest()[:16]


def proven(body: Document, path: Sequence[str], root: bytes, signature: bytes, public_key: bytes) -> Document:
    """Return the whole receipt, in the order for readers."""
    proof = {
        "algorithm": ALGORITHM,
        "hash": hash_of(body),
        "path": list(path),
        "root": root.hex(),
        "signature": b64encode(signature).decode(),
        "key_id": key_id(public_key),
        "public_key": b64encode(public_key).decode(),
    }
    whole = _ordered(body, _ORDER)
    for name, order in _ORDERS.items():
        whole[name] = [_ordered(one, order) for one in whole[name]]
    return {**whole, "proof": proof}


def _ordered(document: Document, order: Sequence[str]) -> Document:
    return {name: document[name] for name in order if name in document} | document


def file_text(document: Mapping[str, Any]) -> str:
    """Return a receipt as it is written to a file: plain ASCII, so that nothing on the way can read it differently."""
    return json.dumps(document, indent=2) + "\n"


def layouts(document: object) -> Iterator[str]:
    """Yield every text in which a receipt may be handed on: any other differs from these by a changed byte."""
    for ascii_only in (True, False):
        yield json.dumps(document, ensure_ascii=ascii_only, indent=2)
        yield json.dumps(document, ensure_ascii=ascii_only)
        yield json.dumps(document, ensure_ascii=ascii_only, separators=(",", ":"))
