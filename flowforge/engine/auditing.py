"""The audit: what is stored and must hold at every commit, checked from Postgres, whatever runs beside it.

What one run has is checked run by run in one snapshot, and so are the chains of receipts: what is wrong there was wrong
at a commit. What is on its way between two commits, or two servers, is watched elsewhere (watching.py).
"""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from flowforge.engine.gate_audit import audit_past_gates
from flowforge.engine.plans import Plans
from flowforge.errors import FlowforgeError
from flowforge.model import merkle, receipt_key
from flowforge.model.audit import RunRecord, Violation, audit
from flowforge.model.event import EventType
from flowforge.model.json import digest
from flowforge.store import audits
from flowforge.store.audits import Stored
from flowforge.store.database import Connection
from flowforge.store.receipts import BETWEEN, HASH

#: Runs read at a time, batches of receipts, and definitions.
PAGE, BATCHES, DEFINITIONS = 200, 50, 500
#: Batches whose chain is followed unless everything is looked at.
NEWEST_BATCHES = 500


@dataclass(slots=True)
class Audited:
    """What an audit of the database came to."""

    violations: list[Violation]
    runs: int
    #: Every run was looked at.
    whole: bool


async def audit_database(
    connection: Connection,
    plans: Plans,
    ended: int | None,
    progress: Callable[[int, int], None] = lambda _done, _of: None,
) -> Audited:
    """Check the runs that have not ended and the newest that have, as many as *ended* says (None: all)."""
    ids, whole = await audits.ids(connection, ended)
    found = list(await audit_definitions(connection))
    unreadable = {one.about for one in found if one.kind == "definition.changed"}
    for start in range(0, len(ids), PAGE):
        found += await audit_runs(connection, plans, ids[start : start + PAGE], unreadable)
        progress(min(start + PAGE, len(ids)), len(ids))
    found += await audit_chains(connection, None if whole else NEWEST_BATCHES)
    if whole:
        found += [*await audits.orphans(connection), *await audit_past_gates(connection, plans)]
    return Audited(found, len(ids), whole)


async def audit_runs(
    connection: Connection, plans: Plans, ids: Sequence[UUID], skip: Collection[int] = ()
) -> list[Violation]:
    """Check runs by what is stored of them; those of the versions in *skip* cannot be judged."""
    found: list[Violation] = []
    for stored in await audits.read(connection, ids):
        if stored.run["version_id"] in skip:
            continue
        try:
            record = await record_of(connection, plans, stored)
        except (FlowforgeError, LookupError) as error:
            found.append(Violation("definition.unreadable", f"its version: {error}", stored.run["id"]))
            continue
        found += audit(record)
        found += _receipts(stored, record)
    return found


async def record_of(connection: Connection, plans: Plans, stored: Stored) -> RunRecord:
    """Return a run with its plan."""
    plan = (await plans.get(connection, stored.run["version_id"])).plan
    return RunRecord(stored.run, plan, stored.steps, stored.events)


async def audit_definitions(connection: Connection) -> list[Violation]:
    """9: a version is what was published; a definition that cannot be read is another one too."""
    found, after = [], 0
    while rows := await audits.definitions(connection, after, DEFINITIONS):
        after = rows[-1]["id"]
        for row in rows:
            if digest(row["definition"]) == row["digest"] or _digest(row["definition"]) == row["digest"]:
                continue
            detail = f"version {row['version']} of '{row['name']}' is not what was published as {row['digest'][:12]}"
            found.append(Violation("definition.changed", detail, None, row["id"]))
    return found


def _digest(definition: Any) -> str | None:
    """Return the digest of a definition as this release writes it down, None if it cannot read it."""
    from flowforge.model.load import from_data

    try:
        return from_data(definition).plan.digest
    except FlowforgeError:
        return None


# -- receipts ----------------------------------------------------------------------------------------------------


def _receipts(stored: Stored, record: RunRecord) -> list[Violation]:
    """12: a run's receipts are those that its history tells of, in the same order."""
    items = [item for row in record.packed for item in row["events"]] if _is_packed(record) else []
    told = [(item.get("data") or {}).get("hash") for item in items if item["type"] == EventType.RECEIPT_GENERATED]
    if told == stored.receipts:
        return []
    detail = f"its history tells of {len(told)} receipts, {len(stored.receipts)} are kept"
    if len(told) == len(stored.receipts):
        detail = "its history tells of other receipts than are kept"
    return [Violation("receipt.untold", detail, record.row["id"])]


def _is_packed(record: RunRecord) -> bool:
    """Say whether a history has the form of one; where it has not, the audit of the run says so."""
    rows = [row["events"] for row in record.packed]
    return all(isinstance(row, list) and all(isinstance(item, dict) and "type" in item for item in row) for row in rows)


async def audit_chains(connection: Connection, newest: int | None) -> list[Violation]:
    """12: receipts are what was signed, each tenant's follow each other, and the heads are the last ones."""
    async with audits.snapshot(connection):
        return await follow_chains(connection, newest)


async def follow_chains(connection: Connection, newest: int | None) -> list[Violation]:
    """Check the chains in the caller's transaction, which keeps them as they are."""
    after = 0 if newest is None else await audits.first_batch(connection, newest)
    chains = _Chains(begun=after == 0)
    while rows := await audits.batches(connection, after, BATCHES):
        for row in rows:
            chains.follow(row)
        after = rows[-1]["id"]
    chains.end(await audits.heads(connection))
    return chains.found


class _Chains:
    """The chains of all tenants, followed from batch to batch."""

    def __init__(self, *, begun: bool) -> None:
        self.found: list[Violation] = []
        self._last: dict[str, tuple[int, str]] = {}
        #: Whose receipt that is.
        self._runs: dict[str, UUID] = {}
        #: From the first receipt on.
        self._begun = begun

    def follow(self, row: dict[str, Any]) -> None:
        """Go on with a batch."""
        hashes = [row["hashes"][at : at + HASH] for at in range(0, len(row["hashes"]), HASH)]
        key = row["public_key"]
        if not hashes or key is None or not receipt_key.signed(key, row["signature"], merkle.root(hashes)):
            self._broken(None, f"batch {row['id']} of receipts is not signed by key {row['key_id']}")
        try:
            bodies = zlib.decompress(row["bodies"]).split(BETWEEN)
        except zlib.error:
            self._broken(None, f"batch {row['id']} of receipts cannot be read")
            return
        if not len(bodies) == len(hashes) == len(row["runs"]):
            counts = f"{len(bodies)} texts, {len(hashes)} hashes, {len(row['runs'])} runs"
            self.found.append(Violation("receipt.untold", f"batch {row['id']} of receipts has {counts}"))
        for text, hashed, run in zip(bodies, hashes, row["runs"], strict=False):
            self._receipt(text, hashed, run)

    def _receipt(self, text: bytes, hashed: bytes, run: UUID) -> None:
        made = hashlib.sha256(text).digest()
        if made != hashed:
            self._broken(run, "its receipt was changed: it has another hash than was signed")
        try:
            body = json.loads(text)
            tenant, no, previous = body["tenant"], body["receipt_no"], body["previous_hash"]
        except (ValueError, KeyError, TypeError):
            return
        if body.get("run") != str(run):
            self._broken(run, f"its receipt is about run {body.get('run')}")
        before = self._last.get(tenant)
        expected = (no - 1, previous) if before is not None else (0, None)
        if (before or (0, None)) != expected and (before is not None or self._begun):
            self._broken(run, f"receipt {no} of tenant {tenant} does not follow receipt {(before or (0,))[0]}")
        elif before is None and self._begun and (no, previous) != (1, None):
            self._broken(run, f"receipt {no} of tenant {tenant} is the first that is kept")
        self._last[tenant], self._runs[tenant] = (no, hashed.hex()), run

    def _broken(self, run: UUID | None, detail: str) -> None:
        self.found.append(Violation("receipt.broken", detail, run))

    def end(self, heads: dict[str, tuple[int, str]]) -> None:
        """Compare the last receipts with the heads of their chains."""
        for tenant, last in self._last.items():
            if heads.get(tenant) != last:
                no = heads.get(tenant, (0, ""))[0]
                detail = f"the chain of tenant {tenant} ends with receipt {last[0]}, its head says {no}"
                self.found.append(Violation("receipt.head", detail, self._runs[tenant], (tenant, *last)))
        if self._begun:
            for tenant in heads.keys() - self._last.keys():
                detail = f"tenant {tenant} has a head and no receipts"
                self.found.append(Violation("receipt.untold", detail))
