"""The JSON Schema of definitions, for editors and other tools; made from the models, so that it cannot lag behind.

By default it accepts all that the schema of source document 004 accepts: what stands in a configuration is described
but not constrained, and unknown keys pass. The strict form says what `load` takes, as far as a schema can.
"""

from __future__ import annotations

import copy
import functools
from typing import Any

DIALECT = "http://json-schema.org/draft-07/schema#"


def json_schema(*, strict: bool = False) -> dict[str, Any]:
    """Return the schema; the caller may change the copy it gets."""
    return copy.deepcopy(_schema(strict))


@functools.cache
def _schema(strict: bool) -> dict[str, Any]:  # noqa: FBT001 - private, a cache key
    from flowforge.model.definition import STEP_TYPES, Workflow

    made = Workflow.model_json_schema(mode="validation", ref_template="#/definitions/{model}")
    definitions = {name: _tidy(part) for name, part in made.pop("$defs").items()}
    root = _tidy(made)
    configs = {}
    for step_type, model in STEP_TYPES.items():
        config = model.model_json_schema(mode="validation", ref_template="#/definitions/{model}")
        definitions |= {name: _tidy(part) for name, part in config.pop("$defs", {}).items()}
        configs[step_type] = model.__name__
        definitions[model.__name__] = _tidy(config)
    for name in ("Step", "Action"):
        _choose_config(definitions[name], configs)
    _spellings(root, definitions)
    if not strict:
        root = _loose(root)
        definitions = {name: _loose(part) for name, part in definitions.items()}
        for name in configs.values():
            definitions[name] = _described(definitions[name])
    return {"$schema": DIALECT, "title": "Workflow Definition", **root, "definitions": definitions}


def _tidy(part: Any) -> Any:
    """Take out what only helps Python: titles, defaults of null, the null that stands for absence."""
    if isinstance(part, list):
        return [_tidy(item) for item in part]
    if not isinstance(part, dict):
        return part
    tidy = {key: _tidy(value) for key, value in part.items() if key != "title" or not isinstance(value, str)}
    if isinstance(part.get("properties"), dict):
        tidy["properties"] = {key: _tidy(value) for key, value in part["properties"].items()}
    for ours, theirs in (("ge", "minimum"), ("le", "maximum")):
        # Pydantic's own words, where a type brings its schema along.
        if ours in tidy and not isinstance(tidy[ours], dict):
            tidy[theirs] = tidy.pop(ours)
    if tidy.get("default", 0) is None:
        del tidy["default"]
    if tidy.get("additionalProperties") is False:
        tidy["patternProperties"] = {"^x-": {}}
    return tidy


def _choose_config(step: dict[str, Any], configs: dict[str, str]) -> None:
    """Let the type of a step decide about its configuration."""
    step["properties"]["config"] = {"type": "object", "description": "As the type demands."}
    step["properties"]["type"]["examples"] = sorted(configs)
    step["allOf"] = [
        {
            "if": {"properties": {"type": {"const": step_type}}, "required": ["type"]},
            "then": {"properties": {"config": {"$ref": f"#/definitions/{model}"}}},
        }
        for step_type, model in sorted(configs.items())
    ]


def _spellings(root: dict[str, Any], definitions: dict[str, Any]) -> None:
    """Add the other spellings that the models normalise before they look."""
    step = definitions["Step"]["properties"]
    names = {"type": "array", "items": {"type": "string"}}
    step["depends_on"] = {"anyOf": [{"type": "string"}, names], "description": step["depends_on"]["description"]}
    retry = definitions["RetrySettings"]["properties"]
    retry["retry_on"] = {"anyOf": [{"type": "string"}, names], "description": retry["retry_on"]["description"]}
    retry["max_retries"] = {"type": "integer", "minimum": 0, "description": "max_attempts less one."}
    retry["backoff_factor"] = {"type": "number", "minimum": 1, "description": "The same as factor."}
    retry["retry_delay"] = {**retry["initial_delay"], "description": "The same as initial_delay."}
    retry["delay"] = {**retry["initial_delay"], "description": "The same as initial_delay."}
    gate = root["properties"]["concurrency"]
    whole = [{"type": "integer", "minimum": 1}, {"const": "unlimited"}]
    root["properties"]["concurrency"] = {"anyOf": [*gate["anyOf"], *whole], "description": gate["description"]}
    definitions["Target"] = {"anyOf": [definitions["Target"], {"type": "string"}]}
    child = {"allOf": [{"$ref": "#/definitions/Child"}]}
    definitions["Child"] = {**definitions["Step"], "required": ["type"]}
    definitions["ParallelConfig"]["properties"]["steps"]["items"] = child


def _loose(part: Any) -> Any:
    """Let unknown keys pass."""
    if isinstance(part, list):
        return [_loose(item) for item in part]
    if not isinstance(part, dict):
        return part
    dropped = ("additionalProperties", "patternProperties")
    return {key: _loose(value) for key, value in part.items() if key not in dropped or isinstance(value, dict)}


def _described(config: dict[str, Any]) -> dict[str, Any]:
    """Keep what an editor shows of a configuration, and drop what it could refuse."""
    kept = ("description", "examples", "default")
    properties = {
        name: {key: value for key, value in schema.items() if key in kept}
        for name, schema in config.get("properties", {}).items()
    }
    return {"type": "object", "description": config.get("description", ""), "properties": properties}
