"""The doctor: it finds what is planted against each of the twelve invariants, and repairs what can be repaired."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
import redis

from flowforge.client import AsyncClient
from flowforge.client.doctoring import Patient, examine
from flowforge.engine.engine import Endpoints
from flowforge.engine.names import GROUP
from flowforge.engine.receipting import Receipting
from flowforge.model.health import INVARIANTS, KINDS, Diagnosis
from flowforge.model.json import digest
from flowforge.model.outcome import Waiting
from flowforge.settings import Settings
from tests.support.definitions import chain, diamond, step, workflow
from tests.support.hand import Hand
from tests.support.sql import Sql

#: What is wrong with the servers of tests, on purpose.
OF_TESTS = {"postgres.fsync", "redis.persistence"}
#: A kind for each invariant that is planted below; those in the second line no machine can repair.
CURABLE = {"run.asleep", "end.open", "history.count", "gate.idle", "outbox.stale", "stream.pending", "token.differs"}
CURABLE |= {"key.differs", "timer.late", "receipt.head", "rows.differ", "run.count"}
INCURABLE = {"result.twice", "start.early", "undo.left"}


@pytest.fixture
def who(endpoints: Endpoints, settings: Settings) -> Patient:
    """The installation of the test."""
    return Patient(endpoints, settings)


def kinds(found: Diagnosis) -> set[str]:
    """Return the kinds of findings, but for what tests do on purpose."""
    return {one.kind for one in found.findings} - OF_TESTS


class Vandal:
    """Does harm, one invariant after the other; `runs` are those that it did harm to."""

    def __init__(self, hand: Hand, sql: Sql, streams: redis.Redis) -> None:
        self.hand, self.sql, self.streams = hand, sql, streams
        self.runs: dict[str, UUID] = {}

    async def prepare(self) -> None:
        """Let runs end, and get their receipts."""
        for kind in ("result.twice", "start.early", "end.open", "history.count", "token.differs", "key.differs"):
            self.runs[kind] = await self.hand.start(diamond())
            await self.hand.finish(self.runs[kind])
        undoing = workflow(step("a", compensate={"type": "transform", "config": {"expression": "1"}}), step("b", "a"))
        self.runs["undo.left"] = run = await self.hand.start({**undoing, "name": "saga"})
        await self.hand.complete(run, "a")
        await self.hand.fail(run, "b")
        await self.hand.finish(run)
        engine = self.hand.engine
        await Receipting(engine.database, engine.plans, engine.settings).run_once()
        self.sql.do("DELETE FROM outbox")

    async def wreck(self) -> None:
        """Break every invariant once."""
        runs, do = self.runs, self.sql.do
        runs["run.asleep"] = await self.hand.start(chain(2, name="asleep"))
        do("UPDATE runs SET wake_at = NULL WHERE id = %s", runs["run.asleep"])
        self._history("result.twice", '"step.queued","step":"d"', '"step.completed","step":"b"')
        self._history("start.early", '"step.started","step":"a"', '"step.started","step":"d"')
        do("UPDATE steps SET status = 'queued' WHERE run_id = %s AND step_no = 1", runs["end.open"])
        do("UPDATE runs SET seq = seq + 1 WHERE id = %s", runs["history.count"])
        await self.hand.start(chain(1, name="narrow", limit=1))
        runs["gate.idle"] = await self.hand.start(chain(1, name="narrow", limit=1))
        do("UPDATE gates SET max_active = 5")
        await self._leave_over()
        do("UPDATE steps SET token = 0 WHERE run_id = %s AND step_no = 2", runs["token.differs"])
        do("UPDATE steps SET label = 'undone:3' WHERE run_id = %s AND step_no = 2", runs["key.differs"])
        runs["timer.late"] = run = await self.hand.start(workflow(step("w", kind="delay", config={"duration": 1})))
        an_hour_ago = datetime.now(UTC) - timedelta(hours=1)
        await self.hand.settle(await self.hand.claim(run, "w"), Waiting(an_hour_ago, {}))
        self._history("undo.left", '"step.compensated","step":"a"', '"workflow.duplicate_prevented"')
        do("UPDATE receipt_chains SET no = no + 5")

    def _history(self, kind: str, before: str, after: str) -> None:
        changed = self.sql.do(
            """UPDATE run_events SET events = replace(events::text, %s, %s)::json
               WHERE run_id = %s AND events::text LIKE %s""",
            f'"type":{before}',
            f'"type":{after}',
            self.runs[kind],
            f"%{before}%",
        )
        assert changed, kind

    async def _leave_over(self) -> None:
        """Leave a dispatch in the outbox, and a delivery with a consumer that is gone."""
        run = self.runs["outbox.stale"] = self.runs["stream.pending"] = self.runs["token.differs"]
        insert = "INSERT INTO outbox (lane, run_id, step_no, dispatch_no) VALUES ('default', %s, 0, 1)"
        self.sql.do(insert, run)
        lane = self.hand.engine.names.lane("default")
        self.streams.xgroup_create(lane, GROUP, id="0", mkstream=True)
        entry = self.streams.xadd(lane, {"v": "1", "run": run.hex, "step": "0", "dispatch_no": "1"})
        self.streams.xreadgroup(GROUP, "gone", {lane: ">"})
        self.streams.xclaim(lane, GROUP, "gone", 0, [entry], idle=3_600_000, justid=True)


@pytest.fixture
async def vandal(hand: Hand, sql: Sql, valkey_client: redis.Redis) -> Vandal:
    """An installation with runs that have ended, and somebody who means it ill."""
    one = Vandal(hand, sql, valkey_client)
    await one.prepare()
    return one


async def test_a_healthy_installation_is_healthy(vandal: Vandal, who: Patient):
    """With its workers down: nobody needs them."""
    found = await examine(who)
    assert kinds(found) == set()
    assert (found.runs, found.whole) == (7, True)


async def test_what_an_operator_holds_is_not_ill(hand: Hand, who: Patient, sql: Sql, client: AsyncClient):
    """Runs whose workflow is held, at a gate that has room, and steps of a queue that is."""
    await client.publish(chain(1, name="held"))
    await client.pause_workflow("held")
    await client.run("held", {})
    queued = await hand.start(chain(1, name="going"))
    sql.do("DELETE FROM outbox")
    sql.do("UPDATE steps SET due_at = now() - interval '1 h', queued_at = now() WHERE run_id = %s", queued)
    sql.do("UPDATE runs SET wake_at = now() WHERE id = %s", queued)
    assert "step.unclaimed" in kinds(await examine(who))
    await client.pause_queue("default")
    assert kinds(await examine(who)) & {"step.unclaimed", "gate.idle"} == set()


async def test_twelve_planted_corruptions_are_found_and_repaired_where_that_is_possible(
    vandal: Vandal, who: Patient, sql: Sql, valkey_client: redis.Redis
):
    """One for each invariant, in one database; what is left afterwards no machine can repair, and says so."""
    await vandal.wreck()
    found = await examine(who)
    assert kinds(found) >= {*vandal.runs, "receipt.head"}
    assert {one.about.invariant for one in found.findings if one.kind not in OF_TESTS} == set(INVARIANTS)
    by_kind = {one.kind: one for one in found.findings}
    for kind, run in vandal.runs.items():
        assert run in by_kind[kind].runs, kind
    mended = await examine(who, fix=True)
    assert kinds(mended) & (CURABLE - {"rows.differ"}) == set()
    assert kinds(mended) >= INCURABLE
    assert len(mended.repaired) >= 8
    assert sql.status(vandal.runs["gate.idle"]) == "running"
    assert sql.status(vandal.runs["timer.late"]) == "completed"
    assert sql.steps(vandal.runs["end.open"])["b"] == "completed"
    again = await examine(who, fix=True)
    assert kinds(again) == kinds(mended)


async def test_what_a_repair_left_runs_on(vandal: Vandal, who: Patient, sql: Sql, start_worker, at_rest):
    """A run that nothing would have woken ends as soon as a worker is there."""
    run = await vandal.hand.start(chain(2, name="asleep"))
    sql.do("DELETE FROM outbox")
    sql.do("UPDATE runs SET wake_at = NULL")
    sql.do("UPDATE steps SET due_at = due_at - interval '1 hour' WHERE due_at IS NOT NULL")
    assert kinds(await examine(who)) == {"run.asleep", "step.unclaimed", "queue.unserved"} - {"queue.unserved"}
    assert kinds(await examine(who, fix=True)) == set()
    await start_worker()
    assert await at_rest() == 8
    assert sql.status(run) == "completed"


async def test_it_works_with_redis_down_and_says_so(vandal: Vandal, who: Patient, sql: Sql):
    """The invariants of Postgres are checked, and repaired, all the same."""
    nowhere = Endpoints(who.endpoints.database_url, "redis://127.0.0.1:1/0")
    run = await vandal.hand.start(chain(1, name="late"))
    sql.do("DELETE FROM outbox")
    sql.do("UPDATE steps SET due_at = due_at - interval '1 hour' WHERE run_id = %s", run)
    sql.do("UPDATE runs SET wake_at = wake_at - interval '1 hour' WHERE id = %s", run)
    found = await examine(Patient(nowhere, who.settings))
    assert kinds(found) == {"server.redis", "step.unclaimed"}
    found = await examine(Patient(nowhere, who.settings), fix=True)
    assert sql.counts("outbox") == 1
    assert kinds(found) == {"server.redis"}
    assert [one.name for one in found.checks if one.state == "skipped"] == ["streams"]


async def test_it_says_that_postgres_is_down(who: Patient):
    """And looks at Redis all the same."""
    nowhere = Endpoints("postgresql://127.0.0.1:1/none", who.endpoints.redis_url)
    found = await examine(Patient(nowhere, who.settings))
    assert kinds(found) == {"server.postgres"}
    assert "redis clock" in [one.name for one in found.checks]


async def test_another_schema_is_a_finding_and_nothing_more_is_judged(who: Patient, sql: Sql):
    """With the way to the right one."""
    sql.do("UPDATE alembic_version SET version_num = '0001'")
    found = await examine(who, fix=True)
    assert kinds(found) == {"schema"}
    assert "invariants" in [one.name for one in found.checks if one.state == "skipped"]


async def test_what_makes_no_sense_is_a_finding_and_no_error(vandal: Vandal, who: Patient, sql: Sql):
    """Events that are none, a definition that is none: others are judged all the same."""
    broken, other = vandal.runs["result.twice"], vandal.runs["history.count"]
    sql.do('UPDATE run_events SET events = \'[{"type": "nonsense"}]\' WHERE run_id = %s', broken)
    sql.do("UPDATE runs SET seq = seq + 1 WHERE id = %s", other)
    assert {"run.unreadable", "history.count"} <= kinds(await examine(who))
    assert "run.unreadable" in kinds(await examine(who, fix=True))
    sql.do("UPDATE workflow_versions SET definition = '{}', digest = %s", digest({}))
    assert "definition.unreadable" in kinds(await examine(who))


async def test_an_end_that_nobody_was_told_to_give_a_receipt_is_found_and_gets_one(
    hand: Hand, endpoints, settings: Settings, sql: Sql
):
    """The row that says that it is due was lost."""
    who = Patient(endpoints, settings.model_copy(update={"receipts": True}))
    await hand.finish(await hand.start(chain(1)))
    sql.do("DELETE FROM receipts_due")
    sql.do("UPDATE runs SET finished_at = finished_at - interval '1 hour'")
    assert "receipt.due" in kinds(await examine(who))
    await examine(who, fix=True)
    assert (sql.counts("receipts"), sql.counts("receipts_due")) == (1, 0)
    assert "receipt.due" not in kinds(await examine(who))


BROKEN_RECEIPTS: dict[str, tuple[str, str]] = {
    "receipt.broken": ("UPDATE receipt_batches SET signature = sha256(signature) || sha256(signature)", "not signed"),
    "receipt.untold": ("DELETE FROM receipts", "receipts"),
    "definition.changed": (
        "UPDATE workflow_versions SET definition = jsonb_set(definition, '{description}', '\"x\"')",
        "is not what was published",
    ),
}


@pytest.mark.parametrize("kind", BROKEN_RECEIPTS)
async def test_what_was_signed_or_published_and_changed_is_found(kind: str, vandal: Vandal, who: Patient, sql: Sql):
    """Nobody can repair that, and the finding says what to do."""
    statement, said = BROKEN_RECEIPTS[kind]
    sql.do(statement)
    found = {one.kind: one for one in (await examine(who, fix=True)).findings}
    assert said in found[kind].details[0]
    assert not found[kind].about.fixable


def test_every_kind_says_what_it_means_and_what_cures_it():
    """A finding without a way out is no help."""
    assert {kind.invariant for kind in KINDS.values()} == {None, *INVARIANTS}
    assert all(kind.title and kind.means and kind.repair for kind in KINDS.values())
