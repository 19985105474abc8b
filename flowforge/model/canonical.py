"""The one normalised form of a definition: what is stored, shown and digested."""

from __future__ import annotations

from typing import Any

from flowforge.model import json
from flowforge.model.definition import Workflow


def canonical(workflow: Workflow) -> dict[str, Any]:
    """Return *workflow* as plain data without defaults and aliases; building it again gives an equal workflow.

    Raises InvalidJson when a value that was given in Python is not JSON.
    """
    data: dict[str, Any] = json.decode(  # type: ignore[assignment]
        json.encode(workflow.model_dump(mode="python", by_alias=True, exclude_defaults=True))
    )
    pending = list(data["steps"])
    while pending:
        step = pending.pop()
        if step.get("name") == step["id"]:
            del step["name"]
        if not step.get("config"):
            step.pop("config", None)
        elif step["type"] in ("parallel", "foreach"):
            pending += step["config"].get("steps", ())
            pending += [step["config"]["step"]] if "step" in step["config"] else ()
    return data
