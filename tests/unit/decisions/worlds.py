"""What may happen to a run, drawn at random: graphs, and faults in any order."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from hypothesis import strategies as st

from flowforge.model.facts import (
    Admitted,
    CancelRequested,
    Claimed,
    Decided,
    Fact,
    Granted,
    PauseRequested,
    ResumeRequested,
    RetryRequested,
    Settled,
    SignalSent,
    SkipRequested,
    Taker,
    Woke,
    Woken,
)
from flowforge.model.outcome import (
    Cancelled,
    Completed,
    Deferred,
    Expanded,
    Failed,
    Outcome,
    Released,
    StepError,
    Waiting,
)
from flowforge.model.plan import Plan
from flowforge.model.status import StepStatus
from tests import factories
from tests.unit.decisions.bench import ERROR, LANES, LEASE, Bench

_SETTINGS = st.fixed_dictionaries(
    {"retry": st.sampled_from([factories.ONCE, factories.THRICE])},
    optional={
        "join": st.sampled_from(["auto", "all", "any"]),
        "on_error": st.sampled_from(["fail", "continue", "skip"]),
        "compensate": st.sampled_from(
            [factories.undo(), factories.undo(retry=factories.ONCE), factories.undo(retry=factories.THRICE)]
        ),
    },
)


@st.composite
def definitions(draw: st.DrawFn) -> dict[str, Any]:
    """Draw a workflow of up to seven steps, some of them conditionals or parallel steps with children."""
    size = draw(st.integers(1, 7))
    names = [f"s{no}" for no in range(size)]
    known: list[str] = []
    steps = []
    for no, name in enumerate(names):
        steps.append(draw(_steps(name, known, names[no + 1 :], depth=2)))
        known += _names(steps[-1])
    timeout = draw(st.sampled_from([None, None, "10m"]))
    return {"steps": steps, "timeout": timeout, "on_cancel": draw(st.sampled_from(["stop", "compensate"]))}


def _names(step: dict[str, Any], prefix: str = "") -> list[str]:
    full = prefix + step["id"]
    children = [] if step["type"] == "foreach" else step["config"].get("steps", [])
    return [full, *(name for child in children for name in _names(child, f"{full}."))]


@st.composite
def _steps(draw: st.DrawFn, name: str, before: list[str], behind: list[str], depth: int) -> dict[str, Any]:
    """Draw a step that depends on and reads some of those before it; a conditional leads to some behind it."""
    some: st.SearchStrategy[list[str]] = st.just([])
    if before:
        some = st.lists(st.sampled_from(before), max_size=3, unique=True)
    after = draw(some)
    settings = draw(_SETTINGS)
    kind = draw(st.sampled_from(["plain", "plain", "conditional", "parallel", "foreach", "wait_signal", "approval"]))
    if kind == "parallel" and depth > 0:
        children: list[dict[str, Any]] = []
        for no in range(draw(st.integers(1, 3))):
            siblings = [child["id"] for child in children]
            children.append(draw(_steps(f"c{no}", siblings, [], depth - 1)))
        wait = draw(st.booleans())
        return factories.parallel(name, *after, children=children, wait_for_all=wait, **settings)
    if kind == "conditional" and behind:
        to = draw(st.lists(st.sampled_from(behind), min_size=1, max_size=2))
        return factories.switch(name, *after, to=to) | settings
    if kind == "foreach" and depth == 2:
        return draw(_foreach(name, after, settings))
    if kind in ("wait_signal", "approval"):
        return factories.waiting(name, *after, type=kind, **settings)
    return factories.step(name, *after, reads=[] if depth < 2 else draw(some), **settings)


@st.composite
def _foreach(draw: st.DrawFn, name: str, after: list[str], settings: dict[str, Any]) -> dict[str, Any]:
    """Draw a foreach over one step, or over several in each item."""
    children: list[dict[str, Any]] = []
    for no in range(draw(st.integers(1, 2))):
        children.append(draw(_steps(f"c{no}", [child["id"] for child in children], [], 0)))
    how = {"max_parallel": draw(st.sampled_from([None, 1, 2])), "wait_for_all": draw(st.booleans())}
    return factories.foreach(name, *after, children=children, **how) | settings


class World:
    """A run, three workers that remember what they were granted, and an operator."""

    def __init__(self, plan: Plan, draw: st.DrawFn) -> None:
        self.bench, self._draw = Bench(plan), draw
        #: Every attempt that was ever granted: (worker, step, token).
        self.held: list[tuple[str, int, int]] = []

    def move(self) -> None:
        """Let something happen; now and then two things in one transaction."""
        facts = [fact for _ in range(self._draw(st.sampled_from([1, 1, 1, 2]))) if (fact := self._fact())]
        if not facts:
            return
        answers = self.bench.apply(*facts)
        for fact, answer in zip(facts, answers, strict=True):
            step = answer.step if isinstance(answer, Granted) else getattr(answer, "next", None)
            if step is not None and isinstance(fact, Claimed | Settled):
                self.held.append((fact.worker, step.no, step.token))
            elif step is not None and isinstance(fact, Woke) and fact.taker is not None:
                self.held.append((fact.taker.worker, step.no, step.token))

    def _fact(self) -> Fact | None:  # noqa: PLR0911 - one line per kind
        kinds = ["claim"] * 4 + ["settle"] * 5 + ["time", "wake", "wake", "cancel", "retry", "retry", "admit"]
        kinds += ["pause", "resume", "skip", "signal", "decision", "woken"]
        match self._draw(st.sampled_from(kinds)):
            case "claim":
                return self._claim()
            case "settle":
                return self._settlement()
            case "time":
                self.bench.after(seconds=self._draw(st.sampled_from([1, 5, 31, 300, 601])))
                taker = Taker(self._draw(st.sampled_from(["w1", "w2", "w3"])), LEASE, LANES)
                return Woke(taker=self._draw(st.none() | st.just(taker)))
            case "wake":
                flags = self._draw(st.sampled_from([(False, False), (False, False), (True, False), (False, True)]))
                return Woke(*flags)
            case "cancel":
                force = self._draw(st.integers(0, 5)) == 0
                return CancelRequested("ada", force=force) if self._draw(st.integers(0, 3)) == 0 else None
            case "retry":
                named = self._draw(st.none() | st.sampled_from(self._numbers()))
                return RetryRequested("ada", from_step=named)
            case "admit":
                return Admitted()
            case kind:
                return self._operators(kind)

    def _operators(self, kind: str) -> Fact:
        """Return what people do to a run under way."""
        match kind:
            case "pause":
                return PauseRequested("ada")
            case "resume":
                return ResumeRequested("ada", paused_at=self.bench.now)
        no = self._draw(st.sampled_from(self._numbers()))
        match kind:
            case "skip":
                return SkipRequested(no, "ada")
            case "signal":
                return SignalSent(self.bench.plan.steps[no].id, "ada")
            case "decision":
                actor = self._draw(st.sampled_from(["ada", "bob", "cyd"]))
                return Decided(no, actor, approved=self._draw(st.booleans()))
            case _:
                return Woken(no, "child")

    def _numbers(self) -> list[int]:
        """Return the numbers of all steps that may have been touched."""
        return sorted({*range(len(self.bench.plan.steps)), *self.bench.run.steps})

    def _claim(self) -> Fact:
        """Claim one of the newest dispatches mostly, an old one at times."""
        outbox = self.bench.outbox
        back = self._draw(st.integers(0, min(len(outbox), 6) - 1))
        dispatch = outbox[len(outbox) - 1 - back]
        worker = self._draw(st.sampled_from(["w1", "w2", "w3"]))
        return Claimed(dispatch.step, dispatch.dispatch_no, worker, LEASE, reclaimed=self._draw(st.booleans()))

    def _settlement(self) -> Fact | None:
        """Settle what is held: mostly what is still running, at times what was lost long ago."""
        rows = self.bench.run.steps
        valid = [
            held for held in self.held if rows[held[1]].status is StepStatus.RUNNING and rows[held[1]].token == held[2]
        ]
        among = valid if valid and self._draw(st.sampled_from([True] * 5 + [False])) else self.held
        if not among:
            return None
        worker, no, token = self._draw(st.sampled_from(among))
        lanes = self._draw(st.sampled_from([LANES, frozenset({"default"}), frozenset[str]()]))
        return Settled(no, token, worker, LEASE, self._outcome(no), "{}", lanes, 0.5)

    def _outcome(self, no: int) -> Outcome:  # noqa: PLR0911 - one line per kind
        stoppable = self.bench.run.steps[no].cancel_requested
        natural = self.bench.done(no)
        if isinstance(natural, Expanded | Waiting) and self._draw(st.integers(0, 4)) > 0:
            few = self._draw(st.integers(0, 4))
            return Expanded(natural.output, few) if isinstance(natural, Expanded) else self._waiting(natural)
        kinds = ["completed"] * 5 + ["failed"] * 3 + ["fatal", "waiting", "released", "deferred"]
        match self._draw(st.sampled_from([*kinds, "cancelled"] if stoppable else kinds)):
            case "completed":
                branches = sorted(self.bench.plan.steps[no].branches)
                return Completed(None, self._draw(st.sampled_from([*branches, None])))
            case "failed":
                return Failed(ERROR)
            case "fatal":
                return Failed(StepError("HOPELESS", "it never works", retryable=False))
            case "waiting":
                return Waiting(timedelta(seconds=self._draw(st.integers(0, 60))))
            case "released":
                return Released()
            case "deferred":
                return Deferred(ERROR, timedelta(seconds=5))
            case _:
                return Cancelled()

    def _waiting(self, natural: Waiting) -> Waiting:
        due = self._draw(st.none() | st.integers(1, 60))
        approvals = None if natural.approvals is None else self._draw(st.integers(1, 3))
        return Waiting(None if due is None else timedelta(seconds=due), None, natural.signal, approvals)
