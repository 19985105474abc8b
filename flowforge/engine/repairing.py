"""Repairs of what an audit found, each in a transaction of its own, by the engine's own means where it has some.

Nothing here invents a result: rows are set to what the history says of them, overdue runs are looked at as the sweeper
would, room is given as the admitter would, and what nobody needs any more is removed. Invariant: whatever was found is
looked at again under the lock of who might change it, and what is right by then is left alone.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from uuid import UUID

from flowforge.engine.auditing import follow_chains, record_of
from flowforge.engine.engine import Engine
from flowforge.engine.entries import Consequences, Entry
from flowforge.engine.names import GROUP
from flowforge.engine.receipting import Receipting
from flowforge.errors import BackendError
from flowforge.model.facts import Woke
from flowforge.model.health import Finding
from flowforge.model.mending import mend
from flowforge.store import audits, mendings, receipts
from flowforge_streams.errors import StreamError

#: Runs looked at in one transaction.
TOGETHER = 200


async def repair(engine: Engine, finding: Finding) -> str:
    """Repair what can be repaired of a finding; return what was done."""
    return await _REPAIRS[finding.kind](engine, finding)


async def _mend(engine: Engine, finding: Finding) -> str:
    """Set the rows of runs to what their histories say."""
    runs = _runs(finding)
    done = [run_id for run_id in runs if await _mend_one(engine, run_id)]
    left = len(runs) - len(done)
    return f"{_count(len(done), 'run')} set to what the history says" + (
        f", {left} needed nothing more" if left else ""
    )


async def _mend_one(engine: Engine, run_id: UUID) -> bool:
    async with engine.database.transaction() as connection:
        now = await mendings.lock(connection, run_id)
        if now is None:
            return False
        (stored,) = await audits.read_within(connection, [run_id])
        mending = mend(await record_of(connection, engine.plans, stored), now)
        if mending:
            await mendings.write(connection, run_id, mending)
    return bool(mending)


async def _look(engine: Engine, finding: Finding) -> str:
    """Look at runs as the sweeper would."""
    runs = _runs(finding)
    fact = Woke(streams_lost=finding.kind == "step.unclaimed")
    for start in range(0, len(runs), TOGETHER):
        entries = [Entry(run_id, fact) for run_id in runs[start : start + TOGETHER]]
        _, consequences = await engine.ledger.apply(entries)
        await _tell(engine, consequences)
    return f"{_count(len(runs), 'run')} looked at: what was due has gone on"


async def _admit(engine: Engine, finding: Finding) -> str:
    gates = sorted({one.about for one in finding.violations})
    consequences = Consequences()
    for gate in gates:
        await engine.ledger.admit([gate], consequences)
    await _tell(engine, consequences)
    return f"{_count(len(gates), 'gate')} let in as many runs as there is room for"


async def _tell(engine: Engine, consequences: Consequences) -> None:
    """Wake whoever publishes, where somebody hears it."""
    if consequences.dispatched:
        await engine.streams.signals.publish(engine.names.wake)


async def _delete_stale(engine: Engine, finding: Finding) -> str:
    async with engine.database.transaction() as connection:
        count = await mendings.delete_stale(connection, [one.about for one in finding.violations])
    return f"{_count(count, 'dispatch', 'dispatches')} deleted"


async def _receipts(engine: Engine, finding: Finding) -> str:
    async with engine.database.transaction() as connection:
        await mendings.make_due(connection, [one.run for one in finding.violations if one.run is not None])
    receipting = Receipting(engine.database, engine.plans, engine.settings)
    while await receipting.run_once() is not None:
        pass
    return f"{_count(receipting.made, 'receipt')} made"


async def _heads(engine: Engine, finding: Finding) -> str:
    """Set heads to the last receipts, as they are once nobody else makes any."""
    wanted = {one.about[0] for one in finding.violations}
    async with engine.database.transaction() as connection:
        await receipts.wait_for_lead(connection)
        wrong = [one.about for one in await follow_chains(connection, None) if one.kind == finding.kind]
        heads = [about for about in wrong if about[0] in wanted]
        for tenant, no, digest in heads:
            await mendings.set_head(connection, tenant, no, digest)
    return f"{_count(len(heads), 'head')} set to the last receipt"


async def _acknowledge(engine: Engine, finding: Finding) -> str:
    """Acknowledge deliveries that their steps are past: no step comes back to a dispatch that it is past."""
    done = 0
    by_stream: dict[str, list[str]] = {}
    for one in finding.violations:
        stream, entry_id = one.about
        by_stream.setdefault(stream, []).append(entry_id)
    for stream, entry_ids in by_stream.items():
        done += await engine.streams.group(stream, GROUP).ack(entry_ids)
    gone = len(finding.violations) - done
    return f"{_count(done, 'delivery', 'deliveries')} acknowledged" + (f", {gone} gone already" if gone else "")


async def _groups(engine: Engine, finding: Finding) -> str:
    streams = sorted({one.about for one in finding.violations})
    for stream in streams:
        await engine.streams.group(stream, GROUP).ensure()
    return f"{_count(len(streams), 'group')} made anew"


def _runs(finding: Finding) -> Sequence[UUID]:
    return list(dict.fromkeys(one.run for one in finding.violations if one.run is not None))


def _count(count: int, word: str, words: str | None = None) -> str:
    return f"{count} {word if count == 1 else words or word + 's'}"


_REPAIRS: dict[str, Callable[[Engine, Finding], Awaitable[str]]] = {
    **dict.fromkeys(
        ("run.asleep", "run.count", "end.open", "history.count", "rows.differ", "token.differs", "key.differs"), _mend
    ),
    **dict.fromkeys(("lease.over", "timer.late", "step.unclaimed"), _look),
    "gate.idle": _admit,
    "outbox.stale": _delete_stale,
    "receipt.due": _receipts,
    "receipt.head": _heads,
    "stream.pending": _acknowledge,
    "stream.group": _groups,
}
#: What may go wrong with one repair and does not keep others from being made.
FAILURES = (BackendError, StreamError)
