"""What must hold after every commit, reckoned anew from rows and history, independently of the core."""

from __future__ import annotations

from flowforge.model.event import EventType
from flowforge.model.facts import (
    Admitted,
    Answer,
    Claimed,
    Created,
    Granted,
    Refused,
    RetryRequested,
    Settled,
    SkipRequested,
)
from flowforge.model.fold import FoldedStep, fold
from flowforge.model.plan import Edge, Join, OnError, Plan
from flowforge.model.state import RunState, StepState
from flowforge.model.status import RunStatus, StepStatus
from tests.unit.decisions.bench import Bench, Commit

_ACTIVE = frozenset({StepStatus.QUEUED, StepStatus.RUNNING, StepStatus.WAITING})


def check(bench: Bench) -> None:
    """Check everything about the newest commit."""
    commit, run = bench.commits[-1], bench.run
    history_rebuilds_the_rows(bench)
    open_steps_are_counted(run)
    the_alarm_is_early_enough(run)
    dispatches_are_for_queued_steps(bench, commit)
    only_the_newest_token_settles(commit)
    terminal_is_final(commit, run)
    timers_are_never_early(commit, run)
    nothing_starts_before_its_dependencies(run)
    items_are_entered_as_allowed(run)
    what_was_done_is_undone_in_reverse(bench)
    if run.status is RunStatus.RUNNING and not run.failing:
        counters_equal_a_recount(run)
        joins_are_obeyed(run, forced=_named(bench))


# -- history -----------------------------------------------------------------------------------------------


def history_rebuilds_the_rows(bench: Bench) -> None:
    """fold(events) equals the rows; a step without a row is pending."""
    run = bench.run
    assert run.seq == len(bench.events)
    folded = fold(bench.events)
    assert folded.status is run.status
    assert folded.error == run.error
    assert (folded.created_at, folded.started_at, folded.finished_at) == (
        run.created_at,
        run.started_at,
        run.finished_at,
    )
    for no in {*range(len(run.plan.steps)), *run.steps}:
        step = run.plan.steps[no]
        row = run.steps.get(step.no, StepState(step.no, StepStatus.PENDING))
        seen = folded.steps.get(step.id, FoldedStep())
        assert seen == FoldedStep(
            row.status, row.attempt, row.worker, row.queued_at, row.started_at, row.finished_at, row.error
        ), step.id


# -- counts ------------------------------------------------------------------------------------------------


def open_steps_are_counted(run: RunState) -> None:
    """Open steps: all that are not final; in a run that is ending, the running ones; none in one that ended."""
    rows = run.steps.values()
    if run.status is RunStatus.COMPENSATING:
        undoing = [row for row in rows if row.status in _ACTIVE]
        assert len(undoing) == run.open_steps == 1
        assert run.plan.steps[undoing[0].no].compensates is not None
    elif run.status is RunStatus.PENDING and run.error is not None:
        assert run.open_steps == 0
    elif run.status is RunStatus.CANCELLING or run.failing or (run.status is RunStatus.PAUSED and run.error):
        assert all(not row.status.final or row.due_at is None for row in rows)
        assert not any(row.status in {StepStatus.QUEUED, StepStatus.WAITING} for row in rows)
        assert run.open_steps == sum(row.status is StepStatus.RUNNING for row in rows)
        ended = run.status is not RunStatus.PAUSED and run.open_steps == 0
        assert not ended, "nothing runs any more, but the run has not ended"
    elif run.status.final:
        assert run.open_steps == 0
        assert not any(row.status in _ACTIVE for row in rows)
    else:
        ordinary = [row for row in rows if row.no < len(run.plan.steps)]
        inside = sum(not _row(run, no).status.final for no in _entered(run))
        assert run.open_steps == len(run.plan.steps) - sum(row.status.final for row in ordinary) + inside
        if run.status is RunStatus.RUNNING:
            assert run.open_steps > 0, "everything is final, but the run has not ended"


def counters_equal_a_recount(run: RunState) -> None:
    """A pending step's counters say what its dependencies' rows say."""
    for step in run.plan.steps:
        row = run.steps.get(step.no)
        if row is not None and row.status is not StepStatus.PENDING:
            continue
        still_open = sum(not _final(run, edge.step) for edge in step.dependencies)
        skips = sum(_final(run, edge.step) and skips_edge(run, edge, step.no) for edge in step.dependencies)
        if step.foreach is None:
            assert still_open > 0, f"{step.id} waits for nothing"
        if row is None:
            assert still_open == len(step.dependencies), step.id
            continue
        assert row.open_dependencies == still_open, step.id
        # With join auto a skip that comes of a failure counts for all of them: see joins_are_obeyed.
        many = step.join is Join.AUTO and row.skipped_dependencies > skips > 0
        assert row.skipped_dependencies == skips or many, step.id


# -- the graph ---------------------------------------------------------------------------------------------


def nothing_starts_before_its_dependencies(run: RunState) -> None:
    """What is queued, runs or waits has final dependencies only."""
    for row in run.steps.values():
        if row.status in _ACTIVE:
            for edge in run.plan.steps[row.no].dependencies:
                assert _final(run, edge.step), run.plan.steps[row.no].id


def joins_are_obeyed(run: RunState, forced: frozenset[int]) -> None:
    """Steps run, or are skipped, as the design's joins say; *forced* ones run because an operator named them."""
    for row in run.steps.values():
        step = run.plan.steps[row.no]
        if (
            step.compensates is not None
            or not all(_final(run, edge.step) for edge in step.dependencies)
            or row.no in forced
        ):
            continue
        skip = expects_skip(run, row.no)
        if row.status is StepStatus.SKIPPED and row.error is None:
            assert skip, f"{step.id} was skipped"
        elif row.status in _ACTIVE or row.status is StepStatus.COMPLETED:
            assert not skip, f"{step.id} goes on, but should be skipped"


def expects_skip(run: RunState, no: int) -> bool:
    """Say whether a step whose dependencies are final is to be skipped (design, section 4)."""
    step = run.plan.steps[no]
    edges = [edge for edge in step.dependencies if not edge.order_only]
    skipped = [edge for edge in edges if skips_edge(run, edge, no)]
    if not skipped:
        return False
    if step.join is Join.ALL:
        return True
    if step.join is Join.ANY:
        return len(skipped) == len(edges)
    conditional = [edge for edge in edges if edge.branch or run.plan.steps[edge.step].skippable]
    by_failure = [edge for edge in skipped if edge not in conditional or _failed(run, edge.step)]
    return bool(by_failure) or len(skipped) == len(conditional)


def skips_edge(run: RunState, edge: Edge, target: int) -> bool:
    """Say whether a dependency in a final status counts as skipped."""
    row, source = run.steps[edge.step], run.plan.steps[edge.step]
    if edge.order_only:
        return False
    if row.status is StepStatus.SKIPPED and row.error is None:
        return True
    if _failed(run, edge.step):
        return target != source.parent
    if edge.branch:
        taken = None if row.label is None else source.branches[row.label]
        return taken is None or not _inside(run.plan, target, taken)
    return False


def _failed(run: RunState, no: int) -> bool:
    """Say whether a step ended in a way that only the parallel step around it can go on from."""
    row, source = run.steps[no], run.plan.steps[no]
    unhandled = row.status is StepStatus.FAILED and source.parent is not None and source.on_error is OnError.FAIL
    return unhandled or row.status is StepStatus.CANCELLED


def _inside(plan: Plan, no: int, around: int) -> bool:
    """Say whether a step is another one, or a child of it."""
    inner: int | None = no
    while inner is not None and inner != around:
        inner = plan.steps[inner].parent
    return inner == around


def _final(run: RunState, no: int) -> bool:
    return no in run.steps and run.steps[no].status.final


def _named(bench: Bench) -> frozenset[int]:
    facts = [fact for commit in bench.commits for fact in commit.facts]
    return frozenset(
        fact.from_step for fact in facts if isinstance(fact, RetryRequested) and fact.from_step is not None
    )


# -- time and work -----------------------------------------------------------------------------------------


def the_alarm_is_early_enough(run: RunState) -> None:
    """An active run has an alarm, never later than the first time in it; another run has none.

    What is queued in a paused run has a time that nobody can do anything about.
    """
    if run.status.final or run.status is RunStatus.PENDING:
        assert run.wake_at is None
        return
    held = run.status is RunStatus.PAUSED
    steps = [row for row in run.steps.values() if not (held and row.status is StepStatus.QUEUED)]
    times = [row.due_at for row in steps if row.due_at is not None]
    if run.deadline_at is not None and run.status is RunStatus.RUNNING and not run.failing:
        times.append(run.deadline_at)
    assert run.wake_at is not None or not times
    assert run.wake_at is None or run.wake_at <= min(times, default=run.wake_at)


def timers_are_never_early(commit: Commit, run: RunState) -> None:
    """A waiting step goes on only when its time has come."""
    for row in commit.before.steps.values():
        after = run.steps[row.no]
        if run.plan.steps[row.no].wakes and row.error is None:
            continue
        if row.status is StepStatus.WAITING and after.status in {StepStatus.QUEUED, StepStatus.COMPLETED}:
            assert row.due_at is not None
            assert row.due_at <= commit.turn.now


def dispatches_are_for_queued_steps(bench: Bench, commit: Commit) -> None:
    """Whatever leaves is the newest dispatch of a queued step, and every queued step has such a dispatch."""
    rows = bench.run.steps
    for dispatch in commit.turn.dispatches.values():
        row = rows[dispatch.step]
        assert (row.status, row.dispatch_no) == (StepStatus.QUEUED, dispatch.dispatch_no)
        assert dispatch.lane == bench.plan.steps[dispatch.step].lane
    sent = {(dispatch.step, dispatch.dispatch_no) for dispatch in bench.outbox}
    for row in rows.values():
        held = bench.run.status is RunStatus.PAUSED
        assert row.status is not StepStatus.QUEUED or held or (row.no, row.dispatch_no) in sent


def only_the_newest_token_settles(commit: Commit) -> None:
    """Tokens only grow, a claim of a new attempt raises them, and an old one changes nothing."""
    for no, known in commit.before.steps.items():
        assert commit.turn.steps[no].token >= known.token
    if len(commit.facts) != 1:
        return
    fact, answer = commit.facts[0], commit.answers[0]
    row = commit.before.steps.get(getattr(fact, "step", -1))
    if isinstance(fact, Settled):
        current = row is not None and row.status is StepStatus.RUNNING and row.token == fact.token
        assert isinstance(answer, Refused) is not current
        assert current or not (commit.turn.changed or commit.turn.events)
    elif isinstance(fact, Claimed):
        _claim_is_exclusive(commit, fact, answer, row)


def _claim_is_exclusive(commit: Commit, fact: Claimed, answer: Answer, row: StepState | None) -> None:
    if not isinstance(answer, Granted):
        assert not any(event.type is EventType.STEP_STARTED for event in commit.turn.events)
        return
    assert row is not None
    assert row.dispatch_no == fact.dispatch_no
    if row.status is StepStatus.RUNNING and row.worker != fact.worker:
        assert fact.reclaimed
        assert row.due_at is not None
        assert row.due_at <= commit.turn.now
        assert answer.step.token > row.token


def terminal_is_final(commit: Commit, run: RunState) -> None:
    """Only an operator's retry changes a run that has ended, or a step that is final."""
    if any(isinstance(fact, RetryRequested | SkipRequested | Created | Admitted) for fact in commit.facts):
        return
    if commit.before.status.final:
        assert run.steps == commit.before.steps
        assert run.status is commit.before.status
    for no, row in commit.before.steps.items():
        undone = run.plan.compensates and run.steps[no].status is StepStatus.COMPENSATED
        again = run.plan.steps[no].compensates is not None and row.status in {StepStatus.CANCELLED, StepStatus.SKIPPED}
        if row.status.final and not undone and not again:
            assert run.steps[no] == row


# -- items and compensation --------------------------------------------------------------------------------


def items_are_entered_as_allowed(run: RunState) -> None:
    """At most `max_parallel` items are worked on, and nothing of one that was not entered."""
    entered = set(_entered(run))
    for row in run.steps.values():
        step = run.plan.steps[row.no]
        if step.foreach is None or step.compensates is not None:
            continue
        assert row.no in entered or row.status is StepStatus.PENDING, step.id
    for step in run.plan.steps:
        if step.body is not None and step.body.max_parallel is not None:
            busy = {
                run.plan.steps[no].item for no in entered if run.plan.steps[no].foreach == step.no and _active(run, no)
            }
            assert len(busy) <= step.body.max_parallel, step.id


def what_was_done_is_undone_in_reverse(bench: Bench) -> None:
    """One after the other, the last to complete first, each once; all of it, unless the run says what is left."""
    run = bench.run
    if not run.plan.compensates:
        return
    done: list[str] = []
    for event in bench.events:
        if event.type is EventType.RUN_RETRIED:
            again = set((event.data or {})["steps"])
            done = [name for name in done if name not in again]
        elif event.step is not None and event.type is EventType.STEP_COMPLETED:
            done.append(event.step)
        elif event.step is not None and event.type is EventType.STEP_SKIPPED and event.step.endswith(":compensate"):
            done.remove(event.step.removesuffix(":compensate"))
        elif event.type is EventType.STEP_COMPENSATED:
            undoable = [name for name in done if _compensation(bench, name) is not None]
            ends = {name: at for at, name in enumerate(done)}
            assert event.step in undoable
            last = [name for name in undoable if _end(bench, name) == _end(bench, undoable[-1])]
            assert event.step in last, (event.step, last, ends)
            done.remove(event.step)
    left = [name for name in done if _compensation(bench, name) is not None]
    if run.status is RunStatus.FAILED and run.error is not None and left:
        named = (run.error.get("details") or {}).get("not_undone")
        timed_out = run.error["code"] == "RUN_TIMEOUT" and not run.plan.compensates_on_cancel
        assert timed_out or sorted(named or []) == sorted(left), (run.error, left)


def _compensation(bench: Bench, name: str) -> int | None:
    return bench.plan.steps[bench.no(name)].compensation


def _end(bench: Bench, name: str) -> object:
    return bench.run.steps[bench.no(name)].finished_at


def _entered(run: RunState) -> list[int]:
    """Return the numbers of the steps of all items that were entered."""
    numbers = []
    for step in run.plan.steps:
        row = run.steps.get(step.no)
        if step.body is not None and row is not None and row.label is not None:
            for item in range(row.skipped_dependencies):
                numbers += [step.body.number(item, position) for position in range(step.body.size)]
    return numbers


def _row(run: RunState, no: int) -> StepState:
    return run.steps.get(no, StepState(no, StepStatus.PENDING))


def _active(run: RunState, no: int) -> bool:
    return _row(run, no).status in _ACTIVE
