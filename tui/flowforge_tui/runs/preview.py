"""What stands below the list of runs: the error of the run under the cursor, or of the run that failed last. Pure."""

from __future__ import annotations

from datetime import datetime, timedelta

from rich.cells import cell_len

from flowforge.model.overview import RunSummary
from flowforge.model.text import Span, clock, compact, duration, moment, one_line, short_id, state
from flowforge_tui.live.throughput import bars
from flowforge_tui.painting import fit
from flowforge_tui.runs.book import RunBook
from flowforge_tui.runs.columns import place

#: How long ago the same error still counts.
LATELY = timedelta(minutes=10)
#: Cells of an error below which how often it came is left out sooner than what it says.
SAYING = 50

Lines = list[list[Span]]


def first_line(book: RunBook, run: RunSummary | None, now: datetime, counts: list[int], width: int) -> list[Span]:
    """Return the error that matters, and how many runs end in a second."""
    rate = sum(counts[-5:]) / 5
    shown = f"{rate:.0f}" if rate == 0 or rate >= 10 else f"{rate:.1f}"  # noqa: PLR2004 - two digits
    right = [Span("throughput ", "dim"), Span(bars(counts), "active"), Span(f" {shown}/s ")]
    room = width - sum(cell_len(span.text) for span in right) - 3
    left, many = _left(book, run, now)
    kept = room - len(many) if room - len(many) >= SAYING else room
    text = fit(one_line(left.text, 500), max(0, min(kept, cell_len(left.text))))
    return [Span(" "), Span(fit(text + many, max(0, room)), left.style), Span("  "), *right]


def _left(book: RunBook, run: RunSummary | None, now: datetime) -> tuple[Span, str]:
    """Return what matters, and a word behind it that is cut off last."""
    if book.known == 0:
        return Span("reading runs", "dim"), ""
    if len(book) == 0:
        return Span("no run matches the filter; esc takes it away", "warn"), ""
    about = run if run is not None and run.error is not None else None
    if about is None and run is not None and not run.status.final:
        return Span(f"{state(run.look).text} at {place(run)}", state(run.look).style), ""
    other = "" if about is not None else "last failure: "
    about = about or book.latest_failure()
    if about is None or about.error is None:
        return Span("no failures", "dim"), ""
    whose = f"{other}{about.workflow} {short_id(about.id)}, " if other else ""
    alike = book.alike(about, now, LATELY)
    many = f" ({alike} same errors in 10 m)" if alike > 1 else ""
    return Span(f"✗ {whose}{error_text(about)}", "bad"), many


def error_text(run: RunSummary) -> str:
    """Return the error of a run on one line: where, which attempt, what."""
    error = run.error or {}
    attempt = f" attempt {error['attempt']}" if error.get("attempt") else ""
    where = f"{error.get('step') or run.workflow}{attempt}"
    return one_line(f"{where}: {error.get('code', 'ERROR')} {error.get('message', '')}", 400)


def details(run: RunSummary, now: datetime) -> Lines:
    """Return what is known of a run beyond its line."""
    ran = run.run_time(now)
    times = f"created {moment(run.created_at)}, waited {duration(run.queue_time(now))}"
    times += "" if ran is None else f", {'took' if run.finished_at else 'runs for'} {duration(ran)}"
    facts = [("run", f"{run.id}  {run.workflow}@{run.version}"), ("times", times), ("steps", _steps(run))]
    if run.labels:
        facts.append(("labels", "  ".join(f"{key}={value}" for key, value in run.labels.items())))
    if run.error:
        facts.append(("error", error_text(run)))
        if run.error.get("hint"):
            facts.append(("hint", str(run.error["hint"])))
        if run.error.get("details"):
            facts.append(("details", compact(run.error["details"])))
    return [[Span(f" {name:<8} ", "dim"), Span(one_line(value, 400))] for name, value in facts]


def _steps(run: RunSummary) -> str:
    at = run.at
    text = f"{run.done} of {run.steps} done"
    if at is None:
        return text
    who = f" on {at.worker}" if at.worker and at.status.value == "running" else ""
    due = f", due {clock(at.due_at)}" if at.due_at else ""
    return f"{text}; at {at.id} ({at.type}), attempt {at.attempt} of {at.max_attempts}, {at.status.value}{who}{due}"
