"""Definitions in, workflows and plans out: one call for a text, one for what the store holds.

Nothing heavy is imported before it is used; a definition with faults gives all of them at once.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from flowforge.errors import DefinitionError
from flowforge.model.diagnostics import MAX_FINDINGS, Diagnostic, in_file_order

if TYPE_CHECKING:
    from pydantic import ValidationError

    from flowforge.model.definition import Workflow
    from flowforge.model.foreign import Schemas
    from flowforge.model.plan import Plan


@dataclass(frozen=True, slots=True)
class Loaded:
    """A definition without errors."""

    workflow: Workflow
    plan: Plan
    #: Findings that stop nothing, in file order.
    warnings: tuple[Diagnostic, ...] = ()


def load(text: str | bytes, *, filename: str = "<definition>", schemas: Schemas | None = None) -> Loaded:
    """Read, check and compile a definition; raises DefinitionError with every finding, placed in the text.

    *schemas* gives the JSON Schema of the configuration of a step type that a package brings.
    """
    from flowforge.model import source

    parsed = source.parse(text, filename=filename)
    workflow, plan, findings = _examine(parsed.data, schemas)
    placed = in_file_order([*parsed.findings, *(parsed.locate(finding) for finding in findings)])
    errors = [finding for finding in placed if finding.severity == "error"]
    if errors or workflow is None or plan is None:
        raise _invalid(filename, placed, errors)
    return Loaded(workflow, plan, placed)


def from_data(data: Any) -> Loaded:
    """Build a definition from data that was checked before: what `canonical` gave and the store kept."""
    from pydantic import ValidationError

    from flowforge.model.compile import examine
    from flowforge.model.definition import Workflow
    from flowforge.model.problems import explain

    try:
        workflow = Workflow.model_validate(data)
    except ValidationError as error:
        findings = explain(error, data)
        raise _invalid("the definition", findings, findings) from None
    except RecursionError:
        raise _invalid("the definition", [_TOO_DEEP], [_TOO_DEEP]) from None
    plan, findings = examine(workflow, trusted=True)
    errors = [finding for finding in findings if finding.severity == "error"]
    if plan is None or errors:
        raise _invalid("the definition", findings, errors)
    return Loaded(workflow, plan)


def check(data: Any, *, schemas: Schemas | None = None) -> Loaded:
    """Build a definition from plain data that nobody checked yet: an API request, a notebook's dict."""
    workflow, plan, findings = _examine(data, schemas)
    errors = [finding for finding in findings if finding.severity == "error"]
    if errors or workflow is None or plan is None:
        raise _invalid("the definition", findings, errors)
    return Loaded(workflow, plan, tuple(findings))


def canonical(workflow: Workflow) -> dict[str, Any]:
    """Return the normalised form that is stored; `from_data` gives an equal workflow back."""
    from flowforge.model.canonical import canonical

    return canonical(workflow)


def _examine(data: Any, schemas: Schemas | None) -> tuple[Workflow | None, Plan | None, list[Diagnostic]]:
    from pydantic import ValidationError

    from flowforge.model.compile import examine
    from flowforge.model.definition import Workflow
    from flowforge.model.problems import explain

    if not isinstance(data, dict):
        return None, None, [Diagnostic("FF006", "a definition is a mapping with 'name' and 'steps'")]
    try:
        workflow = Workflow.model_validate(data)
    except ValidationError as error:
        findings = explain(error, data)
        repaired = _without_faults(data, error)
        if repaired is not None:
            findings += examine(repaired)[1]
        return None, None, findings
    except RecursionError:
        return None, None, [_TOO_DEEP]
    plan, findings = examine(workflow)
    if schemas is not None:
        from flowforge.model import foreign

        findings += foreign.check(workflow, schemas)
    return workflow, plan, findings


_TOO_DEEP = Diagnostic("FF002", "the definition is nested too deeply")


def _without_faults(data: Any, error: ValidationError) -> Workflow | None:
    """Leave out what is at fault, if that is possible, so that what else is wrong is told in the same go."""
    from pydantic import ValidationError

    from flowforge.model.definition import Workflow

    locations = [detail["loc"] for detail in error.errors(include_url=False, include_context=False)]
    if len(locations) > MAX_FINDINGS:
        return None
    for leave_out in (_drop, _blank):
        try:
            repaired = copy.deepcopy(data)
            for location in locations:
                leave_out(repaired, location)
            _complete(repaired)
            return Workflow.model_validate(repaired)
        except (ValidationError, RecursionError):
            continue
    return None


def _complete(data: dict[str, Any]) -> None:
    """Give what must be there a stand-in, where it was missing or was left out."""
    data.setdefault("name", "unnamed")
    for number, step in enumerate(data["steps"] if isinstance(data.get("steps"), list) else ()):
        if isinstance(step, dict):
            step.setdefault("id", f"unnamed_{number}")
            if "type" not in step:
                step |= {"type": "notification", "config": {}}


def _drop(data: Any, location: tuple[Any, ...]) -> None:
    """Leave out the setting at *location*."""
    place = data
    for part in location[:-1]:
        place = _entry(place, part)
    if isinstance(place, dict) and location:
        place.pop(location[-1], None)


def _blank(data: Any, location: tuple[Any, ...]) -> None:
    """Take the configuration from the step at *location*; it keeps its place in the graph."""
    at = max((no for no, part in enumerate(location) if part == "config" and no), default=0)
    place = data
    for part in location[:at]:
        place = _entry(place, part)
    if at and isinstance(place, dict) and place.get("type") != "parallel":
        place |= {"type": "notification", "config": {}}
    else:
        _drop(data, location)


def _entry(place: Any, part: Any) -> Any:
    if isinstance(place, dict):
        return place.get(part)
    return place[part] if isinstance(place, list) and isinstance(part, int) and part < len(place) else None


def _invalid(name: str, findings: Any, errors: Any) -> DefinitionError:
    first = errors[0].message if errors else "it cannot be compiled"
    count = f", and {len(errors) - 1:,} more" if len(errors) > 1 else ""
    return DefinitionError(f"{name} is not a valid definition: {first}{count}", diagnostics=findings[:MAX_FINDINGS])
