"""The steps of a plan by number, those included that only some runs come to.

Every run has the steps that its definition lists; `len` and iteration give those. Behind them come the templates of
what is repeated, which no run has, then the steps that undo others, and then a block of numbers for each item that a
foreach may have. The steps of a block are made when they are first asked for.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import overload

from flowforge.model.plan import MAX_ITEMS, Body, Edge, StepPlan

#: Steps of items that are kept; more are made again when they are asked for.
KEPT = 50_000


class Steps(Sequence[StepPlan]):
    """All steps; *size* of the *fixed* ones belong to every run."""

    __slots__ = ("_bodies", "_fixed", "_made", "_size", "_starts")

    def __init__(self, fixed: Sequence[StepPlan], size: int, bodies: Sequence[Body]) -> None:
        self._fixed, self._size = tuple(fixed), size
        self._bodies = sorted(bodies, key=lambda body: body.start)
        self._starts = [body.start for body in self._bodies]
        self._made: dict[int, StepPlan] = {}

    def __len__(self) -> int:
        return self._size

    def __iter__(self) -> Iterator[StepPlan]:
        return iter(self._fixed[: self._size])

    @overload
    def __getitem__(self, no: int) -> StepPlan: ...
    @overload
    def __getitem__(self, no: slice) -> Sequence[StepPlan]: ...

    def __getitem__(self, no: int | slice) -> StepPlan | Sequence[StepPlan]:
        if isinstance(no, slice):
            return self._fixed[: self._size][no]
        if no < len(self._fixed):
            return self._fixed[no]
        made = self._made.get(no)
        if made is None:
            if len(self._made) >= KEPT:
                self._made.clear()
            made = self._made[no] = self._make(no)
        return made

    def _make(self, no: int) -> StepPlan:
        at = bisect_right(self._starts, no) - 1
        if at < 0:
            raise IndexError(no)
        body = self._bodies[at]
        item, position = divmod(no - body.start, len(body.templates))
        if item >= MAX_ITEMS:
            raise IndexError(no)
        return instance(body, item, position)


def instance(body: Body, item: int, position: int) -> StepPlan:
    """Return a repeated step as it is for one item."""
    template = body.templates[position]
    places = {step.no: at for at, step in enumerate(body.templates)}
    start = body.number(item)

    def moved(no: int) -> int:
        at = places.get(no)
        return no if at is None else start + at

    def _optional(no: int | None) -> int | None:
        return None if no is None else moved(no)

    def edges(given: Sequence[Edge]) -> tuple[Edge, ...]:
        return tuple(replace(edge, step=moved(edge.step), leads_to=_optional(edge.leads_to)) for edge in given)

    return replace(
        template,
        no=moved(template.no),
        id=template.id.replace("[]", f"[{item}]", 1),
        dependencies=edges(template.dependencies),
        successors=edges(template.successors),
        branches={label: _optional(no) for label, no in template.branches.items()},
        parent=_optional(template.parent),
        children=tuple(moved(no) for no in template.children),
        reads_steps=tuple(moved(no) for no in template.reads_steps),
        touches=None if template.touches is None else frozenset(moved(no) for no in template.touches),
        compensation=_optional(template.compensation),
        compensates=_optional(template.compensates),
        item=item,
        alias=template.id,
    )
