"""By what the list of runs can be sorted."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import NamedTuple, TypeAlias

from flowforge.model.overview import RunSummary

Rank: TypeAlias = "tuple[float | str, int]"

#: What needs a person, or is in trouble, first.
_WEIGHT = dict(
    zip(
        ("failed", "retrying", "waiting", "paused", "cancelling", "compensating", "running", "pending", "cancelled"),
        range(9),
        strict=True,
    )
)


class Order(NamedTuple):
    """One way of sorting."""

    key: str
    value: Callable[[RunSummary, datetime], float | str]
    #: Whether the greatest is first unless one asks otherwise.
    descending: bool
    #: Whether it changes while nothing happens to a run.
    ages: bool = False


def _seconds(run: RunSummary, now: datetime) -> float:
    ran = run.run_time(now)
    return -1.0 if ran is None else ran.total_seconds()


ORDERS = (
    Order("started", lambda run, _: run.created_at.timestamp(), descending=True),
    Order("state", lambda run, _: _WEIGHT.get(run.look, 9), descending=False),
    Order("flow", lambda run, _: run.workflow, descending=False),
    Order("steps", lambda run, _: run.done / max(1, run.steps), descending=True),
    Order("attempts", lambda run, _: 0 if run.at is None else run.at.attempt, descending=True),
    Order("wait", lambda run, now: run.queue_time(now).total_seconds(), descending=True, ages=True),
    Order("exec", _seconds, descending=True, ages=True),
)
BY_KEY = {order.key: order for order in ORDERS}
