"""The rows of the table of steps: the graph's order, what stands inside what, what is folded. Pure.

Each step has one row and a key that never changes; what is inside a parallel step or a foreach stands below it and can
be folded into its row. What undoes steps comes last, in the order in which it began.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field

from flowforge.model.documents import Step
from flowforge.model.rails import Rail, ascii_only
from flowforge.model.status import StepStatus
from flowforge_tui.run.definition import UNDOING
from flowforge_tui.run.intervals import Interval, merged
from flowforge_tui.run.picture import Picture
from flowforge_tui.run.text import one_line

#: Children of a parallel step that are shown without being asked for.
FEW = 12

_INSIDE = re.compile(r"(.+?)(\[[0-9]+\]|\.[^.\[\]]+)$")


@dataclass(frozen=True, slots=True)
class Row:
    """One row: a step, and what stands around it."""

    key: str
    #: Lanes of the graph, with the step's mark in them.
    rail: str
    name: str
    step: Step
    #: Attempts that it may have; None where that means nothing.
    most: int | None
    #: How deep it is inside others.
    depth: int = 0
    #: How many steps are inside, how many of them are over, and how many have failed.
    inside: int = 0
    over: int = 0
    failed: int = 0
    #: Whether anything inside has begun.
    begun: bool = False
    open: bool = False
    critical: bool = False
    #: Why nothing happened yet, or at all.
    note: str = ""
    intervals: list[Interval] = field(default_factory=list)

    @property
    def status(self) -> str:
        """The word for where it stands: a wait for the next attempt has one of its own, what goes on inside counts."""
        status = self.step.status.value
        if status == "waiting" and self.step.error is not None:
            return "retrying"
        return "running" if status == "pending" and self.begun else status


def build(
    picture: Picture, toggled: Collection[str] = (), *, failures: bool = False, unicode: bool = True
) -> list[Row]:
    """Return the rows; *toggled* are the keys whose inside is not as it is at first, folded or open."""
    layout = _Layout(picture, toggled)
    if failures:
        troubled = [step for step in picture.steps.values() if _troubled(step)]
        return [layout.row(step, "", 0) for step in troubled]
    rows: list[Row] = []
    for step_id, mark, below in _rails(picture, unicode=unicode):
        step = picture.steps.get(step_id)
        if step is not None:
            rows += layout.with_inside(step, mark, below)
    mark = "↺" if unicode else "<"
    return rows + [layout.row(step, mark, 0) for step in picture.run.compensation.steps]


def _troubled(step: Step) -> bool:
    return step.status.value == "failed" or step.error is not None or step.attempts > 1


def _rails(picture: Picture, *, unicode: bool) -> list[tuple[str, str, str]]:
    """The steps that are inside nothing, each with what stands left of it and of what is below it."""
    outline = picture.definition.outline
    if not outline:
        outline = [(step, Rail(0, "●", " ")) for step in picture.steps if not step.endswith(UNDOING)]
    if unicode:
        return [(step, rail.mark, rail.below) for step, rail in outline]
    return [(step, ascii_only(rail.mark), ascii_only(rail.below)) for step, rail in outline]


class _Layout:
    """Puts steps in rows."""

    def __init__(self, picture: Picture, toggled: Collection[str]) -> None:
        self.picture, self.toggled = picture, toggled
        self.inside: dict[str, list[Step]] = {}
        for step in picture.run.steps or ():
            around = _INSIDE.match(step.id)
            if around is not None and around[1] in picture.steps:
                self.inside.setdefault(around[1], []).append(step)

    def with_inside(self, step: Step, rail: str, below: str, depth: int = 0) -> Iterator[Row]:
        children = self.inside.get(step.id, ())
        few = step.type != "foreach" and len(children) <= FEW
        shown = bool(children) and few != (step.id in self.toggled)
        yield self.row(step, rail, depth, shown=shown)
        for child in children if shown else ():
            yield from self.with_inside(child, below, below, depth + 1)

    def row(self, step: Step, rail: str, depth: int, *, shown: bool = False) -> Row:
        children = self.inside.get(step.id)
        within = [] if shown or not children else list(self._below(step.id))
        counts = Counter(child.status.value for child in children) if children else _NONE
        own = self.picture.intervals.get(step.id, [])
        others = [one for child in within for one in self.picture.intervals.get(child.id, ())]
        return Row(
            step.id,
            rail,
            step.id if depth == 0 else _last_part(step.id),
            step,
            self._most(step),
            depth,
            inside=max(sum(counts.values()), _items(step)),
            over=sum(count for status, count in counts.items() if status not in _OPEN),
            failed=counts["failed"],
            begun=any(status not in ("pending", "queued") for status in counts),
            open=shown,
            critical=step.id in self.picture.critical,
            note="" if own or children else self._note(step),
            intervals=merged([*own, *others]) if others else own,
        )

    def _below(self, step_id: str) -> Iterator[Step]:
        for child in self.inside.get(step_id, ()):
            yield child
            yield from self._below(child.id)

    def _most(self, step: Step) -> int | None:
        return self.picture.definition.most_attempts(step.id) if step.attempts else None

    def _note(self, step: Step) -> str:
        """Say why a step was not executed."""
        if step.status is StepStatus.SKIPPED:
            return "not taken"
        before = [self.picture.steps[one] for one in self._before(step) if one in self.picture.steps]
        if stopped := [one.id for one in before if one.status in (StepStatus.FAILED, StepStatus.CANCELLED)]:
            return f"blocked by {one_line(stopped[0])}"
        waited_for = [one.id for one in before if not one.status.final]
        return f"after {one_line(', '.join(waited_for))}" if waited_for else ""

    def _before(self, step: Step) -> Sequence[str]:
        return self.picture.definition.dependencies.get(step.id, ())


def _items(step: Step) -> int:
    """How many items a step has, of which only some may have begun."""
    return int((step.waits_for or {}).get("items") or 0)


_NONE: Counter[str] = Counter()
_OPEN = frozenset({"pending", "queued", "running", "waiting"})


def _last_part(step_id: str) -> str:
    around = _INSIDE.match(step_id)
    return step_id if around is None else around[2].removeprefix(".")
