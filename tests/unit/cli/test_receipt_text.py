"""A receipt as text: what a person looks for is there, and nothing else drives the terminal."""

from __future__ import annotations

from typing import Any

from flowforge.model.receipt import Action, StepFacts
from flowforge_cli import receipt_text
from tests.support.receipts import AT, body, chain, done, place, run


def text(document: dict[str, Any]) -> str:
    """Return a receipt as text."""
    lines = receipt_text.lines(document, unicode=True)
    return "\n".join("".join(span.text for span in line).rstrip() for line in lines)


def test_a_failed_and_undone_run_says_what_was_undone_and_who_intervened():
    """Compensation, what is not reversible, interventions with their reasons."""
    steps = {
        "reserve": done(status="compensated"),
        "reserve:compensate": done(attempts=2),
        "mail": done(),
        "ship": StepFacts("failed", 3, 0, AT, AT, {"code": "HTTP_503", "message": "unavailable"}),
    }
    acted = Action(4, "workflow.retried", AT, None, {"actor": "ada@host", "reason": "mended", "steps": ["ship"]})
    ended = run("failed", error={"code": "HTTP_503", "message": "unavailable"}, output_digest=None)
    where = place(7, "e" * 64, run_no=2, supersedes="f" * 64)
    (signed,) = chain(1)
    shown = text(body(ended, steps, actions=[acted], where=where) | {"proof": signed["proof"]})
    for words in (
        "✗ FAILED  order-fulfilment@3",
        "HTTP_503: unavailable",
        "↺ COMPENSATED",
        "compensation completed",
        "not reversible: mail",
        "ada@host",
        "mended",
        "7 of tenant default, receipt 2 of this run",
        "replaces",
    ):
        assert words in shown


def test_a_plain_run_has_no_empty_sections():
    """Neither compensation nor interventions where there were none."""
    (document,) = chain(1)
    shown = text(document)
    assert "✓ EXECUTED" in shown
    assert "UNDONE" not in shown
    assert "INTERVENTION" not in shown
    assert "+ VALID" in receipt_text.verified(document, unicode=False)[0].text


def test_what_many_steps_leave_out_is_said():
    """The document has all of them."""
    steps = {f"s{no}": done() for no in range(receipt_text.MOST_STEPS + 5)}
    (signed,) = chain(1)
    assert "and 5 more steps" in text(body(run(), steps) | {"proof": signed["proof"]})
