"""What TAB offers: live ids, workflows, steps, queues and workers, and the words that options take.

Nothing is said and nothing is started because of a TAB: where a server is down, nothing is offered.
"""

from __future__ import annotations

from typing import Any

Word = tuple[str, str]

STATUSES = ("active", "pending", "running", "paused", "cancelling", "compensating", "completed", "failed", "cancelled")
STEP_STATUSES = (
    "pending",
    "queued",
    "running",
    "waiting",
    "completed",
    "failed",
    "cancelled",
    "skipped",
    "compensated",
)
SORTS = ("created", "started", "finished", "duration", "workflow")


def runs(ctx: Any, incomplete: str) -> list[Word]:
    """Offer runs, the newest first: ends of their ids, or whole ids where their beginning is typed."""
    special = [(name, "") for name in ("@last", "@last-failed") if incomplete and name.startswith(incomplete)]
    return special or _live(ctx, "runs", incomplete.lower())


def workflows(ctx: Any, incomplete: str) -> list[Word]:
    """Offer names of workflows, and behind an @ the versions of one."""
    return _live(ctx, "versions" if "@" in incomplete else "workflows", incomplete)


def targets(ctx: Any, incomplete: str) -> list[Word]:
    """Offer definitions here, and published workflows."""
    return [*workflows(ctx, incomplete), *_files(incomplete, (".yaml", ".yml", ".json"))]


def runs_and_files(ctx: Any, incomplete: str) -> list[Word]:
    """Offer runs, and capsules in files."""
    return [*runs(ctx, incomplete), *_files(incomplete, (".ffz",))]


def _files(incomplete: str, endings: tuple[str, ...]) -> list[Word]:
    """Offer files with some endings, and the folders in which there may be others."""
    from pathlib import Path

    head, slash, name = incomplete.rpartition("/")
    try:
        found = [one for one in Path(head + slash).iterdir() if one.name.startswith(name) and one.name[0] != "."]
        files = sorted(f"{head}{slash}{one.name}{'/' if one.is_dir() else ''}" for one in found)
    except OSError:
        files = []
    return [(one, "") for one in files if one.endswith(("/", *endings))]


def steps(ctx: Any, incomplete: str) -> list[Word]:
    """Offer ids of steps, of the run or workflow that is named already; behind `=` the states of steps."""
    name, sign, state = incomplete.partition("=")
    if sign:
        return [(f"{name}={status}", "") for status in STEP_STATUSES if status.startswith(state)]
    given = ctx.params or {}
    named = given.get("run") or given.get("runs")
    run = named[-1] if isinstance(named, list | tuple) and named else named
    known = run.lower() if isinstance(run, str) and not run.startswith("-") else None
    return _live(ctx, "steps", incomplete, workflow=given.get("workflow"), run=known)


def queues(ctx: Any, incomplete: str) -> list[Word]:
    """Offer queues that workers serve, that steps wait in or that are held."""
    return _live(ctx, "queues", incomplete)


def workers(ctx: Any, incomplete: str) -> list[Word]:
    """Offer ids of workers."""
    return _live(ctx, "workers", incomplete)


def incidents(ctx: Any, incomplete: str) -> list[Word]:
    """Offer numbers of open incidents, the latest first."""
    return _live(ctx, "incidents", incomplete)


def event_types(incomplete: str) -> list[str]:
    """Offer types of events."""
    from flowforge.model.event import EventType

    return [kind.value for kind in EventType if kind.value.startswith(incomplete)]


def incident_kinds(incomplete: str) -> list[str]:
    """Offer kinds of incidents."""
    from flowforge.model.aside import IncidentKind

    return [kind.value for kind in IncidentKind if kind.value.startswith(incomplete)]


def statuses(incomplete: str) -> list[str]:
    """Offer statuses of runs, also behind a comma."""
    before, comma, word = incomplete.rpartition(",")
    return [f"{before}{comma}{status}" for status in STATUSES if status.startswith(word)]


def sorts(incomplete: str) -> list[str]:
    """Offer orders of lists."""
    return [sort for sort in SORTS if sort.startswith(incomplete)]


def _live(ctx: Any, kind: str, incomplete: str, **about: str | None) -> list[Word]:
    from flowforge.words import words
    from flowforge_cli.text import one_line

    profile = ctx.find_root().params.get("profile")
    found = words(kind, incomplete, profile=profile, **about)
    # A word with blanks or controls would not come through a shell as it is.
    return [(word, one_line(text, 60)) for word, text in found if word.isprintable() and " " not in word]
