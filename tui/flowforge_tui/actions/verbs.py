"""What can be done to a run: when it is possible, what it would change, the command that does the same. Pure."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from flowforge.errors import UsageError
from flowforge.model.documents import Run
from flowforge.model.overview import RunSummary
from flowforge.model.status import RunStatus, StepStatus
from flowforge.model.text import compact, one_line, short_id

Values = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Field:
    """Something that is asked before it is done."""

    name: str
    title: str
    value: str = ""
    #: Asked as JSON, on several lines.
    json: bool = False
    required: bool = False


@dataclass(frozen=True, slots=True)
class Verb:
    """One thing that can be done."""

    name: str
    #: As in `Cancel 3 runs?`, and what is said when it is done: `3 runs: cancel asked for`.
    title: str
    done: str
    #: What the safe choice is called.
    safe: str
    #: Why it cannot be done to a run; None where it can.
    hinders: Callable[[RunSummary], str | None]
    #: What would happen, in sentences.
    effects: Callable[[Sequence[Run]], list[str]]
    #: Even one run is asked for.
    confirms: bool = True
    fields: Callable[[Run, str | None], Sequence[Field]] = field(default=lambda _run, _step: ())
    #: What is kept with it in the history.
    reason: str | None = "Reason"


def _finished(run: RunSummary) -> str | None:
    return f"it is {run.status.value} already" if run.status.final else None


def _not_ended(run: RunSummary) -> str | None:
    ended = run.status in (RunStatus.FAILED, RunStatus.CANCELLED)
    return None if ended else f"only a failed or cancelled run can be retried, it is {run.look}"


def _not_running(run: RunSummary) -> str | None:
    return None if run.status is RunStatus.RUNNING else f"only a running run can be paused, it is {run.look}"


def _not_paused(run: RunSummary) -> str | None:
    return None if run.status is RunStatus.PAUSED else f"it is not paused, it is {run.look}"


def _asks_nothing(run: RunSummary) -> str | None:
    return None if run.at is not None and run.at.asks and not run.status.final else "nothing is asked"


def _nothing_to_skip(run: RunSummary) -> str | None:
    done = run.status in (RunStatus.COMPLETED, RunStatus.CANCELLED)
    return f"it is {run.status.value} already" if done else None


def _cancelling(runs: Sequence[Run]) -> list[str]:
    steps = [step for run in runs for step in run.steps or ()]
    running = sum(step.status is StepStatus.RUNNING for step in steps)
    waiting = sum(step.status in (StepStatus.QUEUED, StepStatus.WAITING) for step in steps)
    done = sum(step.status is StepStatus.COMPLETED for step in steps)
    lines = []
    if running:
        lines.append(f"{_many(running, 'running step')} told to stop.")
    if waiting:
        lines.append(f"{_many(waiting, 'queued or waiting step')} never to start again.")
    if done:
        they = "it" if done == 1 else "they"
        kept = f"what {they} did stays, unless the workflow undoes it when it is cancelled"
        lines.append(f"{_many(done, 'step')} done: {kept}.")
    return lines or ["Nothing of it has begun."]


def _retrying(runs: Sequence[Run]) -> list[str]:
    failed = [step.id for run in runs for step in run.steps or () if step.status is StepStatus.FAILED]
    done = sum(step.status is StepStatus.COMPLETED for run in runs for step in run.steps or ())
    names = one_line(", ".join(dict.fromkeys(failed)), 60) or "what did not complete"
    rest = "1 step that is done is" if done == 1 else f"{done} steps that are done are"
    return [f"Goes on from {names}; {rest} not executed again."]


def _replaying(runs: Sequence[Run]) -> list[str]:
    steps = [step for run in runs for step in run.steps or ()]
    kinds = sorted({step.type for step in steps if step.type not in ("transform", "conditional", "parallel", "delay")})
    effects = f"; what they do outside is done again: {', '.join(kinds)}" if kinds else ""
    return [
        "Starts a new run; the old one stays as it is."
        if len(runs) == 1
        else "Starts a new run for each; the old stay.",
        f"{_many(len(steps), 'step')} executed again{effects}.",
        "From a step on, what comes before it is taken from the old run.",
    ]


def _pausing(runs: Sequence[Run]) -> list[str]:
    running = sum(step.status is StepStatus.RUNNING for run in runs for step in run.steps or ())
    return [f"Nothing new starts; {_many(running, 'running step')} may finish. Deadlines stand still."]


def _deciding(word: str) -> Callable[[Sequence[Run]], list[str]]:
    def effects(runs: Sequence[Run]) -> list[str]:
        lines = []
        for run in runs:
            for step in run.steps or ():
                asked = (step.waits_for or {}).get("approval")
                if asked is not None:
                    prompt = one_line(asked.get("prompt") or "", 120)
                    who = ", ".join(asked.get("approvers") or ()) or "anybody"
                    lines.append(f"{short_id(run.id)} {step.id}: {prompt}  (asks {who})")
        return [*lines[:6], word]

    return effects


def _replay_fields(run: Run, step: str | None) -> Sequence[Field]:
    return (
        Field("from_step", "From step", step or ""),
        Field("input", "Input", json.dumps(run.input, indent=1, ensure_ascii=False), json=True),
    )


def _signal_fields(run: Run, step: str | None) -> Sequence[Field]:
    waiting = [one for one in run.steps or () if one.waits_for and one.waits_for.get("signal")]
    chosen = [one for one in waiting if one.id == step] or waiting
    name = str(chosen[0].waits_for["signal"]) if chosen and chosen[0].waits_for else ""
    return (Field("name", "Signal", name, required=True), Field("payload", "Payload", "null", json=True))


def _step_fields(run: Run, step: str | None) -> Sequence[Field]:
    open_steps = [one for one in run.steps or () if one.status in (StepStatus.FAILED, StepStatus.WAITING)]
    return (Field("step", "Step", step or (open_steps[0].id if open_steps else ""), required=True),)


def _asking_fields(run: Run, step: str | None) -> Sequence[Field]:
    asking = [one.id for one in run.steps or () if one.waits_for and "approval" in one.waits_for]
    return (Field("step", "Step", step if step in asking else (asking[0] if asking else ""), required=True),)


def _said(*lines: str) -> Callable[[Sequence[Run]], list[str]]:
    """Return effects that are the same for every run."""
    return lambda _: list(lines)


def _always(_: RunSummary) -> None:
    """Nothing hinders it."""


_KEPT = "A step that waits for it goes on; else it is kept until one does."
_LEFT_OUT = "The step counts as left out; what depends on it goes on without its output."
_APPROVED, _REJECTED = "The step completes, and the run goes on.", "The step fails, and is not tried again."

_ALL = (
    Verb("cancel", "Cancel", "asked to stop", "Keep running", _finished, _cancelling),
    Verb("retry", "Retry", "tried again", "Leave as it is", _not_ended, _retrying, confirms=False),
    Verb("replay", "Replay", "started again", "Do not replay", _always, _replaying, fields=_replay_fields, reason=None),
    Verb("pause", "Pause", "paused", "Keep running", _not_running, _pausing, confirms=False),
    Verb("resume", "Resume", "resumed", "Leave paused", _not_paused, _said("They go on."), confirms=False),
    Verb(
        *("approve", "Approve", "approved", "Decide later", _asks_nothing, _deciding(_APPROVED)),
        fields=_asking_fields,
        reason="Comment",
    ),
    Verb(
        *("reject", "Reject", "rejected", "Decide later", _asks_nothing, _deciding(_REJECTED)),
        fields=_asking_fields,
        reason="Comment",
    ),
    Verb(
        *("signal", "Send a signal to", "signal sent", "Send nothing", _finished, _said(_KEPT)),
        fields=_signal_fields,
        reason=None,
    ),
    Verb(
        *("skip", "Skip a step of", "step left out", "Skip nothing", _nothing_to_skip, _said(_LEFT_OUT)),
        fields=_step_fields,
    ),
)
VERBS = {verb.name: verb for verb in _ALL}
#: What is offered only where something is asked.
ANSWERS = frozenset({"approve", "reject"})


def command(verb: Verb, run_ids: Sequence[Any], values: Values) -> str:
    """Return the command that does the same."""
    name = "approve" if verb.name == "reject" else verb.name
    words = ["flowforge", name, *(str(one) for one in run_ids)]
    match verb.name:
        case "approve" | "reject" | "skip":
            words.append(values.get("step") or "STEP")
        case "signal":
            words += [values.get("name") or "NAME", *([] if _nothing(values) else [_quoted(values["payload"])])]
        case "replay" if values.get("from_step"):
            words += ["--from", values["from_step"]]
    if verb.name == "reject":
        words.append("--reject")
    option = "--comment" if verb.reason == "Comment" else "--reason"
    if verb.reason and values.get("reason"):
        words += [option, _quoted(values["reason"])]
    return " ".join(words)


def _nothing(values: Values) -> bool:
    return values.get("payload", "null").strip() in ("", "null")


def _quoted(text: str) -> str:
    return shlex.quote(" ".join(text.split()))


async def perform(client: Any, verb: Verb, run: RunSummary, values: Values) -> None:
    """Do it to one run; what cannot be done is raised."""
    reason = values.get("reason") or None
    step = values.get("step") or (run.at.id if run.at is not None else "")
    match verb.name:
        case "cancel" | "retry" | "pause" | "resume":
            await getattr(client, verb.name)(run.id, reason=reason)
        case "approve" | "reject":
            await client.decide(run.id, step, approved=verb.name == "approve", comment=reason)
        case "skip":
            await client.skip(run.id, step, reason=reason)
        case "signal":
            await client.signal(run.id, values["name"], parsed(values.get("payload") or "null", "payload"))
        case _:
            text = values.get("input")
            changes = None if text is None else changed((await client.get(run.id)).input, parsed(text, "input"))
            await client.replay(run.id, from_step=values.get("from_step") or None, changes=changes or None)


def parsed(text: str, what: str) -> Any:
    """Read JSON that a person has typed."""
    try:
        return json.loads(text)
    except ValueError as error:
        raise UsageError(f"the {what} is not JSON: {error}") from None


def changed(old: Any, new: Any) -> dict[str, Any]:
    """Return what makes one input of the other, in the words of a replay."""
    if old == new:
        return {}
    if not isinstance(old, dict) or not isinstance(new, dict):
        raise UsageError(f"only values of an input can be changed: it is {compact(old, 60)}")
    if gone := sorted(set(old) - set(new)):
        raise UsageError(f"a replay cannot take '{gone[0]}' out of the input; set it to null")
    if dotted := [name for name in new if "." in name and new[name] != old.get(name)]:
        raise UsageError(f"'{dotted[0]}' cannot be changed: its name has a dot")
    return {name: value for name, value in new.items() if name not in old or old[name] != value}


def _many(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
