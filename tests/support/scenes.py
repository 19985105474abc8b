"""Every screen of the dashboard in every state, as one table: what is known, and the keys that lead there.

A scene is set when the text that it is known by can be read. Tests look at scenes: at what they say at every size, and
at their colours in every theme.
"""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import partial
from typing import Any

from textual.pilot import Pilot

from flowforge.model.explanation import Cause, CauseKind, Explanation, Holder, Subject, Weight
from flowforge_streams.letters import DeadLetter
from tests.support import orders
from tests.support.dashboard import QUICK, opened, screen_text, settled
from tests.support.eventually import eventually
from tests.support.overviews import NOW, SECOND, error, incident, run_id, several, summary, transport
from tests.support.stage import FOREIGN, StageClient, capsule, having
from tests.support.watched import Watched

SMALL, MEDIUM, LARGE = (80, 24), (120, 40), (200, 60)
BOTH, ALL = (SMALL, MEDIUM), (SMALL, MEDIUM, LARGE)

Size = tuple[int, int]
Act = Callable[[Any, Pilot[None]], Any]


@dataclass(frozen=True)
class Scene:
    """One state of one screen."""

    name: str
    #: A text that is on the screen once everything is.
    seen: str
    #: Keys; what begins with ~ is a text that is waited for.
    keys: tuple[str, ...] = ()
    client: Callable[[], StageClient] = field(default=lambda: StageClient(several()))
    sizes: tuple[Size, ...] = BOTH
    options: Mapping[str, Any] = field(default_factory=dict)
    #: What is done before any key is pressed: servers that go away, marks, a run that is opened.
    before: Act | None = None
    #: Whether what is told for a moment is part of it.
    toasts: bool = False
    #: Whether it is looked at in the fast tests too.
    fast: bool = False


@asynccontextmanager
async def staged(scene: Scene, size: Size = MEDIUM, **options: Any) -> AsyncIterator[tuple[Any, Pilot[None]]]:
    """Open a dashboard and set a scene."""
    client = scene.client()
    how = replace(QUICK, clock=lambda: client.now, **{**scene.options, **options})
    async with opened(client, size, how, ready=not client.hangs, toasts=scene.toasts) as (app, pilot):
        if scene.toasts:
            app.notify = partial(_lasting, app.notify)
        if scene.before is not None:
            await scene.before(app, pilot)
        for key in scene.keys:
            await (said(app, key.removeprefix("~")) if key.startswith("~") else pilot.press(key))
        await said(app, scene.seen)
        await settled(pilot)
        yield app, pilot


def _lasting(notify: Callable[..., None], message: str, **how: Any) -> None:
    """Tell something for as long as it takes to look at it."""
    notify(message, **{**how, "timeout": 3600})


async def said(app: Any, text: str) -> None:
    """Wait until a text can be read."""
    await eventually(lambda: text in screen_text(app), 20, what=f"'{text}' on the screen")


# -- what no key does ---------------------------------------------------------------------------------------------


def row(number: int) -> Act:
    """Return what puts the cursor on a row of the list."""

    async def move(app: Any, _: Pilot[None]) -> None:
        app.screen.table.move(number)

    return move


def mark(*numbers: int) -> Act:
    """Return what marks rows of the list; with no number, all of them."""

    async def marked(app: Any, _: Pilot[None]) -> None:
        table = app.screen.table
        table.marks |= {table.rows.key(one) for one in numbers or range(len(table.rows))}

    return marked


PAUSED, ASKING, RETRYING, FAILED, RUNNING, LISTENING, DONE = range(2, 9)


async def without_postgres(app: Any, pilot: Pilot[None]) -> None:
    app.client.postgres_away = True
    await eventually(lambda: app.live.postgres_error is not None)


async def without_streams(app: Any, pilot: Pilot[None]) -> None:
    app.client.streams_away = True
    await eventually(lambda: app.live.streams_error is not None)


async def run_opened(app: Any, pilot: Pilot[None]) -> None:
    app.open_run(next(iter(app.client.watched)))
    await eventually(lambda: getattr(app.screen, "present", None) is not None)
    await settled(pilot)


async def recording_opened(app: Any, pilot: Pilot[None]) -> None:
    app.open_reference(str(FOREIGN))
    await eventually(lambda: getattr(app.screen, "present", None) is not None)
    await settled(pilot)


async def run_lost(app: Any, pilot: Pilot[None]) -> None:
    await run_opened(app, pilot)
    app.client.postgres_away = True


async def at_graph_end(app: Any, pilot: Pilot[None]) -> None:
    await run_opened(app, pilot)
    await pilot.press("G")


# -- what is known --------------------------------------------------------------------------------------------------


def run(made: Callable[..., Watched], *others: Watched) -> Callable[[], StageClient]:
    """Return how to make a client that knows a run with a history."""
    return lambda: StageClient(several(), made(run_id(200)), *others)


def explained() -> StageClient:
    held = Cause(
        CauseKind.RUN_PAUSED,
        Subject("run", "0000c2"),
        "the oldest holder is paused",
        Weight.HELD,
        since=NOW - timedelta(hours=2),
        holders=(Holder("person", "alice", since=NOW - timedelta(hours=2)),),
        command="flowforge resume 0000c2",
    )
    gate = Cause(
        CauseKind.GATE_FULL,
        Subject("gate", "orders.fulfil/eu"),
        "100 of 100 places are taken, 3 ahead of it",
        Weight.WAITS,
        until=NOW + timedelta(minutes=5),
        because=(held,),
        behind=4,
    )
    client = StageClient(several())
    client.explanation = Explanation(
        NOW, (gate,), run=run_id(80), workflow="orders.fulfil", version=1, status="pending"
    )
    return client


def with_incidents() -> StageClient:
    client = StageClient(several())
    client.open_incidents = [
        incident(),
        incident(6, kind="compensation_failed", step=None, count=1),
        incident(5, kind="poisonous", workflow="etl.nightly", count=12, error=error("load", "worker died 3 times")),
    ]
    return client


def at_work() -> StageClient:
    client = StageClient(several())
    client.looks = 0
    return client


def held_queue() -> StageClient:
    client = at_work()
    client.held = [("queue", "agents"), ("workflow", "etl.nightly")]
    return client


def nobody_at_work() -> StageClient:
    client = StageClient(several())
    client.transports = [
        replace(transport(), queues=(), workers=(), unpublished=0, unpublished_since=None, leases_over=0)
    ]
    return client


def with_letters() -> StageClient:
    client = at_work()
    fields = {"run": b"0199", "step": b"\x1b[2J\xff"}
    client.letters = [
        DeadLetter("2-0", "1-0", "unreadable: step is no number", fields, False, NOW - 90 * SECOND),
        DeadLetter("3-0", "1-7", "delivered 5 times, settled never", {"run": b"0198"}, False, NOW - 30 * SECOND),
    ]
    return client


def hanging() -> StageClient:
    client = StageClient(several())
    client.hangs = True
    return client


def long_list() -> StageClient:
    flows = ("orders.fulfil", "etl.nightly", "a-workflow-with-a-name-that-is-longer-than-its-column")
    kinds = ("completed", "running", "failed", "pending")
    return StageClient([summary(no, flows[no % 3], kinds[no % 4], done=no % 5) for no in range(400)])


def broken() -> StageClient:
    client = StageClient(several())
    client.refuses = {run_id(40)}
    return client


#: Prints what a command of the CLI could have printed, without being one.
PRINTS = (sys.executable, "-c", "print('STATE   RUN\\nDONE    0000000a\\nFAILED  00000028')")
VERBS = {"verbs": ("ps", "show", "events", "retry"), "command": PRINTS}
ASCII = {"unicode": False}
LOOK_ONLY = {"read_only": True}


#: The screen of queues, looked at twice: only then is there a rate.
LOOKED = ("2", "~w-2", "ctrl+r", "~5.0")


def past(*keys: str) -> tuple[str, ...]:
    return ("less_than_sign", *["full_stop"] * 14, *keys)


SCENES = (
    # Runs
    Scene("runs", "9 of 9", sizes=ALL, before=row(FAILED), fast=True),
    Scene("runs-empty", "No runs yet.", client=StageClient, fast=True),
    Scene("runs-many", "400 of 400", ("G",), client=long_list, sizes=ALL),
    Scene("runs-loading", "connecting", client=hanging),
    Scene("runs-filtered", "5 of 9", ("slash", *"state:failed,running", "enter")),
    Scene("runs-filtering", "1 of 9", ("slash", *"etl")),
    Scene("runs-none-left", "0 of 9", ("slash", *"flow:nothing", "enter")),
    Scene("runs-wrong-filter", "did you mean", ("slash", *"state:faild")),
    Scene("runs-marked", "3 marked", before=mark(RUNNING, LISTENING, DONE)),
    Scene("runs-failures", "1 of 9", ("f",)),
    Scene("runs-sorted", "sort: flow", ("s", "s")),
    Scene("runs-detail", "look at the provider", ("plus",), before=row(FAILED)),
    Scene("runs-large-detail", "look at the provider", ("plus", "plus"), before=row(FAILED)),
    Scene("runs-paused", "PAUSED  0", ("p",)),
    Scene("runs-without-postgres", "DOWN, reconnecting", before=without_postgres),
    Scene("runs-without-redis", "DOWN, reconnecting", before=without_streams),
    Scene("runs-read-only", "READ ONLY", options=LOOK_ONLY),
    Scene("runs-ascii", "9 of 9", before=row(FAILED), options=ASCII, fast=True),
    # One run
    Scene("run-running", "RETRYING", client=run(orders.begun), before=run_opened, sizes=ALL),
    Scene("run-failed", "HTTP_503", client=run(orders.failed), before=run_opened, sizes=ALL, fast=True),
    Scene("run-succeeded", "DONE", client=run(orders.good), before=run_opened, sizes=ALL),
    Scene("run-asking", "asks", client=run(orders.asking), before=run_opened, sizes=ALL),
    Scene("run-compensating", "UNDOING", client=run(orders.undoing), before=run_opened),
    Scene("run-cancelled", "CANCELLED", client=run(orders.cancelled), before=run_opened),
    Scene("run-held", "PAUSED", client=run(orders.held), before=run_opened),
    Scene("run-nothing-begun", "PENDING", client=run(orders.gated), before=run_opened),
    Scene("run-long", "s59", client=run(orders.long), before=at_graph_end, sizes=ALL),
    Scene("run-past", "event 15 of", past(), client=run(orders.failed), before=run_opened),
    Scene("run-first-event", "event 1 of", ("less_than_sign",), client=run(orders.failed), before=run_opened),
    Scene("run-input", "[Input]", ("left_square_bracket",) * 3, client=run(orders.failed), before=run_opened),
    Scene("run-output", "[Output]", ("g",), client=run(orders.begun), before=run_opened),
    Scene("run-attempts", "[Attempts]", ("left_square_bracket",), client=run(orders.failed), before=run_opened),
    Scene("run-code", "- id: charge", ("right_square_bracket",), client=run(orders.failed), before=run_opened),
    Scene("run-inspected", "HTTP_503", ("enter",), client=run(orders.failed), before=run_opened),
    Scene("run-full", "HTTP_503", ("enter", "plus"), client=run(orders.failed), before=run_opened),
    Scene("run-items", "[2]", ("G", *"kkkk", "enter"), client=run(orders.begun), before=run_opened),
    Scene("run-logs", "checked 3 items", ("g", "l"), client=run(orders.begun), before=run_opened),
    Scene("run-found", "3 found", ("slash", *"retrying", "enter"), client=run(orders.failed), before=run_opened),
    Scene("run-finding", "found", ("slash", *"retry"), client=run(orders.failed), before=run_opened),
    Scene("run-failures", "charge_card", ("f",), client=run(orders.failed), before=run_opened),
    Scene("run-zoomed", "zoom: step", ("t",), client=run(orders.failed), before=run_opened),
    Scene("run-paused", " PAUSED", ("p",), client=run(orders.begun), before=run_opened),
    Scene("run-unreachable", "Postgres cannot", client=run(orders.begun), before=run_lost),
    Scene("run-read-only", "HTTP_503", client=run(orders.failed), before=run_opened, options=LOOK_ONLY),
    Scene("run-ascii", "HTTP_503", client=run(orders.failed), before=run_opened, options=ASCII),
    Scene("diff", "differ", ("d",), client=run(orders.failed, orders.good(run_id(199))), before=run_opened, sizes=ALL),
    Scene("diff-only", "differ", ("d", "f"), client=run(orders.failed, orders.good(run_id(199))), before=run_opened),
    Scene("explain", "held by person alice", ("e",), client=explained, fast=True),
    Scene("explain-ascii", "held by person alice", ("e",), client=explained, options=ASCII),
    # Queues and workers
    Scene("queues", "5.0", LOOKED, client=at_work, sizes=ALL, fast=True),
    Scene("queues-empty", "outbox", ("2",), client=nobody_at_work),
    Scene("queues-held", "is PAUSED", LOOKED, client=held_queue),
    Scene("workers", "w-2  pid", ("3", *LOOKED[1:]), client=at_work),
    Scene("workers-busy", "w-1  pid", ("3", *LOOKED[1:], "j"), client=at_work),
    Scene("dead-letters", "unreadable", (*LOOKED, "D"), client=with_letters),
    Scene("dead-letters-none", "None. What", (*LOOKED, "D"), client=at_work),
    # What starts runs, and what went wrong
    Scene("schedules", "No schedules and no triggers", ("4",), fast=True),
    Scene("incidents", "look at the provider", ("5",), client=with_incidents, sizes=ALL, fast=True),
    Scene("incidents-none", "No open incidents.", ("5",)),
    # Runs of other installations
    Scene("imported", "kept by", ("6",), client=lambda: having(capsule())),
    Scene("imported-none", "flowforge import incident.ffz", ("6",)),
    Scene("recording", "RECORDING", client=lambda: having(capsule()), before=recording_opened),
    # What asks before it acts
    Scene("ask-cancel", "Cancel (y)", ("x",), before=mark(RUNNING, LISTENING, DONE), fast=True),
    Scene("ask-cancel-one", "Cancel (y)", ("x",), before=row(RUNNING)),
    Scene("ask-cancel-many", "to go ahead", ("x",), client=long_list, before=mark()),
    Scene("ask-retry", "Retry (y)", ("r",), client=long_list, before=mark()),
    Scene("ask-replay", "Replay (y)", ("R",), before=row(FAILED)),
    Scene("ask-approve", "Approve (y)", ("a",), before=row(ASKING)),
    Scene("ask-reject", "Reject (y)", ("A",), before=row(ASKING)),
    Scene("ask-signal", "Send (y)", ("i",), before=row(LISTENING)),
    Scene("ask-skip", "Skip (y)", ("w",), before=row(FAILED)),
    Scene("ask-pause-workflow", "Go ahead (y)", ("W",), before=row(RUNNING)),
    Scene("ask-pause-queue", "Pause (y)", (*LOOKED, "P"), client=at_work),
    Scene("ask-resume-queue", "Resume (y)", (*LOOKED, "P"), client=held_queue),
    Scene("ask-drain", "Drain (y)", ("3", *LOOKED[1:], "j", "x"), client=at_work),
    Scene("ask-resolve", "Resolve (y)", ("5", "~hint", "x"), client=with_incidents),
    Scene("ask-forget", "Forget (y)", ("6", "~kept by", "x"), client=lambda: having(capsule())),
    Scene("ask-ascii", "Replay (y)", ("R",), before=row(FAILED), options=ASCII),
    # What opens above a screen
    Scene("told", "copied: 0199", ("y",), before=row(FAILED), sizes=(MEDIUM,), toasts=True),
    Scene("told-why-not", "nothing can be", ("x",), sizes=(SMALL,), options=LOOK_ONLY, toasts=True),
    Scene("told-error", "cannot retry", ("r",), client=broken, before=row(FAILED), sizes=(MEDIUM,), toasts=True),
    Scene("told-ascii", "copied: 0199", ("y",), before=row(FAILED), sizes=(SMALL,), options=ASCII, toasts=True),
    Scene("keys-ascii", "Keys of runs", ("question_mark",), options=ASCII, sizes=(SMALL,)),
    Scene("palette-ascii", "Go to", ("ctrl+p",), options=ASCII, sizes=(SMALL,)),
    Scene("queues-ascii", "5.0", LOOKED, client=at_work, options=ASCII, sizes=(SMALL,)),
    Scene("keys", "Keys of runs", ("question_mark",), fast=True),
    Scene("keys-run", "Keys of", ("question_mark",), client=run(orders.failed), before=run_opened),
    Scene("command", "show @", ("colon",), options=VERBS),
    Scene("command-typed", "ps --st", ("colon", *"ps --st"), options=VERBS),
    Scene("output", "FAILED  00000028", ("colon", *"ps", "enter"), options=VERBS),
    Scene("palette", "Go to", ("ctrl+p",), before=row(FAILED), fast=True),
    Scene("palette-found", "Go to incidents", ("ctrl+p", *"incid")),
    Scene("themes", "high-contrast", ("ctrl+p", *"theme", "enter")),
)
