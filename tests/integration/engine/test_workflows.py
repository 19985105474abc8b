"""Whole workflows, from a start to a run at rest, on workers with all their loops."""

from __future__ import annotations

from datetime import timedelta

import pytest
from pytest_httpserver import HTTPServer
from werkzeug import Response

from flowforge.client import AsyncClient
from flowforge.model.documents import Step
from tests.support.checker import check_feed
from tests.support.definitions import branching, chain, diamond, fan, parallel, step, workflow
from tests.support.documents import error_of, steps_of
from tests.support.eventually import eventually
from tests.support.sql import Sql


async def test_a_chain_completes_in_order_and_its_output_is_that_of_the_last_step(
    client: AsyncClient, start_worker, at_rest, sql: Sql, endpoints
):
    """The shape everything else is made of."""
    await start_worker()
    run = await client.run(chain(3), wait=True)
    assert run.status == "completed"
    assert run.output == {"s2": {"result": 1}}
    assert await at_rest() == 1
    assert sql.events(run.id) == [
        "workflow.created",
        "workflow.started",
        "step.queued s0",
        "step.started s0",
        "step.completed s0",
        "step.queued s1",
        "step.started s1",
        "step.completed s1",
        "step.queued s2",
        "step.started s2",
        "step.completed s2",
        "workflow.completed",
    ]

    def fed() -> bool:
        try:
            check_feed(endpoints.database_url, endpoints.redis_url)
        except AssertionError:
            return False
        return True

    await eventually(fed)


async def test_a_diamond_joins_once_and_sees_both_branches(client: AsyncClient, start_worker, at_rest, sql: Sql):
    """The join reads both outputs."""
    await start_worker()
    definition = workflow(
        step("a", expression="input.n"),
        step("b", expression="steps.a.output.result + 1"),
        step("c", expression="steps.a.output.result * 10"),
        step("d", expression="steps.b.output.result + steps.c.output.result"),
    )
    run = await client.run(definition, {"n": 4}, wait=True)
    assert run.output == {"d": {"result": 45}}
    assert sql.events(run.id).count("step.started d") == 1
    await at_rest()


async def test_two_workers_share_many_runs_and_execute_everything_once(
    client: AsyncClient, start_worker, at_rest, sql: Sql
):
    """Two hundred diamonds at a limit of 20."""
    for _ in range(2):
        await start_worker(concurrency=16)
    version = await client.planned(diamond(limit=20))
    await client.start_many([client.prepare(version, {"no": no}) for no in range(200)])
    await eventually(lambda: sql.value("SELECT count(*) FROM runs WHERE status <> 'completed'") == 0)
    assert await at_rest() == 200
    assert sql.value("SELECT count(*) FROM events WHERE type = 'step.started'") == 800
    assert sql.value("SELECT count(DISTINCT worker) FROM steps") == 2


async def test_nested_parallels_collect_their_childrens_outputs(client: AsyncClient, start_worker, at_rest):
    """Under the ids they have inside their parallel step."""
    await start_worker()
    definition = workflow(
        step("a"),
        parallel(
            "outer",
            step("x", expression="1"),
            parallel("inner", step("y", expression="2"), step("z", expression="3")),
            after=("a",),
        ),
        step("end", "outer", expression="steps.outer.output"),
    )
    run = await client.run(definition, wait=True)
    assert run.status == "completed", run.error
    inner = {"results": {"y": {"result": 2}, "z": {"result": 3}}, "errors": {}}
    assert run.output == {"end": {"result": {"results": {"x": {"result": 1}, "inner": inner}, "errors": {}}}}
    await at_rest()


async def test_a_parallel_step_with_a_failed_child_fails_after_the_others(client: AsyncClient, start_worker, at_rest):
    """`wait_for_all`: the others finish, the error names the child."""
    await start_worker()
    definition = workflow(parallel("fan", step("good"), step("bad", expression="1 / 0"), step("fine")))
    run = await client.run(definition, wait=True)
    assert run.status == "failed"
    assert "bad" in error_of(run)["message"]
    assert {one.id: one.status.value for one in steps_of(run)} == {
        "fan": "failed",
        "fan.good": "completed",
        "fan.bad": "failed",
        "fan.fine": "completed",
    }
    await at_rest()


@pytest.mark.parametrize(("amount", "skipped"), [(50, {"small"}), (5, {"big", "bigger"})])
async def test_branches_of_a_conditional_rejoin(
    client: AsyncClient, start_worker, at_rest, amount: int, skipped: set[str]
):
    """The branch not taken is skipped, the step behind both runs."""
    await start_worker()
    run = await client.run(branching(), {"amount": amount}, wait=True)
    assert run.status == "completed"
    assert {one.id for one in steps_of(run) if one.status == "skipped"} == skipped
    assert run.output == {"end": {"result": 1}}
    await at_rest()


async def test_a_delay_holds_no_worker(client: AsyncClient, start_worker, sql: Sql):
    """It waits in Postgres."""
    worker = await start_worker()
    run = await client.run(workflow(step("wait", kind="delay", config={"duration": "1h"})))
    await eventually(lambda: sql.steps(run.id).get("wait") == "waiting")
    await eventually(lambda: len(worker.holdings) == 0)
    assert sql.steps(run.id) == {"wait": "waiting"}


async def test_a_delay_takes_its_time(client: AsyncClient, start_worker, at_rest):
    """The step behind it starts no earlier."""
    await start_worker()
    definition = workflow(step("wait", kind="delay", config={"duration": "300ms"}), step("b", "wait"))
    run = await client.run(definition, wait=True)
    wait, after = steps_of(run)
    assert after.started_at is not None
    assert wait.started_at is not None
    assert after.started_at - wait.started_at >= timedelta(milliseconds=300)
    await at_rest()


async def test_a_flaky_http_server_is_tried_again_until_it_answers(
    client: AsyncClient, start_worker, at_rest, httpserver: HTTPServer
):
    """503, then 200; every attempt carries the same idempotency key."""
    keys: list[str] = []

    def answer(request) -> Response:
        keys.append(request.headers["Idempotency-Key"])
        if len(keys) < 3:
            return Response("later", status=503)
        return Response('{"ok": true}', content_type="application/json")

    httpserver.expect_request("/pay", method="POST").respond_with_handler(answer)
    await start_worker()
    definition = workflow(
        step(
            "pay",
            kind="http",
            config={"method": "POST", "url": httpserver.url_for("/pay"), "body": {"order": "{{ input.order }}"}},
            retry={"max_attempts": 4, "initial_delay": "20ms", "jitter": False, "retry_on": ["http_5xx"]},
        ),
        step("ok", expression="steps.pay.output.body.ok"),
    )
    run = await client.run(definition, {"order": "42"}, wait=True)
    assert run.status == "completed", run.error
    assert run.output == {"ok": {"result": True}}
    assert steps_of(run)[0].attempts == 3
    assert set(keys) == {f"{run.id}:pay"}
    await at_rest()


async def test_a_python_step_runs_in_a_child_process_and_returns_its_value(client: AsyncClient, start_worker, at_rest):
    """With typed arguments from the context."""
    await start_worker()
    definition = workflow(
        step("dump", kind="python", config={"function": "json:dumps", "args": {"obj": "{{ input.a }}"}}),
        step("load", kind="python", config={"function": "json:loads", "args": {"s": "{{ steps.dump.output }}"}}),
    )
    run = await client.run(definition, {"a": [1, {"b": "ü"}]}, wait=True)
    assert run.status == "completed", run.error
    assert run.output == {"load": [1, {"b": "ü"}]}
    await at_rest()


async def test_a_chain_longer_than_a_workers_continuations_goes_through_the_stream_and_on(
    client: AsyncClient, start_worker, at_rest, sql: Sql, monkeypatch: pytest.MonkeyPatch
):
    """Others get their turn; nothing is lost at the seam."""
    monkeypatch.setattr("flowforge.engine.attempts.CHAIN", 3)
    await start_worker()
    run = await client.run(chain(10), wait=True)
    assert run.status == "completed"
    assert sql.value("SELECT count(*) FROM steps WHERE dispatch_no = 1") == 10
    await at_rest()


async def test_a_chain_of_500_steps_completes(client: AsyncClient, start_worker, at_rest):
    """Linear, without recursion."""
    await start_worker()
    run = await client.run(chain(500), wait=True)
    assert run.status == "completed"
    assert run.seq == 2 + 500 * 3 + 1
    await at_rest()


async def test_a_fan_of_1000_branches_joins_once(client: AsyncClient, start_worker, at_rest, sql: Sql):
    """All branches count down one row, under one lock."""
    await start_worker(concurrency=256)
    run = await client.run(fan(1000), wait=True)
    assert run.status == "completed"
    assert sql.events(run.id).count("step.queued join") == 1
    await at_rest()


async def test_a_step_type_that_no_worker_has_waits_and_says_what_for(
    client: AsyncClient, start_worker, at_rest, sql: Sql, monkeypatch: pytest.MonkeyPatch
):
    """It is not an attempt, not an error of the run; a worker that has the type executes it."""
    from tests.support.executors import Counting, Scripted

    monkeypatch.setattr("flowforge.engine.attempts.NOT_INSTALLED_DELAY", timedelta(milliseconds=20))
    worker = await start_worker(executors=Scripted(sms=Counting()))
    run = await client.run(workflow(step("text", kind="sms", config={"to": "me"}, retry={"max_attempts": 1})))
    await eventually(lambda: "step.retrying text" in sql.events(run.id))

    async def told() -> Step | None:
        """Return the step once it says what it waits for; while it is claimed again it does not."""
        (one,) = steps_of(await client.get(run.id))
        return one if one.error else None

    found: Step = await eventually(told)
    assert found.error is not None
    assert "sms" in found.error["message"]
    assert found.error["code"] == "STEP_TYPE_NOT_INSTALLED"
    assert found.attempts <= 1
    worker.step_types = worker.step_types | {"sms"}
    run = await client.wait(run.id)
    assert run.status == "completed"
    assert steps_of(run)[0].attempts == 1
    await at_rest()


@pytest.mark.parametrize(
    ("output", "code"),
    [
        (float("nan"), "INVALID_OUTPUT"),
        ({"a": "\0"}, "INVALID_OUTPUT"),
        ("\ud800", "INVALID_OUTPUT"),
        (object(), "INVALID_OUTPUT"),
        ("x" * 2_000_000, "TOO_LARGE"),
    ],
    ids=["nan", "nul", "surrogate", "object", "large"],
)
async def test_a_result_that_cannot_be_stored_fails_its_step_and_never_hangs(
    client: AsyncClient, start_worker, at_rest, output: object, code: str
):
    """Whatever an executor returns, the run ends with a reason."""
    from flowforge.model.outcome import Completed
    from tests.support.executors import Counting, Scripted

    await start_worker(executors=Scripted(transform=Counting(lambda _: Completed(output))))  # type: ignore[arg-type]
    run = await client.run(chain(1), wait=True)
    assert run.status == "failed"
    assert error_of(run)["code"] == code
    await at_rest()


async def test_an_error_that_postgres_cannot_store_still_fails_the_step(client: AsyncClient, start_worker, at_rest):
    """The message is cleaned, never lost."""
    from flowforge.model.outcome import Failed, StepError
    from tests.support.executors import Counting, Scripted

    bad = StepError(code="ODD", message="nul \0 and surrogate \ud800", retryable=False, details={"x": "\0"})
    await start_worker(executors=Scripted(transform=Counting(lambda _: Failed(bad))))
    run = await client.run(chain(1), wait=True)
    assert run.status == "failed"
    assert error_of(run)["code"] == "ODD"
    await at_rest()


async def test_an_executor_that_raises_fails_its_step_and_not_the_worker(client: AsyncClient, start_worker, at_rest):
    """Any exception is an outcome."""
    from tests.support.executors import Counting, Scripted

    def broken(_: object):
        raise RuntimeError("broken")

    await start_worker(executors=Scripted(transform=Counting(broken)))
    run = await client.run(workflow(step("a", retry={"max_attempts": 1})), wait=True)
    assert run.status == "failed"
    assert "broken" in error_of(run)["message"]
    fine = await client.run(workflow(step("wait", kind="delay", config={"duration": 1}), name="after-that"), wait=True)
    assert fine.status == "completed"
    await at_rest()


@pytest.mark.thorough
async def test_everything_lost_in_redis_under_load_costs_time_and_no_work(
    client: AsyncClient, start_worker, at_rest, sql: Sql, lose_streams
):
    """Streams, groups and markers vanish three times while 150 runs are under way."""
    await start_worker(concurrency=8, lease=timedelta(seconds=2), redispatch_after=timedelta(seconds=2))
    version = await client.planned(diamond(limit=30))
    for _ in range(3):
        await client.start_many([client.prepare(version) for _ in range(50)])
        lose_streams()
    await eventually(lambda: sql.value("SELECT count(*) FROM runs WHERE status <> 'completed'") == 0)
    assert await at_rest() == 150
    assert sql.value("SELECT max(token) FROM steps") == 1


@pytest.mark.thorough
async def test_terminated_backends_under_load_cost_time_and_no_work(
    client: AsyncClient, start_worker, at_rest, sql: Sql
):
    """No run fails because of the infrastructure, no attempt is charged, no result is there twice."""
    await start_worker(concurrency=16, lease=timedelta(seconds=3), redispatch_after=timedelta(seconds=3))
    version = await client.planned(diamond(limit=20))
    await client.start_many([client.prepare(version) for _ in range(150)])
    killed = 0

    def done() -> bool:
        nonlocal killed
        if killed < 40:
            killed += sql.value(
                """SELECT count(pg_terminate_backend(pid)) FROM (
                     SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()
                     AND application_name = 'flowforge' ORDER BY random() LIMIT 1) AS victim"""
            )
        return bool(sql.value("SELECT count(*) FROM runs WHERE finished_at IS NULL") == 0)

    await eventually(done, 90)
    assert killed
    assert sql.rows("SELECT DISTINCT status::text FROM runs") == [("completed",)]
    assert sql.value("SELECT max(failures) FROM steps") == 0
    assert await at_rest() == 150
