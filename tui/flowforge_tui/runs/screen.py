"""The list of runs: what is going on, what went wrong, and what to do about it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any
from uuid import UUID

from textual import on
from textual.widget import Widget
from textual.widgets import Static

from flowforge.errors import Conflict, FlowforgeError, NotFound, UsageError
from flowforge.model.filter import FilterError
from flowforge.model.overview import RunSummary
from flowforge.model.text import Span, one_line
from flowforge_tui import keys
from flowforge_tui.live.live import Fresh
from flowforge_tui.painting import fit
from flowforge_tui.runs import columns, preview
from flowforge_tui.runs.book import RunBook
from flowforge_tui.runs.order import BY_KEY, ORDERS
from flowforge_tui.runs.query import Query, haystack, parse
from flowforge_tui.screen import View
from flowforge_tui.widgets.filter_line import FilterLine, count_text
from flowforge_tui.widgets.preview import Preview
from flowforge_tui.widgets.table import Rows, Table

#: Lines of the panel below the list, from small to large.
SIZES = (1, 6, 12)
#: Beats after which everything is looked at again, for filters and orders that depend on the time.
REBUILD = 20
FAILURES = "state:failed"
#: From so many cells on it is said by what runs are sorted.
ROOMY = 60
#: Cells of the filter's line that are no message: its title, and room for another word.
BESIDE = 20
#: Seconds without another letter after which the database is asked about what is being typed.
REST = 0.25
EMPTY = """No runs yet.

Press : then  run hello   or, in another terminal:

    flowforge init && flowforge run flows/hello.yaml

What starts appears here by itself."""


class BookRows(Rows):
    """The rows of a book, as they look now."""

    def __init__(self, screen: RunsScreen) -> None:
        self._screen = screen

    def __len__(self) -> int:
        return len(self._screen.book)

    def key(self, place: int) -> UUID:
        """Return the id of the run at a place."""
        return self._screen.book.key(place)

    def find(self, key: Any) -> int | None:
        """Return where a run is."""
        return self._screen.book.find(key)

    def cells(self, place: int) -> Sequence[Span]:
        """Return a cell for every column."""
        return columns.cells(self._screen.book.at(place), self._screen.app.live.now())


class RunsScreen(View):
    """Screen 1."""

    VIEW = "runs"
    BINDINGS = keys.bindings(keys.LIST, keys.RUNS)
    AUTO_FOCUS = "Table"

    def __init__(self) -> None:
        super().__init__()
        self.book = RunBook(self.app.options.limit)
        self._beats = 0
        self._panel = 0
        self._searched = ""
        #: What is wrong with the filter that is being typed.
        self._problem = ""
        #: The filter to go back to when only failures are shown.
        self._before_failures = ""

    def middle(self) -> Iterable[Widget]:
        """Make the filter, the list, and what the cursor is on."""
        yield FilterLine()
        yield Table(columns.COLUMNS)
        yield Static(EMPTY, id="empty", markup=False)
        yield Preview()

    def on_mount(self) -> None:
        """Begin to show runs."""
        self.table.show(BookRows(self))
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
            self._ask_again()
        self.table.show()
        self._show_aside()
        self._show_preview()
        live = self.app.live
        self.set_class(live.ready.is_set() and self.book.known == 0, "-empty")

    def _show_aside(self) -> None:
        if self._problem:
            room = self.size.width - len(self.query_one(FilterLine).input.value) - BESIDE
            self.query_one(FilterLine).aside(Span(fit(self._problem, max(room, 20)).rstrip(), "bad"))
            return
        if self.book.query.elsewhere and self.book.query.found is None:
            self.query_one(FilterLine).aside(Span("asking the database", "dim"))
            return
        book, marked = self.book, len(self.table.marks)
        words = count_text(len(book), book.known, book.by.key, descending=book.descending, marked=marked)
        words = words if self.size.width >= ROOMY else words[:-1]
        self.query_one(FilterLine).aside(*words)

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

    def unmark(self) -> None:
        """Take the marks away: what they were for is done."""
        self.table.marks.clear()
        self.beat()

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
        self._show_aside()

    @on(Table.Opened)
    def opened(self) -> None:
        """Open a run."""
        if (here := self.here()) is not None:
            self.app.open_run(here.id)

    # -- filter --------------------------------------------------------------------------------------------

    def action_filter(self) -> None:
        """Type a filter."""
        self.set_focus(self.query_one(FilterLine).input)

    def filter(self, text: str, *, ask: bool = True) -> None:
        """Show what a filter lets through; with *ask*, look in the database for more of it at once."""
        now = self.app.live.now()
        try:
            query = parse(text, now)
        except UsageError as error:
            self._complain(error)
            return
        self._problem = ""
        if query.wanted.words:
            self._searched = query.wanted.words[0]
        self.book.filter(query, now)
        self.beat()
        if not query.wanted.empty and (ask or query.elsewhere):
            self.run_worker(self._look_for(query, 0 if ask else REST), group="filter", exclusive=True)

    def _complain(self, error: FlowforgeError) -> None:
        """Say what is wrong with the filter; the list stays as it was."""
        problem = error.problem if isinstance(error, FilterError) else error.message
        self._problem = one_line(f"{problem}; {error.hint}" if error.hint else problem)
        self._show_aside()

    def _ask_again(self) -> None:
        """What only the database knows may have changed."""
        if self.book.query.found is not None and self.book.query.elsewhere:
            self.run_worker(self._look_for(self.book.query, 0), group="filter", exclusive=True)

    async def _look_for(self, query: Query, rest: float) -> None:
        live = self.app.live
        await asyncio.sleep(rest)

        async def search() -> None:
            try:
                found = await live.load(replace(query.wanted, limit=min(1000, self.app.options.limit)))
            except (UsageError, NotFound, Conflict) as error:
                # The servers answer: it is the filter that names no run, or several.
                self._complain(error)
                return
            if self.book.query.text == query.text:
                self.book.filter(replace(query, found=found), live.now())

        await live.tried(search)
        self.beat()

    @on(FilterLine.Changed)
    def filter_changed(self, message: FilterLine.Changed) -> None:
        """Filter while one types; look in the database when one has typed."""
        self.filter(message.text, ask=message.done)
        if message.done:
            self.table.focus()

    @on(FilterLine.Left)
    def filter_left(self) -> None:
        """Go on with the list."""
        self.table.focus()

    def action_back(self) -> None:
        """Take the filter away, then the marks."""
        if self.book.query.text:
            self.query_one(FilterLine).put("")
            self.filter("")
        elif self.table.marks:
            self.unmark()

    def action_failures(self) -> None:
        """Show failures only, or what was shown before."""
        line = self.query_one(FilterLine)
        text = self.book.query.text
        if FAILURES in text.split():
            text = self._before_failures
        else:
            self._before_failures = text
            kept = [word for word in text.split() if not word.startswith(("state:", "status:"))]
            text = " ".join([FAILURES, *kept])
        line.put(text)
        self.filter(text)

    def action_match(self, by: int) -> None:
        """Go to the next run that contains what was searched for; without a search, to one that is in trouble."""
        book, count, word = self.book, len(self.book), self._searched.lower()
        for step in range(1, count + 1):
            place = (self.table.cursor + by * step) % count
            run = book.at(place)
            if word in haystack(run) if word else run.look in ("failed", "retrying"):
                self.table.move(place)
                return
        self.say("no match" if word else "no trouble")

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
