"""Small plans by name, for every test that needs a graph and cares little what its steps do.

All go through the real compiler, so a test sees the edges, joins and defaults that the engine sees.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from flowforge.model.load import from_data
from flowforge.model.plan import Plan

#: One attempt, so that a failure is final at once.
ONCE = {"max_attempts": 1}
#: Three attempts with waits that are easy to reckon: 1 s, 2 s, 4 s …
THRICE = {"max_attempts": 3, "initial_delay": "1s", "factor": 2, "jitter": False}


def step(step_id: str, *after: str, reads: Sequence[str] = (), **settings: Any) -> dict[str, Any]:
    """Return a step that depends on *after* and reads the outputs of *reads*, failing at its first failure."""
    expression = "[" + ", ".join(f'get(steps["{name}"].output)' for name in reads) + "]"
    return {
        "id": step_id,
        "type": "transform",
        "depends_on": list(after),
        "config": {"expression": expression},
        "retry": ONCE,
    } | settings


def python(step_id: str, *after: str, **settings: Any) -> dict[str, Any]:
    """Return a step whose dispatches go through the lane of python steps."""
    return step(step_id, *after, type="python", config={"function": "shop.payments:charge"}, **settings)


def conditional(step_id: str, *after: str, true: str | None = None, false: str | None = None) -> dict[str, Any]:
    """Return a conditional with a branch for each value."""
    branches = {label: {"target_step": name} for label, name in (("true", true), ("false", false)) if name}
    return step(step_id, *after, type="conditional", config={"condition": "input.x", "branches": branches})


def switch(step_id: str, *after: str, to: Sequence[str]) -> dict[str, Any]:
    """Return a conditional in list form; its branches are labelled 0, 1, 2 …"""
    branches = [{"when": f"input.x == {no}", "target_step": name} for no, name in enumerate(to)]
    return step(step_id, *after, type="conditional", config={"branches": branches})


def parallel(
    step_id: str, *after: str, children: Sequence[dict[str, Any]], wait_for_all: bool = True, **settings: Any
) -> dict[str, Any]:
    """Return a parallel step."""
    config = {"steps": list(children), "wait_for_all": wait_for_all}
    return step(step_id, *after, type="parallel", config=config, **settings)


def foreach(
    step_id: str, *after: str, children: Sequence[dict[str, Any]], max_parallel: int | None = None, **config: Any
) -> dict[str, Any]:
    """Return a foreach over three items; of one child it repeats that step, of several a parallel step."""
    inner = {"step": children[0]} if len(children) == 1 else {"steps": list(children)}
    config |= {"items": "[1, 2, 3]", **inner} | ({} if max_parallel is None else {"max_parallel": max_parallel})
    return step(step_id, *after, type="foreach", config=config)


def waiting(step_id: str, *after: str, type: str = "wait_signal", **settings: Any) -> dict[str, Any]:  # noqa: A002
    """Return a step that waits for a signal of its name, or for an approval."""
    config = {} if type == "wait_signal" else {"prompt": "Really?"}
    return step(step_id, *after, type=type, config=config, **settings)


def undo(**settings: Any) -> dict[str, Any]:
    """Return what undoes a step."""
    return {"type": "transform", "config": {"expression": "1"}} | settings


def plan(*more: dict[str, Any], steps: Sequence[dict[str, Any]] = (), **workflow: Any) -> Plan:
    """Compile a workflow without a gate."""
    steps = [*steps, *more]
    return from_data({"name": "test-workflow", "concurrency": "unlimited", "steps": steps} | workflow).plan


def chain(length: int, **workflow: Any) -> Plan:
    """Return steps a0, a1 … one after the other."""
    return plan(*(step(f"a{no}", *([f"a{no - 1}"] if no else [])) for no in range(length)), **workflow)


def diamond(**settings: Any) -> Plan:
    """Return a, then b and c, then d after both; *settings* are b's."""
    return plan(step("a"), step("b", "a", **settings), step("c", "a"), step("d", "b", "c"))


def fan(width: int, *, wait_for_all: bool = True, **settings: Any) -> Plan:
    """Return a parallel step `fan` with children c0, c1 …, and `after` behind it; *settings* are the fan's."""
    children = [step(f"c{no}") for no in range(width)]
    return plan(parallel("fan", children=children, wait_for_all=wait_for_all, **settings), step("after", "fan"))


def nested(*, wait_for_all: bool = False, **settings: Any) -> Plan:
    """Return a parallel `out` with a child `x` and a parallel child `in` of `y` and `z`, and `after` behind it."""
    inner = parallel("in", children=[step("y"), step("z")], wait_for_all=wait_for_all)
    outer = parallel("out", children=[step("x"), inner], wait_for_all=wait_for_all, **settings)
    return plan(outer, step("after", "out"))


def rejoin(join: str = "auto") -> Plan:
    """Return a conditional `if` whose branches `yes` and `no` rejoin in `end`, by *join*."""
    branches = [step("yes"), step("no")]
    return plan(conditional("if", true="yes", false="no"), *branches, step("end", "yes", "no", join=join))


def order_fulfilment() -> Plan:
    """Return the graph of the design's example: approval only for large orders, then charge, mail and label."""
    children = [step("mail"), step("label")]
    return plan(
        step("reserve"),
        conditional("big", "reserve", true="approve", false="charge"),
        step("approve"),
        step("charge", "reserve", "approve"),
        parallel("fan", "charge", children=children),
    )


def failing(on_error: str) -> Plan:
    """Return a, whose failure is handled by *on_error*, with b behind it and c beside it."""
    return plan(step("a", on_error=on_error), step("b", "a"), step("c"))
