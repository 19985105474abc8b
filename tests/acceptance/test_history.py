"""What is written down: every transition before anything follows from it, as an event, in order, and published."""

from __future__ import annotations

import json
from typing import Any

import pytest
import redis

from tests.acceptance.kit.person import Operator, steps, types
from tests.support.eventually import eventually_sync

pytestmark = pytest.mark.usefixtures("worker")

STORY = """
    steps:
      - {id: flaky, type: http, config: {url: "@sink/flaky"}, retry: {max_attempts: 2, initial_delay: 10ms}}
      - id: choice
        type: conditional
        depends_on: flaky
        config: {condition: "true", branches: {"true": {target_step: taken}, "false": {target_step: left}}}
      - {id: taken, type: transform, config: {expression: "1"}}
      - {id: left, type: transform, config: {expression: "2"}}
      - {id: pause, type: delay, depends_on: [taken, left], config: {duration: 50ms}}
"""
TOLD = [
    "workflow.created",
    "workflow.started",
    "step.queued flaky",
    "step.started flaky",
    "step.retrying flaky",
    "step.queued flaky",
    "step.started flaky",
    "step.completed flaky",
    "step.started choice",
    "step.completed choice",
    "step.skipped left",
    "step.started taken",
    "step.completed taken",
    "step.started pause",
    "step.waiting pause",
    "step.completed pause",
    "workflow.completed",
]


def published(operator: Operator, run: str) -> list[dict[str, Any]]:
    """Return the events of a run as the events stream has them, in its order, repetitions left out."""
    installation = operator.sql.value("SELECT left(id::text, 8) FROM installation")
    with redis.Redis.from_url(operator.installation.redis_url) as client:
        entries: Any = client.xrange(f"ff:{installation}:events")
    found: list[dict[str, Any]] = []
    for _, fields in entries:
        for row in json.loads(fields[b"history"]):
            if row["run"].replace("-", "") == run.replace("-", ""):
                numbered = [{"seq": row["seq"] + no, **event} for no, event in enumerate(row["events"])]
                found += [event for event in numbered if event["seq"] > len(found)]
    return found


def test_every_transition_is_an_event_and_every_event_is_published_in_order(operator: Operator):
    """Criterion 8: the whole story of a run with a retry, a branch and a delay, in the table and in the stream."""
    operator.effects.answer("flaky", lambda h: h.reply(503, {}, {}), lambda h: h.reply(200, {}, {}))

    run = operator.run(operator.flow(STORY))["id"]
    operator.shell.type("receipt", run)

    eventually_sync(lambda: operator.events(run)[-1]["type"] == "workflow.receipt.generated", what="the receipt")
    events = operator.events(run)
    told = [event for event in types(events) if event not in ("step.queued choice", "step.queued taken")]
    assert [event for event in told if event != "step.queued pause"] == TOLD
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
    assert [event["at"] for event in events] == sorted(event["at"] for event in events)
    eventually_sync(lambda: len(published(operator, run)) == len(events), what="the feed catches up")
    assert [(e["type"], e.get("step")) for e in published(operator, run)] == [(e["type"], e["step"]) for e in events]


def test_nothing_goes_on_before_what_it_depends_on_is_committed(operator: Operator):
    """Criterion 7: while the effect of B happens, anybody can read that A is completed and B is running."""
    hold = operator.effects.hold("b")
    flow = operator.flow("""
        steps:
          - {id: a, type: transform, config: {expression: "41 + 1"}}
          - {id: b, type: http, depends_on: a, config: {url: "@sink/b"}}
          - {id: c, type: http, depends_on: b, config: {url: "@sink/c"}}
    """)
    run = operator.start(flow)
    operator.effects.arrived("b")

    shown = operator.show(run)
    of = steps(shown)
    assert shown["status"] == "running"
    assert (of["a"]["status"], of["a"]["output"]) == ("completed", {"result": 42})
    assert (of["b"]["status"], of["b"]["attempts"]) == ("running", 1)
    assert of["b"]["worker"]
    assert of["c"]["status"] == "pending"
    assert types(operator.events(run))[-1] == "step.started b"

    hold.release()
    assert operator.wait(run)[0]["status"] == "completed"
    eventually_sync(lambda: operator.sql.counts("outbox") == 0, what="the relay has committed")


def test_a_history_can_be_followed_until_the_run_has_ended(operator: Operator):
    """`events --follow --json` prints a document per line, and ends with the run."""
    hold = operator.effects.hold("held")
    flow = operator.flow('steps: [{id: held, type: http, config: {url: "@sink/held"}}]\n')
    run = operator.start(flow)
    log = operator.folder / "followed"
    following = operator.shell.begin("events", str(run), "--follow", "--json", log=log)
    try:
        eventually_sync(lambda: "step.started" in log.read_text(), what="the first events are printed")
        hold.release()
        assert following.wait(timeout=60) == 0
    finally:
        following.kill()
        following.wait()
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert [line["seq"] for line in lines] == list(range(1, len(lines) + 1))
    assert types(lines)[-1] == "workflow.completed"
    assert all(line["schema"] == "flowforge/event/v1" for line in lines)


def test_starting_again_with_the_same_key_returns_the_first_run(operator: Operator):
    """The duplicate is prevented and written down; another input under the same key is a conflict."""
    flow = operator.flow('steps: [{id: one, type: http, config: {url: "@sink/one"}}]\n')
    key = ("--idempotency-key", f"order-{operator.queue}")
    first = operator.run(flow, *key, "-i", "n=1")
    again = operator.run(flow, *key, "-i", "n=1")
    assert again["id"] == first["id"]
    assert len(operator.effects.calls("one")) == 1
    assert types(operator.events(first["id"]))[-1] == "workflow.duplicate_prevented"
    refused = operator.shell.type("run", str(flow), *key, "-i", "n=2", code=7)
    refused.refused("idempotency key", first["id"])
