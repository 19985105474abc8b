"""Every request of an operator in every state of a run: it takes effect, or is refused with a reason."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from flowforge.model.facts import (
    Accepted,
    CancelRequested,
    Decided,
    Fact,
    PauseRequested,
    Rejected,
    ResumeRequested,
    RetryRequested,
    SignalSent,
    SkipRequested,
)
from flowforge.model.outcome import Completed, StepError
from tests.factories import plan, step, undo, waiting
from tests.unit.decisions.bench import Bench


def _begun(*, admit: bool = True) -> Bench:
    """Return a run that asks, listens, has `done` behind it and runs `busy`; `next` waits for its turn."""
    bench = Bench(
        plan(
            step("done", compensate=undo()),
            waiting("ear"),
            waiting("ask", type="approval"),
            step("busy"),
            step("other"),
            step("next", "busy"),
            on_cancel="compensate",
        ),
        admit=admit,
    )
    if admit:
        bench.complete("done")
        for name in ("ear", "ask"):
            bench.claim(name)
            bench.settle(name, bench.done(bench.no(name)))
        bench.claim("busy")
    return bench


def _paused() -> Bench:
    bench = _begun()
    bench.pause()
    return bench


def _failing() -> Bench:
    bench = _begun()
    bench.fail("other")
    return bench


def _cancelling() -> Bench:
    bench = _begun()
    bench.cancel()
    return bench


def _compensating() -> Bench:
    bench = _failing()
    bench.settle("busy", Completed(None))
    return bench


def _failed() -> Bench:
    bench = _compensating()
    bench.complete("done:compensate")
    return bench


def _half_undone() -> Bench:
    bench = _compensating()
    bench.fail("done:compensate", StepError("NO", "", retryable=False))
    return bench


def _cancelled() -> Bench:
    bench = _begun(admit=False)
    bench.cancel()
    return bench


def _completed() -> Bench:
    bench = _begun()
    bench.drive()
    return bench


STATES: dict[str, Callable[[], Bench]] = {
    "pending": lambda: _begun(admit=False),
    "running": _begun,
    "paused": _paused,
    "failing": _failing,
    "cancelling": _cancelling,
    "compensating": _compensating,
    "failed": _failed,
    "half undone": _half_undone,
    "cancelled": _cancelled,
    "completed": _completed,
}
VERBS: dict[str, Callable[[Bench], Fact]] = {
    "cancel": lambda _: CancelRequested("ada"),
    "cancel by force": lambda _: CancelRequested("ada", force=True),
    "pause": lambda _: PauseRequested("ada"),
    "resume": lambda _: ResumeRequested("ada"),
    "retry": lambda _: RetryRequested("ada"),
    "retry from": lambda bench: RetryRequested("ada", from_step=bench.no("done")),
    "skip": lambda bench: SkipRequested(bench.no("next"), "ada"),
    "skip what runs": lambda bench: SkipRequested(bench.no("busy"), "ada"),
    "skip what failed": lambda bench: SkipRequested(bench.no("other"), "ada"),
    "skip the undoing": lambda bench: SkipRequested(bench.no("done:compensate"), "ada"),
    "signal": lambda _: SignalSent("ear", "ada"),
    "signal nobody": lambda _: SignalSent("nobody", "ada"),
    "approve": lambda bench: Decided(bench.no("ask"), "ada", approved=True),
}
ALLOWED: dict[str, set[str]] = {
    "pending": {"cancel", "cancel by force", "signal"},
    "running": {"cancel", "cancel by force", "pause", "resume", "skip", "skip what failed", "signal", "approve"},
    "paused": {"cancel", "cancel by force", "pause", "resume", "skip", "skip what failed", "signal", "approve"},
    "failing": {"cancel", "cancel by force", "signal"},
    "cancelling": {"cancel", "cancel by force", "signal"},
    "compensating": {"cancel by force", "skip the undoing", "signal"},
    "failed": {"retry", "retry from", "skip what failed"},
    "half undone": {"retry", "retry from", "skip the undoing"},
    "cancelled": {"retry", "retry from"},
    "completed": set(),
}


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("verb", VERBS)
def test_a_request_takes_effect_or_is_refused_with_the_reason(state: str, verb: str):
    """What is refused changes nothing."""
    bench = STATES[state]()
    before = bench.run
    (answer,) = bench.apply(VERBS[verb](bench))
    if verb in ALLOWED[state]:
        assert answer == Accepted()
        return
    assert isinstance(answer, Rejected)
    assert bench.run == before
    assert len(answer.message.split()) > 3, answer.message
