"""Every key of the dashboard: what it does, where, and whether it changes anything.

The ids are what `[keys]` of flowforge.toml binds anew. Keys mean the same on every screen; a screen takes the groups
that it can serve.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from textual.binding import Binding, BindingType

from flowforge.errors import UsageError


class Key(NamedTuple):
    """One thing that a key does."""

    id: str
    keys: str
    action: str
    label: str
    group: str
    #: Shown in the line of keys at the bottom.
    hinted: bool = False
    #: Refused where one may only look.
    steers: bool = False


#: What every screen has.
SHELL = (
    Key("runs", "1", "app.view('runs')", "Runs", "Screens"),
    Key("queues", "2", "app.view('queues')", "Queues", "Screens"),
    Key("workers", "3", "app.view('workers')", "Workers", "Screens"),
    Key("schedules", "4", "app.view('schedules')", "Schedules and triggers", "Screens"),
    Key("incidents", "5", "app.view('incidents')", "Incidents", "Screens"),
    Key("previous", "left_square_bracket", "app.turn(-1)", "previous screen or tab", "Screens"),
    Key("next", "right_square_bracket", "app.turn(1)", "next screen or tab", "Screens"),
    Key("command", "colon", "app.command", "run a command of the CLI", "Everywhere", hinted=True),
    Key("palette", "ctrl+p", "app.command_palette", "everything by name", "Everywhere"),
    Key("help", "question_mark,f1", "app.keys", "keys of this view", "Everywhere", hinted=True),
    Key("pause-live", "p", "app.pause_live", "hold the screen still, or let it go on", "Everywhere", hinted=True),
    Key("refresh", "ctrl+r", "app.refresh_now", "read everything again", "Everywhere"),
    Key("copy", "y", "screen.copy", "copy the id", "Everywhere"),
    Key("copy-command", "o", "screen.copy_command", "copy the command that does the same", "Everywhere"),
    Key("back", "escape", "screen.back", "back; clears a filter first", "Everywhere"),
    Key("leave", "q", "screen.leave", "back; quits where there is no way back", "Everywhere"),
    Key("interrupt", "ctrl+c", "app.interrupt", "twice: quit", "Everywhere"),
    Key("quit", "ctrl+q", "app.quit", "quit", "Everywhere"),
)

#: What a list has.
LIST = (
    Key("down", "j,down", "move(1)", "down", "Move"),
    Key("up", "k,up", "move(-1)", "up", "Move"),
    Key("page-down", "pagedown,ctrl+f", "page(1)", "a page down", "Move"),
    Key("page-up", "pageup,ctrl+b", "page(-1)", "a page up", "Move"),
    Key("top", "g,home", "end(True)", "to the top, and stay there", "Move"),
    Key("bottom", "G,end", "end(False)", "to the bottom", "Move"),
    Key("open", "enter", "open", "open", "Move", hinted=True),
)

#: What the list of runs has beyond that.
RUNS = (
    Key("filter", "slash", "filter", "filter", "Look", hinted=True),
    Key("failures", "f", "failures", "failures only", "Look", hinted=True),
    Key("next-match", "n", "match(1)", "next match, or next trouble", "Look"),
    Key("previous-match", "N", "match(-1)", "previous match", "Look"),
    Key("mark", "space", "mark", "mark", "Look", hinted=True),
    Key("sort", "s", "sort", "sort by the next column", "Look"),
    Key("sort-reverse", "S", "sort_reverse", "sort the other way round", "Look"),
    Key("larger", "plus,equals_sign", "resize(1)", "more of the run under the cursor", "Look"),
    Key("smaller", "underscore,minus", "resize(-1)", "less of it", "Look"),
    Key("explain", "e", "explain", "why it does not move", "Look", hinted=True),
    Key("logs", "l", "logs", "what its steps wrote", "Look"),
    Key("difference", "d", "difference", "difference of two marked runs", "Look"),
)

#: What can be done to runs.
STEER = (
    Key("retry", "r", "app.act('retry')", "retry", "Act", hinted=True, steers=True),
    Key("cancel", "x", "app.act('cancel')", "cancel", "Act", hinted=True, steers=True),
    Key("replay", "R", "app.act('replay')", "replay", "Act", hinted=True, steers=True),
    Key("hold", "P", "app.act('hold')", "pause, or resume", "Act", steers=True),
    Key("approve", "a", "app.act('approve')", "approve what it asks", "Act", steers=True),
    Key("reject", "A", "app.act('reject')", "reject what it asks", "Act", steers=True),
    Key("signal", "i", "app.act('signal')", "send a signal", "Act", steers=True),
    Key("skip", "w", "app.act('skip')", "go on without a step", "Act", steers=True),
)

#: What other lists have.
WORKERS = (Key("drain", "x", "drain", "drain the worker", "Act", hinted=True, steers=True),)
QUEUES = (Key("dead-letters", "D", "dead_letters", "dead letters", "Look", hinted=True),)
INCIDENTS = (
    Key("resolve", "x", "resolve", "resolve", "Act", hinted=True, steers=True),
    Key("resolved", "f", "resolved", "resolved ones too", "Look", hinted=True),
    Key("of-run", "e", "explain", "why its run does not move", "Look", hinted=True),
)

EVERY = (*SHELL, *LIST, *RUNS, *STEER, *WORKERS, *QUEUES, *INCIDENTS)

_SIGNS = {
    "question_mark": "?",
    "colon": ":",
    "slash": "/",
    "left_square_bracket": "[",
    "right_square_bracket": "]",
    "underscore": "_",
    "plus": "+",
    "minus": "-",
    "equals_sign": "=",
    "escape": "esc",
    "down": "↓",
    "up": "↑",
    "pagedown": "pgdn",
    "pageup": "pgup",
}


def bindings(*groups: Iterable[Key]) -> list[BindingType]:
    """Return Textual's bindings of some groups."""
    return [
        Binding(key.keys, key.action, key.label, id=key.id, show=key.hinted, priority=key.id in ("interrupt", "quit"))
        for group in groups
        for key in group
    ]


def sign(key: str) -> str:
    """Return how a key is written for people."""
    return _SIGNS.get(key, key)


def checked(keymap: Mapping[str, str]) -> dict[str, str]:
    """Return a person's keys; UsageError names what does not exist."""
    known = {key.id for key in EVERY}
    for name in keymap:
        if name not in known:
            raise UsageError(
                f"[keys] binds '{name}', which is no action", hint=f"there are: {', '.join(sorted(known))}"
            )
    return dict(keymap)
