"""Pausing and resuming a queue or a workflow from the keyboard: what it would do, asked first, done by the client."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from flowforge.errors import FlowforgeError
from flowforge.model.pausing import Held, Pause
from flowforge.model.text import Span, age, one_line
from flowforge_tui.actions.acting import explained
from flowforge_tui.actions.verbs import Field, Values
from flowforge_tui.modals.confirm import Question

if TYPE_CHECKING:
    from flowforge_tui.app import TopApp

_PAUSED = {
    "queue": "No worker takes from it until it is resumed; what workers have goes on. Steps that come wait in it.",
    "workflow": "None of its new runs starts until it is resumed: starts are accepted, and wait. What runs goes on.",
}
_RESUMED = {"queue": "Workers take from it again.", "workflow": "Its runs start again, those that waited first."}


def lines(pauses: Sequence[Pause], now: datetime) -> list[list[Span]]:
    """Return what is paused, by whom, and why."""
    return [
        [
            Span(f" ‖ {one.kind} {one_line(one.name, 60)} is PAUSED", "warn"),
            Span(f" for {age(one.paused_at, now)} by {one_line(one.paused_by, 40)}", "dim"),
            Span(f": {one_line(one.reason, 120)}" if one.reason else ""),
        ]
        for one in pauses
    ]


async def hold(app: TopApp, kind: str, name: str) -> None:
    """Ask whether to pause a queue or a workflow, or to resume it; do it, and say what came of it."""
    try:
        await _hold(app, kind, name)
    except FlowforgeError as error:
        app.notify(explained(error), title=f"cannot pause or resume the {kind}", severity="error")


async def _hold(app: TopApp, kind: str, name: str) -> None:
    pauses = await app.client.pauses()
    held = [one.name for one in pauses if one.kind == kind]
    values = await app.ask(_question(kind, name, held))
    if values is None:
        return
    name = values.get("name", "").strip() or name
    verb = "resume" if name in held else "pause"
    done: Held = await getattr(app.client, f"{verb}_{kind}")(name, reason=values.get("reason") or None)
    app.notify(f"✓ {kind} {one_line(name, 60)}: {'paused' if done.paused else 'goes on'}")


def _question(kind: str, name: str, held: Sequence[str]) -> Question:
    """Return the question; of workflows, another one than that at hand can be named."""
    goes = name in held
    fields: Sequence[Field] = ()
    verb = "Resume" if goes else "Pause"
    title, effects = f"{verb} {kind} {name}?", [_RESUMED[kind] if goes else _PAUSED[kind]]
    if kind == "workflow":
        fields = (Field("name", "Workflow", name, required=True),)
        title, verb = "Pause a workflow, or resume it?", "Go ahead"
        if held:
            effects.insert(0, f"Paused now, and resumed by this: {one_line(', '.join(held), 200)}.")

    def command(values: Values) -> str:
        chosen = values.get("name", "").strip() or name or "NAME"
        verb = "resume" if chosen in held else "pause"
        reason = f" --reason {shlex.quote(values['reason'])}" if values.get("reason") else ""
        return f"flowforge {kind} {verb} {shlex.quote(chosen)}{reason}"

    safe = "Leave it as it is"
    return Question(title, effects, verb, safe, 1, fields, "Reason", command)
