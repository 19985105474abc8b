"""Runs, steps and events as they are shown, by example."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from flowforge.model.documents import Run, RunEvent, Step
from flowforge.model.event import EventType
from flowforge.model.status import RunStatus, StepStatus
from flowforge_cli import run_text
from flowforge_cli.text import Span, short_id, short_ids, table

NOW = datetime(2026, 1, 2, 12, 0, 0, tzinfo=UTC)
ID = UUID("01900000-0000-7000-8000-00001a2b3c4d")
ERROR = {"code": "HTTP_503", "message": "503 from\nstock", "step": "reserve", "attempt": 4, "hint": "is it up?"}


def run(**changes: Any) -> Run:
    """Return a run of two steps that failed."""
    one = Run(
        id=ID,
        workflow="order",
        version=3,
        status=RunStatus.FAILED,
        input={"order": 7},
        output=None,
        error=ERROR,
        trigger="cli",
        created_at=NOW - timedelta(minutes=5),
        started_at=NOW - timedelta(minutes=5) + timedelta(milliseconds=12),
        finished_at=NOW - timedelta(minutes=4),
        steps=(
            Step(
                id="reserve",
                name="Reserve",
                type="http",
                status=StepStatus.FAILED,
                attempts=4,
                crashes=1,
                error=ERROR,
                queued_at=NOW - timedelta(seconds=70),
                started_at=NOW - timedelta(seconds=65),
                finished_at=NOW - timedelta(seconds=60),
            ),
            Step(id="charge", name="Charge", type="python", status=StepStatus.CANCELLED),
        ),
    )
    return replace(one, **changes)


def runs_table(runs: list[Run]) -> list[list[Span]]:
    """Return a list of runs."""
    rows = run_text.run_rows(runs, short_ids(one.id for one in runs), NOW, unicode=True)
    return table(run_text.RUNS, rows)


def plain(lines: list[list[Span]]) -> str:
    """Return lines without their styles."""
    return "\n".join("".join(span.text for span in line).rstrip() for line in lines)


def test_the_list_of_runs():
    """State, id, workflow, progress, age, time taken, and why."""
    active = run(
        id=UUID("01900000-0000-7000-8000-0000ffff0000"),
        status=RunStatus.RUNNING,
        error=None,
        finished_at=None,
        steps=(
            Step("a", "a", "http", StepStatus.COMPLETED),
            Step("b", "b", "http", StepStatus.WAITING, error=ERROR, due_at=NOW + timedelta(seconds=6)),
        ),
    )
    assert plain(runs_table([active, run()])) == (
        "STATE      RUN       WORKFLOW  STEPS  AGE  TOOK   NOTE\n"
        "▶ RUNNING  ffff0000  order@3   1/2    5m   5m00s  at b: next attempt in 6.0s after HTTP_503: 503 from stock\n"
        "✗ FAILED   1a2b3c4d  order@3   0/2    5m   1m00s  HTTP_503 in step 'reserve' (attempt 4): 503 from stock"
    )


def test_a_run_in_detail():
    """Everything that is known beside the steps, on aligned lines."""
    shown = plain(run_text.details(run(labels={"region": "eu"}, idempotency_key="o-7", priority=2), NOW))
    assert shown == (
        "  times    created 2026-01-02 11:55:00Z (5m ago), started after 12ms, took 1m00s\n"
        "  trigger  cli\n"
        "  labels   region=eu\n"
        "  key      o-7\n"
        "  priority 2\n"
        '  input    {"order": 7}\n'
        "  error    HTTP_503 in step 'reserve' (attempt 4): 503 from stock\n"
        "           hint: is it up?"
    )


def test_the_table_of_steps():
    """Attempts, how long the last one queued and ran, what went wrong."""
    assert plain(run_text.steps_table(run().steps or (), NOW, unicode=False)) == (
        "  STEP     TYPE    STATE        ATT  QUEUED  RAN   NOTE\n"
        "  reserve  http    x FAILED     4    5.0s    5.0s  HTTP_503: 503 from stock (1 worker lost)\n"
        "  charge   python  / CANCELLED  -    -       -"
    )


def test_a_step_says_what_it_waits_for():
    """A lease, a time, a worker."""
    running = Step("a", "a", "http", StepStatus.RUNNING, worker="w-1", due_at=NOW + timedelta(seconds=3))
    assert run_text.step_note(running, NOW) == "on w-1, lease ends in 3.0s"
    assert run_text.step_note(replace(running, due_at=NOW - timedelta(seconds=2)), NOW) == "lease ended 2.0s ago on w-1"
    assert run_text.step_note(replace(running, progress={"done": 5}), NOW).startswith('{"done": 5} on w-1')
    delayed = Step("a", "a", "delay", StepStatus.WAITING, due_at=NOW + timedelta(hours=1))
    assert run_text.step_note(delayed, NOW) == "until 2026-01-02 13:00:00Z"
    queued = Step("a", "a", "http", StepStatus.QUEUED, queued_at=NOW - timedelta(minutes=1))
    assert run_text.step_note(queued, NOW) == "no worker has taken it for 1m00s"
    assert run_text.step_note(replace(queued, queued_at=NOW), NOW) == ""


def test_a_pending_run_says_what_it_waits_for():
    """Why it is not let in is what explain says."""
    pending = run(status=RunStatus.PENDING, error=None, started_at=None, finished_at=None, steps=())
    assert plain(runs_table([pending])).endswith(
        f"0/0    5m   -     waits to be let in: flowforge explain {short_id(pending.id)}"
    )


def test_an_event_is_one_line():
    """Time, time since the start, type, step and attempt, and what it carries."""
    data = {"error": ERROR, "retry_at": "2026-01-02T12:00:06+00:00", "nothing": None}
    event = RunEvent(ID, 7, "step.retrying", NOW + timedelta(milliseconds=1234), "reserve", 4, data)
    assert plain([run_text.event_line(event, NOW)]) == (
        "12:00:01.234    +1.2s  step.retrying                reserve #4           "
        "HTTP_503: 503 from stock retry_at=2026-01-02T12:00:06+00:00"
    )


def test_the_longest_type_of_an_event_fits_its_column():
    """Else what follows it would be out of line."""
    assert max(len(kind) for kind in EventType) == run_text.EVENT


def test_what_a_run_holds_cannot_drive_the_terminal():
    """Names, errors and inputs are data, whatever they hold."""
    evil = "\x1b]0;owned\x07\u202e[bold]x[/bold]"
    bad = run(workflow=evil, error={"code": evil, "message": evil}, input={evil: evil}, labels={evil: evil})
    shown = plain(runs_table([bad])) + plain(run_text.details(bad, NOW))
    assert "\x1b" not in shown
    assert "\u202e" not in shown
    assert "[bold]x[/bold]" in shown


def test_what_steps_wait_for_is_said_in_words():
    """People, signals, items, other runs; and why a step was left out."""

    def note(wanted: dict[str, Any]) -> str:
        step = Step(id="a", name="A", type="x", status=StepStatus.WAITING, waits_for=wanted)
        return run_text.step_note(step, NOW)

    asked = {"approval": {"approvers": ["finance"], "prompt": "Pay?"}, "missing": 2}
    assert note(asked) == "asks finance: Pay? (2 missing)"
    assert note({"signal": "paid"}) == "for signal paid"
    assert note({"items": 4, "open": 2}) == "2 of 4 items to go"
    assert note({"run": str(ID)}) == "for run 1a2b3c4d"
    error = {"code": "SKIPPED_BY_OPERATOR", "message": "skipped by ada: too late"}
    skipped = Step(id="a", name="A", type="x", status=StepStatus.SKIPPED, error=error)
    assert run_text.step_note(skipped, NOW) == "skipped by ada: too late"


def test_the_list_says_that_a_run_is_held_or_undone():
    """Why comes after what is being done about it."""
    undoing = run(status=RunStatus.COMPENSATING, finished_at=None)
    held = run(status=RunStatus.PAUSED, error=None, finished_at=None)
    shown = plain(runs_table([undoing, held]))
    assert "undoing what was done, after HTTP_503 in step 'reserve'" in shown
    assert "held by an operator" in shown
