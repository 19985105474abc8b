"""What the outside world saw, held against what Postgres says: the invariants that no table can prove alone.

One claim is one call at most; every call of a step carries the same key; what completed was called; nobody calls
under the newest token once its step is done. A call under an older token after that is a zombie's last word: it
cannot be prevented from here, so it carries its token for the other side to refuse it by, and is only counted.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from flowforge.model.load import from_data
from tests.acceptance.kit.sink import Call
from tests.support.sql import Sql

_STEPS = """
SELECT s.run_id::text, r.version_id, s.step_no, s.status::text, s.token, extract(epoch FROM s.finished_at)::float8
FROM steps s JOIN runs r ON r.id = s.run_id
"""
#: Seconds by which a time in the history may be too early: as old as the last answer that brought the server's clock.
LAG = 1.0
#: Step types that have an effect outside, and statuses of steps that have had theirs.
_ACTING, _DONE = ("http", "python"), ("completed", "compensated")


@dataclass(frozen=True, slots=True)
class Audit:
    """The result: what is wrong, and how often effects were repeated."""

    wrong: list[str]
    #: Calls, and steps they were for.
    calls: int
    effects: int
    #: Calls under an older token that came after their step was done.
    late: int

    @property
    def repeated(self) -> int:
        """Calls beyond the first of each step."""
        return self.calls - self.effects


def audit(sql: Sql, calls: Sequence[Call]) -> Audit:
    """Compare all calls of a world with its tables."""
    steps = _steps(sql)
    by_step: defaultdict[tuple[str, str], list[Call]] = defaultdict(list)
    for call in calls:
        by_step[call.run, call.step].append(call)
    wrong: list[str] = []
    late = 0
    for (run, step), found in by_step.items():
        if (run, step) not in steps:
            wrong.append(f"run {run}: {len(found)} calls of step {step!r}, which has no row")
            continue
        wrong += [f"run {run} step {step}: {line}" for line in _calls(run, step, found, steps[run, step])]
        late += _late(found, steps[run, step])
    wrong += [
        f"run {run}: step {step} has completed and nobody was called"
        for (run, step), (kind, status, *_) in steps.items()
        if kind in _ACTING and status in _DONE and (run, step) not in by_step
    ]
    return Audit(wrong, len(calls), len(by_step), late)


def _steps(sql: Sql) -> dict[tuple[str, str], tuple[Any, ...]]:
    """Return type, status, token and end of every step by run and id; those of items are in no table of steps."""
    rows = sql.rows("SELECT id, definition FROM workflow_versions")
    plans = {version: from_data(definition).plan for version, definition in rows}
    found: dict[tuple[str, str], tuple[Any, ...]] = {}
    for run, version, no, *rest in sql.rows(_STEPS):
        step = plans[version].steps[no]
        found[run, step.id] = (step.type, *rest)
    return found


def _calls(run: str, step: str, found: Sequence[Call], row: tuple[Any, ...]) -> Iterator[str]:
    _, status, token, finished_at = row
    if (keys := {call.key for call in found}) != {f"{run}:{step}"}:
        yield f"its calls have the keys {keys}"
    yield from (f"it called {call.path}" for call in found if _misplaced(call))
    yield from _tokens(found, token)
    if status in _DONE:
        for call in found:
            if call.token == token and call.at > finished_at + LAG:
                yield f"called {call.at - finished_at:.6f} s after it had completed, under its newest token"


def _tokens(found: Sequence[Call], newest: int) -> Iterator[str]:
    for token, times in Counter(call.token for call in found).items():
        if times > 1:
            yield f"token {token} was called with {times} times"
        if not 1 <= token <= newest:
            yield f"called with token {token}, the newest is {newest}"
    if len(found) > newest:
        yield f"{len(found)} calls after {newest} claims"


def _misplaced(call: Call) -> bool:
    """Say whether a path that ends in a step and a run names others than the call's key."""
    *_, step, last = call.path.split("/")
    return last == call.run and step != call.step


def _late(found: Sequence[Call], row: tuple[Any, ...]) -> int:
    _, status, token, finished_at = row
    return sum(call.token < token and call.at > finished_at for call in found) if status in _DONE else 0
