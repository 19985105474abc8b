"""The last line of every screen: its most important keys, each of which can be clicked."""

from __future__ import annotations

from collections.abc import Sequence

from rich.cells import cell_len
from textual import events
from textual.binding import ActiveBinding
from textual.widgets import Input

from flowforge.model.text import Span
from flowforge_tui.keys import EVERY, OF_ONE, Key, sign
from flowforge_tui.painting import Painting

_ORDER = {group: place for place, group in enumerate(("Move", "Act", "Time", "Look", "Everywhere"))}


#: Cells between two keys.
GAP = 2
#: What ends a line that is being typed in, where other keys are letters.
TYPING = (("enter", "go on"), ("esc", "back"))


class Hints(Painting):
    """The line."""

    _offered: Sequence[str] = ()

    def __init__(self, *, without: Sequence[str] = ()) -> None:
        super().__init__()
        #: Keys that mean nothing where this line stands.
        self._without = without

    def on_mount(self) -> None:
        """Show the keys of what has the focus."""
        self.watch(self.screen, "focused", self._turned, init=False)

    def _turned(self) -> None:
        self.refresh()

    @property
    def typing(self) -> bool:
        """Whether letters go into a line."""
        return isinstance(self.screen.focused, Input)

    def beat(self) -> None:
        """Name other keys where something else can be done by now."""
        if self._offers() != self._offered:
            self.refresh()

    def _offers(self) -> Sequence[str]:
        """Return by their ids the keys that a screen offers now and then, and does now."""
        offers = getattr(self.screen, "offers", lambda _: True)
        return [key.id for key in EVERY if key.hint and _comes_and_goes(key) and offers(key.id)]

    def lines(self, width: int) -> list[list[Span]]:
        """Return as many keys as fit; the one that leads to all others always does."""
        keys = self._keys()
        last = [one for one in keys if one[0].id == "help"]
        kept = sum(_size(*one) for one in last)
        spans, at = [Span(" ")], 1
        for typed, word in TYPING if self.typing else ():
            spans += [Span(typed, "key"), Span(f" {word}", "dim"), Span(" " * GAP)]
            at += len(f"{typed} {word}") + GAP
        self._places: list[tuple[int, int, ActiveBinding]] = []
        room = width + GAP - kept
        fitting = [one for one in keys if one not in last]
        while fitting and at + sum(_size(*one) for one in fitting) > room:
            fitting.pop()
        for key, active in [*fitting, *last]:
            size = _size(key, active)
            self._places.append((at, at + size, active))
            spans += [Span(sign(active.binding.key), "key"), Span(f" {key.hint}", "dim"), Span(" " * GAP)]
            at += size
        return [spans]

    def _keys(self) -> Sequence[tuple[Key, ActiveBinding]]:
        """Return what is bound here, in the order of the table of keys, what acts first."""
        bound: dict[tuple[str, str, str], ActiveBinding] = {}
        for active in self.screen.active_bindings.values():
            bound.setdefault((active.binding.id or "", active.binding.action, active.binding.description), active)
        hinted = [key for key in EVERY if key.hint and (key.id, key.action, key.label) in bound]
        self._offered = self._offers()
        hinted = [key for key in hinted if not _comes_and_goes(key) or key.id in self._offered]
        hinted = [key for key in hinted if key.id not in self._without]
        if self.typing:
            hinted = [key for key in hinted if key.id == "help"]
        hinted.sort(key=lambda key: _ORDER.get(key.group, len(_ORDER)))
        return [(key, bound[key.id, key.action, key.label]) for key in hinted]

    async def on_click(self, event: events.Click) -> None:
        """Do what the key that was clicked does."""
        for start, end, active in self._places:
            if start <= event.x < end:
                await self.app.run_action(active.binding.action, active.node)


def _comes_and_goes(key: Key) -> bool:
    return key.steers or key.id in OF_ONE


def _size(key: Key, active: ActiveBinding) -> int:
    return cell_len(f"{sign(active.binding.key)} {key.hint}") + GAP
