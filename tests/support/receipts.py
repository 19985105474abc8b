"""Receipts made of nothing, for tests that need one and care little what it says."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Any
from uuid import UUID

from flowforge.model import merkle
from flowforge.model.receipt import Action, Node, Outline, Place, RunFacts, StepFacts, build, file_text, proven
from flowforge.model.receipt_key import Signer

AT = "2026-01-31T12:00:00.000000Z"
RUN = UUID("0199aa00-0000-7000-8000-00000000c0de")
SIGNER = Signer(bytes(range(32)))


def digest(text: str) -> bytes:
    """Return the digest of a JSON text."""
    return hashlib.sha256(text.encode()).digest()


def outline(*ids: str) -> Outline:
    """Return a version with these steps."""
    nodes = [Node(no, step_id, f"Step {step_id}", "transform") for no, step_id in enumerate(ids)]
    return Outline.of("order-fulfilment", 3, "d" * 64, nodes)


def run(status: str = "completed", **changes: Any) -> RunFacts:
    """Return a run that has ended."""
    facts = RunFacts(RUN, status, 9, "cli", AT, AT, AT, None, None, None, digest("{}"), digest("1"))
    return facts._replace(**changes)


def done(**changes: Any) -> StepFacts:
    """Return a step that has completed."""
    return StepFacts("completed", 1, 0, AT, AT, None, digest("1"))._replace(**changes)


def place(no: int = 1, previous: str | None = None, **changes: Any) -> Place:
    """Return a place in the chain of the tenant `default`."""
    return Place("11111111-2222-4333-8444-555555555555", "default", no, previous, 1, None, AT)._replace(**changes)


def body(
    ended: RunFacts | None = None,
    steps: dict[str, StepFacts] | None = None,
    *,
    actions: Sequence[Action] = (),
    where: Place | None = None,
) -> dict[str, Any]:
    """Return the body of a receipt; *steps* by id, all of them in the definition."""
    steps = {"a": done()} if steps is None else steps
    rows = {no: facts for no, facts in enumerate(steps.values()) if facts is not None}
    made: dict[str, Any] = json.loads(build(outline(*steps), ended or run(), rows, actions, where or place()))
    return made


def chain(length: int) -> list[dict[str, Any]]:
    """Return receipts that follow each other, in one batch."""
    bodies: list[dict[str, Any]] = []
    hashes: list[bytes] = []
    for no in range(1, length + 1):
        previous = hashes[-1].hex() if hashes else None
        text = build(outline("a"), run(), {0: done()}, (), place(no, previous))
        bodies.append(json.loads(text))
        hashes.append(digest(text))
    tree = merkle.levels(hashes)
    root = tree[-1][0]
    signature = SIGNER.sign(root)
    return [proven(one, merkle.path(tree, no), root, signature, SIGNER.public_key) for no, one in enumerate(bodies)]


def written(document: dict[str, Any]) -> bytes:
    """Return a receipt as it lies in a file."""
    return file_text(document).encode()
