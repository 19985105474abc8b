"""The inspector: what a step was given, what it gave, its attempts, its error, its definition."""

from __future__ import annotations

from textual import on
from textual.app import ComposeResult
from textual.containers import Vertical

from flowforge_tui.run import about
from flowforge_tui.run.about import TABS
from flowforge_tui.run.document import Document
from flowforge_tui.run.folding import Folds, Path
from flowforge_tui.run.picture import Picture
from flowforge_tui.run.tabs import Tabs
from flowforge_tui.run.text import Span, one_line


class Inspector(Vertical):
    """Shows one step of a picture."""

    def __init__(self, *, id: str | None = None, unicode: bool = True) -> None:  # noqa: A002 - Textual's word
        super().__init__(id=id)
        self.unicode = unicode
        self._about: tuple[Picture, str] | None = None
        self._shown: tuple[str, str] | None = None
        self._chosen_by_hand = False
        #: What a person has folded and opened, by step and tab; and where all of it is.
        self._toggled: dict[tuple[str, str], set[Path]] = {}
        self._every: dict[tuple[str, str], bool] = {}

    def compose(self) -> ComposeResult:
        """Make the tabs and what they show."""
        yield Tabs(TABS, id="inspector-tabs")
        yield Document(id="inspector-lines")

    @property
    def tabs(self) -> Tabs:
        """The line of tabs."""
        return self.query_one(Tabs)

    @property
    def lines(self) -> Document:
        """What the chosen tab shows."""
        return self.query_one(Document)

    def show(self, picture: Picture, step_id: str | None) -> None:
        """Show a step; the tab stays, but an error is shown first to those who have not chosen."""
        if step_id is None or step_id not in picture.steps:
            return
        step = picture.steps[step_id]
        before = None if self._about is None else self._about[0].steps.get(self._about[1])
        self._about = picture, step_id
        moved = before is None or (before.id, before.status) != (step_id, step.status)
        if moved and not self._chosen_by_hand:
            self.tabs.choose(about.telling_tab(step))
        self._draw()

    def step_tab(self, by: int) -> None:
        """Go to the tab beside this one."""
        self._chosen_by_hand = True
        self.tabs.step(by)
        self._draw()

    @on(Tabs.Chosen)
    def _tab_clicked(self, event: Tabs.Chosen) -> None:
        event.stop()
        self._chosen_by_hand = True
        self.tabs.choose(event.name)
        self._draw()

    # -- folding -------------------------------------------------------------------------------------------

    @on(Document.Folded)
    def _folded(self, event: Document.Folded) -> None:
        event.stop()
        if self._shown is not None:
            self._toggled.setdefault(self._shown, set()).symmetric_difference_update({event.path})
            self._draw()

    @on(Document.AllFolded)
    def _all_folded(self, event: Document.AllFolded) -> None:
        """Open everything, then fold everything."""
        event.stop()
        if self._shown is not None:
            self._toggled.pop(self._shown, None)
            self._every[self._shown] = not self._every.get(self._shown, False)
            self._draw()

    def _draw(self) -> None:
        if self._about is None:
            return
        picture, step_id = self._about
        step, tab = picture.steps[step_id], self.tabs.chosen
        here = step_id, tab
        folds = Folds(self._toggled.get(here, ()), self._every.get(here))
        self.tabs.label([Span(one_line(step_id, 60), "strong")])
        made = [about.title(picture, step, unicode=self.unicode), *about.tab(tab, picture, step, folds)]
        self.lines.show(made, top=self._shown != here)
        self._shown = here
