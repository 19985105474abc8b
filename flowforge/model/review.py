"""What a second look at a definition that can be compiled finds: misspelt types, steps that never run, schemas."""

from __future__ import annotations

from flowforge.model.config import AgentConfig, ApprovalConfig
from flowforge.model.definition import STEP_TYPES, Workflow
from flowforge.model.diagnostics import Diagnostic, Path, closest
from flowforge.model.scope import Nodes


def review(workflow: Workflow, nodes: Nodes) -> list[Diagnostic]:
    """Return the findings."""
    findings = [*_types(nodes), *_retries(nodes), *_key(workflow), *_answers(nodes)]
    findings += [*_undoing(workflow, nodes), *_approvals(nodes)]
    if workflow.input_schema is not None:
        from flowforge.model import inputs

        findings += inputs.check_schema(workflow.input_schema)
    return findings


def _key(workflow: Workflow) -> list[Diagnostic]:
    key = workflow.concurrency.key if workflow.concurrency is not None else None
    if key is None or "{{" in key:
        return []
    help_text = "an expression stands in braces: '{{ input.region }}'"
    message = f"the gate's key is the text '{key}' for every run"
    return [Diagnostic("FF020", message, "warning", path=("concurrency", "key"), help=help_text)]


def _types(nodes: Nodes) -> list[Diagnostic]:
    findings = []
    for node in nodes:
        for path, action in node.actions():
            meant = None if action.type in STEP_TYPES else closest(action.type, STEP_TYPES)
            if meant is not None:
                message = f"step '{node.id}' has the type '{action.type}', which FlowForge does not have"
                where: Path = (*path, "type")
                findings.append(Diagnostic("FF018", message, "warning", where, suggestion=meant, help=_ELSEWHERE))
    return findings


_ELSEWHERE = "a worker that knows the type must run; without one the step waits"


def _undoing(workflow: Workflow, nodes: Nodes) -> list[Diagnostic]:
    if workflow.on_cancel != "compensate" or any(node.step.compensate for node in nodes):
        return []
    message = "no step says how it is undone, so a cancelled run only stops"
    help_text = "give the steps that have an effect a 'compensate'"
    return [Diagnostic("FF022", message, "warning", path=("on_cancel",), help=help_text)]


def _approvals(nodes: Nodes) -> list[Diagnostic]:
    findings = []
    for node in nodes:
        config = node.step.config
        if not isinstance(config, ApprovalConfig) or not isinstance(config.required, int):
            continue
        later = () if config.escalate is None else config.escalate.approvers
        asked = {*config.approvers, *later} if config.approvers else set()
        # One name alone can only be meant as a group: nobody approves twice.
        if len(asked) > 1 and config.required > len(asked):
            message = f"step '{node.id}' needs {config.required} approvals and names {len(asked)} approvers"
            where: Path = (*node.path, "config", "required")
            findings.append(Diagnostic("FF024", message, "warning", where, help=_GROUPS))
    return findings


_GROUPS = "that is enough only where one of them is a group of the settings: a table [groups] of flowforge.toml"


def _answers(nodes: Nodes) -> list[Diagnostic]:
    findings: list[Diagnostic] = []
    for node in nodes:
        config = node.step.config
        if isinstance(config, AgentConfig) and isinstance(config.output_schema, dict):
            from flowforge.model import inputs

            findings += inputs.check_schema(config.output_schema, (*node.path, "config", "output_schema"))
    return findings


def _retries(nodes: Nodes) -> list[Diagnostic]:
    return [
        Diagnostic(
            "FF019",
            f"step '{node.id}' has retry settings twice; those in config are ignored",
            "warning",
            path=(*node.path, "config", "retry"),
            at_key=True,
        )
        for node in nodes
        if node.step.retry is not None and "retry" in node.step.config.TAKEN and node.step.config.retry is not None
    ]
