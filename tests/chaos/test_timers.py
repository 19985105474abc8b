"""Timers, and what stands in for schedules, which do not exist yet: scenario 35."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import islice
from zoneinfo import ZoneInfo

import pytest
from cronsim import CronSim

from tests.chaos.kit.world import World
from tests.support.eventually import eventually_sync

PARIS = ZoneInfo("Europe/Paris")
#: The clocks of Paris went forward on 2026-03-29 at 2:00, and go back on 2026-10-25 at 3:00.
CRON = {
    "a time that the clocks skip comes once, at the first time that exists": (
        ("30 2 * * *", datetime(2026, 3, 28, 12, tzinfo=PARIS)),
        ["2026-03-29T03:00:00+02:00", "2026-03-30T02:30:00+02:00"],
    ),
    "a time that the clocks show twice comes once": (
        ("30 2 * * *", datetime(2026, 10, 24, 12, tzinfo=PARIS)),
        ["2026-10-25T02:30:00+02:00", "2026-10-26T02:30:00+01:00"],
    ),
    "every hour is every hour that passes": (
        ("0 * * * *", datetime(2026, 10, 25, 1, 30, tzinfo=PARIS)),
        ["2026-10-25T02:00:00+02:00", "2026-10-25T02:00:00+01:00", "2026-10-25T03:00:00+01:00"],
    ),
}


@pytest.mark.parametrize("case", CRON, ids=[name.replace(" ", "-") for name in CRON])
def test_35_what_a_schedule_will_be_told_when_the_clocks_change(case: str, seed: int):
    """There are no schedules yet: this holds the library that will say when they are due to the policy they need."""
    (expression, start), wanted = CRON[case]
    found = [one.isoformat() for one in islice(CronSim(expression, start), len(wanted))]
    assert found == wanted, f"seed {seed}"


def test_35_timers_that_came_due_while_nobody_looked_fire_once(world: World):
    """No worker for longer than any delay, then two that sweep at the same time: each timer fires once, none early."""
    flow = """
    queue: @queue
    concurrency: unlimited
    steps:
      - {id: pause, type: delay, config: {duration: "{{ input.seconds }}s"}}
      - {id: after, type: http, depends_on: pause, config: {method: POST, url: "@sink/after/{{ run.id }}"}}
    """
    first = world.worker()
    inputs = [{"seconds": round(world.random.uniform(0.5, 4), 2)} for _ in range(60)]
    runs = world.start_many(world.flow(flow), inputs)
    query = "SELECT count(*)::int FROM steps WHERE step_no = 0 AND status <> 'queued'"
    eventually_sync(lambda: world.sql.value(query) == len(runs), what="all wait")
    first.kill()
    due = "SELECT coalesce(max(due_at) < clock_timestamp(), true) FROM steps WHERE status = 'waiting'"
    eventually_sync(lambda: world.sql.value(due), what="all are due")
    world.some_workers(2)
    world.verify()
    fired = "SELECT DISTINCT count(*)::int FROM events WHERE type = 'step.completed' AND step = 'pause' GROUP BY run_id"
    assert world.sql.rows(fired) == [(1,)]


def test_35_a_timer_far_in_the_future_waits_in_postgres_alone(world: World):
    """Nothing of it is in Redis or in a process: both may be gone meanwhile."""
    until = (datetime.now(UTC) + timedelta(seconds=6)).isoformat()
    worker = world.worker()
    run = world.start(
        world.flow(f"""
        queue: @queue
        steps: [{{id: pause, type: delay, config: {{until: "{until}"}}}}]
        """)
    )
    world.step_becomes(run, "pause", "waiting")
    worker.kill()
    world.valkey.flushall()
    world.worker()
    world.verify()
    ended = world.sql.value("SELECT finished_at FROM runs WHERE id = %s", run)
    assert ended >= datetime.fromisoformat(until)
