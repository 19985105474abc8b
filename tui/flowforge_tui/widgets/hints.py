"""The last line of every screen: its most important keys, each of which can be clicked."""

from __future__ import annotations

from collections.abc import Sequence

from rich.cells import cell_len
from textual import events
from textual.binding import Binding

from flowforge.model.text import Span
from flowforge_tui.keys import EVERY, Key, sign
from flowforge_tui.painting import Painting

_SHORT = {"hold the screen still, or let it go on": "pause", "run a command of the CLI": "command"}
_SHORT |= {"keys of this view": "keys", "failures only": "failures", "why it does not move": "explain"}
_SHORT |= {"resolved ones too": "resolved", "why its run does not move": "explain", "drain the worker": "drain"}


class Hints(Painting):
    """The line."""

    DEFAULT_CSS = "Hints { height: 1; }"

    def lines(self, width: int) -> list[list[Span]]:
        """Return as many keys as fit."""
        spans, left = [Span(" ")], width - 1
        self._places: list[tuple[int, int, str]] = []
        for key, bound in self._keys():
            label = _SHORT.get(key.label, key.label)
            size = cell_len(f"{bound} {label}  ")
            if size > left:
                break
            start = width - left
            self._places.append((start, start + size, key.action))
            spans += [Span(bound, "key"), Span(f" {label}  ", "dim")]
            left -= size
        return [spans]

    def _keys(self) -> Sequence[tuple[Key, str]]:
        """Return what is bound here, in the order of the table of keys, what acts first."""
        bound: dict[str, Binding] = {}
        for active in self.screen.active_bindings.values():
            if active.binding.id is not None:
                bound.setdefault(active.binding.id, active.binding)
        hinted = [key for key in EVERY if key.hinted and key.id in bound]
        if self.app.read_only:
            hinted = [key for key in hinted if not key.steers]
        order = {"Move": 0, "Act": 1, "Look": 2, "Everywhere": 3}
        hinted.sort(key=lambda key: order.get(key.group, 4))
        return [(key, sign(bound[key.id].key)) for key in hinted]

    async def on_click(self, event: events.Click) -> None:
        """Do what the key that was clicked does."""
        for start, end, action in self._places:
            if start <= event.x < end:
                await self.screen.run_action(action)
