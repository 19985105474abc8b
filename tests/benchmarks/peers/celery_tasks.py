"""The tasks that Celery's workers execute: each gives on what it gets, as JSON."""

from __future__ import annotations

import os
from typing import Any

from celery import Celery

from tests.benchmarks.peers.celery_peer import PREFETCH, URL

app = Celery("bench", broker=os.environ.get(URL), backend=os.environ.get(URL))
app.conf.update(
    worker_prefetch_multiplier=PREFETCH, task_serializer="json", result_serializer="json", accept_content=["json"]
)


@app.task
def begin(n: int) -> dict[str, int]:
    """Be the first step."""
    return {"n": n}


@app.task
def go_on(found: dict[str, int]) -> dict[str, int]:
    """Be a step after another one."""
    return found


@app.task
def join(found: list[Any]) -> dict[str, int]:
    """Be the step after all others."""
    return {"n": len(found)}
