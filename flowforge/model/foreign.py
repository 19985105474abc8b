"""Configurations of step types that packages bring, against the schemas that the packages bring with them.

The model knows no package: whoever loads a definition says how to ask for a type's schema.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeAlias

from flowforge.model import inputs
from flowforge.model.config import StepConfig, holds_template
from flowforge.model.definition import STEP_TYPES, Action, ParallelConfig, Step, Workflow
from flowforge.model.diagnostics import Diagnostic, Path, spell_path

#: Returns the JSON Schema of a type's configuration; None when there is none.
Schemas: TypeAlias = Callable[[str], Mapping[str, Any] | None]

_CODES = {"required": "FF008", "additionalProperties": "FF007"}


def check(workflow: Workflow, schemas: Schemas) -> list[Diagnostic]:
    """Return what the packages' schemas find; a value that is only known at run time is taken for anything."""
    findings: list[Diagnostic] = []
    for path, kind, config in _configs(workflow):
        schema = None if kind in STEP_TYPES else schemas(kind)
        if schema is None:
            continue
        given = config.model_dump(by_alias=True, exclude={"retry"})
        for error in inputs.errors(schema, given):
            if _known(error.instance, error.validator):
                where: Path = (*path, *error.absolute_path)
                message = f"{spell_path(where)}: {inputs.words(error)}, says the package of '{kind}'"
                findings.append(Diagnostic(_CODES.get(error.validator, "FF009"), message, path=where))
    return findings


def _known(value: Any, rule: str) -> bool:
    """Say whether a rule's verdict stands, whatever the templates in *value* will give."""
    if isinstance(value, dict | list) and rule in {"type", "required", "additionalProperties", "minItems", "maxItems"}:
        return True
    return not (holds_template(value) or "{{" in json.dumps(value))


def _configs(workflow: Workflow) -> Iterator[tuple[Path, str, StepConfig]]:
    if workflow.on_cancel is not None:
        yield ("on_cancel", "config"), workflow.on_cancel.type, workflow.on_cancel.config
    yield from _of_steps(workflow.steps, ("steps",))


def _of_steps(steps: tuple[Step, ...], path: Path) -> Iterator[tuple[Path, str, StepConfig]]:
    for no, step in enumerate(steps):
        where: Path = (*path, no)
        yield (*where, "config"), step.type, step.config
        for key in ("compensate", "on_cancel"):
            action: Action | None = getattr(step, key)
            if action is not None:
                yield (*where, key, "config"), action.type, action.config
        if isinstance(step.config, ParallelConfig):
            yield from _of_steps(step.config.steps, (*where, "config", "steps"))
