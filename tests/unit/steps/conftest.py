"""Assignments made from real definitions."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest

from flowforge.model.load import from_data
from flowforge.steps.base import Assignment

RUN = UUID("01890000-0000-7000-8000-000000000001")


@pytest.fixture
def assign() -> Callable[..., Assignment]:
    """Return an assignment of the step `it` of a definition that has *others* beside it."""

    def make(kind: str, config: dict[str, Any], *others: dict[str, Any], **context: Any) -> Assignment:
        step = {"id": "it", "type": kind, "config": config}
        plan = from_data({"name": "test", "steps": [step, *others]}).plan
        facts = {"input": {}, "steps": {}, "run": {"id": str(RUN), "attempt": 1}, **context}
        return Assignment(
            run_id=RUN,
            workflow="test",
            version=1,
            step=plan.step("it"),
            attempt=1,
            token=1,
            context=facts,
            claimed_at=datetime.now(UTC),
        )

    return make
