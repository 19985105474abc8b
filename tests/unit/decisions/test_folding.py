"""The history alone rebuilds a run, at any moment of it."""

from datetime import timedelta

from flowforge.model.fold import fold
from flowforge.model.outcome import Deferred, Released
from flowforge.model.status import RunStatus, StepStatus
from tests.factories import THRICE, chain, diamond, plan, step
from tests.unit.decisions.bench import ERROR, START, Bench


def test_a_run_without_events_is_pending():
    run = fold([])
    assert (run.status, run.steps, run.created_at) == (RunStatus.PENDING, {}, None)


def test_a_shorter_history_is_the_run_as_it_was():
    bench = Bench(diamond())
    seen = []
    for name in "abcd":
        seen.append((len(bench.events), {row: bench.status(row) for row in "abcd"}))
        bench.after(seconds=1)
        bench.complete(name)
    for count, statuses in seen:
        folded = fold(bench.events[:count])
        assert {
            name: folded.steps[name].status.value if name in folded.steps else "pending" for name in "abcd"
        } == statuses


def test_times_are_those_of_the_events():
    bench = Bench(chain(1))
    bench.after(seconds=1)
    bench.claim("a0")
    started = bench.now
    bench.after(seconds=1)
    bench.drive()
    run = fold(bench.events)
    step_ = run.steps["a0"]
    assert (step_.queued_at, step_.started_at, step_.finished_at) == (START, started, bench.now)
    assert (run.created_at, run.started_at, run.finished_at) == (START, START, bench.now)


def test_attempts_that_were_handed_back_are_not_counted():
    bench = Bench(plan(step("a", retry=THRICE)))
    bench.claim("a")
    bench.settle("a", Released())
    bench.claim("a")
    bench.settle("a", Deferred(ERROR, timedelta(0)))
    assert fold(bench.events).steps["a"].attempt == 0


def test_a_retry_forgets_how_the_run_ended_but_not_how_often_it_was_tried():
    bench = Bench(chain(1))
    bench.fail("a0")
    assert fold(bench.events).error is not None
    bench.after(seconds=1)
    bench.retry()
    run = fold(bench.events)
    assert (run.status, run.error, run.finished_at, run.started_at) == (RunStatus.RUNNING, None, None, START)
    assert (run.steps["a0"].status, run.steps["a0"].attempt) == (StepStatus.QUEUED, 1)
