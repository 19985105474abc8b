"""Every key of the dashboard: what it does, where, and whether it changes anything.

The ids are what `[keys]` of flowforge.toml binds anew. An id means the same on every screen; a screen takes the groups
that it can serve.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from textual.binding import Binding, BindingType

from flowforge.errors import UsageError

#: Why nothing can be changed.
REFUSED = "read-only: nothing can be changed here"
RECORDED = "a recording stands still: it can only be looked at"


class Key(NamedTuple):
    """One thing that a key does."""

    id: str
    keys: str
    action: str
    label: str
    group: str
    #: What the line of keys at the bottom calls it; empty where it is not shown there.
    hint: str = ""
    #: It changes something, which is refused where one may only look.
    steers: bool = False


#: What every screen has.
SHELL = (
    Key("runs", "1", "app.view('runs')", "Runs", "Screens"),
    Key("queues", "2", "app.view('queues')", "Queues", "Screens"),
    Key("workers", "3", "app.view('workers')", "Workers", "Screens"),
    Key("schedules", "4", "app.view('schedules')", "Schedules and triggers", "Screens"),
    Key("incidents", "5", "app.view('incidents')", "Incidents", "Screens"),
    Key("imported", "6", "app.view('imported')", "Runs of other installations", "Screens"),
    Key("previous", "left_square_bracket", "app.turn(-1)", "previous screen", "Screens"),
    Key("next", "right_square_bracket", "app.turn(1)", "next screen", "Screens"),
    Key("command", "colon", "app.command", "run a command of the CLI", "Everywhere", "command"),
    Key("palette", "ctrl+p", "app.command_palette", "everything by name", "Everywhere"),
    Key("help", "question_mark,f1", "app.keys", "keys of this view", "Everywhere", "keys"),
    Key("pause-live", "p", "app.pause_live", "hold the screen still, or let it go on", "Everywhere", "pause"),
    Key("refresh", "ctrl+r", "app.refresh_now", "read everything again", "Everywhere"),
    Key("copy", "y", "screen.copy", "copy the id", "Everywhere"),
    Key("copy-command", "o", "screen.copy_command", "copy the command that does the same", "Everywhere"),
    Key("back", "escape", "screen.back", "back; takes a filter or a search away first", "Everywhere"),
    Key("leave", "q", "screen.leave", "back; quits where there is no way back", "Everywhere"),
    Key("interrupt", "ctrl+c", "app.interrupt", "twice: quit", "Everywhere"),
    Key("quit", "ctrl+q", "app.quit", "quit", "Everywhere"),
)

#: How one moves in anything that has lines.
MOVE = (
    Key("down", "j,down", "move(1)", "down", "Move"),
    Key("up", "k,up", "move(-1)", "up", "Move"),
    Key("page-down", "pagedown,ctrl+f", "page(1)", "a page down", "Move"),
    Key("page-up", "pageup,ctrl+b", "page(-1)", "a page up", "Move"),
    Key("top", "g,home", "end(True)", "to the top, and stay there", "Move"),
    Key("bottom", "G,end", "end(False)", "to the bottom", "Move"),
)
#: What a list has.
LIST = (*MOVE, Key("open", "enter", "open", "open", "Move", "open"))

#: What the list of runs has beyond that.
RUNS = (
    Key("filter", "slash", "filter", "filter", "Look", "filter"),
    Key("failures", "f", "failures", "failures only", "Look", "failures"),
    Key("next-match", "n", "match(1)", "next match, or next trouble", "Look"),
    Key("previous-match", "N", "match(-1)", "previous match", "Look"),
    Key("mark", "space", "mark", "mark", "Look", "mark"),
    Key("sort", "s", "sort", "sort by the next column", "Look"),
    Key("sort-reverse", "S", "sort_reverse", "sort the other way round", "Look"),
    Key("larger", "plus,equals_sign", "resize(1)", "more of the run under the cursor", "Look"),
    Key("smaller", "underscore,minus", "resize(-1)", "less of it", "Look"),
    Key("explain", "e", "explain", "why it does not move", "Look", "explain"),
    Key("logs", "l", "logs", "what its steps wrote", "Look"),
    Key("difference", "d", "difference", "difference of two marked runs", "Look"),
)

#: What the screen of one run has.
RUN = (
    Key("past", "comma", "scrub(-1)", "one event back in its history", "Time", "past"),
    Key("forth", "full_stop", "scrub(1)", "one event forth", "Time", "forth"),
    Key("first-event", "less_than_sign", "scrub(-1000000)", "its first event", "Time"),
    Key("present", "greater_than_sign", "scrub(1000000)", "back to the present", "Time"),
    Key("previous", "left_square_bracket", "tab(-1)", "previous tab of the inspector", "Look"),
    Key("next", "right_square_bracket", "tab(1)", "next tab of the inspector", "Look", "tab"),
    Key("filter", "slash", "filter", "find in events or logs", "Look", "find"),
    Key("failures", "f", "failures", "only steps in trouble", "Look", "failures"),
    Key("next-match", "n", "match(1)", "next match", "Look"),
    Key("previous-match", "N", "match(-1)", "previous match", "Look"),
    Key("larger", "plus,equals_sign", "resize(1)", "more of the panes below", "Look"),
    Key("smaller", "underscore,minus", "resize(-1)", "less of them", "Look"),
    Key("explain", "e", "explain", "why it stands where it stands", "Look", "explain"),
    Key("logs", "l", "logs", "logs of the step, of all steps, events", "Look", "logs"),
    Key("difference", "d", "difference", "difference to the last good run", "Look", "diff"),
    Key("pause-live", "p", "pause", "hold this screen still, or let it go on", "Everywhere"),
    Key("refresh", "ctrl+r", "look", "look at the run again", "Everywhere"),
)
TIMELINE = (
    Key("zoom", "t", "zoom_next", "the whole run, the step, the last minute", "Time", "zoom"),
    Key("zoom-in", "plus,equals_sign", "zoom(0.5)", "closer to the step", "Time"),
    Key("zoom-out", "minus", "zoom(2.0)", "further away", "Time"),
    Key("earlier", "left", "pan(-0.25)", "what was earlier", "Time"),
    Key("later", "right", "pan(0.25)", "what was later", "Time"),
)
DOCUMENT = (
    Key("fold", "enter,space", "fold", "fold or open what is under the cursor", "Look", "fold"),
    Key("fold-in", "left", "fold(False)", "fold it, or go up to what can be folded", "Look"),
    Key("fold-out", "right", "fold(True)", "open it, or go down to what can be opened", "Look"),
    Key("fold-all", "z", "fold_all", "open everything, or fold it", "Look", "all"),
)
TAIL = (Key("follow", "t", "follow", "follow what comes, or stay here", "Look", "tail"),)
DIFFERENCE = (
    Key("failures", "f", "different", "only what differs", "Look", "only what differs"),
    Key("swap", "v", "swap", "swap A and B", "Look", "swap"),
    Key("refresh", "ctrl+r", "compare", "compare again", "Everywhere"),
)

#: What can be done to runs.
STEER = (
    Key("retry", "r", "app.act('retry')", "retry", "Act", "retry", steers=True),
    Key("cancel", "x", "app.act('cancel')", "cancel", "Act", "cancel", steers=True),
    Key("replay", "R", "app.act('replay')", "replay", "Act", "replay", steers=True),
    Key("hold", "P", "app.act('hold')", "pause, or resume", "Act", steers=True),
    Key("approve", "a", "app.act('approve')", "approve what it asks", "Act", "approve", steers=True),
    Key("reject", "A", "app.act('reject')", "reject what it asks", "Act", "reject", steers=True),
    Key("signal", "i", "app.act('signal')", "send a signal", "Act", steers=True),
    Key("skip", "w", "app.act('skip')", "go on without a step", "Act", steers=True),
    Key("hold-workflow", "W", "app.hold_workflow", "pause a workflow, or resume it", "Act", steers=True),
)

#: What other lists have.
WORKERS = (Key("drain", "x", "drain", "drain the worker", "Act", "drain", steers=True),)
QUEUES = (
    Key("hold", "P", "hold", "pause the queue, or resume it", "Act", "pause queue", steers=True),
    Key("dead-letters", "D", "dead_letters", "dead letters", "Look", "dead letters"),
)
INCIDENTS = (
    Key("resolve", "x", "resolve", "resolve", "Act", "resolve", steers=True),
    Key("resolved", "f", "resolved", "resolved ones too", "Look", "resolved"),
    Key("explain", "e", "explain", "why its run does not move", "Look", "explain"),
)
IMPORTED = (Key("forget", "x", "forget", "delete it here", "Act", "forget", steers=True),)

GROUPS = (SHELL, LIST, RUNS, RUN, TIMELINE, DOCUMENT, TAIL, DIFFERENCE, STEER, WORKERS, QUEUES, INCIDENTS, IMPORTED)
#: What is about one row, beside what changes something: in an empty list there is none.
OF_ONE = frozenset({"open", "mark", "explain", "dead-letters"})
EVERY: tuple[Key, ...] = tuple(key for group in GROUPS for key in group)
#: Actions that change something, without where they belong and what they are about.
_STEERING = frozenset(key.action.partition("(")[0].removeprefix("app.") for key in EVERY if key.steers)

_SIGNS = {
    "question_mark": "?",
    "colon": ":",
    "slash": "/",
    "comma": ",",
    "full_stop": ".",
    "less_than_sign": "<",
    "greater_than_sign": ">",
    "left_square_bracket": "[",
    "right_square_bracket": "]",
    "underscore": "_",
    "plus": "+",
    "minus": "-",
    "equals_sign": "=",
    "escape": "esc",
    "down": "↓",
    "up": "↑",
    "left": "←",
    "right": "→",
    "pagedown": "pgdn",
    "pageup": "pgup",
}


def bindings(*groups: Iterable[Key]) -> list[BindingType]:
    """Return Textual's bindings of some groups; behind what may be withheld stands the word that says why."""
    made: list[BindingType] = []
    for key in (key for group in groups for key in group):
        priority = key.id in ("interrupt", "quit")
        made.append(Binding(key.keys, key.action, key.label, id=key.id, show=False, priority=priority))
        if key.steers:
            made.append(Binding(key.keys, "app.say_why_not", id=key.id, show=False))
    return made


def steers(action: str) -> bool:
    """Return whether an action changes something."""
    return action in _STEERING


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
