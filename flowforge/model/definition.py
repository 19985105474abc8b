"""A workflow as people write it: strict, frozen models that YAML, JSON and Python all build.

The models say what one part may hold; whether the parts fit together is the compiler's business.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field, SerializeAsAny, field_validator, model_validator
from pydantic_core import PydanticCustomError

from flowforge.model.config import CONFIGS, OpenConfig, StepConfig
from flowforge.model.keys import FIELD, MAX_FIELDS
from flowforge.model.plan import MAX_ITEMS
from flowforge.model.settings import Duration, ErrorHandling, Queue, RetrySettings, Settings, Timeout, Whole

#: Steps of one workflow, children of parallel steps included.
MAX_STEPS = 20_000
#: Largest limit of a gate.
MAX_LIMIT = 1_000_000

#: How a step may be called.
StepId = Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_-]*$", max_length=200)]


#: The path of a field of input or output.
SearchField = Annotated[str, Field(pattern=f"^{FIELD.pattern}$", max_length=200)]


def _listed(value: Any) -> Any:
    if isinstance(value, str):
        return (value,)
    return tuple(value) if isinstance(value, list) else () if value is None else value


class OpaqueConfig(OpenConfig):
    """The configuration of a step type that another package brings; it is not looked into."""

    TAKEN = frozenset()

    retry: Any = None


#: Types that only make sense in the graph.
_IN_GRAPH = frozenset({"parallel", "foreach", "conditional"})


class Action(Settings):
    """What undoes a step, executed like one."""

    type: str = Field(min_length=1, max_length=100, description="Step type.")
    config: SerializeAsAny[StepConfig] = Field(default_factory=OpaqueConfig, description="As the type demands.")
    name: str | None = Field(None, min_length=1, max_length=100, description="For people.")
    retry: RetrySettings | None = Field(None, description="When it is tried again.")
    timeout: Timeout | None = Field(None, description="Longest time of one attempt.")
    queue: Queue | None = Field(None, description="Which workers may execute it; those of the step without it.")

    @field_validator("type")
    @classmethod
    def _type(cls, value: str) -> str:
        if value in _IN_GRAPH:
            raise ValueError(f"a step cannot be undone by a step of type '{value}'")
        return value

    @field_validator("config", mode="wrap")
    @classmethod
    def _config(cls, value: Any, _handler: Any, info: Any) -> Any:
        return typed_config(info.data.get("type"), value)

    @model_validator(mode="before")
    @classmethod
    def _default_config(cls, data: Any) -> Any:
        return {**data, "config": {}} if isinstance(data, dict) and data.get("config") is None else data


class Step(Settings):
    """One named unit of a workflow."""

    id: StepId = Field(description="Unique among its siblings; names the step in expressions.")
    name: str = Field("", max_length=100, description="For people; the id when not given.")
    type: str = Field(min_length=1, max_length=100, description="What the step does.")
    config: SerializeAsAny[StepConfig] = Field(default_factory=OpaqueConfig, description="As the type demands.")
    depends_on: Annotated[tuple[str, ...], BeforeValidator(_listed)] = Field(
        (), description="Ids of the steps that must be finished before this one."
    )
    join: Literal["auto", "all", "any"] | None = Field(None, description="What skipped dependencies mean.")
    retry: RetrySettings | None = Field(None, description="When a failed attempt is followed by another.")
    timeout: Timeout | None = Field(None, description="Longest time of one attempt.")
    on_error: Literal["fail", "continue", "skip", "retry"] | None = Field(
        None, description="What its failure does to the run; `retry` is `fail` after the retries."
    )
    error_handling: ErrorHandling | None = Field(None, description="The same, as the source document spells it.")
    queue: Queue | None = Field(None, description="Which workers may execute it.")
    compensate: Action | None = Field(None, description="How to undo it when the run fails later.")
    description: str | None = Field(None, max_length=2_000, description="For people.")

    if TYPE_CHECKING:
        # Validators take plain data in place of models; a checker would insist on the fields' own types.
        def __init__(self, **data: Any) -> None: ...

    @model_validator(mode="before")
    @classmethod
    def _defaults(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        missing: dict[str, Any] = {}
        if data.get("config") is None:
            missing["config"] = {}
        if data.get("name") is None and isinstance(data.get("id"), str):
            missing["name"] = data["id"]
        return {**data, **missing} if missing else data

    @field_validator("name")
    @classmethod
    def _name(cls, value: str) -> str:
        if not value:
            raise ValueError("the name is empty")
        return value

    @field_validator("config", mode="wrap")
    @classmethod
    def _config(cls, value: Any, _handler: Any, info: Any) -> Any:
        return typed_config(info.data.get("type"), value)


class ParallelConfig(StepConfig):
    """Steps that run side by side."""

    TAKEN: ClassVar[frozenset[str]] = frozenset({"retry", "steps"})

    steps: tuple[Step, ...] = Field(min_length=1, description="The children; ids default to their position.")
    wait_for_all: bool = Field(default=True, description="Whether one failure waits for the others.")

    @field_validator("steps", mode="before")
    @classmethod
    def _ids(cls, value: Any) -> Any:
        return _numbered(value)


class ForeachConfig(StepConfig):
    """One step, or several, repeated for each item of a list."""

    TAKEN: ClassVar[frozenset[str]] = frozenset({"retry", "step", "steps"})
    EXPRESSIONS: ClassVar[frozenset[str]] = frozenset({"items"})
    WAKES: ClassVar[bool] = True

    items: str | list[Any] = Field(description="Expression that gives the list, or the list; at most 10,000 items.")
    max_parallel: Whole | None = Field(
        None, ge=1, le=MAX_ITEMS, description="Items that are worked on at the same time; all without it."
    )
    step: Step | None = Field(None, description="What is done with each item.")
    steps: tuple[Step, ...] | None = Field(
        None, min_length=1, description="Several steps for each item, as a parallel."
    )
    wait_for_all: bool = Field(default=True, description="Whether one failure waits for the other items.")

    @field_validator("items", mode="before")
    @classmethod
    def _list(cls, value: Any) -> Any:
        if not isinstance(value, str | list):
            raise ValueError("must be an expression that gives a list, or a list")  # noqa: TRY004 - pydantic takes ValueErrors only
        return value

    @field_validator("step", mode="before")
    @classmethod
    def _id(cls, value: Any) -> Any:
        return {**value, "id": "item"} if isinstance(value, dict) and value.get("id") is None else value

    @field_validator("steps", mode="before")
    @classmethod
    def _ids(cls, value: Any) -> Any:
        return _numbered(value)

    @model_validator(mode="after")
    def _one(self) -> ForeachConfig:
        if (self.step is None) == (self.steps is None):
            raise ValueError("a foreach needs either 'step' or 'steps'")
        if isinstance(self.items, list) and len(self.items) > MAX_ITEMS:
            raise ValueError(f"a foreach has at most {MAX_ITEMS:,} items")
        return self

    @property
    def repeated(self) -> Step:
        """What is done with each item, as one step."""
        if self.step is not None:
            return self.step
        return Step(id="item", type="parallel", config=ParallelConfig(steps=self.steps or ()))


def _numbered(value: Any) -> Any:
    """Give steps that have no id their position."""
    if not isinstance(value, list | tuple):
        return value
    return tuple(
        {**child, "id": str(no)} if isinstance(child, dict) and child.get("id") is None else child
        for no, child in enumerate(value)
    )


#: Every step type that FlowForge itself knows.
STEP_TYPES: dict[str, type[StepConfig]] = {**CONFIGS, "parallel": ParallelConfig, "foreach": ForeachConfig}


def typed_config(step_type: Any, value: Any) -> StepConfig:
    """Validate a configuration by its step type; a type that is not ours is not looked into."""
    model = STEP_TYPES.get(step_type, OpaqueConfig) if isinstance(step_type, str) else OpaqueConfig
    if isinstance(value, StepConfig) and not isinstance(value, model):
        value = value.model_dump(by_alias=True, exclude_unset=True)
    if not isinstance(value, dict | StepConfig):
        raise PydanticCustomError("dict_type", "must be a mapping")
    return model.model_validate(value)


class GateSettings(Settings):
    """How many runs of the workflow may be active at once."""

    limit: Whole | Literal["unlimited"] | None = Field(100, description="null or unlimited: no limit.")
    key: str | None = Field(None, description="Template over the input; each value has a limit of its own.")
    on_limit: Literal["queue", "reject", "cancel_oldest"] = Field("queue", description="What a start does when full.")

    @field_validator("limit")
    @classmethod
    def _limit(cls, value: Any) -> Any:
        if isinstance(value, int) and not 1 <= value <= MAX_LIMIT:
            raise ValueError("the limit must be between 1 and 1,000,000, or null")
        return None if value == "unlimited" else value


class Trigger(Settings):
    """What starts runs."""

    type: Literal["manual", "schedule", "webhook", "event"] = Field("manual", description="Kind of trigger.")
    config: dict[str, Any] = Field(default_factory=dict, description="As the kind demands.")


class Workflow(Settings):
    """A definition."""

    name: str = Field(min_length=3, max_length=100, description="Workflow name.")
    description: str | None = Field(None, max_length=2_000, description="Workflow description.")
    version: Whole | None = Field(
        None, ge=1, description="The author's number; published versions count by themselves."
    )
    triggers: tuple[Trigger, ...] = Field((), description="What starts runs.")
    input_schema: dict[str, Any] | None = Field(None, description="JSON Schema of the input, checked at start.")
    concurrency: GateSettings | None = Field(None, description="Limit of active runs; 100 when not given.")
    timeout: Timeout | None = Field(None, description="Longest time of a whole run.")
    error_handling: ErrorHandling | None = Field(None, description="Default for all steps.")
    retry: RetrySettings | None = Field(None, description="Default for all steps.")
    queue: Queue | None = Field(None, description="Default for all steps.")
    labels: dict[str, str] = Field(default_factory=dict, description="Labels of every run.")
    search: tuple[SearchField, ...] = Field(
        (), max_length=MAX_FIELDS, description="Fields of input and output that runs are found by: input.customer."
    )
    secrets: dict[str, str] | tuple[str, ...] | None = Field(None, description="Secrets that the steps read.")
    on_cancel: Literal["compensate", "stop"] = Field(
        "stop", description="Whether a run that is cancelled, or out of time, undoes what it did."
    )
    output: Any = Field(None, description="Template of the run's output; the last steps' outputs without it.")
    steps: tuple[Step, ...] = Field(min_length=1, description="The graph.")

    if TYPE_CHECKING:
        # As in Step.
        def __init__(self, **data: Any) -> None: ...

    @field_validator("triggers", "steps", mode="before")
    @classmethod
    def _tuples(cls, value: Any) -> Any:
        return tuple(value) if isinstance(value, list) else value

    @field_validator("secrets", "search", mode="before")
    @classmethod
    def _secrets(cls, value: Any) -> Any:
        return tuple(value) if isinstance(value, list) else value

    @field_validator("concurrency", mode="before")
    @classmethod
    def _limit_alone(cls, value: Any) -> Any:
        """`concurrency: 5` is short for `concurrency: {limit: 5}`."""
        whole = isinstance(value, int) and not isinstance(value, bool)
        return {"limit": value} if whole or value == "unlimited" else value


__all__ = [
    "MAX_STEPS",
    "STEP_TYPES",
    "Action",
    "Duration",
    "ErrorHandling",
    "ForeachConfig",
    "GateSettings",
    "ParallelConfig",
    "RetrySettings",
    "Step",
    "StepConfig",
    "Trigger",
    "Workflow",
    "typed_config",
]
