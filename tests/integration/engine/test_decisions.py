"""Steps that wait for people and signals: nothing that comes is lost, nothing counts twice, of two at once one wins."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from flowforge.client import AsyncClient
from flowforge.errors import Conflict, FlowforgeError
from flowforge.model.facts import Accepted, Decided, Rejected, SignalSent
from flowforge.model.outcome import Completed, Waiting
from tests.support.definitions import Definition, chain, step, workflow
from tests.support.documents import error_of, steps_of
from tests.support.eventually import eventually
from tests.support.hand import Hand
from tests.support.sql import Sql

ONCE = {"max_attempts": 1}


def approval(step_id: str = "ask", *after: str, **config: Any) -> Definition:
    """Make a step that asks people."""
    return step(step_id, *after, kind="approval", config={"prompt": "Release?", **config}, retry=ONCE)


def listening(step_id: str, *after: str, **config: Any) -> Definition:
    """Make a step that waits for a signal."""
    return step(step_id, *after, kind="wait_signal", config=config, retry=ONCE)


async def waits(sql: Sql, run_id: UUID, name: str) -> None:
    """Wait until a step waits."""
    await eventually(lambda: sql.steps(run_id).get(name) == "waiting", what=f"{name} waits")


async def missing(client: AsyncClient, run_id: UUID) -> Any:
    """Return how many approvals the first step of a run waits for."""
    return (steps_of(await client.get(run_id))[0].waits_for or {}).get("missing")


@pytest.fixture
async def act_as(settings, endpoints):
    """A factory of clients of other people."""
    made: list[AsyncClient] = []

    async def make(actor: str, **more: Any) -> AsyncClient:
        one = AsyncClient(settings.model_copy(update={"actor": actor, **more}), endpoints=endpoints)
        made.append(await one.open())
        return one

    yield make
    for one in made:
        await one.close()


# -- approvals -----------------------------------------------------------------------------------------------


async def test_an_approval_lets_the_run_go_on(start_worker, client: AsyncClient, act_as, sql: Sql, at_rest):
    """It holds no worker meanwhile, says whom it asks, and its output says who decided and why."""
    await start_worker()
    ann = await act_as("ann")
    run = await client.run(workflow(approval(approvers=["ann"], details="Invoice 7"), step("after", "ask")))
    await waits(sql, run.id, "ask")
    asked = steps_of(await client.get(run.id))[0].waits_for
    assert asked == {"approval": {"prompt": "Release?", "details": "Invoice 7", "approvers": ["ann"]}, "missing": 1}
    await ann.decide(run.id, "ask", approved=True, comment="fine")
    run = await client.wait(run.id, timeout=60)
    assert run.status == "completed"
    output = steps_of(run)[0].output
    assert isinstance(output, dict)
    assert (output["approved"], output["timed_out"]) == (True, False)
    (decision,) = output["decisions"]
    assert (decision["actor"], decision["approved"], decision["comment"]) == ("ann", True, "fine")
    assert ("ann", "fine") in sql.rows("SELECT data->>'actor', data->>'reason' FROM events WHERE type = 'step.decided'")
    await at_rest()


async def test_a_rejection_fails_the_step_and_says_who_and_why(start_worker, client: AsyncClient, sql: Sql, at_rest):
    """And the run asks again after a retry, of which nobody's old decision is a part."""
    await start_worker()
    run = await client.run(workflow(approval(required=2)))
    await waits(sql, run.id, "ask")
    await client.decide(run.id, "ask", approved=False, comment="too dear")
    run = await client.wait(run.id, timeout=60)
    assert error_of(run)["code"] == "REJECTED"
    assert "too dear" in error_of(run)["message"]
    await client.retry(run.id)
    await waits(sql, run.id, "ask")
    assert await missing(client, run.id) == 2
    await at_rest(unfinished=[run.id])


async def test_several_have_to_approve_and_nobody_twice(start_worker, client: AsyncClient, act_as, sql: Sql, at_rest):
    """The last one lets the run go on; who comes after that is told that it is decided."""
    await start_worker()
    people = [await act_as(name) for name in ("ann", "bob", "cat")]
    run = await client.run(workflow(approval(approvers=["ann", "bob", "cat"], required=2)))
    await waits(sql, run.id, "ask")
    await people[0].decide(run.id, "ask", approved=True)
    with pytest.raises(Conflict, match="ann has decided about step 'ask' already"):
        await people[0].decide(run.id, "ask", approved=True)
    assert await missing(client, run.id) == 1
    await people[1].decide(run.id, "ask", approved=True)
    run = await client.wait(run.id, timeout=60)
    assert run.status == "completed"
    with pytest.raises(Conflict, match="already completed"):
        await people[2].decide(run.id, "ask", approved=True)
    await at_rest()


async def test_all_have_to_approve_where_that_is_said(start_worker, client: AsyncClient, act_as, sql: Sql, at_rest):
    """`required: all`."""
    await start_worker()
    run = await client.run(workflow(approval(approvers=["ann", "bob"], required="all")))
    await waits(sql, run.id, "ask")
    for name in ("ann", "bob"):
        assert sql.status(run.id) == "running"
        await (await act_as(name)).decide(run.id, "ask", approved=True)
    assert (await client.wait(run.id, timeout=60)).status == "completed"
    await at_rest()


async def test_who_is_not_asked_may_not_decide(start_worker, client: AsyncClient, act_as, sql: Sql):
    """Groups are those of the settings; a name with a host is the name."""
    await start_worker()
    groups = {"finance": ["ann"]}
    run = await client.run(workflow(approval(approvers=["finance"])))
    await waits(sql, run.id, "ask")
    with pytest.raises(Conflict, match="bob may not decide about step 'ask': it asks finance"):
        await (await act_as("bob", groups=groups)).decide(run.id, "ask", approved=True)
    await (await act_as("ann@desk", groups=groups)).decide(run.id, "ask", approved=True)
    assert (await client.wait(run.id, timeout=60)).status == "completed"


@pytest.mark.parametrize(
    ("on_timeout", "status", "code"),
    [(None, "failed", "APPROVAL_TIMEOUT"), ("reject", "failed", "REJECTED"), ("approve", "completed", None)],
)
async def test_an_approval_that_nobody_decides_ends_in_time(
    start_worker, client: AsyncClient, at_rest, on_timeout: str | None, status: str, code: str | None
):
    """As its configuration says."""
    await start_worker()
    more = {} if on_timeout is None else {"on_timeout": on_timeout}
    run = await client.run(workflow(approval(timeout="50ms", **more)))
    run = await client.wait(run.id, timeout=60)
    assert run.status == status
    assert (run.error or {}).get("code") == code
    await at_rest()


async def test_an_approval_that_nobody_decides_asks_others(
    start_worker, client: AsyncClient, act_as, sql: Sql, at_rest
):
    """After a while those may decide as well; before that they may not."""
    await start_worker()
    boss = await act_as("boss")
    definition = workflow(approval(approvers=["ann"], escalate={"after": "1h", "approvers": ["boss"]}, timeout="9h"))
    run = await client.run(definition)
    await waits(sql, run.id, "ask")
    with pytest.raises(Conflict, match="boss may not decide"):
        await boss.decide(run.id, "ask", approved=True)
    sql.do(
        """UPDATE steps SET due_at = clock_timestamp(),
               output = jsonb_set(output::jsonb, '{escalate_at}', to_jsonb(clock_timestamp()))::json"""
    )
    sql.do("UPDATE runs SET wake_at = clock_timestamp()")
    await eventually(lambda: sql.value("SELECT (output->>'escalated')::bool FROM steps"), what="escalation")
    await boss.decide(run.id, "ask", approved=True, comment="in her absence")
    assert (await client.wait(run.id, timeout=60)).status == "completed"


async def test_a_decision_before_the_step_asks_is_refused(client: AsyncClient, hand: Hand):
    """Nobody can have seen what it asks."""
    run_id = await hand.start(workflow(step("a"), approval("ask", "a")))
    with pytest.raises(Conflict, match="does not ask for a decision yet"):
        await client.decide(run_id, "ask", approved=True)


async def test_a_decision_counts_while_the_step_is_woken_by_its_time(hand: Hand, sql: Sql):
    """The step is queued then, and nobody has decided: the decision is not refused, and not lost."""
    run_id = await hand.start(workflow(approval()))
    await hand.settle(await hand.claim(run_id, "ask"), Waiting(timedelta(hours=1), {}, approvals=1))
    sql.do("UPDATE steps SET due_at = clock_timestamp() - interval '1 s'")
    await hand.wake(run_id)
    assert sql.steps(run_id) == {"ask": "queued"}
    assert isinstance((await hand.apply(run_id, Decided(0, "ann", approved=True))).answer, Accepted)
    claimed = await hand.claim(run_id, "ask")
    assert claimed.assignment is not None
    assert claimed.assignment.wake is not None
    assert [one.actor for one in claimed.assignment.wake.received] == ["ann"]


async def test_a_decision_that_comes_while_the_step_is_executed_is_not_lost(hand: Hand, sql: Sql):
    """It was about to wait: it goes on at once."""
    run_id = await hand.start(workflow(approval()))
    await hand.settle(await hand.claim(run_id, "ask"), Waiting(timedelta(hours=1), {}, approvals=1))
    sql.do("UPDATE steps SET due_at = clock_timestamp() - interval '1 s'")
    await hand.wake(run_id)
    claimed = await hand.claim(run_id, "ask")
    assert isinstance((await hand.apply(run_id, Decided(0, "ann", approved=True))).answer, Accepted)
    await hand.settle(claimed, Waiting(timedelta(hours=1), {}, approvals=1))
    assert sql.steps(run_id) == {"ask": "queued"}


async def test_once_it_is_decided_no_decision_counts_any_more(hand: Hand, sql: Sql):
    """Also before a worker has seen it."""
    run_id = await hand.start(workflow(approval()))
    await hand.settle(await hand.claim(run_id, "ask"), Waiting(timedelta(hours=1), {}, approvals=1))
    assert isinstance((await hand.apply(run_id, Decided(0, "ann", approved=True))).answer, Accepted)
    late = (await hand.apply(run_id, Decided(0, "bob", approved=False))).answer
    assert late == Rejected("step 'ask' is decided already, by ann")
    claimed = await hand.claim(run_id, "ask")
    assert (await hand.apply(run_id, Decided(0, "bob", approved=False))).answer == late
    await hand.settle(claimed, Completed({}))
    assert sql.status(run_id) == "completed"


async def test_of_two_who_decide_at_once_exactly_one_decides(make_engine, sql: Sql):
    """Thirty times: one approves, one rejects, and one of them is told that the other was first."""
    hands = [Hand(await make_engine(), f"hand-{no}") for no in range(2)]
    for hand in hands:
        await hand.publish(workflow(approval()))
    for no in range(30):
        run_id = await hands[0].start(workflow(approval()))
        await hands[0].settle(await hands[0].claim(run_id, "ask"), Waiting(None, {}, approvals=1))
        facts = [Decided(0, "ann", approved=True), Decided(0, "bob", approved=False)]
        pairs = list(zip(hands, facts if no % 2 else reversed(facts), strict=True))
        answers = await asyncio.gather(*(hand.apply(run_id, fact) for hand, fact in pairs))
        assert sorted(type(one.answer).__name__ for one in answers) == ["Accepted", "Rejected"]
        assert sql.value("SELECT count(*) FROM signals WHERE run_id = %s", run_id) == 1


@pytest.mark.parametrize("pair", [("cancel", "cancel"), ("pause", "cancel"), ("retry", "retry"), ("skip", "retry")])
async def test_of_two_operators_at_once_the_state_says_who_was_first(
    client: AsyncClient, act_as, hand: Hand, sql: Sql, at_rest, pair: tuple[str, str]
):
    """Whatever they ask: the history has one order, and whoever comes too late is told or finds it done."""
    clients = [await act_as("ann"), await act_as("bob")]
    await hand.publish(chain(1))
    failed = {"retry", "skip"} & set(pair)
    for _ in range(15):
        run_id = await hand.start(chain(1))
        if failed:
            await hand.fail(run_id, "s0")
        else:
            await hand.claim(run_id, "s0")
        calls = [_verb(one, verb, run_id) for one, verb in zip(clients, pair, strict=True)]
        answers = await asyncio.gather(*calls, return_exceptions=True)
        refused = [one for one in answers if isinstance(one, BaseException)]
        assert all(isinstance(one, Conflict) for one in refused), refused
        events = sql.events(run_id)
        if pair == ("retry", "retry"):
            assert (len(refused), events.count("workflow.retried")) == (1, 1)
        if failed:
            assert events.count("workflow.retried") == 1
        if pair[1] == "cancel":
            assert events.count("workflow.cancelling") == 1
        await client.cancel(run_id, force=True) if sql.status(run_id) not in ("completed", "cancelled") else None
    sql.do("DELETE FROM outbox")
    assert await at_rest() == 15


async def _verb(client: AsyncClient, verb: str, run_id: UUID) -> Any:
    return await (client.skip(run_id, "s0") if verb == "skip" else getattr(client, verb)(run_id))


# -- signals -------------------------------------------------------------------------------------------------


async def test_a_signal_that_comes_early_is_kept(start_worker, client: AsyncClient, at_rest, sql: Sql):
    """Sent before a worker has even begun; the step takes it when it comes to it."""
    run = await client.run(workflow(step("a"), listening("paid", "a")))
    await client.signal(run.id, "paid", {"amount": 7})
    await start_worker()
    run = await client.wait(run.id, timeout=60)
    output = steps_of(run)[1].output
    assert isinstance(output, dict)
    assert (output["signal"], output["payload"], output["timed_out"]) == ("paid", {"amount": 7}, False)
    await at_rest()


async def test_a_signal_wakes_the_step_that_waits(start_worker, client: AsyncClient, at_rest, sql: Sql):
    """At once: nothing polls."""
    await start_worker()
    run = await client.run(workflow(listening("a", name="paid")))
    await waits(sql, run.id, "a")
    assert steps_of(await client.get(run.id))[0].waits_for == {"signal": "paid"}
    await client.signal(run.id, "paid", [1, 2])
    run = await client.wait(run.id, timeout=60)
    output = steps_of(run)[0].output
    assert isinstance(output, dict)
    assert (output["payload"], output["actor"]) == ([1, 2], client.actor())
    await at_rest()


async def test_two_waiting_steps_get_signals_in_order(hand: Hand, sql: Sql):
    """Who has waited longest gets the first; each signal goes to one step."""
    run_id = await hand.start(workflow(listening("a", name="go"), listening("b", name="go")))
    for name in ("b", "a"):
        await hand.settle(await hand.claim(run_id, name), Waiting(None, {}, signal="go"))
    await hand.apply(run_id, SignalSent("go", "me", '"first"'))
    assert sql.steps(run_id) == {"a": "waiting", "b": "queued"}
    await hand.apply(run_id, SignalSent("go", "me", '"second"'))
    await hand.apply(run_id, SignalSent("go", "me", '"third"'))
    given = {}
    for name in ("a", "b"):
        claimed = await hand.claim(run_id, name)
        assert claimed.assignment is not None
        assert claimed.assignment.wake is not None
        given[name] = [one.payload for one in claimed.assignment.wake.received]
    assert given == {"a": ["second"], "b": ["first"]}
    assert sql.value("SELECT count(*) FROM signals WHERE step_no IS NULL") == 1


async def test_signals_that_came_early_are_taken_in_order(hand: Hand, sql: Sql):
    """The first that waits takes the first."""
    run_id = await hand.start(workflow(listening("a", name="go"), listening("b", "a", name="go")))
    for payload in ('"first"', '"second"'):
        await hand.apply(run_id, SignalSent("go", "me", payload))
    for name, payload in (("a", "first"), ("b", "second")):
        await hand.settle(await hand.claim(run_id, name), Waiting(None, {}, signal="go"))
        claimed = await hand.claim(run_id, name)
        assert claimed.assignment is not None
        assert claimed.assignment.wake is not None
        assert [one.payload for one in claimed.assignment.wake.received] == [payload]
        await hand.settle(claimed, Completed({}))
    assert sql.status(run_id) == "completed"


@pytest.mark.parametrize("on_timeout", ["fail", "continue"])
async def test_a_signal_that_does_not_come_ends_the_wait_in_time(
    start_worker, client: AsyncClient, at_rest, on_timeout: str
):
    """The step fails, or goes on with what is said for that case."""
    await start_worker()
    run = await client.run(workflow(listening("paid", timeout="50ms", on_timeout=on_timeout, default="none")))
    run = await client.wait(run.id, timeout=60)
    if on_timeout == "fail":
        assert error_of(run)["code"] == "SIGNAL_TIMEOUT"
    else:
        output = steps_of(run)[0].output
        assert isinstance(output, dict)
        assert (output["payload"], output["timed_out"]) == ("none", True)
    await at_rest()


async def test_a_signal_that_no_step_wants_is_refused(client: AsyncClient, hand: Hand):
    """It says what was probably meant; nothing is kept for a run that has ended."""
    run_id = await hand.start(workflow(listening("a", name="paid")))
    with pytest.raises(Conflict, match="did you mean 'paid'"):
        await client.signal(run_id, "payd")
    await client.cancel(run_id)
    with pytest.raises(Conflict, match="already cancelled"):
        await client.signal(run_id, "paid")


async def test_a_step_that_waits_again_after_a_retry_does_not_take_the_old_signal(hand: Hand, sql: Sql):
    """What it had taken does not count any more, and what nobody has taken is still there."""
    run_id = await hand.start(workflow(listening("a", name="go"), step("b", "a", retry=ONCE)))
    await hand.apply(run_id, SignalSent("go", "me", '"old"'))
    await hand.apply(run_id, SignalSent("go", "me", '"new"'))
    await hand.settle(await hand.claim(run_id, "a"), Waiting(None, {}, signal="go"))
    await hand.complete(run_id, "a", {})
    await hand.fail(run_id, "b")
    await hand.retry(run_id, from_step=0)
    await hand.settle(await hand.claim(run_id, "a"), Waiting(None, {}, signal="go"))
    claimed = await hand.claim(run_id, "a")
    assert claimed.assignment is not None
    assert claimed.assignment.wake is not None
    assert [one.payload for one in claimed.assignment.wake.received] == ["new"]


async def test_a_payload_that_is_no_json_is_refused(client: AsyncClient, hand: Hand):
    """Before anything is written."""
    run_id = await hand.start(workflow(listening("a")))
    with pytest.raises(FlowforgeError, match="payload"):
        await client.signal(run_id, "a", float("nan"))
