"""The approval step: asks people, waits for enough of them, asks others when nobody answers.

It is executed when it starts, when a decision came, and when a time has come; what it asked is kept with the step, so
that whoever decides sees it. Who may decide is checked where decisions are taken (client/deciding.py).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from flowforge.errors import FlowforgeError
from flowforge.model import duration
from flowforge.model.documents import rfc3339
from flowforge.model.outcome import Completed, Failed, Outcome, StepError, Waiting
from flowforge.model.waiting import REJECTION
from flowforge.steps import waiting
from flowforge.steps.base import Assignment, Report
from flowforge.steps.failures import ConfigError, rendered
from flowforge.steps.settings import StepSettings
from flowforge.store.signals import Received


class Approval:
    """Gives `{approved, decisions: [{actor, approved, comment, at}], timed_out}`; a rejection fails the step."""

    def __init__(self, settings: StepSettings | None = None) -> None:
        self._settings = settings or StepSettings()

    async def run(self, assignment: Assignment, report: Report) -> Outcome:
        """Return the decision, or ask and wait."""
        config, known = rendered(assignment), waiting.waited(assignment)
        received = () if assignment.wake is None else assignment.wake.received
        asked = known or _asked(assignment, config)
        if any(one.kind == REJECTION for one in received):
            return Failed(_rejected(assignment, received))
        if len(received) >= asked["required"]:
            return _decided(received, approved=True)
        deadline = waiting.deadline(assignment, None, asked)
        if waiting.over(assignment, deadline):
            return _timed_out(assignment, config, received, asked["required"])
        if not known:
            await self.tell(report, config.get("notify"), assignment, asked)
        escalation = _escalation(config)
        due = not asked["escalated"] and waiting.over(assignment, _time(asked["escalate_at"]))
        if escalation is not None and due:
            approvers = [*asked["approvers"], *_names(escalation.get("approvers"))] if asked["approvers"] else []
            asked = {**asked, "escalated": True, "approvers": list(dict.fromkeys(approvers))}
            await self.tell(report, escalation.get("notify"), assignment, asked)
        look = waiting.earliest(deadline, None if asked["escalated"] else _time(asked["escalate_at"]))
        return Waiting(look, asked, approvals=asked["required"])

    async def close(self) -> None:
        """Do nothing: nothing is kept open."""

    async def tell(self, report: Report, targets: Any, assignment: Assignment, asked: Mapping[str, Any]) -> None:
        """Tell people of the request; that they could not be told does not keep others from deciding."""
        names = _names(targets)
        if not names:
            return
        from flowforge.steps.notifying import notify

        title = f"{assignment.workflow}: {asked['prompt']}"
        body = f"flowforge approve {assignment.run_id} {assignment.step.id}\n{asked['details'] or ''}".strip()
        try:
            told = await notify(self._settings, names, title, body)
        except FlowforgeError as error:
            report.log(f"nobody is told: {error}\n")
            return
        for one in told:
            report.log(f"{one.target}: {one.error or 'told'}\n")


def _asked(assignment: Assignment, config: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is asked, and of whom, with all times fixed."""
    approvers = _names(config.get("approvers"))
    escalation = _escalation(config)
    after = None if escalation is None else waiting.span(escalation.get("after"), "escalate.after")
    deadline = waiting.deadline(assignment, config.get("timeout"), {})
    return {
        "prompt": str(config.get("prompt")),
        "details": config.get("details"),
        "approvers": approvers,
        "required": _required(config.get("required", 1), approvers),
        "deadline": waiting.text(deadline),
        "escalate_at": None if after is None else waiting.text(assignment.claimed_at + after),
        "escalated": escalation is None,
    }


def _required(value: Any, approvers: Sequence[str]) -> int:
    if value == "all":
        return max(1, len(approvers))
    try:
        count = int(value)
    except (TypeError, ValueError):
        raise ConfigError(f"'required' must be a number or 'all', not {str(value)[:50]!r}") from None
    if count < 1:
        raise ConfigError("'required' must be at least 1")
    return count


def _names(value: Any) -> list[str]:
    if value is None:
        return []
    names = [value] if isinstance(value, str) else value
    if not isinstance(names, list | tuple) or not all(isinstance(name, str) and name for name in names):
        raise ConfigError("names of people, groups and targets must be texts")
    return list(names)


def _escalation(config: Mapping[str, Any]) -> Mapping[str, Any] | None:
    found = config.get("escalate")
    return found if isinstance(found, Mapping) else None


def _time(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)


def _decided(received: Sequence[Received], *, approved: bool, timed_out: bool = False) -> Completed:
    return Completed({"approved": approved, "decisions": _decisions(received), "timed_out": timed_out})


def _decisions(received: Sequence[Received]) -> list[dict[str, Any]]:
    return [
        {"actor": one.actor, "approved": one.kind != REJECTION, "comment": one.payload, "at": rfc3339(one.at)}
        for one in received
    ]


def _timed_out(
    assignment: Assignment, config: Mapping[str, Any], received: Sequence[Received], required: int
) -> Outcome:
    match config.get("on_timeout", "fail"):
        case "approve":
            return _decided(received, approved=True, timed_out=True)
        case "reject":
            return Failed(_rejected(assignment, received))
    limit = waiting.span(config.get("timeout"), "timeout") or assignment.step.waits
    within = f" within {duration.text(limit)}" if limit else " in time"
    who = f"only {len(received)} of {required} approved" if received else "nobody decided about"
    return Failed(
        StepError(
            code="APPROVAL_TIMEOUT",
            message=f"{who} step '{assignment.step.id}'{within}",
            kinds=("timeout",),
            retryable=False,
            hint="flowforge retry RUN asks again",
            details={"decisions": _decisions(received)},
        )
    )


def _rejected(assignment: Assignment, received: Sequence[Received]) -> StepError:
    last = next((one for one in received if one.kind == REJECTION), None)
    who = "rejected, because nobody decided in time" if last is None else f"rejected by {last.actor}"
    why = f": {last.payload}" if last is not None and last.payload else ""
    return StepError(
        code="REJECTED",
        message=f"step '{assignment.step.id}' was {who}{why}",
        retryable=False,
        hint="flowforge retry RUN asks again",
        details={"decisions": _decisions(received)},
    )
