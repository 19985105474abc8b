"""FlowForge: durable workflows on Postgres and Redis Streams, with the operator in mind.

from flowforge import Client

with Client() as flowforge:
run = flowforge.run("flows/orders.yaml", {"order_id": "A17"}, wait=True)
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from flowforge.version import __version__

if TYPE_CHECKING:
    from flowforge.client import AsyncClient, Client
    from flowforge.client.simulating import simulate
    from flowforge.model.definition import Step, Workflow
    from flowforge.steps.context import StepCancelled, StepContext, StepFailure

__all__ = [
    "AsyncClient",
    "Client",
    "Step",
    "StepCancelled",
    "StepContext",
    "StepFailure",
    "Workflow",
    "__version__",
    "simulate",
]

#: Imported when first asked for: a command that prints its help needs none of them.
_HOMES = {
    "AsyncClient": "flowforge.client",
    "Client": "flowforge.client",
    "Step": "flowforge.model.definition",
    "StepCancelled": "flowforge.steps.context",
    "StepContext": "flowforge.steps.context",
    "StepFailure": "flowforge.steps.context",
    "Workflow": "flowforge.model.definition",
    "simulate": "flowforge.client.simulating",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'flowforge' has no attribute '{name}'")
    return getattr(import_module(_HOMES[name]), name)
