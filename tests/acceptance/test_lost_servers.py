"""Valkey emptied, Valkey killed, Postgres killed, under load: it costs latency, never work, and nothing runs twice."""

from __future__ import annotations

import os
import signal
from collections import Counter
from collections.abc import Callable
from datetime import datetime
from uuid import UUID

import pytest
import redis

from flowforge.store.clock import LONGEST_WAY
from tests.acceptance.conftest import Workers
from tests.acceptance.kit.person import Operator
from tests.acceptance.kit.sink import reply, slowly
from tests.support.family import family

RUNS = 40
#: Seconds by which a time in the history may be too early: as long as an answer with the server's clock may take.
LAG = LONGEST_WAY
STEPS = ("a", "b", "c", "d")
LOAD = """
    queue: @queue
    concurrency: 20
    steps:
      - {id: a, type: http, config: {method: POST, url: "@sink/a/{{ run.id }}"}}
      - {id: b, type: python, depends_on: a, config: {function: "shop:effect", args: {url: "@sink/b/{{ run.id }}"}}}
      - {id: c, type: http, depends_on: a, config: {method: POST, url: "@sink/c/{{ run.id }}"}}
      - {id: between, type: delay, depends_on: b, config: {duration: 100ms}}
      - {id: d, type: http, depends_on: [between, c], config: {method: POST, url: "@sink/d/{{ run.id }}"}}
"""


def flushed(operator: Operator) -> None:
    """Lose everything in Valkey: streams, groups, pending entries."""
    with redis.Redis.from_url(operator.installation.redis_url) as client:
        client.flushall()


def without_valkey(operator: Operator) -> None:
    """Kill Valkey; the next command starts it again."""
    os.kill(operator.installation.pid("valkey"), signal.SIGKILL)
    operator.shell.type("ps")


def without_postgres(operator: Operator) -> None:
    """Kill Postgres, the way a power failure does; the next command starts it again."""
    os.kill(operator.installation.pid("postgres"), signal.SIGKILL)
    operator.shell.type("ps")
    operator.sql.reopen()


def run_under_load(operator: Operator, fault: Callable[[Operator], None]) -> list[UUID]:
    """Start runs, let the fault happen when a part of the work is done, and wait until all runs have ended."""
    for path in STEPS:
        operator.effects.answer(path, slowly(0.02))
    # However quick the others are: the load is not over before this one is.
    last = operator.effects.hold("c", slowly(0.02), after=(slowly(0.02),))
    runs = operator.start_many(operator.flow(LOAD), [{"n": no} for no in range(RUNS)])
    for part in (1, 2):
        operator.effects.arrived("", part * RUNS)
        assert len(operator.effects.calls()) < len(STEPS) * RUNS, "the load was over before the fault"
        fault(operator)
    last.release()
    assert operator.ended(runs) == {"completed": RUNS}
    operator.at_rest()
    return runs


def no_finished_step_ran_again(operator: Operator, runs: list[UUID]) -> Counter[str]:
    """Assert that no call came after its step had completed; return how often each effect happened."""
    query = "SELECT step, at FROM events WHERE run_id = %s AND type = 'step.completed'"
    completed: dict[str, datetime] = {}
    for run in runs:
        completed |= {f"{step}/{run}": at for step, at in operator.sql.rows(query, run)}
    for path, call in zip(operator.effects.paths(), operator.effects.calls(), strict=True):
        assert call.at < completed[path].timestamp() + LAG, f"{path} was called after it had completed"
        assert call.key == f"{path.partition('/')[2]}:{path.partition('/')[0]}"
    counts = Counter(operator.effects.paths())
    assert counts.keys() == {f"{step}/{run}" for run in runs for step in STEPS}
    return counts


@pytest.mark.parametrize(
    "fault", family([flushed, without_valkey], quick=[flushed]), ids=["FLUSHALL", "SIGKILL of Valkey"]
)
def test_losing_valkey_under_load_costs_latency_and_nothing_else(
    operator: Operator, workers: Workers, fault: Callable[[Operator], None]
):
    """Twice during the load: all runs complete, every effect happens exactly once, no worker counts as crashed."""
    started = [workers(lease="10s"), workers(lease="10s")]
    runs = run_under_load(operator, fault)
    assert set(no_finished_step_ran_again(operator, runs).values()) == {1}
    assert operator.sql.value("SELECT max(crashes) FROM steps WHERE run_id = ANY(%s)", runs) == 0
    for one in started:
        one.stop()


@pytest.mark.thorough
def test_losing_postgres_under_load_fails_no_run_and_repeats_no_finished_step(operator: Operator, workers: Workers):
    """Twice during the load: workers wait for Postgres to come back, settle what they did, and go on."""
    started = [workers(lease="10s"), workers(lease="10s")]
    runs = run_under_load(operator, without_postgres)
    counts = no_finished_step_ran_again(operator, runs)
    again = sum(count - 1 for count in counts.values())
    assert again <= operator.sql.value("SELECT sum(crashes)::int FROM steps WHERE run_id = ANY(%s)", runs)
    for one in started:
        one.stop()


@pytest.mark.thorough
def test_workers_that_are_killed_under_load_are_replaced_and_every_run_completes(operator: Operator, workers: Workers):
    """Two workers die at different times, a third goes on: interrupted steps run again, finished ones do not."""
    victims = [workers(), workers()]

    def fault(_: Operator) -> None:
        victims.pop().kill()
        workers()

    runs = run_under_load(operator, fault)
    counts = no_finished_step_ran_again(operator, runs)
    again = sum(count - 1 for count in counts.values())
    assert again <= operator.sql.value("SELECT sum(crashes)::int FROM steps WHERE run_id = ANY(%s)", runs)


@pytest.mark.thorough
def test_a_restart_of_both_servers_loses_nothing_that_waits(operator: Operator, workers: Workers):
    """`down` and `up` while a run waits for a retry and another for its gate: both complete afterwards."""
    operator.effects.answer("flaky", reply(503), reply(200))
    hold = operator.effects.hold("held")
    flow = operator.flow("""
        queue: @queue
        concurrency: 1
        steps:
          - id: flaky
            type: http
            config: {url: "@sink/flaky"}
            retry: {max_attempts: 3, initial_delay: 6s, jitter: false}
          - {id: held, type: http, depends_on: flaky, config: {url: "@sink/held"}}
    """)
    workers(lease="20s")
    runs = operator.start_each(flow, [{}, {}])
    operator.step_becomes(runs[0], "flaky", "waiting")
    operator.sql.close()
    operator.shell.type("down")
    operator.shell.type("up")
    operator.sql.reopen()
    operator.effects.arrived("held")
    hold.release()
    assert operator.ended(runs) == {"completed": 2}
    assert len(operator.effects.calls("flaky")) == 3
    operator.at_rest()
