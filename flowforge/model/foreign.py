"""Configurations of step types that packages bring, against the schemas that the packages bring with them.

The model knows no package: whoever loads a definition says how to ask for a type's schema.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeAlias

from flowforge.model import inputs
from flowforge.model.config import StepConfig, holds_template
from flowforge.model.definition import STEP_TYPES, Workflow
from flowforge.model.diagnostics import Diagnostic, Path, spell_path
from flowforge.model.scope import Nodes

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
    for node in Nodes(workflow, []):
        for path, action in node.actions():
            yield (*path, "config"), action.type, action.config
