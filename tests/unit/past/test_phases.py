"""Every moment of a run is attributed to exactly one kind of time, whatever happened to the run."""

from datetime import timedelta
from itertools import pairwise
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from flowforge.model.outcome import Completed, Deferred, Failed, Outcome, Released, Waiting
from flowforge.model.phase import Kind, Phases
from flowforge.model.phases import phases
from flowforge.model.status import RunStatus
from flowforge.model.turn import Terms
from tests import factories
from tests.factories import ONCE, THRICE, chain, diamond, plan, step
from tests.unit.decisions.bench import ERROR, Bench
from tests.unit.decisions.worlds import World, definitions
from tests.unit.past.steadily import steadily


def ledger(bench: Bench, **how: Any) -> Phases:
    return phases(bench.events, bench.plan, bench.now, **how)


def seconds(found: Phases, name: str | None = None) -> list[tuple[str, float]]:
    """Return kinds with their seconds, of the run or of a step."""
    parts = found.timeline if name is None else found.steps.get(name, ())
    return [(phase.kind.value, phase.duration.total_seconds()) for phase in parts]


def path(found: Phases) -> list[str]:
    return [stretch.step for stretch in found.critical]


def consistent(found: Phases) -> None:
    """Say what holds of every ledger."""
    assert sum(found.parts.values(), timedelta()) == found.wall
    at = found.start
    for phase in found.timeline:
        assert phase.start == at < phase.end
        at = phase.end
    assert at == found.end
    for parts in found.steps.values():
        assert all(phase.start < phase.end for phase in parts)
        assert all(one.end <= two.start for one, two in pairwise(parts))
        assert all(found.start <= phase.start and phase.end <= found.end for phase in parts)
    assert all(one.end <= two.start for one, two in pairwise(found.critical))
    assert all(stretch.start < stretch.end for stretch in found.critical)


@steadily
@given(st.data())
def test_the_parts_sum_to_the_wall_time_at_every_moment_of_any_history(data):
    world = World(factories.plan(**data.draw(definitions())), data.draw)
    for _ in range(data.draw(st.integers(0, 25))):
        world.bench.after(seconds=data.draw(st.sampled_from([0, 0.5, 2])))
        world.move()
    world.bench.drive()
    if data.draw(st.booleans()):
        world.bench.after(seconds=7)
        world.bench.retry()
        world.bench.after(seconds=1)
        world.bench.drive()
    bench = world.bench
    whole = ledger(bench)
    consistent(whole)
    assert (whole.start, whole.end) == (bench.events[0].at, bench.run.finished_at)
    for moment in sorted({event.at for event in bench.events})[::3]:
        consistent(phases(bench.events, bench.plan, moment + timedelta(milliseconds=1)))


@steadily
@given(st.data())
def test_an_open_step_has_a_phase_at_every_moment(data):
    world = World(factories.plan(**data.draw(definitions())), data.draw)
    for _ in range(data.draw(st.integers(0, 25))):
        world.move()
        world.bench.after(seconds=1)
    bench = world.bench
    bench.after(seconds=1)
    found = ledger(bench)
    for no, row in bench.run.steps.items():
        if not (row.status.final or bench.run.status.final or row.status.value == "pending"):
            parts = found.steps[bench.plan.steps[no].id]
            assert parts[-1].end == found.end


def test_a_step_queues_executes_backs_off_and_executes_again():
    bench = Bench(plan(step("a", retry=THRICE)))
    bench.after(seconds=2)
    bench.claim("a")
    bench.after(seconds=3)
    bench.settle("a", _failed())
    bench.after(seconds=1)
    bench.wake()
    bench.after(seconds=0.5)
    bench.claim("a")
    bench.after(seconds=4)
    bench.settle("a", Completed(None))
    found = ledger(bench)
    expected = [("queue", 2), ("execution", 3), ("back-off", 1), ("queue", 0.5), ("execution", 4)]
    assert seconds(found) == seconds(found, "a") == expected
    assert [phase.attempt for phase in found.steps["a"]] == [None, 1, 1, None, 2]
    assert {kind.value: part.total_seconds() for kind, part in found.parts.items()} == {
        "queue": 2.5,
        "execution": 7,
        "back-off": 1,
    }


def test_a_run_at_its_gate_waits_for_that_and_so_do_its_steps():
    bench = Bench(chain(1), admit=False)
    bench.after(seconds=5)
    found = ledger(bench)
    assert seconds(found) == seconds(found, "a0") == [("gate", 5)]


def test_a_step_behind_another_is_blocked_until_that_has_ended():
    bench = Bench(chain(2))
    bench.after(seconds=3)
    bench.complete("a0")
    bench.after(seconds=1)
    assert seconds(ledger(bench), "a1") == [("blocked", 3), ("queue", 1)]


def test_the_time_of_a_lost_attempt_is_infrastructure_until_the_loss_is_noticed():
    bench = Bench(plan(step("a", retry=THRICE)))
    bench.claim("a")
    bench.after(seconds=31)
    bench.wake()
    bench.after(seconds=2)
    bench.complete("a")
    assert seconds(ledger(bench)) == [("infrastructure", 31), ("queue", 2)]


def test_a_step_that_took_down_too_many_workers_was_infrastructure_to_its_end():
    bench = Bench(plan(step("a", retry=THRICE)), terms=Terms(max_crashes=0))
    bench.claim("a")
    bench.after(seconds=31)
    bench.wake()
    assert seconds(ledger(bench)) == [("infrastructure", 31)]


def test_an_attempt_that_is_handed_back_is_infrastructure():
    bench = Bench(plan(step("a", retry=THRICE)))
    bench.claim("a")
    bench.after(seconds=1)
    bench.settle("a", Released())
    bench.claim("a")
    bench.settle("a", Deferred(ERROR, timedelta(seconds=5)))
    bench.after(seconds=5)
    bench.wake()
    bench.after(seconds=1)
    assert seconds(ledger(bench)) == [("infrastructure", 6), ("queue", 1)]


def test_delays_signals_and_child_runs_are_told_apart():
    bench = Bench(plan(step("a"), factories.waiting("s", "a"), _child("c", "s")))
    bench.claim("a")
    bench.settle("a", Waiting(timedelta(seconds=4)))
    bench.after(seconds=4)
    bench.wake()
    bench.claim("s")
    bench.settle("s", Waiting(None, signal="s"))
    bench.after(seconds=2)
    bench.send("s")
    bench.complete("s")
    bench.claim("c")
    bench.settle("c", Waiting(None))
    bench.after(seconds=7)
    assert seconds(ledger(bench)) == [("timer", 4), ("signal", 2), ("child", 7)]


def test_what_a_paused_run_holds_back_is_paused_and_what_executes_is_not():
    bench = Bench(chain(2))
    bench.claim("a0")
    bench.after(seconds=1)
    bench.pause()
    bench.after(seconds=2)
    bench.settle("a0", Completed(None))
    bench.after(seconds=3)
    bench.resume()
    bench.after(seconds=4)
    found = ledger(bench)
    assert seconds(found) == [("execution", 3), ("paused", 3), ("queue", 4)]
    assert seconds(found, "a1") == [("blocked", 3), ("paused", 3), ("queue", 4)]


def test_undoing_is_compensation_for_the_run_and_only_its_execution_for_the_step():
    bench = Bench(plan(step("a", compensate=factories.undo()), step("b", "a")))
    bench.complete("a")
    bench.fail("b")
    assert bench.run.status is RunStatus.COMPENSATING
    bench.after(seconds=1)
    bench.claim("a:compensate")
    bench.after(seconds=2)
    bench.settle("a:compensate", Completed(None))
    found = ledger(bench)
    assert seconds(found) == [("compensation", 3)]
    assert seconds(found, "a:compensate") == [("queue", 1), ("compensation", 2)]


def test_between_the_end_of_a_run_and_its_retry_it_was_over():
    bench = Bench(chain(1))
    bench.claim("a0")
    bench.after(seconds=1)
    bench.settle("a0", _failed())
    bench.after(seconds=60)
    bench.retry()
    bench.claim("a0")
    bench.after(seconds=2)
    bench.settle("a0", Completed(None))
    found = ledger(bench)
    assert seconds(found) == [("execution", 1), ("ended", 60), ("execution", 2)]
    assert seconds(found, "a0") == [("execution", 1), ("execution", 2)]


def test_a_run_that_has_ended_takes_no_more_time():
    bench = Bench(chain(1))
    bench.after(seconds=1)
    bench.complete("a0")
    bench.after(hours=1)
    assert ledger(bench).wall == timedelta(seconds=1)


def test_a_dispatch_that_is_still_in_the_outbox_is_not_queued_yet():
    bench = Bench(chain(1))
    bench.after(seconds=2)
    assert seconds(ledger(bench, unpublished=frozenset({"a0"}))) == [("outbox", 2)]


def test_the_critical_path_goes_through_the_branch_that_ended_last():
    bench = Bench(diamond(retry=THRICE))
    bench.complete("a")
    bench.claim("b")
    bench.claim("c")
    bench.after(seconds=1)
    bench.settle("b", _failed())
    bench.after(seconds=1)
    bench.wake()
    bench.claim("b")
    bench.after(seconds=1)
    bench.settle("c", Completed(None))
    bench.after(seconds=2)
    bench.settle("b", Completed(None))
    bench.claim("d")
    bench.after(seconds=3)
    bench.settle("d", Completed(None))
    found = ledger(bench)
    assert path(found) == ["b", "d"]
    # `c` executes while `b` backs off; making it faster would not have helped.
    assert seconds(found) == [("execution", 1), ("back-off", 1), ("execution", 6)]


def test_the_critical_path_of_a_foreach_goes_through_its_items():
    bench = Bench(plan(factories.foreach("each", children=[step("x")], max_parallel=1), step("end", "each")))
    bench.claim("each")
    bench.settle("each", bench.done(bench.no("each")))
    for item in range(3):
        bench.claim(f"each[{item}]")
        bench.after(seconds=1 + item)
        bench.settle(f"each[{item}]", Completed(None))
    bench.after(seconds=1)
    bench.complete("each")
    found = ledger(bench)
    assert path(found) == ["each[0]", "each[1]", "each[2]", "each"]
    assert seconds(found) == [("execution", 6), ("queue", 1)]
    assert seconds(found, "each[2]") == [("blocked", 3), ("execution", 3)]


def test_an_open_run_waits_for_what_executes_before_what_waits():
    bench = Bench(plan(step("a", retry=ONCE), factories.waiting("s")))
    bench.claim("s")
    bench.settle("s", Waiting(None, signal="s"))
    bench.after(seconds=1)
    bench.claim("a")
    bench.after(seconds=1)
    assert path(ledger(bench)) == ["a"]
    bench.settle("a", Completed(None))
    bench.after(seconds=1)
    assert path(ledger(bench)) == ["s"]


def test_the_end_of_a_failed_run_waited_for_what_failed_and_not_for_what_was_cancelled_then():
    bench = Bench(plan(step("a"), step("b"), step("c", "a")))
    bench.claim("a")
    bench.after(seconds=1)
    bench.settle("a", _failed())
    assert bench.status("b") == "cancelled"
    assert path(ledger(bench)) == ["a"]


def test_times_that_go_back_between_two_workers_take_no_time():
    bench = Bench(chain(2))
    bench.after(seconds=1)
    bench.claim("a0")
    bench.after(seconds=-0.5)
    bench.settle("a0", Completed(None))
    bench.after(seconds=2)
    found = ledger(bench)
    consistent(found)
    assert found.parts == {Kind.QUEUE: timedelta(seconds=2.5)}


def test_the_document_says_seconds_and_names_the_critical_steps():
    bench = Bench(chain(1))
    bench.after(milliseconds=1500)
    document = ledger(bench).document(steps=True)
    assert document["parts"] == {"queue": 1.5}
    assert document["seconds"] == 1.5
    assert [one["step"] for one in document["critical_path"]] == ["a0"]
    assert document["steps"][0]["phases"][0] == {
        "kind": "queue",
        "start": "2026-01-01T00:00:00.000000Z",
        "end": "2026-01-01T00:00:01.500000Z",
        "seconds": 1.5,
        "attempt": None,
    }


def _failed() -> Outcome:
    return Failed(ERROR)


def _child(name: str, *after: str) -> dict[str, Any]:
    return step(name, *after, type="workflow", config={"name": "other"})
