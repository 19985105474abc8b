"""What happens in a simulation, as whoever asks for it says, and the troupe that plays it.

What a script leaves open is computed where that has no effect, taken from a recorded run where there is one, and else
assumed to work, and said to be assumed: an expression over what is assumed proves nothing.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from flowforge.client.rehearsing import recorded
from flowforge.client.stage import Played, Stage
from flowforge.errors import ExpressionError, UsageError
from flowforge.model.diagnostics import closest
from flowforge.model.documents import Run, Step
from flowforge.model.facts import Decided, Fact, SignalSent
from flowforge.model.json import encode
from flowforge.model.outcome import Completed, Failed, Outcome, StepError
from flowforge.model.plan import Plan, StepPlan
from flowforge.model.state import StepState
from flowforge.model.waiting import ASKED
from flowforge.steps import secrets
from flowforge.steps.failures import ConfigError, expression_failed, rendered, timed_out
from flowforge.steps.redaction import redact

#: Types that a simulation computes itself: they have no effect.
COMPUTED = frozenset({"approval", "conditional", "delay", "foreach", "parallel", "transform", "wait_signal"})
#: What a step with an effect gives when nobody says: enough for what follows to find what it looks for.
ASSUMED: Mapping[str, Any] = {
    "agent": {"output": None, "text": "", "model": None, "finish_reason": "stop", "usage": {}},
    "http": {"status_code": 200, "headers": {}, "body": None},
    "notification": {},
    "workflow": {"run_id": None, "workflow": None, "version": None, "output": None},
}
#: A stub: the output itself, or a function of the configuration that gives it.
Stub = Any
#: Who decides and sends signals in a simulation.
ACTOR = "simulation"
_ITEM = re.compile(r"\[\d+\]")


@dataclass(frozen=True, slots=True)
class Failure:
    """The first attempts of a step fail."""

    #: None: all of them.
    times: int | None
    #: None: an error that the step's retries are meant for.
    code: str | None = None


@dataclass(frozen=True, slots=True)
class Script:
    """What happens in a simulation. Steps are named by id; `lines[]` means each item of the foreach `lines`."""

    stubs: Mapping[str, Stub] = field(default_factory=dict)
    failures: Mapping[str, Failure] = field(default_factory=dict)
    #: How long an attempt takes; nothing unless said or recorded.
    takes: Mapping[str, timedelta] = field(default_factory=dict)
    #: Whether approvals are given, by step.
    decisions: Mapping[str, bool] = field(default_factory=dict)
    #: (name, payload), in the order in which they come.
    signals: Sequence[tuple[str, Any]] = ()
    #: What steps came to in it stands in for what is not said.
    run: Run | None = None

    @classmethod
    def of(cls, *, failures: Mapping[str, Failure | int] | None = None, **said: Any) -> Script:
        """Make a script of its parts; a failure may be the number of attempts that fail."""
        given = (failures or {}).items()
        return cls(failures={name: Failure(one) if isinstance(one, int) else one for name, one in given}, **said)

    def check(self, plan: Plan) -> None:
        """Raise UsageError for what the workflow does not have."""
        for names in (self.stubs, self.failures, self.takes, self.decisions):
            for name in names:
                _known(plan, name)
        for name in self.decisions:
            step = _known(plan, name)
            if step is not None and step.type != "approval":
                raise UsageError(f"step '{name}' is of type {step.type}: only approvals are decided")
        for name, _ in self.signals:
            if plan.signals is not None and name not in plan.signals:
                known = ", ".join(sorted(plan.signals)) or "none"
                raise UsageError(f"no step waits for the signal '{name}'", hint=f"signals of the workflow: {known}")


def _known(plan: Plan, name: str) -> StepPlan | None:
    """Return the step that a script names, None for each item of a foreach; UsageError when there is none."""
    no = plan.find(name)
    if no is not None:
        return plan.steps[no]
    if name in plan.numbers or _ITEM.sub("[]", name) in plan.numbers:
        return None
    ids = [step.id for step in plan.steps]
    meant = closest(name, ids)
    raise UsageError(
        f"workflow '{plan.name}' has no step '{name}'",
        hint=f"did you mean '{meant}'?" if meant else f"it has: {', '.join(ids[:20])}",
    )


class Troupe:
    """Plays a script."""

    def __init__(self, script: Script) -> None:
        self._script = script
        self._signals = list(script.signals)
        self._recorded: dict[str, Step] = {}
        if script.run is not None:
            self._recorded = {step.id: step for step in (*(script.run.steps or ()), *script.run.compensation.steps)}
        #: What the last attempt of each step would have been given, and what is to be known about it.
        self.configs: dict[int, Any] = {}
        self.notes: dict[int, dict[str, None]] = {}

    def play(self, stage: Stage, step: StepPlan, state: StepState) -> Played:
        """Return what an attempt comes to: by the script, as recorded, or assumed; it ends when its time is over."""
        played = self._played(stage, step, state)
        takes = _of(self._script.takes, step.id)
        played = played if takes is None else played._replace(takes=takes)
        if played.takes > step.timeout and not step.wakes:
            return Played(timed_out(step.timeout), played.source, step.timeout)
        return played

    def _played(self, stage: Stage, step: StepPlan, state: StepState) -> Played:
        failure = _of(self._script.failures, step.id)
        if failure is not None and (failure.times is None or state.attempt <= failure.times):
            return Played(_failed(step, failure), "failure")
        refused = None if step.type in COMPUTED else self._prepare(stage, step, state)
        stub = _of(self._script.stubs, step.id, _NOTHING)
        if refused is None and stub is not _NOTHING:
            return Played(self._stubbed(stage, step, stub), "stub")
        known = None if step.id in self._script.decisions else self._recorded.get(step.id)
        found = recorded(known, step, state) if step.type not in _REPEATED else None
        if refused is None and found is not None:
            return found
        if step.type in COMPUTED:
            return Played(None, "computed")
        if refused is not None:
            return Played(refused, "computed")
        return Played(Completed(ASSUMED.get(step.type)), "assumed")

    def _prepare(self, stage: Stage, step: StepPlan, state: StepState) -> Failed | None:
        """Keep what the attempt would be given; an expression over what is only assumed proves nothing."""
        try:
            assignment = stage.assignment(step, state)
            self.configs[step.no] = redact(rendered(assignment), secrets.of(assignment.context).used)
        except ExpressionError as error:
            assumed = [one for one in step.reads_steps if stage.sources.get(stage.plan.steps[one].id) == "assumed"]
            if not assumed:
                return expression_failed(error)
            names = ", ".join(stage.plan.steps[one].id for one in assumed)
            self._note(step, f"{error}; what {names} gives is assumed: --stub {names.split(',')[0]}=JSON")
        except ConfigError as error:
            self._note(step, error.message)
        return None

    def _note(self, step: StepPlan, text: str) -> None:
        self.notes.setdefault(step.no, {})[text] = None

    def _stubbed(self, stage: Stage, step: StepPlan, stub: Stub) -> Outcome:
        if callable(stub):
            function: Callable[[Any], Any] = stub
            try:
                stub = function(self.configs.get(step.no))
            except Exception as error:  # noqa: BLE001 - a function that fails is a step that fails
                kinds = ("python", type(error).__name__)
                return Failed(StepError("PYTHON_ERROR", f"{type(error).__name__}: {error}", kinds=kinds))
        if not step.branches:
            return Completed(stub)
        label = str(stub).lower() if isinstance(stub, bool) else str(stub)
        if label not in step.branches:
            there = ", ".join(step.branches)
            return Failed(StepError("STUB", f"'{label}' is no branch of '{step.id}': {there}", retryable=False))
        target = step.branches[label]
        name = None if target is None else stage.plan.steps[target].id
        return Completed({"condition_result": stub, "branch_taken": label, "target_step": name}, label)

    def answer(self, stage: Stage, step: StepPlan, state: StepState) -> Fact | None:
        """Return the signal that a step waits for, or the next decision about it."""
        if step.type == "wait_signal":
            no = next((no for no, (name, _) in enumerate(self._signals) if name == state.label), None)
            return None if no is None else SignalSent(self._signals[no][0], ACTOR, encode(self._signals.pop(no)[1]))
        approved = _of(self._script.decisions, step.id)
        if step.type != "approval" or state.label != ASKED or approved is None:
            return None
        people = sum(1 for one in stage.state.signals or () if one.step == step.no)
        return Decided(step.no, f"{ACTOR} {people + 1}", approved)


_NOTHING = object()
#: What is repeated here: that it stands in a record says nothing about its items.
_REPEATED = frozenset({"conditional", "delay", "foreach", "parallel", "transform"})


def _of(said: Mapping[str, Any], step_id: str, default: Any = None) -> Any:
    """Return what is said of a step, or of each item that it belongs to."""
    return said[step_id] if step_id in said else said.get(_ITEM.sub("[]", step_id), default)


def _failed(step: StepPlan, failure: Failure) -> Failed:
    code = failure.code or "SIMULATED"
    status = re.fullmatch(r"HTTP_([1-5])\d\d", code)
    kinds: tuple[str, ...] = (f"http_{status[1]}xx", "http") if status else (code.lower(),)
    if failure.code is None:
        kinds = step.retry.retry_on or kinds
    return Failed(StepError(code, f"this attempt of '{step.id}' is made to fail", kinds=kinds))
