"""`explain` without a run: all that is stuck, in sets, the worst first; typing what it offers empties the list."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import Any
from uuid import UUID

import pytest

from tests.acceptance.conftest import Workers
from tests.acceptance.kit.asking import Answer, ask
from tests.acceptance.kit.person import Operator
from tests.acceptance.kit.sink import reply
from tests.support.eventually import eventually_sync

pytestmark = [pytest.mark.thorough, pytest.mark.usefixtures("worker")]

SIGNAL = "steps: [{id: paid, type: wait_signal, config: {name: paid}}]\n"
#: What holds up the most first.
WEIGHTS = ["held", "blocked", "waits", "works", "notes"]


def of(answer: Answer, *subjects: str) -> dict[str, Any]:
    """Return the causes whose subject, text or members name something of this test, by kind."""
    causes = answer.document["causes"]
    assert sorted(causes, key=lambda one: WEIGHTS.index(one["weight"])) == causes
    return {one["kind"]: one for one in causes if any(name in str(one) for name in subjects)}


def waits(operator: Operator, runs: Sequence[UUID], step: str) -> None:
    """Wait until a step of every run waits."""
    for run in runs:
        operator.step_becomes(run, step, "waiting")


def test_everything_that_is_stuck_is_told_in_sets(operator: Operator, workers: Workers):
    """Twelve runs are six lines; a delay and a finished run are none."""
    operator.effects.answer("charge", reply(503), reply(503), reply(200))
    held = operator.flow('steps: [{id: a, type: transform, config: {expression: "1"}}]\n')
    gated = operator.flow(f"concurrency: 1\n{SIGNAL}")
    lonely = operator.flow('queue: "@queue"\nsteps: [{id: a, type: transform, config: {expression: "1"}}]\n')
    paid = operator.flow(SIGNAL)
    asked = operator.flow("steps: [{id: sign, type: approval, config: {prompt: Sign, approvers: [ada]}}]\n")
    retry = "retry: {max_attempts: 4, initial_delay: 5m, jitter: false}"
    flaky = operator.flow(f'steps: [{{id: charge, type: http, config: {{url: "@sink/charge"}}, {retry}}}]\n')
    cool = operator.flow("steps: [{id: cool, type: delay, config: {duration: 1h}}]\n")
    operator.publish(held)
    operator.shell.type("workflow", "pause", held.stem, "--reason", "wrong rates", actor="alice")
    operator.start_many(held, [{}, {}])
    holder, *queueing = operator.start_each(gated, [{}] * 4)
    operator.start_many(lonely, [{}, {}])
    signals, approvals, retries = (operator.start_many(flow, [{}, {}]) for flow in (paid, asked, flaky))
    waits(operator, [holder, *signals], "paid")
    waits(operator, approvals, "sign")
    waits(operator, retries, "charge")
    waits(operator, operator.start_many(cool, [{}]), "cool")
    operator.shell.type("pause", str(holder), actor="bob")

    answer = ask(operator.shell)

    found = of(answer, held.stem, gated.stem, operator.queue, paid.stem, asked.stem, flaky.stem, cool.stem)
    counts = {kind: cause["count"] for kind, cause in found.items()}
    assert counts == {
        "workflow_paused": 2,
        "gate_full": 3,
        "no_worker": 2,
        "signal": 2,
        "approval": 2,
        "run_paused": 1,
        "retry": 2,
    }
    answer.says(
        f"workflow '{held.stem}' is paused by alice (wrong rates): 2 new runs wait",
        f"3 runs wait at gate '{gated.stem}': its only place is taken by {holder}, paused",
        f"2 steps wait on queue '{operator.queue}', and no worker serves it",
        f"2 runs wait for the signal 'paid', in step 'paid' of workflow '{paid.stem}'",
        f"2 runs wait for approval, in step 'sign' of workflow '{asked.stem}'",
        f"1 run of workflow '{gated.stem}' is paused",
        f"2 runs wait to try step 'charge' of workflow '{flaky.stem}' again, after HTTP_503",
    )
    assert found["gate_full"]["command"] == f"flowforge explain {holder}"

    for kind in ("workflow_paused", "run_paused"):
        typed(operator, found[kind])
    workers(*shlex.split(found["no_worker"]["command"])[1:])
    for _ in range(2):
        left = of(ask(operator.shell), paid.stem, asked.stem)
        typed(operator, left["signal"])
        typed(operator, left["approval"], actor="ada")
    moved = (held.stem, operator.queue, paid.stem, asked.stem)
    eventually_sync(lambda: not of(ask(operator.shell), *moved), what="what was moved is not told any more")
    assert operator.ended([*signals, *approvals]) == {"completed": 4}
    assert of(ask(operator.shell), gated.stem)["gate_full"]["count"] == len(queueing)


def typed(operator: Operator, cause: dict[str, Any], actor: str = "bob") -> None:
    """Type what a cause offers."""
    program, *words = shlex.split(cause["command"])
    assert program == "flowforge"
    operator.shell.type(*words, actor=actor)
