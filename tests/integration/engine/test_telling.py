"""Incidents reach people, once each, and nobody who cannot be told stops a worker."""

from __future__ import annotations

from typing import Any

from flowforge.client import AsyncClient
from flowforge.engine.telling import Telling
from flowforge.steps import notifying
from flowforge.steps.notifying import Delivery
from flowforge.steps.settings import StepSettings
from tests.support.definitions import step, workflow


async def test_each_incident_is_told_once(client: AsyncClient, start_worker, engine, monkeypatch, caplog):
    """With what happened and what to do; a target that cannot be reached is named in the log."""
    told: list[tuple[Any, ...]] = []

    async def notify(_settings: StepSettings, targets: Any, title: str, body: str) -> tuple[Delivery, ...]:
        told.append((targets, title, body))
        return (Delivery("ops"), Delivery("boss", "no such mailbox"))

    monkeypatch.setattr(notifying, "notify", notify)
    await start_worker()
    run = await client.run(workflow(step("a", expression="1 / 0", retry={"max_attempts": 1})), wait=True)
    telling = Telling(engine.database, StepSettings(), ("ops", "boss"))
    await telling.run_once()
    await telling.run_once()
    ((targets, title, body),) = told
    assert targets == ("ops", "boss")
    assert "irrecoverable error in test-workflow, step a" in title
    assert f"flowforge show {run.id}" in body
    assert "target boss is not told of incident 1: no such mailbox" in caplog.text


async def test_a_target_that_is_not_configured_is_a_warning(client: AsyncClient, start_worker, engine, caplog):
    """The worker goes on."""
    await start_worker()
    await client.run(workflow(step("a", expression="1 / 0", retry={"max_attempts": 1})), wait=True)
    await Telling(engine.database, StepSettings(), ("nobody",)).run_once()
    assert "nobody is told of incident 1" in caplog.text
