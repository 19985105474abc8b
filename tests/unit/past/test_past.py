"""A run as it was: what its rows said after any event, without what was not known yet."""

from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from flowforge.model.outcome import Completed, Waiting
from flowforge.model.past import as_it_was
from flowforge.model.status import RunStatus, StepStatus
from tests import factories
from tests.factories import THRICE, chain, plan, step
from tests.support.capsules import capsule
from tests.unit.decisions.bench import START, Bench
from tests.unit.decisions.worlds import World, definitions
from tests.unit.past.steadily import steadily


@steadily
@given(st.data())
def test_it_is_what_the_rows_said_after_any_commit(data):
    world = World(factories.plan(**data.draw(definitions())), data.draw)
    bench = world.bench
    seen = []
    for _ in range(data.draw(st.integers(0, 25))):
        world.move()
        seen.append((len(bench.events), bench.run))
    made = capsule(bench)
    for seq, rows in seen:
        was = as_it_was(made, seq=seq).run
        assert (was.status, was.error, was.finished_at) == (rows.status, rows.error, rows.finished_at)
        every = {one.id: one for one in (*(was.steps or ()), *was.compensation.steps)}
        for no, row in rows.steps.items():
            one = every.get(bench.plan.steps[no].id)
            if one is not None and row.status is not StepStatus.PENDING:
                assert (one.status, one.attempts, one.worker) == (row.status, row.attempt, row.worker)
                assert row.crashes in (one.crashes, 0)


def test_outputs_are_known_from_the_moment_of_their_step():
    bench = Bench(chain(2))
    bench.after(seconds=1)
    bench.complete("a0")
    bench.after(seconds=1)
    bench.complete("a1")
    made = capsule(bench, outputs={"a0": 1, "a1": 2}, input={"n": 1})
    was = as_it_was(made, moment=START + timedelta(seconds=1.5))
    assert [(one.status, one.output) for one in was.run.steps or ()] == [
        (StepStatus.COMPLETED, 1),
        (StepStatus.QUEUED, None),
    ]
    assert (was.run.status, was.run.input) == (RunStatus.RUNNING, {"n": 1})
    assert was.phases().wall == timedelta(seconds=1.5)


def test_the_output_of_a_step_that_was_repeated_later_is_not_known_any_more():
    bench = Bench(plan(step("a"), step("b", "a")))
    bench.complete("a")
    bench.fail("b")
    seq = len(bench.events)
    bench.after(seconds=1)
    bench.retry("a")
    bench.drive()
    was = as_it_was(capsule(bench, outputs={"a": 1}), seq=seq)
    assert (was.run.steps or ())[0].output is None
    assert was.run.status is RunStatus.FAILED


def test_what_a_step_waited_for_is_known():
    bench = Bench(plan(factories.waiting("s"), factories.waiting("ask", type="approval"), step("r", retry=THRICE)))
    bench.claim("s")
    bench.settle("s", Waiting(timedelta(seconds=9), signal="s"))
    bench.claim("ask")
    bench.settle("ask", Waiting(None, approvals=2))
    bench.decide("ask", "bob")
    bench.fail("r")
    seq = len(bench.events)
    bench.drive()
    signal, ask, retry = as_it_was(capsule(bench), seq=seq).run.steps or ()
    assert (signal.waits_for, signal.due_at) == ({"signal": "s"}, START + timedelta(seconds=9))
    assert ask.waits_for is not None
    assert ask.waits_for["missing"] == 1
    assert retry.due_at == START + timedelta(seconds=1)


def test_a_moment_after_the_end_is_the_run_as_it_is():
    bench = Bench(chain(1))
    bench.claim("a0")
    bench.settle("a0", Completed(None))
    made = capsule(bench)
    assert as_it_was(made, moment=START + timedelta(days=1)) == made
    assert as_it_was(made, seq=10_000) == made


def test_before_its_first_event_a_run_is_pending():
    made = capsule(Bench(chain(1)))
    was = as_it_was(made, moment=START - timedelta(seconds=1)).run
    assert (was.status, was.seq, was.started_at) == (RunStatus.PENDING, 0, None)
