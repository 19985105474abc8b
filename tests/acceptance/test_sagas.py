"""Sagas whose workers are killed at every boundary between two steps: all is undone, in order, each once."""

from __future__ import annotations

import signal

import pytest

from tests.acceptance.conftest import Workers
from tests.acceptance.kit.person import Operator, statuses, types
from tests.acceptance.kit.sink import reply
from tests.support.family import family

STEPS = ("a", "b", "c")
SAGA = """
    queue: @queue
    steps:
      - id: a
        type: http
        config: {method: POST, url: "@sink/a"}
        compensate: {type: http, config: {method: DELETE, url: "@sink/undo-a", body: {why: "{{ run.error.step }}"}}}
      - id: b
        type: http
        depends_on: a
        config: {method: POST, url: "@sink/b"}
        compensate: {type: http, config: {method: DELETE, url: "@sink/undo-b"}}
      - id: c
        type: http
        depends_on: b
        config: {method: POST, url: "@sink/c"}
        compensate: {type: http, config: {method: DELETE, url: "@sink/undo-c"}}
      - {id: d, type: http, depends_on: c, config: {method: POST, url: "@sink/d"}, retry: {max_attempts: 1}}
"""
#: What is called, in order: each step, the one that fails, and what undoes them.
CALLS = [*STEPS, "d", *(f"undo-{name}" for name in reversed(STEPS))]


def in_order(paths: list[str]) -> list[str]:
    """Return the paths without those that were called again at once."""
    return [path for no, path in enumerate(paths) if no == 0 or paths[no - 1] != path]


@pytest.mark.parametrize("number", family(range(1, len(CALLS) + 1), quick=[]), ids=CALLS)
def test_a_worker_that_dies_before_any_outcome_is_stored(operator: Operator, workers: Workers, number: int):
    """SIGKILL between the effect and its commit: that one step is called again, with its key; nothing else is."""
    operator.effects.answer("d", reply(422))
    victim = workers(lease="30s", crash_at=f"worker.before_settle:{number}")
    run = operator.start(operator.flow(SAGA))
    assert victim.process.wait(timeout=100) == -signal.SIGKILL
    operator.end_leases(run)
    workers()

    (document,) = operator.wait(run, code=5)

    paths = operator.effects.paths()
    assert in_order(paths) == CALLS
    assert sorted(paths) == sorted([*CALLS, CALLS[number - 1]])
    assert {call.key for call in operator.effects.calls("undo-a")} == {f"{run}:a:compensate"}
    assert operator.effects.calls("undo-a")[-1].body == {"why": "d"}
    assert document["compensation"]["status"] == "completed"
    assert statuses(document) == {**dict.fromkeys(STEPS, "compensated"), "d": "failed"}
    undone = [word for word in types(operator.events(run)) if word.startswith("step.compensated")]
    assert undone == ["step.compensated c", "step.compensated b", "step.compensated a"]
    operator.at_rest()


@pytest.mark.parametrize("name", family(STEPS, quick=[]))
def test_a_worker_that_is_killed_while_it_undoes_a_step(operator: Operator, workers: Workers, name: str):
    """Another one goes on with that step, and not with what was undone before."""
    operator.effects.answer("d", reply(422))
    operator.effects.hold(f"undo-{name}", after=(reply(),))
    victim = workers(lease="30s")
    run = operator.start(operator.flow(SAGA))
    operator.effects.arrived(f"undo-{name}")
    victim.kill()
    operator.end_leases(run)
    workers()

    operator.wait(run, code=5)

    paths = operator.effects.paths()
    assert in_order(paths) == CALLS
    assert sorted(paths) == sorted([*CALLS, f"undo-{name}"])
    operator.at_rest()


POINTS = ["worker.after_claim", "worker.before_ack", "acker.after_ack", "sweeper.after_wake"]


@pytest.mark.parametrize("point", family(POINTS, quick=["worker.before_ack"]))
def test_a_worker_that_dies_at_another_point_while_much_is_undone(operator: Operator, workers: Workers, point: str):
    """Twenty sagas at once: each is undone as if nothing had happened."""
    operator.effects.answer("d", reply(422))
    victim = workers(lease="2s", redispatch_after="3s", crash_at=f"{point}:1")
    runs = operator.start_many(operator.flow(SAGA), [{}] * 20)
    workers(redispatch_after="3s")
    if point != "sweeper.after_wake":
        assert victim.process.wait(timeout=100) == -signal.SIGKILL

    assert operator.ended(runs) == {"failed": 20}

    query = "SELECT run_id, step FROM events WHERE type = 'step.compensated' AND run_id = ANY(%s) ORDER BY run_id, seq"
    undone = operator.sql.rows(query, runs)
    assert undone == [(run, name) for run in sorted(runs) for name in reversed(STEPS)]
    operator.at_rest()
