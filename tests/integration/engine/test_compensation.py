"""Sagas on real servers: what was done is undone, in reverse order, whatever happens on the way."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from flowforge.client import AsyncClient
from flowforge.errors import Conflict
from flowforge.model.facts import Granted
from flowforge.model.outcome import Failed
from tests.support.definitions import step, workflow
from tests.support.documents import error_of, steps_of
from tests.support.hand import Hand, error
from tests.support.sql import Sql

ONCE = {"max_attempts": 1}


def saga(fails_at: int, *, length: int = 5, undo_fails: int | None = None, **more: Any) -> dict[str, Any]:
    """Make s0 to s4, each undone by what reads the failure, its own output and the input; one of them fails."""
    steps = []
    for no in range(length):
        broken = "1 / 0" if no == undo_fails else f"[run.error.step, steps.s{no}.output.result, input.order]"
        steps.append(
            step(
                f"s{no}",
                *([f"s{no - 1}"] if no else []),
                expression="1 / 0" if no == fails_at else f"{no} * 10",
                retry=ONCE,
                compensate={"type": "transform", "config": {"expression": broken}, "retry": ONCE},
            )
        )
    return workflow(*steps, **more)


async def test_what_was_done_is_undone_in_reverse_order(client: AsyncClient, start_worker, at_rest, sql: Sql):
    """Wherever it fails; each with the failed step's error, its own output and the original input."""
    await start_worker()
    for fails_at in range(5):
        run = await client.run(saga(fails_at), {"order": "o-17"}, wait=True)
        assert run.status == "failed"
        assert error_of(run)["step"] == f"s{fails_at}"
        statuses = [one.status.value for one in steps_of(run)]
        assert statuses == ["compensated"] * fails_at + ["failed"] + ["cancelled"] * (4 - fails_at)
        undone = [event.split()[1] for event in sql.events(run.id) if event.startswith("step.compensated")]
        assert undone == [f"s{no}" for no in reversed(range(fails_at))]
        assert run.compensation.status == ("completed" if fails_at else "none")
        assert [one.output for one in run.compensation.steps] == [
            {"result": [f"s{fails_at}", no * 10, "o-17"]} for no in reversed(range(fails_at))
        ]
    assert await at_rest() == 5


async def test_a_compensation_that_keeps_failing_leaves_an_incident_that_names_what_is_left(
    client: AsyncClient, start_worker, at_rest
):
    """The run fails; retrying tries again, skipping says that it was done by hand."""
    await start_worker()
    run = await client.run(saga(3, undo_fails=1), {"order": 1}, wait=True)
    assert error_of(run)["code"] == "COMPENSATION_FAILED"
    assert error_of(run)["details"]["not_undone"] == ["s1", "s0"]
    assert error_of(run)["details"]["cause"]["step"] == "s3"
    (incident,) = await client.incidents()
    assert (incident.kind, incident.step, incident.run_id, incident.count) == ("compensation_failed", "s1", run.id, 1)

    await client.retry(run.id)
    again = await client.wait(run.id, timeout=60)
    assert error_of(again)["code"] == "COMPENSATION_FAILED"
    assert (await client.incident(incident.id)).count == 2

    await client.skip(run.id, "s1:compensate", reason="refunded by hand")
    over = await client.wait(run.id, timeout=60)
    assert (over.status, error_of(over)["step"]) == ("failed", "s3")
    assert [(one.id, one.status.value) for one in over.compensation.steps] == [
        ("s2:compensate", "completed"),
        ("s1:compensate", "skipped"),
        ("s0:compensate", "completed"),
    ]
    await client.resolve_incident(incident.id, resolution="refunded")
    with pytest.raises(Conflict, match="resolved by"):
        await client.resolve_incident(incident.id)
    assert await at_rest() == 1


async def test_attempts_have_a_time_together(hand: Hand, sql: Sql):
    """max_elapsed ends the retries although there would be attempts left, and shortens the last one."""
    retry = {"max_attempts": 50, "initial_delay": "1ms", "max_elapsed": "10s"}
    run_id = await hand.start(workflow(step("a", retry=retry, timeout="1h")))
    first = await hand.claim(run_id, "a")
    assert isinstance(first.answer, Granted)
    assert first.assignment is not None
    assert first.assignment.timeout == timedelta(seconds=10)
    await hand.settle(first, Failed(error(retryable=True)))
    sql.do("UPDATE steps SET error = jsonb_set(error, '{since}', to_jsonb((now() - interval '11s')::text))")
    sql.do("UPDATE steps SET due_at = now() - interval '1s'")
    await hand.wake(run_id)
    await hand.settle(await hand.claim(run_id, "a"), Failed(error(retryable=True)))
    assert sql.status(run_id) == "failed"
    assert "max_elapsed" in sql.value("SELECT error ->> 'hint' FROM runs")
