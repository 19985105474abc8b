"""What is run in a simulation: small graphs, each with something that can go wrong on its own.

Every step of type `http` or `python` has an effect outside; the others are inline.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from flowforge.engine.plans import PlannedVersion
from flowforge.model.load import from_data
from tests import factories

_RETRY = {"max_attempts": 3, "initial_delay": "1s", "factor": 2, "jitter": True}


def _call(name: str, *after: str, **settings: Any) -> dict[str, Any]:
    config = {"method": "POST", "url": "http://outside.example/"}
    return factories.step(name, *after, type="http", config=config, retry=_RETRY, **settings)


def _python(name: str, *after: str, **settings: Any) -> dict[str, Any]:
    return factories.python(name, *after, retry=_RETRY, **settings)


def _signal(name: str, *after: str) -> dict[str, Any]:
    config = {"timeout": "20s", "on_timeout": "continue"}
    return factories.step(name, *after, type="wait_signal", config=config)


def _undoable(name: str, *after: str, **settings: Any) -> dict[str, Any]:
    undo = {"type": "http", "config": {"method": "DELETE", "url": "http://outside.example/"}, "retry": _RETRY}
    return _call(name, *after, compensate=undo, **settings)


def _refused(name: str, *after: str) -> dict[str, Any]:
    return factories.step(name, *after, config={"expression": "input.missing"})


def _delay(name: str, *after: str) -> dict[str, Any]:
    return factories.step(name, *after, type="delay", config={"duration": "3s"})


SHAPES: dict[str, dict[str, Any]] = {
    "one": {"steps": [_call("a")]},
    "line": {"steps": [_call("a"), _call("b", "a"), _call("c", "b")]},
    "diamond": {"steps": [_call("a"), _call("b", "a"), _call("c", "a"), _call("d", "b", "c")]},
    "two entries": {"steps": [_call("a"), _call("b"), _python("end", "a", "b")]},
    "join": {"steps": [_call(name) for name in "abcd"] + [_call("end", *"abcd")], "output": "{{ steps.end.output }}"},
    "python": {"steps": [_python("a"), _python("b", "a"), _call("c", "a"), _python("d", "b", "c")]},
    "branch": {
        "steps": [
            _call("a"),
            factories.conditional("if", "a", true="yes", false="no"),
            _call("yes"),
            _call("no"),
            _call("end", "yes", "no"),
        ]
    },
    "fan": {"steps": [factories.parallel("fan", children=[_call("x"), _call("y"), _call("z")]), _call("end", "fan")]},
    "fail fast": {
        "steps": [
            factories.parallel("fan", children=[_call("x"), _call("y"), _python("z")], wait_for_all=False),
            _call("end", "fan", join="all"),
        ]
    },
    "delay": {"steps": [_call("a"), _delay("wait", "a"), _call("b", "wait")]},
    "handled": {
        "steps": [_call("a", on_error="continue"), _call("b", "a"), _call("c", on_error="skip"), _call("d", "c")]
    },
    "hurried": {"steps": [_call("a"), _call("b", "a"), _call("c", "b")], "timeout": "20s"},
    "gated": {"steps": [_call("a"), _call("b", "a")], "concurrency": {"limit": 1}},
    "saga": {"steps": [_undoable("a"), _undoable("b", "a"), _undoable("c", "a"), _refused("end", "b", "c")]},
    "patient saga": {
        "steps": [
            _undoable("a"),
            _call("b", "a", compensate={"type": "delay", "config": {"duration": "3s"}}),
            _refused("end", "b"),
        ]
    },
    "cancelled saga": {"steps": [_undoable("a"), _undoable("b", "a"), _delay("wait", "b"), _call("end", "wait")]}
    | {"on_cancel": "compensate", "timeout": "40s"},
    "items": {"steps": [factories.foreach("each", children=[_call("x")], max_parallel=2), _call("end", "each")]},
    "item sagas": {
        "steps": [factories.foreach("each", children=[_undoable("x"), _call("y")]), _refused("end", "each")]
    },
    "patience": {"steps": [_call("a"), _signal("word", "a"), _call("b", "word")]},
}


@cache
def versions() -> dict[str, PlannedVersion]:
    """Return all shapes, compiled."""
    return {name: _version(no, name, shape) for no, (name, shape) in enumerate(SHAPES.items(), start=1)}


def _version(no: int, name: str, shape: dict[str, Any]) -> PlannedVersion:
    definition = {"name": name.replace(" ", "-"), "concurrency": "unlimited"} | shape
    return PlannedVersion(no, no, 1, from_data(definition).plan)
