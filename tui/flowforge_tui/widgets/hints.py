"""The last line of every screen: its most important keys, each of which can be clicked."""

from __future__ import annotations

from collections.abc import Sequence

from rich.cells import cell_len
from textual import events
from textual.binding import ActiveBinding

from flowforge.model.text import Span
from flowforge_tui.keys import EVERY, Key, sign
from flowforge_tui.painting import Painting

_ORDER = {group: place for place, group in enumerate(("Move", "Act", "Time", "Look", "Everywhere"))}


class Hints(Painting):
    """The line."""

    DEFAULT_CSS = "Hints { height: 1; }"

    def lines(self, width: int) -> list[list[Span]]:
        """Return as many keys as fit."""
        spans, left = [Span(" ")], width - 1
        self._places: list[tuple[int, int, ActiveBinding]] = []
        for key, active in self._keys():
            bound = sign(active.binding.key)
            size = cell_len(f"{bound} {key.hint}  ")
            if size > left:
                break
            start = width - left
            self._places.append((start, start + size, active))
            spans += [Span(bound, "key"), Span(f" {key.hint}  ", "dim")]
            left -= size
        return [spans]

    def _keys(self) -> Sequence[tuple[Key, ActiveBinding]]:
        """Return what is bound here, in the order of the table of keys, what acts first."""
        bound: dict[tuple[str, str, str], ActiveBinding] = {}
        for active in self.screen.active_bindings.values():
            bound.setdefault((active.binding.id or "", active.binding.action, active.binding.description), active)
        hinted = [key for key in EVERY if key.hint and (key.id, key.action, key.label) in bound]
        if getattr(self.app, "read_only", False):
            hinted = [key for key in hinted if not key.steers]
        hinted.sort(key=lambda key: _ORDER.get(key.group, len(_ORDER)))
        return [(key, bound[key.id, key.action, key.label]) for key in hinted]

    async def on_click(self, event: events.Click) -> None:
        """Do what the key that was clicked does."""
        for start, end, active in self._places:
            if start <= event.x < end:
                await self.app.run_action(active.binding.action, active.node)
