"""What there is to say about one step, tab by tab. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flowforge.model.documents import Step
from flowforge_tui.run import attempts, payload
from flowforge_tui.run.definition import UNDOING
from flowforge_tui.run.folding import AT_FIRST, Folds
from flowforge_tui.run.picture import Picture
from flowforge_tui.run.text import Line, Span, duration, moment, one_line, safe, short_id, state

TABS = ("Input", "Output", "Attempts", "Error", "Code")


def telling_tab(step: Step) -> str:
    """Return the tab that says most about a step."""
    if step.error is not None:
        return "Error"
    return "Output" if step.status.value in ("completed", "compensated") else "Input"


def title(picture: Picture, step: Step, *, unicode: bool) -> Line:
    """Return one line on a step: type, state, where it runs, what it waits for."""
    again = step.status.value == "waiting" and step.error is not None
    line = [Span(f"{step.type} ", "dim"), state("retrying" if again else step.status.value, unicode=unicode)]
    if step.attempts:
        most = picture.definition.most_attempts(step.id)
        line.append(Span(f"  attempt {step.attempts}{f' of {most}' if most else ''}"))
    if step.worker and step.status.value == "running":
        line.append(Span(f"  on {one_line(step.worker, 60)}", "dim"))
    if note := _waits(step, picture):
        line.append(Span(f"  {note}", "warn"))
    if step.crashes:
        line.append(Span(f"  {step.crashes} worker{'s' if step.crashes > 1 else ''} lost", "bad"))
    return line


def _waits(step: Step, picture: Picture) -> str:
    """Say what a step waits for."""
    left = "" if step.due_at is None or step.due_at <= picture.now else duration(step.due_at - picture.now)
    if step.status.value == "running":
        return f"lease ends in {left}" if left else ""
    if step.status.value != "waiting":
        return ""
    if step.waits_for:
        return _waits_for(step.waits_for)
    if step.error is not None:
        return f"next attempt in {left}" if left else "next attempt is due"
    return "" if step.due_at is None else f"until {moment(step.due_at)}" + (f", in {left}" if left else "")


def _waits_for(wanted: Mapping[str, Any]) -> str:
    """Say what a step waits for that is not a time."""
    if "approval" in wanted:
        who = ", ".join(wanted["approval"].get("approvers") or ()) or "anybody"
        prompt = wanted["approval"].get("prompt")
        return one_line(f"asks {who}{f': {prompt}' if prompt else ''}", 120)
    if "signal" in wanted:
        return f"waits for signal {one_line(wanted['signal'], 60)}"
    if "items" in wanted:
        return f"{wanted['open']} of {wanted['items']} items to go" if "open" in wanted else "waits for its items"
    return f"waits for run {short_id(wanted['run'])}" if wanted.get("run") else "waits for a run"


def tab(name: str, picture: Picture, step: Step, folds: Folds = AT_FIRST) -> list[Line]:
    """Return what a tab says about a step."""
    match name:
        case "Input":
            return _input(picture, step, folds)
        case "Output":
            return _output(step, folds)
        case "Attempts":
            found = attempts.of_step(picture.events, step.id)
            return attempts.lines(found, picture.definition.most_attempts(step.id), picture.now)
        case "Error":
            return _error(step, folds)
        case _:
            return _code(picture, step)


def _input(picture: Picture, step: Step, folds: Folds) -> list[Line]:
    plan = picture.definition.step(step.id)
    if plan is None or picture.definition.plan is None:
        return [[Span("the run's input", "dim")], *payload.lines(picture.run.input, folds)]
    seen: dict[str, Any] = {}
    if plan.reads_input:
        seen["input"] = picture.run.input
    read = [picture.definition.plan.steps[no] for no in plan.reads_steps]
    outputs = {one.name_in_context: picture.steps[one.id].output for one in read if one.id in picture.steps}
    if outputs:
        seen["steps"] = outputs
    if not seen:
        return [
            [Span("its definition reads nothing; the run's input:", "dim")],
            *payload.lines(picture.run.input, folds),
        ]
    return [[Span("what its definition reads", "dim")], *payload.lines(seen, folds)]


def _output(step: Step, folds: Folds) -> list[Line]:
    if step.status.value in ("completed", "compensated"):
        return payload.lines(step.output, folds)
    made: list[Line] = [[Span("no output yet" if not step.status.final else "no output", "dim")]]
    if step.progress is not None:
        made += [[Span("progress", "dim")], *payload.lines(step.progress, folds)]
    return made


def _error(step: Step, folds: Folds) -> list[Line]:
    if step.error is None:
        return [[Span("no error", "dim")]]
    error = dict(step.error)
    attempt = error.pop("attempt", None)
    error.pop("step", None)
    made: list[Line] = [[Span(one_line(error.pop("code", "ERROR")), "bad")]]
    if attempt:
        made[0].append(Span(f"  attempt {attempt}", "dim"))
    made += [[Span(part)] for part in safe(error.pop("message", ""), 20_000).split("\n")]
    if hint := error.pop("hint", None):
        made.append([Span("hint: ", "dim"), Span(one_line(hint, 400))])
    shown = _in_order({name: value for name, value in error.items() if value not in (None, [], {})})
    return [*made, [], *payload.lines(shown, folds)] if shown else made


def _in_order(value: Any) -> Any:
    """The database gives names in another order than the history: what is shown does not jump between the two."""
    if isinstance(value, dict):
        return {name: _in_order(value[name]) for name in sorted(value)}
    return [_in_order(one) for one in value] if isinstance(value, list) else value


def _code(picture: Picture, step: Step) -> list[Line]:
    definition, version = picture.definition, f"{picture.run.workflow}@{picture.run.version}"
    code = definition.code(step.id)
    if code is None:
        return [[Span("its definition is not there", "dim")]]
    local = step.id.removesuffix(UNDOING).rpartition(".")[2]
    made: list[Line] = [[Span(f"flowforge workflow show {one_line(version)} --yaml", "dim")]]
    for at, line in enumerate(code.lines, start=code.first):
        own = line.strip(" -") == f"id: {local}"
        made.append([Span(f"{at:>5} ", "dim"), Span(safe(line), "strong" if own else "")])
    return made
