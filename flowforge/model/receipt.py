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
from functools import lru_cache
from typing import Any, NamedTuple, TypeAlias
from uuid import UUID

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
    #: What receipts say of each of the steps every time: id and name, and type.
    said: tuple[tuple[Node, str, str], ...]
    #: The numbers of all of them.
    numbers: frozenset[int]

    @classmethod
    def of(cls, workflow: str, version: int, digest: str, nodes: Iterable[Node]) -> Outline:
        """Sort a version's steps into those that do and those that undo."""
        nodes = tuple(nodes)
        undoing = {node.id.removesuffix(UNDOING): node for node in nodes if node.id.endswith(UNDOING)}
        steps = tuple(node for node in nodes if not node.id.endswith(UNDOING))
        said = tuple(
            (node, f'"id":{_quoted(node.id)},"name":{_quoted(node.name)}', _quoted(node.type)) for node in steps
        )
        return cls(workflow, version, digest, steps, undoing, said, frozenset(node.no for node in nodes))

    def knows(self, numbers: Iterable[int]) -> bool:
        """Say whether all of some steps are the version's own; others are those of a foreach's items."""
        return self.numbers.issuperset(numbers)

    def with_items(self, nodes: Iterable[Node]) -> Outline:
        """Return the outline of one run, with the steps of its items too."""
        known = (*self.steps, *self.undoing.values())
        return Outline.of(self.workflow, self.version, self.digest, [*known, *nodes])


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
) -> str:
    """Return the body of a receipt in its canonical form.

    Written out by hand, because nearly all of it is the same every time, and thousands are made in a second.
    """
    undone = _text(_compensation(outline, run, steps)) if outline.undoing else _NOTHING_UNDONE_TEXT
    listed = ",".join([_step(said, steps.get(said[0].no, _UNTOUCHED)) for said in outline.said])
    acted = ",".join([_text(_action(one)) for one in actions])
    return (
        f'{{"compensation":{undone},"created_at":"{run.created_at}","definition_digest":"{outline.digest}",'
        f'"error":{_error_text(run.error)},"events":{run.events},"finished_at":"{run.finished_at}",'
        f'"idempotency_key":{_text(run.idempotency_key)},"input_digest":"{run.input_digest.hex()}",'
        f'"installation":"{place.installation}","operator_actions":[{acted}],'
        f'"output_digest":{_hex(run.output_digest)},"previous_hash":{_plain(place.previous)},'
        f'"receipt_no":{place.no},"replay_of":{_plain(run.replay_of)},"run":"{run.id}",'
        f'"run_receipt_no":{place.run_no},"schema":"{SCHEMA}","started_at":{_plain(run.started_at)},'
        f'"status":"{RUN_STATUS[run.status]}","steps":[{listed}],"supersedes":{_plain(place.supersedes)},'
        f'"tenant":{_word(place.tenant)},"timestamp":"{place.at}","trigger":{_word(run.trigger)},'
        f'"version":{outline.version},"workflow_id":{_word(outline.workflow)}}}'
    )


_UNTOUCHED = StepFacts("pending")


def _step(said: tuple[Node, str, str], facts: StepFacts) -> str:
    _, named, kind = said
    status, attempts, crashes, started_at, finished_at, error, output_digest = facts
    return (
        f'{{"attempts":{attempts},"crashes":{crashes},"error":{_error_text(error)},'
        f'"finished_at":{_plain(finished_at)},{named},"output_digest":{_hex(output_digest)},'
        f'"started_at":{_plain(started_at)},"status":"{STEP_STATUS.get(status, NOT_STARTED)}","type":{kind}}}'
    )


def _plain(value: object) -> str:
    """Write a time, an id or a digest, in which nothing has to be escaped."""
    return "null" if value is None else f'"{value}"'


def _hex(digest: bytes | None) -> str:
    return "null" if digest is None else f'"{digest.hex()}"'


def _text(value: object) -> str:
    """Write anything."""
    return "null" if value is None else _canonical(value)


@lru_cache(maxsize=1024)
def _word(text: str) -> str:
    """Write one of the few texts that many receipts say."""
    return _quoted(text)


def _error_text(error: Mapping[str, Any] | None) -> str:
    return _text(_error(error)) if error else "null"


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
_NOTHING_UNDONE_TEXT = '{"not_reversible":[],"status":"none","steps":[]}'


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


_canonical = json.JSONEncoder(ensure_ascii=False, allow_nan=False, sort_keys=True, separators=(",", ":")).encode
_quoted = json.JSONEncoder(ensure_ascii=False).encode


def canonical(value: object) -> bytes:
    """Return the canonical form of any JSON value without fractions (RFC 8785)."""
    return _canonical(value).encode()


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
