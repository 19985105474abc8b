"""Explanations as lines: what is said first, what is left out, and that nothing in it drives a terminal."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

from flowforge.model.explanation import Cause, CauseKind, Explanation, Holder, Subject, Weight
from flowforge.model.pausing import Held, Pause
from flowforge_cli import explanation_text, render

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
STEP = Subject("step", "a")


def plain(found: Explanation, *, unicode: bool = True) -> str:
    """Return the text as it is printed without colour."""
    lines = explanation_text.explanation(found, unicode=unicode)
    return "\n".join(render._paint(line, colour=False).rstrip() for line in lines)


def explained(*causes: Cause) -> Explanation:
    """Return the explanation of a run."""
    return Explanation(NOW, causes, UUID(int=7), "orders", 3, "running")


def test_a_chain_is_indented_and_ends_in_the_command_that_counts():
    """Holders and what waits behind it only of the first cause."""
    root = Cause(
        CauseKind.SIGNAL, STEP, "step 'w' waits for the signal 'paid'", Weight.BLOCKED, command="flowforge signal"
    )
    holder = Holder("run", "0199", "paused", NOW - timedelta(hours=2))
    first = Cause(
        *(CauseKind.GATE_FULL, STEP, "the run waits at a gate", Weight.WAITS, NOW - timedelta(minutes=3)),
        holders=(holder,),
        command="flowforge explain 0199",
        behind=2,
        because=(root,),
    )
    assert plain(explained(first, replace(first, because=()))).splitlines() == [
        "▶ RUNNING  orders@3  00000000-0000-0000-0000-000000000007",
        "",
        "  the run waits at a gate (for 3m)",
        "    run 0199 paused for 2h",
        "    2 steps wait behind it",
        "    ↳ step 'w' waits for the signal 'paid'",
        "    try: flowforge signal",
        "  the run waits at a gate (for 3m)",
        "    try: flowforge explain 0199",
    ]


def test_attempts_and_hints_of_a_failure_are_lines_of_their_own():
    """Without colour and without Unicode it says the same."""
    attempts = [{"attempt": no, "at": "2026", "code": "HTTP_503", "message": "later"} for no in (1, 2)]
    data = {"attempts": attempts, "hint": "ask them"}
    child = Cause(CauseKind.STEP_FAILED, STEP, "step 'b' failed", Weight.BLOCKED)
    cause = Cause(CauseKind.STEP_FAILED, STEP, "step 'a' failed", Weight.BLOCKED, data=data, because=(child,))
    text = plain(explained(cause), unicode=False)
    assert text.count("HTTP_503: later") == 2
    assert "hint: ask them" in text
    assert "    -> step 'b' failed" in text
    assert text.isascii()


def test_what_waits_for_other_steps_is_told_last_and_shortly():
    """Unless it is all that there is to tell."""
    behind = Cause(CauseKind.SIBLING, STEP, "step 'b' waits for step 'a'", Weight.NOTES, because=())
    works = Cause(CauseKind.RUNNING, STEP, "step 'a' is running", Weight.WORKS)
    assert plain(explained(behind, works)).splitlines()[-2:] == ["  behind that", "    step 'b' waits for step 'a'"]
    assert plain(explained(behind)).splitlines()[-1] == "  step 'b' waits for step 'a'"


def test_many_causes_are_cut():
    """The document has them all."""
    many = explained(*(Cause(CauseKind.RETRY, STEP, f"step {no}", Weight.WAITS) for no in range(30)))
    assert "and 10 more causes; --json has them all" in plain(many)


def test_names_errors_and_reasons_drive_no_terminal():
    """Escape sequences, carriage returns and characters that turn text around come out as nothing."""
    evil = "\x1b[2J\x1b]0;title\x07\rERASED\u202egnp"
    holder = Holder("run", evil, evil)
    data = {"attempts": [{"attempt": 1, "at": evil, "code": evil, "message": evil}], "hint": evil}
    cause = Cause(CauseKind.APPROVAL, STEP, f"asks {evil}", Weight.HELD, holders=(holder,), command=evil, data=data)
    text = plain(replace(explained(cause), workflow=evil))
    assert not set(text) & {"\x1b", "\x07", "\r", "\u202e"}
    held = Held("queue", evil, paused=True, changed=True, pause=Pause("queue", evil, NOW, evil, evil))
    said = render._paint(explanation_text.pause(held, done="is paused", was=""), colour=False)
    assert not set(said) & {"\x1b", "\x07", "\r", "\u202e", "\n"}
