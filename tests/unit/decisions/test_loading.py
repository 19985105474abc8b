"""How little of a run has to be loaded, and that a decision never guesses what was not."""

import pytest

from flowforge.engine import finishing
from flowforge.model.decide import decide
from flowforge.model.facts import Accepted, Claimed, Fact, RetryRequested, Settled, Woke
from flowforge.model.outcome import Completed, Failed
from flowforge.model.turn import NeedsWholeRun, Terms, Turn
from flowforge.store import steps
from tests.factories import chain, conditional, diamond, fan, parallel, plan, step
from tests.unit.decisions.bench import ERROR, LANES, LEASE, Bench


def part(bench: Bench, *names: str) -> Turn:
    """Return a turn on a run of which only some steps were loaded."""
    loaded = frozenset(bench.plan.numbers[name] for name in names)
    steps = {no: state for no, state in bench.run.steps.items() if no in loaded}
    return Turn(bench.run._replace(steps=steps, loaded=loaded), bench.now, Terms())


def test_a_claim_needs_only_its_step():
    bench = Bench(chain(3))
    bench.claim("a0")
    assert bench.commits[-1].sliced


def test_a_completion_needs_only_its_successors():
    bench = Bench(diamond())
    bench.claim("a")
    bench.settle("a", Completed(None), lanes=LANES)
    assert bench.commits[-1].sliced


def test_the_last_completion_of_a_run_needs_no_more_than_any_other():
    bench = Bench(chain(2))
    bench.complete("a0", "a1")
    assert bench.commits[-1].sliced
    assert bench.run.status == "completed"


def test_two_facts_of_one_run_share_a_slice():
    bench = Bench(diamond())
    bench.complete("a")
    bench.claim("b")
    bench.apply(bench.settled("b", Completed(None)), Claimed(bench.plan.numbers["c"], 1, "w2", LEASE))
    assert bench.commits[-1].sliced
    assert bench.status("c") == "running"


def test_a_successor_that_was_looked_up_and_has_no_row_is_pending_on_all_its_dependencies():
    bench = Bench(diamond())
    bench.complete("a")
    bench.claim("b")
    turn = part(bench, "b", "d")
    assert decide(turn, [bench.settled("b", Completed(None))]) == [Accepted()]
    assert turn.touched()[bench.plan.numbers["d"]].open_dependencies == 1


def refuses(bench: Bench, fact: Fact, *names: str) -> None:
    with pytest.raises(NeedsWholeRun):
        decide(part(bench, *names), [fact])


def test_a_successor_that_was_not_looked_up_is_not_guessed():
    bench = Bench(diamond())
    bench.claim("a")
    refuses(bench, bench.settled("a", Completed(None)), "a", "b")


def test_a_failure_that_ends_the_run_needs_all_of_it():
    bench = Bench(diamond())
    bench.claim("a")
    refuses(bench, bench.settled("a", Failed(ERROR)), "a", "b", "c")


def test_a_skip_that_travels_needs_what_it_reaches():
    bench = Bench(plan(conditional("if", true="b"), step("b"), step("c", "b")))
    bench.claim("if")
    refuses(bench, bench.settled("if", Completed(None)), "if", "b")


def test_an_unexpected_skip_inside_a_parallel_step_needs_what_it_reaches():
    children = [step("a"), step("b"), step("c", "a", "b"), step("d", "c")]
    bench = Bench(plan(parallel("fan", children=children)))
    bench.fail("fan.a")
    bench.complete("fan.b")
    assert not bench.commits[-1].sliced
    assert bench.statuses("fan.c", "fan.d") == ["skipped", "skipped"]


def test_failing_fast_needs_every_child():
    bench = Bench(fan(3, wait_for_all=False))
    bench.claim("fan.c0")
    refuses(bench, bench.settled("fan.c0", Failed(ERROR)), "fan.c0", "fan", "fan.c1")


def test_an_output_that_is_too_large_needs_all_of_the_run():
    bench = Bench(chain(2))
    bench.claim("a0")
    turn = part(bench, "a0", "a1")
    turn.terms = Terms(max_run_bytes=1)
    with pytest.raises(NeedsWholeRun):
        decide(turn, [bench.settled("a0", Completed(None))])


@pytest.mark.parametrize("fact", [Woke(), RetryRequested("ada")], ids=["woke", "retry"])
def test_looks_at_everything_need_everything(fact):
    bench = Bench(chain(2))
    if isinstance(fact, RetryRequested):
        bench.fail("a0")
    refuses(bench, fact, "a0")


def test_a_reclaim_that_finds_poison_needs_all_of_the_run():
    bench = Bench(chain(2), terms=Terms(max_crashes=0))
    bench.claim("a0")
    bench.after(seconds=31)
    turn = part(bench, "a0")
    turn.terms = bench.terms
    with pytest.raises(NeedsWholeRun):
        decide(turn, [Claimed(0, 1, "w2", LEASE, reclaimed=True)])


def test_a_stale_outcome_needs_nothing_else():
    bench = Bench(chain(2))
    bench.claim("a0")
    turn = part(bench, "a0")
    decide(turn, [Settled(0, 99, "w1", LEASE, Failed(ERROR))])
    assert not turn.changed


async def test_the_output_of_a_run_is_read_when_its_last_step_was_not_loaded(monkeypatch: pytest.MonkeyPatch):
    """A child that was told to stop may settle after the last step: it ends the run, and knows only its successors."""
    bench = Bench(fan(2, wait_for_all=False, on_error="continue"))
    bench.claim("fan.c1", "w2")
    bench.fail("fan.c0")
    bench.complete("after")
    turn = part(bench, "fan.c1", "fan")
    decide(turn, [bench.settled("fan.c1", Completed(None))])
    assert turn.awaits_output

    read: list[object] = []

    async def outputs(_: object, keys: object) -> list[object]:
        read.append(keys)
        return []

    monkeypatch.setattr(steps, "outputs", outputs)
    await finishing.finish(None, [turn])  # type: ignore[arg-type]
    assert read == [[(turn.before.id, bench.plan.numbers["after"])]]
