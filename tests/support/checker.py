"""The invariants of the engine, checked from Postgres and Redis alone once everything has come to rest.

`check_at_rest(database_url, redis_url)` raises AssertionError with every violation it finds. It shares with the
engine only what the invariants are stated in: `fold` and the compiled plan. A run can pass every other test by
failing everywhere, so callers state themselves what should have become of their runs.
"""

from __future__ import annotations

import json
import zlib
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import Any
from uuid import UUID

import psycopg
import redis
from psycopg.rows import DictRow, dict_row

from flowforge.model.event import Event, EventType
from flowforge.model.fold import FoldedStep, fold
from flowforge.model.load import from_data
from flowforge.model.plan import OnError, Plan
from tests.support import sagas

_FINAL_RUN = ("completed", "failed", "cancelled")
_FINAL_STEP = ("completed", "failed", "cancelled", "skipped", "compensated")
_HOLDING = ("running", "paused", "cancelling", "compensating")
_ENDS = {
    EventType.STEP_COMPLETED: "completed",
    EventType.STEP_FAILED: "failed",
    EventType.STEP_SKIPPED: "skipped",
    EventType.STEP_CANCELLED: "cancelled",
}
_RUN_ENDS = {EventType.RUN_COMPLETED, EventType.RUN_FAILED, EventType.RUN_CANCELLED}
_AFTER_THE_END = {EventType.RUN_RETRIED, EventType.DUPLICATE_PREVENTED, EventType.RECEIPT_GENERATED}
_RUN_FIELDS = ("created_at", "started_at", "finished_at", "error")
_STEP_FIELDS = ("attempt", "worker", "queued_at", "started_at", "finished_at", "error")

#: Ends the id of a step that undoes another one.
#: Runs read at a time.
_PAGE = 500


def check_at_rest(database_url: str, redis_url: str | None = None, *, unfinished: Collection[UUID] = ()) -> int:
    """Raise AssertionError unless every invariant holds; return how many runs were looked at.

    Every run must have ended, except those named in *unfinished*. Without *redis_url* the streams are not looked at.
    """
    found = violations(database_url, redis_url, unfinished=unfinished)
    assert not found, f"{len(found)} invariants are violated:\n" + "\n".join(found[:50])
    with _connect(database_url) as connection:
        row = connection.execute("SELECT count(*) AS n FROM runs").fetchone()
        return int(row["n"]) if row else 0


def violations(database_url: str, redis_url: str | None = None, *, unfinished: Collection[UUID] = ()) -> list[str]:
    """Return everything that is wrong, one line each."""
    with _connect(database_url) as connection:
        found = [*_database(connection, frozenset(unfinished)), *_gates(connection), *_receipts(connection)]
        if redis_url is not None:
            prefix = connection.execute("SELECT left(id::text, 8) AS id FROM installation").fetchone()
            assert prefix is not None
            found += _streams(redis_url, f"ff:{prefix['id']}")
    return found


def check_feed(database_url: str, redis_url: str) -> None:
    """Raise AssertionError unless the events stream holds the whole history, each run's events in order.

    Publishing is at least once: what follows an event again is a repetition, never a gap.
    """
    with _connect(database_url) as connection:
        rows = connection.execute("SELECT run_id::text AS run, max(seq) AS last FROM events GROUP BY 1").fetchall()
        prefix = connection.execute("SELECT left(id::text, 8) AS id FROM installation").fetchone()
    assert prefix is not None
    seen: dict[str, int] = defaultdict(int)
    with redis.Redis.from_url(redis_url) as client:
        entries: list[Any] = client.xrange(f"ff:{prefix['id']}:events")
    for row in (row for _, fields in entries for row in json.loads(fields[b"history"])):
        run, seq = row["run"], row["seq"]
        assert seq <= seen[run] + 1, f"event {seq} of run {run} follows event {seen[run]} in the stream"
        seen[run] = max(seen[run], seq + len(row["events"]) - 1)
    missing = {row["run"]: row["last"] for row in rows if seen[row["run"]] != row["last"]}
    assert not missing, f"runs whose last events are not in the stream: {missing}, there: {dict(seen)}"


def _connect(url: str) -> psycopg.Connection[DictRow]:
    options = "-c search_path=flowforge -c timezone=UTC"
    return psycopg.connect(url, autocommit=True, options=options, row_factory=dict_row)


# -- Postgres ------------------------------------------------------------------------------------------------


def _database(connection: psycopg.Connection[DictRow], unfinished: frozenset[UUID]) -> Iterator[str]:
    plans = {
        row["id"]: from_data(row["definition"]).plan
        for row in connection.execute("SELECT id, definition FROM workflow_versions").fetchall()
    }
    ids = [row["id"] for row in connection.execute("SELECT id FROM runs ORDER BY id").fetchall()]
    for start in range(0, len(ids), _PAGE):
        page = ids[start : start + _PAGE]
        runs = connection.execute("SELECT *, clock_timestamp() AS now FROM runs WHERE id = ANY(%s)", (page,)).fetchall()
        steps = _by_run(connection.execute("SELECT * FROM steps WHERE run_id = ANY(%s)", (page,)).fetchall())
        query = "SELECT * FROM run_events WHERE run_id = ANY(%s) ORDER BY run_id, seq"
        events = _by_run(connection.execute(query, (page,)).fetchall())
        for run in runs:
            one = _Run(run, plans[run["version_id"]], steps[run["id"]], events[run["id"]])
            for line in one.violations(ended=run["id"] not in unfinished):
                yield f"run {run['id']} ({run['status']}): {line}"
    yield from _leftovers(connection)


def _by_operator(event: Event) -> bool:
    """Say whether somebody let a run that had failed go on without a step."""
    return event.type is EventType.STEP_SKIPPED and (event.data or {}).get("actor") is not None


def _by_run(rows: Sequence[DictRow]) -> defaultdict[UUID, list[DictRow]]:
    grouped: defaultdict[UUID, list[DictRow]] = defaultdict(list)
    for row in rows:
        grouped[row["run_id"]].append(row)
    return grouped


def _leftovers(connection: psycopg.Connection[DictRow]) -> Iterator[str]:
    """Nothing is left that somebody should have done: dispatches, leases, timers."""
    if (waiting := connection.execute("SELECT count(*) AS n FROM outbox").fetchone()) and waiting["n"]:
        yield f"{waiting['n']} rows are left in the outbox"
    query = """
    SELECT s.run_id, s.step_no, s.status, s.due_at FROM steps s
    WHERE s.status IN ('running', 'waiting', 'queued') AND s.due_at < clock_timestamp() - interval '2 seconds'
    """
    for row in connection.execute(query).fetchall():
        what = {"running": "lease ended", "waiting": "timer is overdue", "queued": "was not claimed"}[row["status"]]
        yield f"run {row['run_id']}: step {row['step_no']}: {what} ({row['due_at']})"
    query = """
    SELECT run_id, step_no FROM steps s WHERE NOT EXISTS (SELECT FROM runs r WHERE r.id = s.run_id)
    UNION ALL SELECT run_id, -1 FROM run_events e WHERE NOT EXISTS (SELECT FROM runs r WHERE r.id = e.run_id)
    """
    for row in connection.execute(query).fetchall():
        yield f"rows of run {row['run_id']}, which does not exist"


@dataclass(frozen=True, slots=True)
class _Run:
    row: DictRow
    plan: Plan
    steps: list[DictRow]
    packed: list[DictRow]

    def violations(self, *, ended: bool) -> Iterator[str]:
        status = self.row["status"]
        if ended and status not in _FINAL_RUN:
            yield f"has not ended; steps: {[(s['step_no'], s['status'], s['due_at']) for s in self.steps]}"
        events = self.events()
        yield from self._numbers()
        yield from self._fold(events)
        yield from self._order(events)
        yield from sagas.undone(self.plan, self.row, events)
        yield from sagas.items(self.plan, events)
        yield from self._open_steps()
        yield from self._alarm()

    def events(self) -> list[Event]:
        return [
            Event(EventType(item["type"]), row["at"], item.get("step"), item.get("attempt"), item.get("data"))
            for row in self.packed
            for item in row["events"]
        ]

    def _numbers(self) -> Iterator[str]:
        """5: the events are 1..n without gaps."""
        following = 1
        for row in self.packed:
            if row["seq"] != following:
                yield f"event {following} is missing: the history goes on with {row['seq']}"
            following = row["seq"] + len(row["events"])
        if self.row["seq"] != following - 1:
            yield f"seq is {self.row['seq']}, the history has {following - 1} events"

    def _fold(self, events: Sequence[Event]) -> Iterator[str]:
        """5: fold(events) equals the rows."""
        folded = fold(events)
        if folded.status.value != self.row["status"]:
            yield f"the history says {folded.status.value}"
        for name in _RUN_FIELDS:
            if getattr(folded, name) != self.row[name]:
                yield f"{name} is {self.row[name]!r}, the history says {getattr(folded, name)!r}"
        rows = {self.plan.steps[row["step_no"]].id: row for row in self.steps}
        for step_id in folded.steps.keys() - rows.keys():
            yield f"step {step_id} has a history and no row"
        for step_id, row in rows.items():
            step = folded.steps.get(step_id, FoldedStep())
            if step.status.value != row["status"]:
                yield f"step {step_id} is {row['status']}, the history says {step.status.value}"
            for name in _STEP_FIELDS:
                if getattr(step, name) != row[name]:
                    yield f"step {step_id}: {name} is {row[name]!r}, the history says {getattr(step, name)!r}"

    def _order(self, events: Sequence[Event]) -> Iterator[str]:
        """2, 3, 4, 8, 10: what may follow what."""
        ends: dict[str, str] = {}
        due: dict[str, datetime] = {}
        over = False
        moved = max((no for no, event in enumerate(events) if (event.data or {}).get("version")), default=-1)
        for no, event in enumerate(events):
            if over and event.type not in _AFTER_THE_END and not _by_operator(event):
                yield f"{event.type} after the end"
            over = event.type is not EventType.RUN_RETRIED and (over or event.type in _RUN_ENDS)
            if event.step is not None:
                # Before it was moved, the run went by another version.
                yield from self._step(event, ends, due, here=no > moved)
            for step_id in sagas.repeated(event):
                ends.pop(step_id, None)
                due.pop(step_id, None)
        starts = Counter(event.step for event in events if event.type is EventType.STEP_STARTED)
        for row in self.steps:
            step_id = self.plan.steps[row["step_no"]].id
            if row["token"] != starts[step_id]:
                yield f"step {step_id} has token {row['token']} after {starts[step_id]} claims"

    def _step(self, event: Event, ends: dict[str, str], due: dict[str, datetime], *, here: bool) -> Iterator[str]:
        assert event.step is not None
        if event.type is EventType.STEP_COMPENSATED:
            if ends.get(event.step) != "completed":
                yield f"step {event.step} was undone, and it has {ends.get(event.step, 'not ended')}"
            ends[event.step] = "compensated"
            return
        if event.step in ends and not _by_operator(event):
            yield f"{event.type} of step {event.step}, which has {ends[event.step]} already"
        if event.type is EventType.STEP_STARTED and here:
            yield from self._too_early(event.step, ends)
        yield from self._timer(event, due)
        if event.type in _ENDS:
            ends[event.step] = _ENDS[event.type]

    def _too_early(self, step_id: str, ends: dict[str, str]) -> Iterator[str]:
        number = self.plan.find(step_id)
        assert number is not None, step_id
        step = self.plan.steps[number]
        for edge in step.dependencies:
            source = self.plan.steps[edge.step]
            end = ends.get(source.id)
            forgiven = source.on_error is not OnError.FAIL or source.parent is not None
            if end not in ("completed", "skipped") and not (forgiven and end in ("failed", "cancelled")):
                yield f"step {step_id} started before {source.id} was done ({end or 'not final'})"

    @staticmethod
    def _timer(event: Event, due: dict[str, datetime]) -> Iterator[str]:
        """10: timers never fire early."""
        assert event.step is not None
        data = event.data or {}
        if event.type is EventType.STEP_WOKEN and data.get("by") != "time":
            due.pop(event.step, None)
        fired = event.type in (EventType.STEP_QUEUED, EventType.STEP_STARTED, EventType.STEP_COMPLETED)
        if fired and (at := due.pop(event.step, None)) is not None and event.at < at:
            yield f"step {event.step} went on at {event.at}, {at - event.at} before its time"
        text = data.get("retry_at") or data.get("due_at")
        if text is not None:
            due[event.step] = datetime.fromisoformat(text)

    def _own(self) -> list[DictRow]:
        """Return the rows of steps that the run has: not those of compensations, nor of items it did not come to."""
        rows = {row["step_no"]: row for row in self.steps}
        own = []
        for row in self.steps:
            step = self.plan.steps[row["step_no"]]
            if step.compensates is not None:
                continue
            around = None if step.foreach is None else rows.get(step.foreach)
            if step.foreach is not None and (around is None or (step.item or 0) >= around["skipped_dependencies"]):
                continue
            own.append(row)
        return own

    def _steps(self) -> int:
        """Return how many steps the run has, with those of its items."""
        entered = sum(
            row["skipped_dependencies"] * body.size
            for row in self.steps
            if (body := self.plan.steps[row["step_no"]].body) is not None and row["label"] is not None
        )
        return len(self.plan.steps) + int(entered)

    def _open_steps(self) -> Iterator[str]:
        own = self._own()
        status, statuses = self.row["status"], [row["status"] for row in own]
        final = sum(one in _FINAL_STEP for one in statuses)
        running = statuses.count("running")
        if status in _FINAL_RUN:
            for row in own:
                open_row = row["status"] in ("queued", "running", "waiting")
                # A pending row of a completed run would be a step that was forgotten.
                if open_row or (row["status"] == "pending") or row["due_at"] is not None:
                    yield f"step {row['step_no']} is {row['status']} (due {row['due_at']}) in a run that has ended"
            if status == "completed" and final != self._steps():
                yield f"completed with {final} of {self._steps()} steps final"
            expected = 0
        elif status == "compensating":
            expected = 1
        elif status == "pending" and self.row["error"] is not None:
            expected = 0
        elif status == "cancelling" or (status == "running" and self.row["error"] is not None):
            expected = running
        else:
            expected = self._steps() - final
        if self.row["open_steps"] != expected:
            yield f"open_steps is {self.row['open_steps']}, there are {expected}"

    def _alarm(self) -> Iterator[str]:
        """1: whatever has a time has an alarm that goes off no later."""
        if self.row["status"] in (*_FINAL_RUN, "pending"):
            return
        times = [row["due_at"] for row in self.steps if row["due_at"] is not None]
        times += [self.row["deadline_at"]] if self.row["deadline_at"] and not self.row["error"] else []
        waits = any(row["status"] == "waiting" and row["due_at"] is None for row in self.steps)
        if not times and (waits or self.row["status"] == "paused"):
            return
        if not times:
            yield "nothing will ever wake it: no step has a time"
        elif self.row["wake_at"] is None or self.row["wake_at"] > min(times):
            yield f"the alarm is at {self.row['wake_at']}, the first time at {min(times)}"


# -- gates ---------------------------------------------------------------------------------------------------


def _gates(connection: psycopg.Connection[DictRow]) -> Iterator[str]:
    """6: never over-admitted, by the rows and by the whole history; no room left while runs wait."""
    query = """
    SELECT g.id, g.max_active, count(*) FILTER (WHERE r.status::text = ANY(%s)) AS active,
           count(*) FILTER (WHERE r.status = 'pending') AS waiting
    FROM gates g LEFT JOIN runs r ON r.gate_id = g.id GROUP BY g.id
    """
    for gate in connection.execute(query, (list(_HOLDING),)).fetchall():
        if gate["active"] > gate["max_active"]:
            yield f"gate {gate['id']} has {gate['active']} active runs, the limit is {gate['max_active']}"
        if gate["waiting"] and gate["active"] < gate["max_active"]:
            yield f"gate {gate['id']} has room and {gate['waiting']} runs waiting"
        busiest = _busiest(connection, gate["id"])
        if busiest > gate["max_active"]:
            yield f"gate {gate['id']} had {busiest} runs at once, the limit is {gate['max_active']}"


def _busiest(connection: psycopg.Connection[DictRow], gate_id: int) -> int:
    """Return how many runs were ever active at once. An admission's time is read under the gate's lock."""
    query = """
    SELECT e.at, CASE WHEN e.type = 'workflow.started' THEN 1 ELSE -1 END AS change
    FROM runs r JOIN events e ON e.run_id = r.id
    WHERE r.gate_id = %s AND r.started_at IS NOT NULL
      AND e.type IN ('workflow.started', 'workflow.completed', 'workflow.failed', 'workflow.cancelled')
    ORDER BY e.at, change
    """
    active = busiest = 0
    for row in connection.execute(query, (gate_id,)).fetchall():
        active += row["change"]
        busiest = max(busiest, active)
    return busiest


# -- receipts ------------------------------------------------------------------------------------------------


def _receipts(connection: psycopg.Connection[DictRow]) -> Iterator[str]:
    """12: receipts match the events, and each tenant's chain has every number once, each naming the one before."""
    query = "SELECT run_id, seq, data ->> 'hash' AS hash FROM events WHERE type = 'workflow.receipt.generated'"
    told = Counter((row["run_id"], row["seq"], row["hash"]) for row in connection.execute(query).fetchall())
    query = "SELECT r.run_id, r.position, b.id, b.bodies FROM receipts r JOIN receipt_batches b ON b.id = r.batch_id"
    last: dict[str, tuple[int, str | None]] = defaultdict(lambda: (0, None))
    for row in connection.execute(f"{query} ORDER BY b.id, r.position").fetchall():
        text = zlib.decompress(row["bodies"]).split(b"\n")[row["position"]]
        body, digest = json.loads(text), sha256(text).hexdigest()
        tenant, no = body["tenant"], body["receipt_no"]
        if body["run"] != str(row["run_id"]) or told.pop((row["run_id"], body["events"] + 1, digest), 0) != 1:
            yield f"run {row['run_id']}: receipt {no} of {tenant} is not what its history tells of"
        if (no - 1, body["previous_hash"]) != last[tenant]:
            yield f"receipt {no} of {tenant} does not follow {last[tenant]}"
        last[tenant] = no, digest
    for run_id, _, _ in told:
        yield f"run {run_id}: its history tells of a receipt that is not there"
    for row in connection.execute("SELECT tenant, no, encode(hash, 'hex') AS hash FROM receipt_chains").fetchall():
        if last[row["tenant"]] != (row["no"], row["hash"]):
            yield f"the chain of {row['tenant']} ends with {last[row['tenant']]}, its head says {row['no']}"


# -- Redis ---------------------------------------------------------------------------------------------------


def _streams(url: str, prefix: str) -> Iterator[str]:
    """7: nothing is pending in any group, and nothing waits in a dispatch stream."""
    with redis.Redis.from_url(url) as client:
        for key in client.scan_iter(match=f"{prefix}:q:*", count=1000):
            if key.endswith(b":dead"):
                continue
            groups: Any = client.xinfo_groups(key)
            for group in groups:
                if group["pending"]:
                    yield f"{group['pending']} entries are pending in {key.decode()}"
            if length := client.xlen(key):
                yield f"{length} entries are left in {key.decode()}"
