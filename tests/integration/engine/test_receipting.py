"""Receipts of runs that have ended: each gets one, in an unbroken chain, whatever happens to who makes them."""

from __future__ import annotations

import asyncio
import json
import zlib
from base64 import b64encode
from typing import Any
from uuid import UUID

import pytest

from flowforge.client import AsyncClient
from flowforge.client import receipts as client_receipts
from flowforge.engine import receipting, signing
from flowforge.engine.receipting import Receipting
from flowforge.errors import Conflict, NotFound, UsageError
from flowforge.model.receipt import canonical, digest_of, file_text, hash_of
from flowforge.model.receipt_key import Signer
from flowforge.model.verifying import chain_findings, check
from flowforge.store import receipts
from tests.support.checker import check_at_rest
from tests.support.definitions import chain, step, workflow
from tests.support.eventually import eventually
from tests.support.hand import Hand
from tests.support.sql import Sql

Document = dict[str, Any]


def receipting_of(hand: Hand, **changes: Any) -> Receipting:
    """Make what makes receipts."""
    return Receipting(hand.engine.database, hand.engine.plans, hand.engine.settings.model_copy(update=changes))


async def ended(hand: Hand, count: int, **more: Any) -> list[UUID]:
    """Let runs of one step complete."""
    run_ids = [await hand.start(chain(1), {"n": no}, **more) for no in range(count)]
    for run_id in run_ids:
        await hand.finish(run_id)
    return run_ids


async def make_all(one: Receipting) -> None:
    """Make receipts until none is missing."""
    while await one.run_once() == 0:
        pass


async def receipts_of(client: AsyncClient, run_ids: list[UUID]) -> list[Document]:
    """Return the newest receipt of each run."""
    return [await client.receipt(run_id) for run_id in run_ids]


def valid(document: Document, *trusted: bytes) -> bool:
    """Say whether a receipt is as it was signed."""
    return check(file_text(document).encode(), trusted).valid


def consistent(sql: Sql) -> None:
    """Check every invariant; nobody publishes what is played by hand."""
    sql.do("DELETE FROM outbox")
    check_at_rest(sql.url)


def make_due(sql: Sql) -> None:
    """Say what a transition says with the end of a run: that it has no receipt yet."""
    sql.do("DELETE FROM receipts_due")
    sql.do(
        "INSERT INTO receipts_due (finished_at, run_id) SELECT finished_at, id FROM runs WHERE finished_at IS NOT NULL"
    )


async def test_receipts_let_waiting_work_go_first_until_they_have_waited_for_half_a_minute(hand: Hand, sql, client):
    await ended(hand, 1)
    one = Receipting(hand.engine.database, hand.engine.plans, hand.engine.settings, pressed=lambda: True)
    assert await one.run_once() is None
    assert one.made == 0
    sql.do("UPDATE runs SET finished_at = finished_at - interval '31 s'")
    make_due(sql)
    await one.run_once()
    assert one.made == 1


async def test_receipts_that_are_late_leave_most_of_the_time_to_waiting_work(
    hand: Hand, sql, monkeypatch: pytest.MonkeyPatch
):
    """And none of it where nothing waits, or where they are very late."""
    await ended(hand, 3)
    monkeypatch.setattr(receipting, "LIMIT", 1)
    pressed = Receipting(hand.engine.database, hand.engine.plans, hand.engine.settings, pressed=lambda: True)
    sql.do("UPDATE runs SET finished_at = finished_at - interval '31 s'")
    make_due(sql)
    assert (await pressed.run_once() or 0) > 0
    assert await receipting_of(hand).run_once() == 0
    sql.do("UPDATE runs SET finished_at = finished_at - interval '10 min'")
    sql.do("UPDATE receipts_due SET finished_at = finished_at - interval '10 min'")
    assert await pressed.run_once() == 0
    assert pressed.made == 2


async def test_an_end_that_is_none_any_more_is_forgotten(hand: Hand, sql: Sql):
    """The run was retried before its receipt was made: nothing is due until it ends again."""
    run_id = await hand.start(chain(1))
    await hand.fail(run_id, "s0")
    await hand.retry(run_id)
    one = receipting_of(hand)
    assert await one.run_once() is None
    assert (one.made, sql.counts("receipts_due")) == (0, 0)
    await hand.finish(run_id)
    await one.run_once()
    assert (one.made, sql.counts("receipts_due"), sql.counts("receipts")) == (1, 0, 1)


async def test_a_run_that_has_ended_gets_a_receipt_and_the_event_that_tells_of_it(hand: Hand, sql, client):
    """Once: with the digests of what lies in its rows."""
    run_id = await hand.start(workflow(step("a"), step("b", "a"), name="orders"), {"n": 1}, trigger="cli")
    await hand.finish(run_id, {"x": 2})
    one = receipting_of(hand)
    await one.run_once()
    await one.run_once()
    receipt = await client.receipt(run_id)
    run = await client.get(run_id)
    assert (receipt["run"], receipt["workflow_id"], receipt["status"]) == (str(run_id), "orders", "EXECUTED")
    assert receipt["input_digest"] == digest_of({"n": 1})
    assert receipt["output_digest"] == digest_of(run.output)
    assert [(s["id"], s["status"], s["attempts"], s["output_digest"]) for s in receipt["steps"]] == [
        ("a", "SUCCESS", 1, digest_of({"x": 2})),
        ("b", "SUCCESS", 1, digest_of({"x": 2})),
    ]
    times = run.document()
    assert [receipt[name] for name in ("created_at", "started_at", "finished_at")] == [
        times[name] for name in ("created_at", "started_at", "finished_at")
    ]
    (version,) = await client.versions("orders")
    assert receipt["definition_digest"] == version.digest
    (told,) = [event for event in await client.events(run_id) if event.type == "workflow.receipt.generated"]
    assert told.data == {"receipt_no": 1, "hash": receipt["proof"]["hash"]}
    assert (told.seq, run.seq) == (receipt["events"] + 1, receipt["events"] + 1)
    assert valid(receipt)
    assert one.made == 1
    consistent(sql)


@pytest.mark.thorough
async def test_a_thousand_receipts_are_verified_one_by_one_and_form_a_chain_for_each_tenant(hand: Hand, sql, client):
    """A tenant is the run's label; a flipped bit of any of them is found."""
    for tenant in (None, "acme", "globex"):
        labels = None if tenant is None else {"tenant": tenant}
        requests = [await hand.request(chain(1), {"n": no}, labels=labels) for no in range(340)]
        started, _ = await hand.engine.starter.start(requests)
        assert len(started) == 340
    sql.do(
        """UPDATE steps SET status = 'completed', output = '1', attempt = 1, due_at = NULL, started_at = queued_at,
           finished_at = clock_timestamp()"""
    )
    sql.do("UPDATE runs SET status = 'completed', finished_at = clock_timestamp(), output = '{}', open_steps = 0")
    make_due(sql)
    await make_all(receipting_of(hand))
    run_ids = [row[0] for row in sql.rows("SELECT id FROM runs ORDER BY id")]
    documents = await receipts_of(client, run_ids)
    (key,) = await client.receipt_keys()
    assert len(documents) == 1020
    assert all(valid(one, key.public_key) for one in documents)
    assert chain_findings(documents) == []
    for tenant in ("default", "acme", "globex"):
        own = sorted((one for one in documents if one["tenant"] == tenant), key=lambda one: one["receipt_no"])
        assert [one["receipt_no"] for one in own] == list(range(1, 341))
        assert [one["previous_hash"] for one in own] == [None, *(hash_of(one) for one in own[:-1])]
    for no, one in enumerate(documents[::17]):
        data = bytearray(file_text(one).encode())
        data[no * 29 % len(data)] ^= 1 << no % 8
        assert not check(bytes(data), [key.public_key]).valid


async def test_two_workers_at_once_make_one_chain(hand: Hand, make_engine, sql):
    """Who has the lock makes them; nothing is made twice, and no number is left out."""
    await ended(hand, 40)
    others = [receipting_of(hand), receipting_of(Hand(await make_engine()))]
    for _ in range(4):
        await asyncio.gather(*(one.run_once() for one in others))
        await ended(hand, 10)
    while sql.value("SELECT count(*) FROM receipts") < 80:
        await asyncio.gather(*(one.run_once() for one in others))
    assert sum(one.made for one in others) == 80
    consistent(sql)


async def test_a_crash_before_the_commit_leaves_neither_a_gap_nor_a_double(
    hand: Hand, sql, monkeypatch: pytest.MonkeyPatch
):
    """Nothing of the batch is there; the next one begins with the same number."""
    await ended(hand, 3)
    await receipting_of(hand).run_once()
    await ended(hand, 3)

    def crash(_: str) -> None:
        raise RuntimeError("crash")

    with monkeypatch.context() as patch:
        patch.setattr("flowforge.engine.receipting.crash_point", crash)
        with pytest.raises(RuntimeError, match="crash"):
            await receipting_of(hand).run_once()
    assert sql.counts("receipts") == 3
    await receipting_of(hand).run_once()
    assert sql.rows("SELECT no FROM receipt_chains") == [(6,)]
    consistent(sql)


async def test_a_run_that_changes_while_its_receipt_is_made_undoes_the_batch(
    hand: Hand, sql, monkeypatch: pytest.MonkeyPatch
):
    """It was retried: the others get theirs without it, and the chain has no gap."""
    first = await hand.start(chain(1))
    await hand.fail(first, 0)
    others = await ended(hand, 2)
    read = receipts.heads

    async def retry_meanwhile(*arguments: Any) -> Any:
        monkeypatch.undo()
        await hand.retry(first)
        return await read(*arguments)

    monkeypatch.setattr("flowforge.store.receipts.heads", retry_meanwhile)
    one = receipting_of(hand)
    await one.run_once()
    assert sql.counts("receipts") == 0
    await one.run_once()
    assert {row[0] for row in sql.rows("SELECT run_id FROM receipts")} == set(others)
    assert one.made == 2
    await hand.finish(first)
    consistent(sql)


async def test_a_run_that_was_retried_gets_another_receipt_that_names_the_first(hand: Hand, sql, client):
    """The first stays; both say what operators did until then, with actor and reason."""
    run_id = await hand.start(chain(2))
    await hand.fail(run_id, 0)
    one = receipting_of(hand)
    await one.run_once()
    await hand.retry(run_id)
    assert await client.receipts(run_id) == [await client.receipt(run_id)]
    await one.run_once()
    assert one.made == 1
    await hand.complete(run_id, 0)
    await hand.cancel(run_id)
    await one.run_once()
    first, second = await client.receipts(run_id)
    assert (first["status"], second["status"]) == ("FAILED", "CANCELLED")
    assert first["steps"][0]["error"] == {"code": "TEST", "message": "it was meant to fail"}
    assert first["operator_actions"] == []
    assert [(action["type"], action["actor"]) for action in second["operator_actions"]] == [
        ("workflow.retried", "tester"),
        ("workflow.cancelling", "tester"),
    ]
    events = {event.seq: event for event in await client.events(run_id)}
    assert all(events[action["seq"]].type == action["type"] for action in second["operator_actions"])
    assert second["operator_actions"][0]["details"] == {"steps": ["s0", "s1"]}
    assert (second["run_receipt_no"], second["supersedes"]) == (2, hash_of(first))
    assert await client.receipt(run_id, 1) == first
    with pytest.raises(NotFound, match="no receipt 3"):
        await client.receipt(run_id, 3)
    assert valid(first)
    assert valid(second)
    consistent(sql)


async def test_a_run_whose_attempt_is_not_over_has_to_wait(hand: Hand, sql):
    """It was stopped by force, and its worker does not know yet."""
    run_id = await hand.start(chain(1))
    await hand.claim(run_id, 0)
    sql.do("UPDATE runs SET status = 'cancelled', finished_at = now() WHERE id = %s", run_id)
    make_due(sql)
    one = receipting_of(hand)
    await one.run_once()
    assert one.made == 0
    sql.do("UPDATE steps SET status = 'cancelled', due_at = NULL WHERE run_id = %s", run_id)
    await one.run_once()
    assert one.made == 1


async def test_a_run_that_cannot_be_told_of_does_not_keep_the_others_from_their_receipts(
    hand: Hand, sql, client, caplog: pytest.LogCaptureFixture
):
    """It is named in the log, once."""
    bad, good = await ended(hand, 2)
    sql.do("UPDATE steps SET error = '[1]', status = 'failed' WHERE run_id = %s", bad)
    one = receipting_of(hand)
    await one.run_once()
    await one.run_once()
    assert valid(await client.receipt(good))
    assert one.made == 1
    assert caplog.text.count(f"no receipt of run {bad}") == 1
    assert sql.counts("receipts") == 1


async def test_who_asks_too_early_is_told_what_is_missing(
    hand: Hand, client, start_worker, monkeypatch: pytest.MonkeyPatch
):
    """A run that goes on; one that has ended where no worker is; with a worker it is there in a moment."""
    monkeypatch.setattr(client_receipts, "PATIENCE", 60.0)
    run_id = await hand.start(chain(1))
    with pytest.raises(Conflict, match="gets its receipt when it has ended"):
        await client.receipt(run_id)
    await hand.finish(run_id)
    with pytest.raises(NotFound, match="no receipt of its end yet") as caught:
        await client.receipt(run_id)
    assert caught.value.hint == "flowforge worker start"
    await start_worker(receipts=True)
    assert valid(await client.receipt(run_id))


async def test_workers_make_the_receipts_of_what_they_run(client, start_worker, sql, at_rest):
    """Two of them, and nobody asks for it; one that leaves makes those of its last runs first."""
    workers = [await start_worker(receipts=True) for _ in range(2)]
    runs = [await client.run(chain(2), {"n": no}) for no in range(30)]
    await eventually(lambda: sql.counts("receipts") == len(runs))
    await at_rest()
    for worker in workers:
        worker._receipting.stop()
    last = await client.run(chain(1), wait=True)
    for worker in workers:
        worker.stop()
    await eventually(lambda: sql.counts("receipts") == len(runs) + 1)
    assert valid(await client.receipt(last.id))


async def test_no_receipts_are_made_where_they_are_switched_off(
    client, start_worker, sql, monkeypatch: pytest.MonkeyPatch
):
    """By the setting; they are made up for when it is on again."""
    monkeypatch.setattr(client_receipts, "PATIENCE", 60.0)
    worker = await start_worker(receipts=False)
    run = await client.run(chain(1), wait=True)
    worker.stop()
    await eventually(lambda: sql.value("SELECT status FROM workers") == "stopped")
    assert sql.counts("receipts") == 0
    await start_worker(receipts=True)
    assert valid(await client.receipt(run.id))


# -- keys --------------------------------------------------------------------------------------------------------


async def test_workers_that_start_together_sign_with_one_key(hand: Hand, make_engine, sql):
    """It is made on first use."""
    engines = [await make_engine() for _ in range(5)]

    async def key(engine: Any) -> str:
        async with engine.database.connection() as connection:
            return (await signing.signer(connection, engine.settings)).id

    found = await asyncio.gather(*(key(engine) for engine in engines))
    assert len(set(found)) == 1
    assert sql.counts("receipt_keys") == 1


async def test_a_rotated_key_leaves_older_receipts_verifiable(hand: Hand, client, sql):
    """The old private half is gone from the database, the public one stays."""
    (first,) = await ended(hand, 1)
    await receipting_of(hand).run_once()
    await client.rotate_receipt_key()
    (second,) = await ended(hand, 1)
    await receipting_of(hand).run_once()
    new, old = await client.receipt_keys()
    before, after = await receipts_of(client, [first, second])
    assert (before["proof"]["key_id"], after["proof"]["key_id"]) == (old.id, new.id)
    assert valid(before, old.public_key)
    assert valid(after, new.public_key)
    assert not valid(before, new.public_key)
    assert (new.private, old.private) == ("database", "gone")
    assert sql.rows("SELECT id FROM receipt_keys WHERE private_key IS NOT NULL") == [(new.id,)]
    assert chain_findings([before, after]) == []


async def test_a_key_that_is_given_never_enters_the_database(hand: Hand, client, sql, tmp_path):
    """As text, or in a file; its public half is known, and it cannot be rotated here."""
    from pydantic import SecretStr

    seed = bytes(range(32))
    file = tmp_path / "receipts.key"
    file.write_text(b64encode(seed).decode() + "\n")
    given = SecretStr(f"@{file}")
    (run_id,) = await ended(hand, 1)
    await receipting_of(hand, receipt_key=given).run_once()
    assert valid(await client.receipt(run_id), Signer(seed).public_key)
    assert sql.rows("SELECT id, private_key FROM receipt_keys") == [(Signer(seed).id, None)]
    settings = hand.engine.settings.model_copy(update={"receipt_key": given})
    async with hand.engine.database.connection() as connection:
        with pytest.raises(Conflict, match="given by the setting"):
            await signing.rotate(connection, settings)
        missing = settings.model_copy(update={"receipt_key": SecretStr("@/nowhere")})
        with pytest.raises(UsageError, match="cannot be read from /nowhere"):
            await signing.signer(connection, missing)


async def test_the_body_is_kept_as_it_was_signed(hand: Hand, sql, client):
    """Byte by byte the canonical form, also of names that have to be escaped."""
    run_id = await hand.start(workflow(step("a", name='Ünï "quoted"\n\tstep')), {"n": "é"}, idempotency_key='k"ä')
    await hand.finish(run_id)
    await receipting_of(hand).run_once()
    text = zlib.decompress(sql.value("SELECT bodies FROM receipt_batches")).decode()
    assert canonical(json.loads(text)).decode() == text
    receipt = await client.receipt(run_id)
    assert receipt["idempotency_key"] == 'k"ä'
    assert valid(receipt)
