"""Workflows that tests run, made in one line each."""

from __future__ import annotations

from typing import Any

Definition = dict[str, Any]


def workflow(*steps: Definition, name: str = "test-workflow", limit: Any = None, **more: Any) -> Definition:
    """Make a definition; without a limit unless one is given."""
    more.setdefault("concurrency", {"limit": limit})
    return {"name": name, "steps": list(steps), **more}


def step(step_id: str, *after: str, expression: str = "1", kind: str = "transform", **more: Any) -> Definition:
    """Make a step; a transform unless said otherwise."""
    if kind == "transform":
        more.setdefault("config", {"expression": expression})
    definition: Definition = {"id": step_id, "type": kind, **more}
    if after:
        definition["depends_on"] = list(after)
    return definition


def chain(length: int, **more: Any) -> Definition:
    """Make s0 → s1 → …"""
    steps = [step(f"s{no}", *([f"s{no - 1}"] if no else [])) for no in range(length)]
    return workflow(*steps, **more)


def diamond(**more: Any) -> Definition:
    """Make a → (b, c) → d."""
    return workflow(step("a"), step("b", "a"), step("c", "a"), step("d", "b", "c"), **more)


def fan(width: int, **more: Any) -> Definition:
    """Make start → b0 … → join."""
    branches = [step(f"b{no}", "start") for no in range(width)]
    return workflow(step("start"), *branches, step("join", *(b["id"] for b in branches)), **more)


def branching(**more: Any) -> Definition:
    """Make a conditional whose branches, one of them two steps long, rejoin."""
    choice = step(
        "choice",
        kind="conditional",
        config={
            "condition": "input.amount > 10",
            "branches": {"true": {"target_step": "big"}, "false": {"target_step": "small"}},
        },
    )
    return workflow(choice, step("big"), step("bigger", "big"), step("small"), step("end", "bigger", "small"), **more)


def parallel(step_id: str, *children: Definition, after: tuple[str, ...] = (), **more: Any) -> Definition:
    """Make a parallel step."""
    config = {"steps": list(children), "wait_for_all": more.pop("wait_for_all", True)}
    return step(step_id, *after, kind="parallel", config=config, **more)
