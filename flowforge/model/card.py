"""A run as a card: what notebooks show of it, as HTML without scripts, and as plain text where there is no HTML.

Invariant: whatever a run holds (names, errors, payloads) is shown as text; nothing in it becomes markup. The
colours are those of Okabe and Ito, which people with any kind of colour vision tell apart, and what differs by colour
differs in its words too.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from html import escape
from typing import Any, NamedTuple

#: Colour of each phase of a step.
COLOURS = {
    "queue": "#BBBBBB",
    "exec": "#0072B2",
    "failed": "#D55E00",
    "lost": "#000000",
    "backoff": "#F0E442",
    "wait": "#CC79A7",
    "blocked": "#EEEEEE",
}
WORDS = {
    "queue": "queued",
    "exec": "executing",
    "failed": "failed attempt",
    "lost": "lost with its worker",
    "backoff": "back-off",
    "wait": "waiting",
    "blocked": "blocked",
}
GLYPHS = {"completed": "✓", "failed": "✗", "cancelled": "⊘", "running": "▶", "pending": "◷", "paused": "‖"}
_STATUS = {"completed": "#009E73", "failed": "#D55E00", "cancelled": "#666666"}

#: Steps that a card shows; characters of an error.
MOST_STEPS, MOST_TEXT = 40, 300
_TIMES = ("queued_at", "started_at", "finished_at")
_LEFT, _WIDTH, _ROW = 170, 430, 18


class Bar(NamedTuple):
    """What a step did for some time."""

    step: str
    #: One of COLOURS.
    phase: str
    begin: datetime
    end: datetime
    attempt: int = 1


def bars_of_rows(run: Mapping[str, Any]) -> list[Bar]:
    """Return what the rows of a run's steps say: the last attempt of each, up to the last moment that is known."""
    found: list[Bar] = []
    times = [_moment(step.get(name)) for step in run.get("steps") or () for name in _TIMES]
    now = _moment(run.get("finished_at")) or max((one for one in times if one is not None), default=None)
    if now is None:
        return found
    for step in run.get("steps") or ():
        queued, started, finished = (_moment(step.get(name)) for name in _TIMES)
        if queued is not None and (started or finished or now) > queued:
            found.append(Bar(step["id"], "queue", queued, started or finished or now, step.get("attempts") or 1))
        if started is not None:
            phase = "failed" if step["status"] == "failed" else "exec"
            found.append(Bar(step["id"], phase, started, finished or now, step.get("attempts") or 1))
    return found


def html(run: Mapping[str, Any], bars: Sequence[Bar], critical: Iterable[str] = ()) -> str:
    """Return the card of a run (`flowforge/run/v1`) as HTML."""
    status = str(run["status"])
    colour = _STATUS.get(status, "#0072B2")
    head = (
        f'<b style="color:{colour}">{GLYPHS.get(status, "●")} {_text(status.upper())}</b>'
        f" <b>{_text(run['workflow'])}@{_text(run['version'])}</b> <code>{_text(run['id'])}</code>"
    )
    facts = " · ".join(_text(fact) for fact in _facts(run))
    error = run.get("error") or {}
    reason = "" if not error else f'<div style="color:#A03000;margin-top:4px">{_text(_reason(error))}</div>'
    return (
        '<div class="tex2jax_ignore mathjax_ignore" style="font-family:system-ui,sans-serif;font-size:13px;'
        "line-height:1.45;color:#222;background:#fff;"
        'border:1px solid #ccc;border-radius:6px;padding:8px 12px;max-width:640px;overflow:hidden">'
        f"<div>{head}</div><div style='color:#555'>{facts}</div>{reason}{_gantt(run, bars, set(critical))}</div>"
    )


def text(run: Mapping[str, Any]) -> str:
    """Return the card of a run as plain text."""
    status = str(run["status"])
    lines = [f"{GLYPHS.get(status, '●')} {status.upper()}  {run['workflow']}@{run['version']}  {run['id']}"]
    lines.append("  " + " · ".join(_facts(run)))
    if run.get("error"):
        lines.append("  " + _reason(run["error"]))
    steps = run.get("steps") or []
    lines += [
        f"  {GLYPHS.get(step['status'], '·')} {step['id']}  {step['status']}{_tries(step)}"
        for step in steps[:MOST_STEPS]
    ]
    if len(steps) > MOST_STEPS:
        lines.append(f"  and {len(steps) - MOST_STEPS} more steps")
    return "\n".join(_plain(line) for line in lines)


def span(seconds: float) -> str:
    """Return a duration as people say it."""
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 60:  # noqa: PLR2004 - a minute
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min {rest:02} s"


def _tries(step: Mapping[str, Any]) -> str:
    attempts = step.get("attempts") or 0
    return f", {attempts} attempts" if attempts > 1 else ""


def _facts(run: Mapping[str, Any]) -> list[str]:
    created, started, finished = (_moment(run.get(name)) for name in ("created_at", "started_at", "finished_at"))
    facts = [] if created is None else [f"{created:%Y-%m-%d %H:%M:%S} UTC"]
    if started is not None and finished is not None:
        facts.append(f"took {span((finished - started).total_seconds())}")
    if created is not None and started is not None and (started - created).total_seconds() >= 1:
        facts.append(f"waited {span((started - created).total_seconds())} at its gate")
    steps = run.get("steps") or []
    if steps:
        done = sum(step["status"] in ("completed", "compensated", "skipped") for step in steps)
        facts.append(f"{done} of {len(steps)} steps done")
    return [*facts, f"trigger {run.get('trigger', '?')}"]


def _reason(error: Mapping[str, Any]) -> str:
    where = f" at {error['step']}" if error.get("step") else ""
    words = f"{error.get('code', 'ERROR')}{where}: {error.get('message', '')}"
    return words if len(words) <= MOST_TEXT else words[: MOST_TEXT - 1] + "…"


def _gantt(run: Mapping[str, Any], bars: Sequence[Bar], critical: set[str]) -> str:
    """Draw the bars, a row for each step, in the definition's order."""
    known = [str(step["id"]) for step in run.get("steps") or ()]
    used = {bar.step for bar in bars}
    names = [name for name in known if name in used] + sorted(used - set(known))
    shown = names[:MOST_STEPS]
    if not shown:
        return ""
    begin, end = min(bar.begin for bar in bars), max(bar.end for bar in bars)
    length = max((end - begin).total_seconds(), 0.001)
    rows = {name: at for at, name in enumerate(shown)}
    height = _ROW * len(shown) + 16
    parts = [_row(name, at, critical=name in critical) for name, at in rows.items()]
    parts += [_bar(bar, rows[bar.step], begin, length) for bar in bars if bar.step in rows]
    parts.append(f'<text x="{_LEFT}" y="{height - 3}" fill="#777">0</text>')
    parts.append(f'<text x="{_LEFT + _WIDTH}" y="{height - 3}" fill="#777" text-anchor="end">{span(length)}</text>')
    more = len(names) - len(shown)
    note = "" if more <= 0 else f"<div style='color:#777'>and {more} more steps</div>"
    size = f'viewBox="0 0 {_LEFT + _WIDTH + 10} {height}" width="100%"'
    look = 'style="margin-top:6px;font:11px system-ui,sans-serif"'
    drawing = f'<svg role="img" aria-label="what each step did over time" {size} {look}>{"".join(parts)}</svg>'
    return drawing + note + _legend(bars)


def _row(name: str, at: int, *, critical: bool) -> str:
    y = at * _ROW
    stripe = f'<rect x="0" y="{y}" width="{_LEFT + _WIDTH + 10}" height="{_ROW}" fill="#f6f6f6"/>' if at % 2 else ""
    label = name if len(name) <= 24 else f"…{name[-23:]}"  # noqa: PLR2004 - characters that fit
    weight = ' font-weight="bold"' if critical else ""
    mark = "* " if critical else ""
    return f'{stripe}<text x="2" y="{y + 13}" fill="#222"{weight}>{_text(mark + label)}</text>'


def _bar(bar: Bar, at: int, begin: datetime, length: float) -> str:
    x = _LEFT + _WIDTH * (bar.begin - begin).total_seconds() / length
    width = max(_WIDTH * (bar.end - bar.begin).total_seconds() / length, 1.0)
    words = f"{bar.step}: {WORDS[bar.phase]} {span((bar.end - bar.begin).total_seconds())}, attempt {bar.attempt}"
    return (
        f'<rect x="{x:.1f}" y="{at * _ROW + 4}" width="{width:.1f}" height="{_ROW - 8}" fill="{COLOURS[bar.phase]}">'
        f"<title>{_text(words)}</title></rect>"
    )


def _legend(bars: Sequence[Bar]) -> str:
    there = [phase for phase in COLOURS if any(bar.phase == phase for bar in bars)]
    marks = [f'<span style="color:{COLOURS[phase]}">■</span> {WORDS[phase]}' for phase in there]
    return f"<div style='color:#555;font-size:11px'>{' &nbsp; '.join(marks)}</div>"


def _plain(line: str) -> str:
    """Return a line in which nothing drives a terminal."""
    return "".join(sign if sign.isprintable() else f"\\x{ord(sign):02x}" for sign in line)


def _text(value: object) -> str:
    return escape(str(value), quote=True)


def _moment(value: datetime | str | None) -> datetime | None:
    if value is None or isinstance(value, datetime):
        return value
    return datetime.fromisoformat(value).astimezone(UTC)
