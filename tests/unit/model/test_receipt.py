"""What a receipt says: every field, in the words of the source documents, and nothing that it must not say."""

from __future__ import annotations

import json
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowforge.model.receipt import Action, Node, Outline, StepFacts, build, canonical, digest_of, hash_of, plain
from tests.support.receipts import AT, RUN, body, chain, digest, done, outline, place, run

LATER = "2026-01-31T12:00:01.000000Z"
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)


def test_a_completed_run_is_told_in_the_words_of_the_source_document():
    """`workflow_id`, `status`, `steps[].name/status`, `timestamp`."""
    found = body(run(), {"a": done(), "b": done(status="skipped", attempts=0, output_digest=None)})
    assert (found["workflow_id"], found["status"], found["timestamp"]) == ("order-fulfilment", "EXECUTED", AT)
    assert [(one["name"], one["status"]) for one in found["steps"]] == [("Step a", "SUCCESS"), ("Step b", "SKIPPED")]


def test_every_field_of_a_receipt():
    """All of it, once."""
    earlier = UUID(int=5)
    ended = run(
        "failed",
        idempotency_key="A17",
        replay_of=earlier,
        error={"code": "HTTP_503", "message": "unavailable", "details": {"body": 1.5}},
        output_digest=None,
    )
    steps = {"a": done(attempts=2, crashes=1), "b": StepFacts("failed", 3, 0, AT, LATER, {"code": "X", "message": "y"})}
    acted = Action(4, "workflow.retried", LATER, None, {"actor": "ada@host", "reason": "again", "steps": ["b"]})
    where = place(7, "e" * 64, run_no=2, supersedes="f" * 64, tenant="acme")
    assert body(ended, steps, actions=[acted], where=where) == {
        "schema": "flowforge/receipt/v1",
        "workflow_id": "order-fulfilment",
        "status": "FAILED",
        "timestamp": AT,
        "run": str(RUN),
        "version": 3,
        "definition_digest": "d" * 64,
        "trigger": "cli",
        "idempotency_key": "A17",
        "replay_of": str(earlier),
        "created_at": AT,
        "started_at": AT,
        "finished_at": AT,
        "error": {"code": "HTTP_503", "message": "unavailable"},
        "input_digest": digest_of({}),
        "output_digest": None,
        "steps": [
            {
                "id": "a",
                "name": "Step a",
                "type": "transform",
                "status": "SUCCESS",
                "attempts": 2,
                "crashes": 1,
                "started_at": AT,
                "finished_at": AT,
                "error": None,
                "output_digest": digest_of(1),
            },
            {
                "id": "b",
                "name": "Step b",
                "type": "transform",
                "status": "FAILED",
                "attempts": 3,
                "crashes": 0,
                "started_at": AT,
                "finished_at": LATER,
                "error": {"code": "X", "message": "y"},
                "output_digest": None,
            },
        ],
        "compensation": {"status": "none", "steps": [], "not_reversible": []},
        "operator_actions": [
            {
                "seq": 4,
                "type": "workflow.retried",
                "actor": "ada@host",
                "at": LATER,
                "reason": "again",
                "step": None,
                "details": {"steps": ["b"]},
            }
        ],
        "events": 9,
        "installation": "11111111-2222-4333-8444-555555555555",
        "tenant": "acme",
        "receipt_no": 7,
        "previous_hash": "e" * 64,
        "run_receipt_no": 2,
        "supersedes": "f" * 64,
    }


def test_a_step_that_was_never_reached_is_not_started():
    """It has no row."""
    found = json.loads(build(outline("a", "b"), run("cancelled"), {0: done(status="cancelled")}, (), place()))
    assert [one["status"] for one in found["steps"]] == ["CANCELLED", "NOT_STARTED"]
    assert found["status"] == "CANCELLED"


# -- compensation ------------------------------------------------------------------------------------------------


def undone(**changes: object) -> StepFacts:
    """Return a completed step that was undone."""
    return done(status="compensated")._replace(**changes)  # type: ignore[arg-type]


def test_what_was_undone_is_listed_in_the_order_in_which_it_was():
    """The last completed step first; what has no compensation is not reversible."""
    steps = {
        "reserve": undone(),
        "reserve:compensate": done(started_at=LATER, attempts=2),
        "mail": done(),
        "charge": undone(),
        "charge:compensate": done(started_at=AT),
        "ship": StepFacts("failed", 1, 0, AT, AT, {"code": "X", "message": "y"}),
    }
    found = body(run("failed"), steps)
    section = found["compensation"]
    assert section["status"] == "completed"
    assert [(one["id"], one["status"], one["attempts"]) for one in section["steps"]] == [
        ("charge", "SUCCESS", 1),
        ("reserve", "SUCCESS", 2),
    ]
    assert section["not_reversible"] == ["mail"]
    assert [(one["id"], one["status"]) for one in found["steps"]] == [
        ("reserve", "COMPENSATED"),
        ("mail", "SUCCESS"),
        ("charge", "COMPENSATED"),
        ("ship", "FAILED"),
    ]


def test_what_could_not_be_undone_and_what_was_not_tried_any_more_is_named():
    """The compensation that failed with its error, then the ones behind it."""
    steps = {
        "reserve": done(),
        "reserve:compensate": None,
        "charge": done(),
        "charge:compensate": StepFacts("failed", 3, 0, AT, AT, {"code": "HTTP_500", "message": "no"}),
        "ship": StepFacts("failed", 1),
    }
    section = body(run("failed"), steps)["compensation"]  # type: ignore[arg-type]
    assert section["status"] == "failed"
    assert [(one["id"], one["status"], one["attempts"], one["error"]) for one in section["steps"]] == [
        ("charge", "FAILED", 3, {"code": "HTTP_500", "message": "no"}),
        ("reserve", "NOT_STARTED", 0, None),
    ]


@pytest.mark.parametrize("status", ["completed", "cancelled"])
def test_nothing_is_said_of_compensation_where_none_took_place(status: str):
    """A run that completed; one that was cancelled without it."""
    steps = {"reserve": done(), "reserve:compensate": StepFacts("pending")}
    assert body(run(status), steps)["compensation"] == {"status": "none", "steps": [], "not_reversible": []}


# -- operator actions --------------------------------------------------------------------------------------------


def test_what_cannot_stand_in_a_receipt_is_named_by_its_digest():
    """Fractions, large numbers, nested values: what readers of JSON may disagree about, or must not see."""
    kept = ["text", 5, True, None, ["a", 1], []]
    assert [plain(value) for value in kept] == kept
    for value in (1.5, 2**60, {"card": "4111"}, [["a"]], [1.5]):
        assert plain(value) == {"digest": digest_of(value)}


# -- the form that is hashed -------------------------------------------------------------------------------------


@given(TEXT, TEXT, TEXT, TEXT)
def test_the_text_that_is_hashed_is_the_canonical_form(name: str, key: str, message: str, tenant: str):
    """Written by hand or sorted by a library: the same bytes, whatever the names hold."""
    version = Outline.of(name, 1, "d" * 64, [Node(0, name, key, message), Node(1, f"{name}:compensate", name, name)])
    ended = run("failed", idempotency_key=key, trigger=message, error={"code": key, "message": message})
    steps = {0: undone(error={"code": name}), 1: done()}
    acted = [Action(1, "step.skipped", AT, name, {"actor": key, "reason": message, name: {"x": message}})]
    text = build(version, ended, steps, acted, place(tenant=tenant))
    assert canonical(json.loads(text)).decode() == text


def test_the_hash_is_that_of_everything_but_the_proof():
    """And what the next receipt names."""
    first, second = chain(2)
    assert first["proof"]["hash"] == hash_of(first) == second["previous_hash"]
    assert hash_of({**first, "proof": None}) == hash_of(first)
    assert hash_of({**first, "status": "FAILED"}) != hash_of(first)


def test_digests_are_of_the_text_as_it_is_stored():
    """So that an input at hand can be compared with the one that was used."""
    assert digest_of({"b": 1, "a": "é"}) == digest('{"b":1,"a":"é"}').hex()
