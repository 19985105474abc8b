"""JSON values against the schemas of a definition: a run's input, an agent's output."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator, Mapping
from typing import Any

from flowforge.errors import InputError
from flowforge.model.diagnostics import Diagnostic, Path, shortened, spell_path
from flowforge.model.explanation import listed
from flowforge.model.json import Json

#: Violations that are named in one error.
MAX_SHOWN = 10


def validate(schema: Mapping[str, Any] | None, value: Json) -> None:
    """Check *value* against *schema*; raises one InputError that names every violation by its path."""
    if schema is None:
        return
    try:
        lines = violations(schema, value, "input")
    except Unusable as error:
        raise InputError(f"the workflow's input_schema {error}") from None
    if lines:
        raise InputError("the input is not acceptable: " + "; ".join(lines), hint=_wanted(schema))


def _wanted(schema: Mapping[str, Any]) -> str | None:
    """Say what an input is made of, what has to be there first."""
    known = schema.get("properties")
    if not isinstance(known, Mapping) or not known:
        return None
    asked = schema.get("required")
    required = [name for name in asked if name in known] if isinstance(asked, list) else []
    names = [*required, *(f"{name} (optional)" for name in known if name not in required)]
    return f"it takes {listed(names, MAX_SHOWN)}"


class Unusable(ValueError):
    """A schema cannot be used."""


def violations(schema: Mapping[str, Any], value: Json, name: str) -> list[str]:
    """Return what is wrong with *value*, called *name*; raises Unusable when the schema is not complete."""
    from referencing.exceptions import Unresolvable

    try:
        found = errors(schema, value)
    except RecursionError:
        return [f"the {name} is nested too deeply, or its schema never ends"]
    except Unresolvable as error:
        raise Unusable(f"refers to what is not there: {error}") from None
    lines = [f"{spell_path((name, *error.absolute_path))}: {words(error)}" for error in found[:MAX_SHOWN]]
    return lines + ([f"and {len(found) - MAX_SHOWN} more"] if len(found) > MAX_SHOWN else [])


def errors(schema: Mapping[str, Any], value: Json) -> list[Any]:
    """Return jsonschema's errors, in a fixed order."""
    validator = _validator(json.dumps(schema, sort_keys=True))
    return sorted(validator.iter_errors(value), key=lambda error: [str(part) for part in error.absolute_path])


def check_schema(schema: Mapping[str, Any], path: Path = ("input_schema",)) -> list[Diagnostic]:
    """Return what is wrong with a schema: it must be valid, and complete in itself."""
    from jsonschema.exceptions import SchemaError
    from jsonschema.validators import validator_for

    name = path[-1]
    kind = validator_for(schema, default=_default())
    try:
        kind.check_schema(dict(schema))
    except SchemaError as error:
        where: Path = (*path, *error.absolute_path)
        return [Diagnostic("FF017", f"{name} is not a valid JSON Schema: {words(error)}", path=where)]
    except RecursionError:
        return [Diagnostic("FF017", f"{name} is nested too deeply", path=path)]
    findings = []
    for where, target in _references(schema, path):
        if not target.startswith("#"):
            message = f"{name} refers to '{target[:100]}', outside of itself"
            help_text = "put the definition under $defs and refer to #/$defs/<name>"
            findings.append(Diagnostic("FF017", message, path=where, help=help_text))
        elif target.startswith("#/") and not _resolves(schema, target):
            findings.append(Diagnostic("FF017", f"{name} has no '{target[:100]}'", path=where))
    return findings


@functools.lru_cache(maxsize=256)
def _validator(schema_text: str) -> Any:
    from jsonschema import FormatChecker
    from jsonschema.validators import validator_for
    from referencing import Registry

    schema = json.loads(schema_text)
    # A registry of its own: nothing is ever fetched.
    kind = validator_for(schema, default=_default())
    return kind(schema, registry=Registry(), format_checker=FormatChecker())


def _default() -> Any:
    from jsonschema import Draft202012Validator

    return Draft202012Validator


def words(error: Any) -> str:
    """Say in one line what an error of jsonschema is."""
    return shortened(str(error.message), 200)


def _references(schema: Any, path: Path) -> Iterator[tuple[Path, str]]:
    pending: list[tuple[Path, Any]] = [(path, schema)]
    while pending:
        where, item = pending.pop()
        if isinstance(item, Mapping):
            for key, value in item.items():
                if key in ("$ref", "$dynamicRef", "$recursiveRef") and isinstance(value, str):
                    yield (*where, key), value
                elif key not in ("const", "enum", "examples", "default"):
                    pending.append(((*where, key), value))
        elif isinstance(item, list | tuple):
            pending += [((*where, no), value) for no, value in enumerate(item)]


def _resolves(schema: Mapping[str, Any], target: str) -> bool:
    from urllib.parse import unquote

    item: Any = schema
    for escaped in unquote(target[2:]).split("/"):
        part = escaped.replace("~1", "/").replace("~0", "~")
        if isinstance(item, Mapping) and part in item:
            item = item[part]
        elif isinstance(item, list) and part.isdigit() and int(part) < len(item):
            item = item[int(part)]
        else:
            return False
    return True
