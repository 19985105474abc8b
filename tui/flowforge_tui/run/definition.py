"""The definition that a run follows: its plan, its graph as rails, its text with line numbers."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping
from functools import cache, cached_property
from typing import Any, NamedTuple

from flowforge.errors import DefinitionError
from flowforge.model import rails
from flowforge.model.plan import Plan, StepPlan
from flowforge.model.rails import Rail

#: Lanes of the graph that are drawn beside the names; a wider graph is listed.
MOST_LANES = 8
UNDOING = ":compensate"

_ITEM = re.compile(r"\[[0-9]+\]")
_OUTER = re.compile(r"[^.\[]+")


class Code(NamedTuple):
    """A piece of the definition's text."""

    first: int
    lines: list[str]


class Definition:
    """One version of a workflow, as the store has it; *plan* is None where this release cannot read it."""

    def __init__(self, data: Mapping[str, Any], plan: Plan | None) -> None:
        self.data, self.plan = data, plan
        self._most: dict[str, int | None] = {}

    @classmethod
    def read(cls, data: Mapping[str, Any]) -> Definition:
        """Return a definition with its plan, if that can be made."""
        from flowforge.model.load import from_data

        try:
            made = cls(data, from_data(data).plan)
        except DefinitionError:
            made = cls(data, None)
        made.prepare()
        return made

    def step(self, step_id: str) -> StepPlan | None:
        """Return the plan of a step of any run: of items and of what undoes steps too."""
        no = None if self.plan is None else self.plan.find(step_id)
        return None if no is None or self.plan is None else self.plan.steps[no]

    def most_attempts(self, step_id: str) -> int | None:
        """Return how many attempts a step may have; items are not made for the question."""
        if step_id not in self._most:
            self._most[step_id] = self._most_attempts(step_id)
        return self._most[step_id]

    def _most_attempts(self, step_id: str) -> int | None:
        if self.plan is None:
            return None
        no = self.plan.numbers.get(_ITEM.sub("[]", step_id))
        step = self.step(step_id) if no is None else self.plan.steps[no]
        return None if step is None else step.retry.max_attempts

    @cached_property
    def dependencies(self) -> dict[str, list[str]]:
        """The ids of what each step waits for."""
        if self.plan is None:
            return {}
        steps = self.plan.steps
        return {step.id: [steps[edge.step].id for edge in step.dependencies] for step in steps}

    @cached_property
    def outline(self) -> list[tuple[str, Rail]]:
        """The steps that are inside nothing, in the order of the graph, with their rails."""
        return [] if self.plan is None else _outline(self.plan)

    @cached_property
    def _pieces(self) -> tuple[list[str], dict[str, Code]]:
        """The lines before the steps, and the lines of each step that is inside nothing."""
        keys = list(self.data)
        at_steps = keys.index("steps") if "steps" in keys else 0
        head = {key: self.data[key] for key in keys[:at_steps]}
        before = _yaml(head).splitlines() if head else []
        pieces: dict[str, Code] = {}
        at = len(before) + 2
        for step in self.data.get("steps", ()):
            lines = _yaml([step]).splitlines()
            pieces[step["id"]] = Code(at, lines)
            at += len(lines)
        return before, pieces

    def prepare(self) -> None:
        """Make what takes a while, away from where somebody waits for the screen."""
        _ = self.outline, self._pieces

    def code(self, step_id: str) -> Code | None:
        """Return the lines in which a step is defined, or what it is inside of."""
        outer = _OUTER.match(step_id.removesuffix(UNDOING))
        return None if outer is None else self._pieces[1].get(outer[0])


def _outline(plan: Plan) -> list[tuple[str, Rail]]:
    @cache
    def outer(no: int) -> int:
        around = plan.steps[no].parent
        return no if around is None else outer(around)

    after: dict[int, set[int]] = {step.no: set() for step in plan.steps if step.parent is None}
    for step in plan.steps:
        sources = {outer(edge.step) for edge in step.dependencies}
        after[outer(step.no)] |= sources - {outer(step.no)}
    found = rails.rows({no: sorted(sources) for no, sources in after.items()}, most=MOST_LANES)
    return [(plan.steps[rail.no].id, rail) for rail in found]


def _yaml(data: Any) -> str:
    from ruamel.yaml import YAML

    yaml = YAML(typ="safe", pure=True)
    yaml.default_flow_style = False
    yaml.sort_base_mapping_type_on_output = False  # type: ignore[assignment]
    yaml.allow_unicode = True
    yaml.width = 120
    text = io.StringIO()
    yaml.dump(data, text)
    return text.getvalue()
