"""The compiled form of a workflow version: one kind of graph, with steps addressed by number.

A definition is written for people; a plan is made for the engine. Parallel steps are already children and a
join, implicit dependencies are edges, names are numbers, defaults are filled in, templates and expressions are
parsed. A plan is immutable and is cached by the version it was compiled from.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from typing import Any, Protocol

from flowforge.model.json import Json
from flowforge.model.retry import RetryPolicy


class Join(StrEnum):
    """What a step does when some of its dependencies were skipped (design.md section 4).

    - `auto`: skipped when every dependency that a conditional could have skipped was skipped, else runs.
    - `all`: one skipped dependency skips it.
    - `any`: one completed dependency is enough to run.
    """

    AUTO = "auto"
    ALL = "all"
    ANY = "any"


class OnError(StrEnum):
    """What a step's final failure does to its run.

    - `fail`: the run fails once what is running has finished.
    - `continue`: the step stays failed, its error is in the context, its successors run.
    - `skip`: the step counts as skipped by error handling; its successors run.
    """

    FAIL = "fail"
    CONTINUE = "continue"
    SKIP = "skip"


class OnLimit(StrEnum):
    """What a start does when the gate is full."""

    QUEUE = "queue"
    REJECT = "reject"
    CANCEL_OLDEST = "cancel_oldest"


@dataclass(frozen=True, slots=True)
class References:
    """What an expression or template reads from the context; all the engine has to load for it."""

    #: Whether it reads `input`.
    input: bool = False
    #: Ids of the steps whose output or error it reads.
    steps: frozenset[str] = frozenset()
    #: Names of the secrets it reads.
    secrets: frozenset[str] = frozenset()
    #: Whether it reads `run`.
    run: bool = False
    #: Whether it reads `item` or `index`: what a foreach repeats it for.
    item: bool = False

    def __or__(self, other: References) -> References:
        steps, secrets = self.steps | other.steps, self.secrets | other.secrets
        return References(self.input or other.input, steps, secrets, self.run or other.run, self.item or other.item)


class Expression(Protocol):
    """A parsed expression over the context; see flowforge.model.expression."""

    @property
    def source(self) -> str:
        """The text as written."""

    @property
    def references(self) -> References:
        """What it reads."""

    def evaluate(self, context: Mapping[str, Any]) -> Json:
        """Return its value, or raise ExpressionError quoting the expression."""


class Template(Protocol):
    """A JSON value whose strings may hold `{{ expression }}`; see flowforge.model.template."""

    @property
    def references(self) -> References:
        """What its expressions read."""

    def render(self, context: Mapping[str, Any]) -> Json:
        """Return the value with every expression evaluated, or raise ExpressionError."""


@dataclass(frozen=True, slots=True)
class Edge:
    """A dependency: step number *to* waits for step number *source* (the field that is not stored here)."""

    #: The other end: the successor in `StepPlan.successors`, the dependency in `StepPlan.dependencies`.
    step: int
    #: True when a conditional may leave this edge untaken: it counts as skipped unless the target was chosen.
    branch: bool = False
    #: True for an edge that only orders (an expression reads the dependency's output): never causes a skip.
    order_only: bool = False
    #: For a branch edge: the step in the conditional's `branches` that takes it. It is the edge's target, but for a
    #: branch that leads to a parallel step: its entry children have the edges, and this is the parallel step.
    leads_to: int | None = None


@dataclass(frozen=True, slots=True)
class StepPlan:
    """One node of the graph."""

    no: int
    #: As written; children of a parallel step are `<parent>.<child>`.
    id: str
    name: str
    type: str
    #: Rendered with the attempt's context to give the executor its configuration.
    config: Template
    #: Bare expressions of the configuration by key: `condition`, `expression`, `branches.0.when` …; these keys
    #: are not templates and must be taken from here.
    expressions: Mapping[str, Expression]
    dependencies: tuple[Edge, ...]
    successors: tuple[Edge, ...]
    join: Join
    #: How many non-order edges could be skipped by a conditional (join `auto` looks only at these).
    skippable_dependencies: int
    #: Whether this step itself can end up skipped by a conditional.
    skippable: bool
    #: For a conditional: label of the branch → number of the step it leads to (None: leads nowhere).
    branches: Mapping[str, int | None]
    #: Number of the parallel step this one is a child of, or of the foreach that repeats it.
    parent: int | None
    #: For a parallel step: the numbers of its children, in order, and whether it waits for all of them.
    children: tuple[int, ...]
    wait_for_all: bool
    #: For a parallel step: ids of the children whose own error handling takes care of their failures.
    handled: frozenset[str]
    retry: RetryPolicy
    #: Longest time of one attempt.
    timeout: timedelta
    on_error: OnError
    #: Name of the queue whose workers may execute it.
    queue: str
    #: What config and expressions read, as step numbers, and whether they read the run's input or the run itself.
    reads_input: bool
    reads_steps: tuple[int, ...]
    reads_run: bool
    reads_item: bool
    #: The steps that settling this one can touch, itself and its direct successors; None where skips can start, which
    #: travel further.
    touches: frozenset[int] | None
    #: Place in a topological order: of steps that completed at the same instant, the later one is undone first.
    rank: int = 0
    #: Number of the step that undoes this one.
    compensation: int | None = None
    #: Number of the step that this one undoes; such a step runs only while its run is compensating.
    compensates: int | None = None
    #: Whether it is executed again each time what it waits for has come, or its time has.
    wakes: bool = False
    #: How long such a step waits, if the step says so itself.
    waits: timedelta | None = None
    #: For a foreach: what it repeats.
    body: Body | None = None
    #: For a step that is repeated: the foreach, and the position of the item.
    foreach: int | None = None
    item: int | None = None
    #: What expressions call it, where that is not its id: repeated steps know each other without their item.
    alias: str | None = None

    @property
    def name_in_context(self) -> str:
        """The key of the step in what expressions see."""
        return self.alias or self.id

    @property
    def lane(self) -> str:
        """The stream its dispatches go through: python steps need a child process and have a lane of their own."""
        return f"{self.queue}.python" if self.type == "python" else self.queue


@dataclass(frozen=True, slots=True)
class Body:
    """What a foreach repeats for each item: a block of numbers, from *start* on, which are steps of a run like others.

    A block holds the repeated step, its children if it is a parallel step, and then the steps that undo them.
    """

    #: Number of the foreach.
    foreach: int
    #: The steps as they are before they belong to an item.
    templates: tuple[StepPlan, ...]
    start: int
    #: How many of the templates are steps; the others undo them.
    size: int
    #: Positions of the steps that nothing in the block comes before.
    entries: tuple[int, ...]
    #: Items that are worked on at the same time; None means all.
    max_parallel: int | None

    def number(self, item: int, position: int = 0) -> int:
        """Return the number of the step at a position of an item's block."""
        return self.start + item * len(self.templates) + position


#: Items of one foreach.
MAX_ITEMS = 10_000


@dataclass(frozen=True, slots=True)
class GatePlan:
    """The concurrency limit of a workflow: at most *limit* active runs per value of *key*."""

    limit: int
    #: Gives the gate's key from the run's input; None means one gate for the whole workflow.
    key: Template | None
    on_limit: OnLimit


@dataclass(frozen=True, slots=True)
class Plan:
    """A workflow version, ready to execute."""

    name: str
    #: SHA-256 of the canonical definition.
    digest: str
    #: The steps of every run, in the definition's order; position equals `StepPlan.no`. Numbers beyond them are steps
    #: that only some runs come to: what undoes a step, and what a foreach repeats (numbering.py).
    steps: Sequence[StepPlan]
    #: Steps without dependencies.
    entries: tuple[int, ...]
    #: Steps that nothing depends on: their outputs are the run's output unless *output* says otherwise.
    last: tuple[int, ...]
    #: Template of the run's output, and the step numbers and input it reads.
    output: Template | None
    output_reads_input: bool
    output_reads_steps: tuple[int, ...]
    #: Longest time of a whole run, from its admission.
    timeout: timedelta | None
    #: None: no limit.
    gate: GatePlan | None
    input_schema: Mapping[str, Any] | None
    numbers: Mapping[str, int] = field(repr=False)
    #: Whether any step can be undone, and whether that is done for a cancelled or timed-out run as well.
    compensates: bool = False
    compensates_on_cancel: bool = False
    #: Names of the signals that its steps wait for, None where a name is only known when the step runs; empty: none.
    signals: frozenset[str] | None = frozenset()
    #: Whether anything from outside can be kept for its steps: a signal, a decision.
    listens: bool = False
    #: Whether any of its steps starts a run.
    nests: bool = False
    #: Names of the secrets that any of its steps reads.
    secrets: frozenset[str] = frozenset()
    #: Fields of input and output that runs are found by.
    search: tuple[str, ...] = ()

    def step(self, step_id: str) -> StepPlan:
        """Return the step with this id; KeyError when there is none."""
        return self.steps[self.numbers[step_id]]

    def has(self, no: int) -> bool:
        """Say whether a run can have a step with this number."""
        try:
            self.steps[no]
        except IndexError:
            return False
        return no >= 0

    def find(self, step_id: str) -> int | None:
        """Return the number of the step with this id, of repeated steps and of those that undo others too."""
        found = self.numbers.get(step_id)
        match = None if found is not None else _ITEM.fullmatch(step_id)
        if match is None:
            return found
        template = self.numbers.get(f"{match[1]}[]{match[3]}")
        around = self.numbers.get(match[1])
        body = None if around is None else self.steps[around].body
        if template is None or body is None or int(match[2]) >= MAX_ITEMS:
            return None
        position = next(at for at, step in enumerate(body.templates) if step.no == template)
        return body.number(int(match[2]), position)


#: The id of a repeated step, or of one inside it.
_ITEM = re.compile(r"([^\[\]]+)\[([0-9]{1,5})\]([^\[\]]*)")
