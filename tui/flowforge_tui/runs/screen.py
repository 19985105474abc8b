"""The list of runs: what is going on, what went wrong, and what to do about it."""

from __future__ import annotations

import time
from collections.abc import Iterable
from uuid import UUID

from textual import on
from textual.widget import Widget
from textual.widgets import Static

from flowforge.model.overview import RunSummary
from flowforge_tui import keys
from flowforge_tui.actions.verbs import ANSWERS, VERBS
from flowforge_tui.live.live import Fresh
from flowforge_tui.runs import columns, preview
from flowforge_tui.runs.filtered import Filtered
from flowforge_tui.runs.order import BY_KEY, ORDERS
from flowforge_tui.runs.rows import BookRows
from flowforge_tui.widgets.filter_line import FilterLine
from flowforge_tui.widgets.preview import Preview
from flowforge_tui.widgets.table import Table

#: Lines of the panel below the list, from small to large.
SIZES = (1, 6, 12)
#: Beats after which everything is looked at again, for filters and orders that depend on the time.
REBUILD = 20
EMPTY = """No runs yet.

Press : then  run hello   or, in another terminal:

    flowforge init && flowforge run flows/hello.yaml

What starts appears here by itself."""


class RunsScreen(Filtered):
    """Screen 1."""

    VIEW = "runs"
    BINDINGS = keys.bindings(keys.LIST, keys.RUNS)
    AUTO_FOCUS = "Table"

    def __init__(self) -> None:
        super().__init__()
        self._beats = 0
        self._panel = 0

    def middle(self) -> Iterable[Widget]:
        """Make the filter, the list, and what the cursor is on."""
        yield FilterLine()
        yield Table(columns.COLUMNS)
        yield Static(EMPTY, id="empty", markup=False)
        yield Preview()

    def on_mount(self) -> None:
        """Begin to show runs."""
        self.table.show(BookRows(self.book, self.app.live.now))
        self._show_order()

    # -- what is shown -------------------------------------------------------------------------------------

    def on_fresh(self, message: Fresh) -> None:
        """Take runs that were read."""
        if self.book.take(message.runs, self.app.live.now()):
            self.table.show()

    def beat(self) -> None:
        """Show what has become of everything."""
        self._beats += 1
        if self._beats % REBUILD == 0 and not self.app.live.paused:
            if self.book.ages:
                self.book.rebuild(self.app.live.now())
            self.ask_again()
        self.table.show()
        self.show_aside()
        self._show_preview()
        live = self.app.live
        self.set_class(live.ready.is_set() and self.book.known == 0, "-empty")

    def _show_preview(self) -> None:
        live, panel = self.app.live, self.query_one(Preview)
        run, now = self.here(), live.now()
        counts = live.throughput.lately(time.monotonic(), 16 if self.size.width >= 100 else 6)  # noqa: PLR2004
        lines = [preview.first_line(self.book, run, now, counts, self.size.width)]
        if self._panel and run is not None:
            lines += preview.details(run, now)
        panel.show(lines)

    def here(self) -> RunSummary | None:
        """Return the run under the cursor."""
        key = self.table.key
        return None if key is None else self.book.get(key)

    def targets(self) -> list[RunSummary]:
        """Return what an action is about: the marked runs, or the one under the cursor."""
        if self.table.marks:
            return self.book.chosen(key for key in self.table.marks if isinstance(key, UUID))
        here = self.here()
        return [] if here is None else [here]

    def offers(self, verb: str) -> bool:
        """Return whether what a key does to a run is worth naming: an answer is, where one is asked."""
        here = self.here()
        return here is not None and (verb not in ANSWERS or VERBS[verb].hinders(here) is None)

    def action_mark(self) -> None:
        """Mark the run under the cursor, or unmark it."""
        self.table.action_mark()

    def action_resize(self, by: int) -> None:
        """Show more of the run under the cursor, or less."""
        self._panel = max(0, min(self._panel + by, len(SIZES) - 1))
        self.query_one(Preview).resize(min(SIZES[self._panel], max(1, self.size.height - 8)))
        self._show_preview()

    @on(Table.Moved)
    def moved(self) -> None:
        """Show more of another run."""
        self._show_preview()
        self.show_aside()

    @on(Table.Opened)
    def opened(self) -> None:
        """Open a run."""
        if (here := self.here()) is not None:
            self.app.open_run(here.id)

    # -- order ---------------------------------------------------------------------------------------------

    def action_sort(self) -> None:
        """Sort by the next column."""
        self._sort(ORDERS[(ORDERS.index(self.book.by) + 1) % len(ORDERS)].key)

    def action_sort_reverse(self) -> None:
        """Sort the other way round."""
        self._sort(self.book.by.key)

    @on(Table.TitleClicked)
    def title_clicked(self, message: Table.TitleClicked) -> None:
        """Sort by the column whose title was clicked."""
        if message.key in BY_KEY:
            self._sort(message.key)

    def _sort(self, key: str) -> None:
        by, book = BY_KEY[key], self.book
        book.sort(by, descending=not book.descending if by is book.by else by.descending, now=self.app.live.now())
        self._show_order()
        self.beat()

    def _show_order(self) -> None:
        self.table.sorted_by = (self.book.by.key, self.book.descending)
        self.table.refresh()

    # -- one run, or two -----------------------------------------------------------------------------------

    def action_explain(self) -> None:
        """Say why the run under the cursor does not move."""
        if (here := self.here()) is not None:
            self.app.open_explanation(here.id)

    def action_logs(self) -> None:
        """Show what the steps of the run under the cursor wrote."""
        if (here := self.here()) is not None:
            self.app.open_output("logs", str(here.id))

    def action_difference(self) -> None:
        """Show what is different between two marked runs."""
        marked = self.book.chosen(key for key in self.table.marks if isinstance(key, UUID))
        if len(marked) != 2:  # noqa: PLR2004 - a difference has two sides
            self.say("mark two runs with space, then d shows their difference", "warning")
            return
        self.app.open_difference(marked[-1].id, marked[0].id)

    # -- copying -------------------------------------------------------------------------------------------

    def copied(self) -> tuple[str, str] | None:
        """Return the ids of the marked runs, or of the one under the cursor, and the command that shows them."""
        ids = [str(run.id) for run in self.targets()]
        return (" ".join(ids), f"flowforge show {ids[0]}") if ids else None
