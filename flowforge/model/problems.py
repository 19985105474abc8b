"""What pydantic says about a definition, in the words of people who write definitions."""

from __future__ import annotations

import re
from typing import Any

from pydantic import ValidationError

from flowforge.model.config import Branch, Escalation, StepConfig
from flowforge.model.definition import STEP_TYPES, Action, GateSettings, Step, Trigger, Workflow
from flowforge.model.diagnostics import MAX_FINDINGS, Diagnostic, Path, closest, shortened, spell_path
from flowforge.model.settings import ErrorHandling, RetrySettings

_KINDS = {
    "string_type": "text",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "dict_type": "a mapping",
    "mapping_type": "a mapping",
    "model_type": "a mapping",
    "model_attributes_type": "a mapping",
    "tuple_type": "a list",
    "list_type": "a list",
}


def explain(error: ValidationError, data: Any) -> list[Diagnostic]:
    """Return one finding for each thing that is wrong."""
    details = error.errors(include_url=False)[:MAX_FINDINGS]
    findings = []
    for detail in details:
        location = tuple(detail["loc"])
        if detail["type"] == "too_short" and any(_lies_in(tuple(other["loc"]), location) for other in details):
            # Pydantic counts only the valid entries, and complains again that there are none.
            continue
        findings.append(_explain(detail, _within(location, data), data))
    return _merged(findings)


def _lies_in(inner: tuple[Any, ...], outer: tuple[Any, ...]) -> bool:
    return len(inner) > len(outer) and inner[: len(outer)] == outer


def _explain(detail: Any, path: Path, data: Any) -> Diagnostic:
    kind, value = detail["type"], detail["input"]
    where, last = spell_path(path), str(path[-1]) if path else ""
    if kind == "extra_forbidden":
        inside = f" in {spell_path(path[:-1])}" if path[:-1] else ""
        meant = closest(last, _known_keys(path[:-1], data))
        return Diagnostic("FF007", f"unknown key '{last}'{inside}", path=path, at_key=True, suggestion=meant)
    if kind == "missing":
        *owner, missing = detail["loc"]
        return Diagnostic("FF008", f"{spell_path(tuple(owner)) or 'the workflow'} has no '{missing}'", path=path)
    if kind == "literal_error":
        choices = re.findall("'([^']*)'", detail["ctx"]["expected"])
        meant = closest(value, choices) if isinstance(value, str) else None
        message = f"{where} must be {detail['ctx']['expected']}, not {_what(value)}"
        return Diagnostic("FF009", message, path=path, suggestion=meant)
    if kind in _KINDS:
        return Diagnostic("FF009", f"{where} must be {_KINDS[kind]}, not {_what(value)}", path=path)
    subject = f"{where}: " if where else ""
    return Diagnostic("FF009", subject + _sentence(detail, path), path=path)


def _sentence(detail: Any, path: Path) -> str:
    kind, value, context = detail["type"], detail["input"], detail.get("ctx", {})
    if kind == "value_error":
        return str(context["error"])
    if kind == "string_pattern_mismatch":
        return f"{_what(value)} is not {_PATTERNS.get(path[-1], 'as expected')}"
    message: str = detail["msg"]
    return _SENTENCES[kind].format(**context) if kind in _SENTENCES else message[:1].lower() + message[1:]


_PATTERNS: dict[str | int, str] = {
    "id": "an id: letters, digits, _ and - only",
    "function": "module:function",
    "queue": "the name of a queue: letters, digits, _ and - only",
}

_SENTENCES = {
    "string_too_short": "must have at least {min_length} characters",
    "string_too_long": "must have at most {max_length} characters",
    "too_short": "must have at least {min_length} entry",
    "greater_than_equal": "must be {ge} or more",
    "less_than_equal": "must be {le} or less",
}


def _within(location: tuple[Any, ...], data: Any) -> Path:
    """Follow a location as far as it leads through the data; the rest are pydantic's own words."""
    path: list[str | int] = []
    for part in location:
        if (isinstance(data, dict) and part in data) or (
            isinstance(data, list | tuple) and isinstance(part, int) and part < len(data)
        ):
            data = data[part]
        else:
            break
        path.append(part)
    return tuple(path)


def _known_keys(path: Path, data: Any) -> list[str]:
    """The keys that may stand where an unknown one was found."""
    model: Any = Workflow
    for part in path:
        step_type = data.get("type") if isinstance(data, dict) else None
        data = data[part]
        if part == "config" and isinstance(step_type, str):
            model = STEP_TYPES.get(step_type, StepConfig)
        elif not isinstance(part, int):
            model = _NESTED.get(part, model)
    # Retries belong to the step; in a configuration they are only tolerated.
    names = {name: field.alias or name for name, field in model.model_fields.items()}
    return [name for name in names.values() if name != "retry" or not issubclass(model, StepConfig)]


_NESTED: dict[str, Any] = {
    "steps": Step,
    "retry": RetrySettings,
    "error_handling": ErrorHandling,
    "concurrency": GateSettings,
    "triggers": Trigger,
    "compensate": Action,
    "step": Step,
    "escalate": Escalation,
    "branches": Branch,
}


def _what(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return f"the number {str(value)[:40]}"
    if isinstance(value, str):
        return f"'{shortened(value, 60)}'"
    return "a mapping" if isinstance(value, dict) else "a list"


def _merged(findings: list[Diagnostic]) -> list[Diagnostic]:
    """The members of a union all complain about the same value: one sentence is enough."""
    merged: dict[tuple[str, Path], Diagnostic] = {}
    for finding in findings:
        merged.setdefault((finding.code if finding.code != "FF008" else finding.message, finding.path), finding)
    return list(merged.values())
