"""What the palette (ctrl+p) offers: what can be done to the runs at hand, and where one can go."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import TYPE_CHECKING, Any

from textual.app import SystemCommand
from textual.screen import Screen

from flowforge.model.text import one_line, short_id
from flowforge_tui.actions.verbs import VERBS, Verb
from flowforge_tui.keys import STEER, sign
from flowforge_tui.widgets.header import TABS

if TYPE_CHECKING:
    from flowforge_tui.app import TopApp


def commands(app: TopApp, screen: Screen[Any]) -> Iterable[SystemCommand]:
    """Yield what can be done from a screen."""
    chosen = screen.targets() if hasattr(screen, "targets") else []
    if chosen and not app.read_only:
        what = f"all {len(chosen)} marked runs" if len(chosen) > 1 else _named(chosen[0])
        for verb in VERBS.values():
            if any(verb.hinders(run) is None for run in chosen):
                yield SystemCommand(f"{verb.title} {what}", f"Key {_key(verb)}", partial(app.action_act, verb.name))
    if len(chosen) == 1:
        run = chosen[0]
        yield SystemCommand(f"Open {_named(run)}", "Steps, times, events", partial(app.open_run, run.id))
        yield SystemCommand(f"Explain {_named(run)}", "Why it does not move", partial(app.open_explanation, run.id))
        yield SystemCommand(
            f"Logs of {_named(run)}", "What its steps wrote", partial(app.open_output, "logs", str(run.id))
        )
    for tab in TABS:
        yield SystemCommand(f"Go to {tab.title.lower()}", f"Key {tab.digit}", partial(app.action_view, tab.view))
    yield SystemCommand("Pause or go on", "Hold every screen still", app.action_pause_live)
    yield SystemCommand("Run a command", "The verbs of the command line", app.action_command)
    yield SystemCommand("Keys", "Keys of this view", app.action_keys)


def _key(verb: Verb) -> str:
    """Return the key that does the same."""
    ids = (verb.name, "hold")
    return next(sign(key.keys) for name in ids for key in STEER if key.id == name)


def _named(run: Any) -> str:
    return f"run {short_id(run.id)} {one_line(run.workflow, 40)}"
