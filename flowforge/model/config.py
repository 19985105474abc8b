"""The configuration of each step type, as far as a definition can be checked before it runs.

Values may be templates wherever the step reads a value, so a string that holds `{{` is taken for anything.
"""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import Annotated, Any, ClassVar, Literal, TypeAlias

from pydantic import BeforeValidator, ConfigDict, Field, TypeAdapter, field_validator, model_validator

from flowforge.model import duration
from flowforge.model.settings import RetrySettings, Settings, Whole

HTTP_METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS")


class StepConfig(Settings):
    """What every known configuration may hold: the source documents put retries here."""

    #: Keys that are bare expressions, not templates.
    EXPRESSIONS: ClassVar[frozenset[str]] = frozenset()
    #: Keys that the plan takes up; executors do not see them.
    TAKEN: ClassVar[frozenset[str]] = frozenset({"retry"})
    #: Whether the step is executed again each time what it waits for has come.
    WAKES: ClassVar[bool] = False

    retry: RetrySettings | None = Field(None, description="The same as the step's own retry.")


def holds_template(value: Any) -> bool:
    """Say whether *value* is only known when the step runs."""
    return isinstance(value, str) and "{{" in value


def _seconds(value: Any) -> Any:
    """The source document's timeout of an http request: a number is seconds."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        value = value * 1_000
    return duration.parse(value)


class HttpConfig(StepConfig):
    """An HTTP request."""

    TAKEN = frozenset({"retry", "timeout"})

    url: str = Field(min_length=1, description="Absolute http or https address.")
    method: str = Field("GET", description="GET, POST, PUT, PATCH, DELETE, HEAD or OPTIONS.")
    query: dict[str, Any] | str | None = Field(None, description="Query parameters.")
    headers: dict[str, Any] | str | None = Field(None, description="Request headers.")
    body: Any = Field(None, description="A mapping or list is sent as JSON, text as it is.")
    #: `json` in a definition; pydantic has a method of that name.
    json_body: Any = Field(None, alias="json", description="A body that is sent as JSON whatever it is.")
    form: dict[str, Any] | str | None = Field(None, description="Fields of a form.")
    text: Any = Field(None, description="A body that is sent as plain text.")
    expect: int | str | list[int | str] | dict[str, Any] | None = Field(
        None, description="Statuses that count as success, such as 200 or 2xx; any 2xx without it."
    )
    max_bytes: int | str | None = Field(None, description="Largest response that is read.")
    max_redirects: int | str | None = Field(None, description="Redirects that are followed.")
    timeout: Any = Field(None, description="Time for the request; a number is seconds.")

    @model_validator(mode="after")
    def _one_body(self) -> HttpConfig:
        given = {"body": self.body, "json": self.json_body, "form": self.form, "text": self.text}
        names = [name for name, value in given.items() if value is not None]
        if len(names) > 1:
            raise ValueError(f"a request has one body, give only one of {', '.join(names)}")
        return self

    @field_validator("method")
    @classmethod
    def _method(cls, value: str) -> str:
        if not holds_template(value) and value.upper() not in HTTP_METHODS:
            raise ValueError(f"'{value}' is not an HTTP method")
        return value if holds_template(value) else value.upper()

    @field_validator("url")
    @classmethod
    def _url(cls, value: str) -> str:
        if not value.startswith("{{") and not re.match(r"https?://|\$\{\{", value, re.IGNORECASE):
            raise ValueError("the url must begin with http:// or https://")
        return value

    @field_validator("timeout")
    @classmethod
    def _timeout(cls, value: Any) -> Any:
        parsed = None if value is None else _seconds(value)
        if parsed is not None and not parsed:
            raise ValueError("the timeout must be at least a millisecond")
        return None if parsed is None else duration.text(parsed)


class DelayConfig(StepConfig):
    """A wait: for a duration, or until a time."""

    duration: Any = Field(None, description="How long; a number is milliseconds.")
    until: str | None = Field(None, description="A point in time, ISO 8601 with an offset.")

    @field_validator("duration")
    @classmethod
    def _duration(cls, value: Any) -> Any:
        if value is not None and not holds_template(value):
            duration.parse(value)
        return value

    @field_validator("until")
    @classmethod
    def _until(cls, value: str | None) -> str | None:
        if value is not None and not holds_template(value):
            try:
                moment = datetime.fromisoformat(value)
            except ValueError:
                raise ValueError(f"'{value}' is not an ISO 8601 time") from None
            if moment.tzinfo is None:
                raise ValueError("the time needs an offset, such as Z or +02:00")
        return value

    @model_validator(mode="after")
    def _one(self) -> DelayConfig:
        if (self.duration is None) == (self.until is None):
            raise ValueError("a delay needs either 'duration' or 'until'")
        return self


def _target(value: Any) -> Any:
    """A branch may be written as the bare id of its target."""
    return {"target_step": value} if isinstance(value, str) or value is None else value


class Target(Settings):
    """Where a branch leads; nowhere when there is no target."""

    target_step: str | None = Field(None, description="Id of the step that runs when this branch is taken.")


class Branch(Target):
    """One of several branches; the first whose `when` holds is taken."""

    when: str | bool | None = Field(None, description="Expression; a branch without it is taken otherwise.")


def _branch_names(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key).lower() if isinstance(key, bool) else key: entry for key, entry in value.items()}
    return value


BranchMap: TypeAlias = dict[Literal["true", "false"], Annotated[Target, BeforeValidator(_target)]]
BranchList: TypeAlias = list[Branch]


class ConditionalConfig(StepConfig):
    """A choice between branches: one condition with `true` and `false`, or a list with `when`."""

    EXPRESSIONS = frozenset({"condition"})

    condition: str | bool | None = Field(None, description="Expression that chooses between true and false.")
    branches: BranchMap | BranchList = Field(description="Where each outcome leads.")

    @field_validator("branches", mode="wrap")
    @classmethod
    def _shape(cls, value: Any, _handler: Any) -> Any:
        """Validate one shape only, so that errors speak of the shape that was meant."""
        value = _branch_names(value)
        if not isinstance(value, dict | list) or not value:
            raise ValueError("branches are a mapping of true and false, or a list with 'when' and 'target_step'")
        return (_BRANCH_MAP if isinstance(value, dict) else _BRANCH_LIST).validate_python(value, strict=True)

    @model_validator(mode="after")
    def _consistent(self) -> ConditionalConfig:
        if isinstance(self.branches, list):
            if self.condition is not None:
                raise ValueError("a list of branches has its conditions in 'when', it takes no 'condition'")
            if any(branch.when is None for branch in self.branches[:-1]):
                raise ValueError("only the last branch of a list may have no 'when'")
        elif self.condition is None or self.condition == "":
            raise ValueError("a conditional needs a 'condition'")
        return self


_BRANCH_MAP: TypeAdapter[BranchMap] = TypeAdapter(BranchMap)
_BRANCH_LIST: TypeAdapter[BranchList] = TypeAdapter(BranchList)


class TransformConfig(StepConfig):
    """A value computed from the context."""

    EXPRESSIONS = frozenset({"expression"})

    expression: str = Field(min_length=1, description="Expression that gives the value.")
    output_key: str = Field("result", min_length=1, max_length=100, description="The key of the value in the output.")


class PythonConfig(StepConfig):
    """A call of a Python function in a child process."""

    function: str = Field(
        pattern=r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*(\.[A-Za-z_]\w*)*$",
        description="module:function, importable by the worker.",
    )
    args: dict[str, Any] | list[Any] | str = Field(
        default_factory=dict, description="Arguments by name, or by position."
    )


class OpenConfig(StepConfig):
    """A configuration that may hold more than is known here."""

    model_config = ConfigDict(extra="allow")


class AgentConfig(OpenConfig):
    """A question to an AI agent."""

    agent_id: str = Field(min_length=1, description="The agent to ask, by its id in the settings of workers.")
    input: Any = Field(None, description="What the agent is given: text, or any value, which is sent as JSON.")
    prompt: Any = Field(None, description="The same as input.")
    messages: list[Any] | str | None = Field(None, description="A whole conversation instead: role and content.")
    system: str | None = Field(None, description="System message instead of the agent's own.")
    parameters: dict[str, Any] | str | None = Field(None, description="Parameters of the request: temperature …")
    output_schema: dict[str, Any] | str | None = Field(None, description="JSON Schema that the answer must fulfil.")
    max_bytes: int | str | None = Field(None, description="Largest answer that is read.")

    @model_validator(mode="after")
    def _one_question(self) -> AgentConfig:
        given = {"input": self.input, "prompt": self.prompt, "messages": self.messages}
        names = [name for name, value in given.items() if value not in (None, "", [], {})]
        if not names:
            raise ValueError("an agent needs an 'input' that is not empty, or 'messages'")
        if len(names) > 1:
            raise ValueError(f"an agent is asked one thing, give only one of {', '.join(names)}")
        return self


class NotificationConfig(OpenConfig):
    """A message to people."""

    targets: list[Any] | str | None = Field(None, description="Whom to tell, by the names in the settings of workers.")
    title: Any = Field(None, description="One line.")
    body: Any = Field(None, description="The message; a value that is no text is sent as JSON.")
    format: str | None = Field(None, description="text, markdown or html.")
    severity: str | None = Field(None, description="info, success, warning or failure.")
    require: str | None = Field(None, description="all: every target must have it; any: one is enough.")


def _wait(value: Any) -> Any:
    """Check a duration as far as it is known before the step runs."""
    if value is not None and not holds_template(value) and duration.parse(value) <= timedelta(0):
        raise ValueError("the duration must be at least a millisecond")
    return value


#: How long something is waited for; a number is milliseconds.
Wait = Annotated[Any, BeforeValidator(_wait)]


def _several(value: Any) -> Any:
    return [value] if isinstance(value, str) else list(value) if isinstance(value, tuple) else value


#: One name, or several.
Several = Annotated[list[str], BeforeValidator(_several)]


class Escalation(Settings):
    """What happens when nobody decided for a while."""

    after: Wait = Field(description="How long the first ones have.")
    approvers: Several = Field(default_factory=list, description="Who may decide from then on, beside the others.")
    notify: Several = Field(default_factory=list, description="Names of the targets that are told.")


class ApprovalConfig(StepConfig):
    """A wait for the decision of one or several people."""

    WAKES = True

    prompt: str = Field(min_length=1, description="What is asked.")
    details: Any = Field(None, description="What they need to know to decide.")
    approvers: Several = Field(
        default_factory=list, description="Who may decide: users, or groups of the settings; anybody without it."
    )
    required: Whole | str = Field(1, description="How many have to approve; `all`: each approver.")
    timeout: Wait = Field(None, description="How long to wait.")
    on_timeout: Literal["fail", "approve", "reject"] = Field("fail", description="What counts when nobody decided.")
    escalate: Escalation | None = Field(None, description="Who else is asked, and when.")
    notify: Several = Field(default_factory=list, description="Names of the targets that are told of the request.")

    @field_validator("required", mode="before")
    @classmethod
    def _count(cls, value: Any) -> Any:
        if isinstance(value, int | float) and not isinstance(value, bool) and not 1 <= value <= MAX_APPROVALS:
            raise ValueError(f"must be between 1 and {MAX_APPROVALS}")
        if isinstance(value, str) and value != "all" and not holds_template(value):
            raise ValueError(f"must be a number or 'all', not '{value}'")
        return value

    @model_validator(mode="after")
    def _enough(self) -> ApprovalConfig:
        if self.required == "all" and not self.approvers:
            raise ValueError("'required: all' needs 'approvers'")
        return self


#: People who have to approve one step.
MAX_APPROVALS = 100


class WaitSignalConfig(StepConfig):
    """A wait for a signal from outside."""

    WAKES = True

    name: str | None = Field(
        None, min_length=1, max_length=200, description="The signal's name; the step's id without."
    )
    timeout: Wait = Field(None, description="How long to wait.")
    on_timeout: Literal["fail", "continue"] = Field("fail", description="What follows when no signal came.")
    default: Any = Field(None, description="The payload when no signal came and the run goes on.")


class WorkflowConfig(StepConfig):
    """A run of another workflow, whose outcome is the step's."""

    WAKES = True

    name: str = Field(min_length=1, max_length=120, description="The workflow; name@version pins its version.")
    version: Whole | str | None = Field(None, description="Its version; the newest when the step starts without it.")
    input: Any = Field(None, description="What the run is given.")
    labels: dict[str, Any] = Field(default_factory=dict, description="Labels of the run.")

    @field_validator("name")
    @classmethod
    def _pinned(cls, value: str) -> str:
        name, at, number = value.partition("@")
        if at and not holds_template(value) and not (name and number.isdecimal()):
            raise ValueError(f"'{value}' is not name@version: the version is a number")
        return value

    @model_validator(mode="after")
    def _one_version(self) -> WorkflowConfig:
        if "@" in self.name and not holds_template(self.name) and self.version is not None:
            raise ValueError("'name' and 'version' both give a version, give only one")
        return self


#: The configuration of every step type of FlowForge but `parallel` and `foreach`, which hold steps themselves.
CONFIGS: dict[str, type[StepConfig]] = {
    "http": HttpConfig,
    "delay": DelayConfig,
    "conditional": ConditionalConfig,
    "transform": TransformConfig,
    "python": PythonConfig,
    "agent": AgentConfig,
    "notification": NotificationConfig,
    "approval": ApprovalConfig,
    "wait_signal": WaitSignalConfig,
    "workflow": WorkflowConfig,
}
