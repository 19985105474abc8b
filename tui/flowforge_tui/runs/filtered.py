"""A list of runs and the filter that says which: what is typed, what the database is asked, and the way back.

What is known here is filtered at every letter; the database is asked when one rests or has typed. An answer that comes
after the filter has become another one changes nothing.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace

from textual import on

from flowforge.errors import Conflict, FlowforgeError, NotFound, UsageError
from flowforge.model.filter import FilterError
from flowforge.model.text import Span, one_line
from flowforge_tui.painting import fit
from flowforge_tui.runs.book import RunBook
from flowforge_tui.runs.query import Query, haystack, parse
from flowforge_tui.screen import View
from flowforge_tui.widgets.filter_line import FilterLine, count_text

FAILURES = "state:failed"
#: From so many cells on it is said by what runs are sorted.
ROOMY = 60
#: Cells of the filter's line that are no message: its title, and room for another word.
BESIDE = 20
#: Seconds without another letter after which the database is asked about what is being typed.
REST = 0.25


class Filtered(View):
    """Some of the runs there are."""

    def __init__(self) -> None:
        super().__init__()
        self.book = RunBook(self.app.options.limit)
        self._searched = ""
        #: What is wrong with the filter that is being typed.
        self._problem = ""
        #: The filter to go back to when only failures are shown.
        self._before_failures = ""

    def unmark(self) -> None:
        """Take the marks away: what they were for is done."""
        self.table.marks.clear()
        self.beat()

    def show_aside(self) -> None:
        """Say how many runs the filter leaves, or what is wrong with it."""
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
        self.show_aside()

    def ask_again(self) -> None:
        """Ask the database once more: what only it knows may have changed."""
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
