"""The application: it owns the shared state of all screens and what keys do everywhere; screens do the rest."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from textual import events, work
from textual.app import SystemCommand
from textual.screen import Screen
from textual.scrollbar import ScrollBar, ScrollBarRender

from flowforge.client import AsyncClient
from flowforge.model.text import one_line, safe_text
from flowforge_tui import keys
from flowforge_tui.live.live import Live
from flowforge_tui.navigation import Navigation
from flowforge_tui.options import Options
from flowforge_tui.painting import ascii_only
from flowforge_tui.themes import THEMES, completed
from flowforge_tui.typeahead import Handled, Turn, Typeahead

if TYPE_CHECKING:
    from flowforge_tui.modals.confirm import Question

#: Seconds within which ctrl+c has to be pressed twice.
TWICE = 2.0
#: Characters of a run's id.
ID = 36


class PlainBar(ScrollBarRender):
    """A scroll bar of whole cells: what ends between two of them is beyond ASCII."""

    VERTICAL_BARS: ClassVar[list[str]] = [" "] * 8
    HORIZONTAL_BARS: ClassVar[list[str]] = [" "] * 8


class TopApp(Navigation):
    """`flowforge top`."""

    CSS_PATH: ClassVar = ["palette.tcss", "widgets/widgets.tcss", "app.tcss"]
    TITLE = "FlowForge"
    ENABLE_COMMAND_PALETTE = True
    COMMAND_PALETTE_BINDING = "ctrl+p"
    BINDINGS: ClassVar = keys.bindings(keys.SHELL, keys.STEER)

    def __init__(self, client: AsyncClient, options: Options | None = None) -> None:
        self.options = options or Options()
        self.live = Live(client, self.options)
        super().__init__()
        for theme in THEMES:
            self.register_theme(theme)
        self.theme = self.options.theme
        self.set_keymap(keys.checked(self.options.keys))
        self._interrupted = -TWICE
        self.typeahead = Typeahead(self)
        #: Whether it is being found out what an action would change.
        self._preparing = False
        #: Where a picture of the first screen goes, after which the dashboard is left.
        self.photograph: Path | None = None

    def plain(self, text: str, cap: int = 4_000) -> str:
        """Return a text that does nothing to a terminal, in the signs that there are."""
        clean = safe_text(text, cap)
        return clean if self.unicode else ascii_only(clean)

    @property
    def read_only(self) -> bool:
        """Whether only looking is allowed."""
        return self.options.read_only

    def get_css_variables(self) -> dict[str, str]:
        """Return the colours of the theme."""
        return completed(super().get_css_variables())

    # -- life ----------------------------------------------------------------------------------------------

    async def on_mount(self) -> None:
        """Show the runs and begin to keep up."""
        self.set_class(not self.unicode, "-ascii")
        ScrollBar.renderer = ScrollBarRender if self.unicode else PlainBar
        if not self.is_headless:
            # A closed terminal, or a kill, is a way to quit too: nothing is left behind, and no raw terminal.
            for number in (signal.SIGHUP, signal.SIGTERM):
                asyncio.get_running_loop().add_signal_handler(number, self.exit)
        # Only then: what is read before the screen listens is lost.
        await self.push_screen(self.make("runs"))
        self.live.start()
        if self.options.first is not None:
            self.open_reference(self.options.first)
        if self.photograph is not None:
            self._photograph(self.photograph)

    async def on_unmount(self) -> None:
        """Close every connection."""
        await self.live.stop()

    @work
    async def _photograph(self, file: Path) -> None:
        """Write the screen to a file once there is something to see, and leave."""
        await self.live.ready.wait()
        self.set_timer(2 * self.options.interval + 0.5, partial(self._develop, file))

    def _develop(self, file: Path) -> None:
        file.write_text(self.export_screenshot(simplify=True), encoding="utf-8")
        self.exit()

    # -- keys ----------------------------------------------------------------------------------------------

    async def on_event(self, event: events.Event) -> None:
        """Let keys be handled one after the other."""
        if isinstance(event, events.Key) and not event.is_forwarded:
            await self.typeahead.take(event)
        else:
            await super().on_event(event)

    async def press(self, key: events.Key) -> None:
        """Hand a key to what has the focus."""
        await super().on_event(key)

    def on_handled(self, message: Handled) -> None:
        """The key is done."""
        self.typeahead.go_on(message.number)

    async def on_turn(self, _: Turn) -> None:
        """Go on with the next key."""
        await self.typeahead.turn()

    # -- what keys do everywhere ---------------------------------------------------------------------------

    def action_pause_live(self) -> None:
        """Hold every screen still, or let it go on."""
        self.live.pause()

    async def action_refresh_now(self) -> None:
        """Read everything again."""
        self.run_worker(self.live.refresh(), group="refresh", exclusive=True)
        if (look := getattr(self.screen, "look", None)) is not None:
            look()
        self.notify("reading everything again", timeout=2)

    def action_interrupt(self) -> None:
        """Quit at the second time; say at the first that nothing is stopped by it."""
        now = time.monotonic()
        if now - self._interrupted < TWICE:
            self.exit()
        self._interrupted = now
        self.notify("runs keep going; q quits, and so does ctrl+c once more", timeout=TWICE)

    def action_keys(self) -> None:
        """Show the keys of this view."""
        from flowforge_tui.modals.keys import KeysModal

        self.show(KeysModal(self.screen))

    def action_command(self) -> None:
        """Ask for a command of the CLI, and show what it prints."""
        from flowforge_tui.modals.command import CommandModal

        self.show(CommandModal())

    @property
    def withheld(self) -> str | None:
        """Why nothing can be changed on this screen; None where it can."""
        if getattr(self.screen, "recorded", False):
            return keys.RECORDED
        return keys.REFUSED if self.read_only else None

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Let nothing be done where there is no run, or where one may only look."""
        if action == "act" and not (hasattr(self.screen, "targets") or hasattr(self.screen, "run_id")):
            return False
        if action == "say_why_not" or keys.steers(action):
            return (self.withheld is None) != (action == "say_why_not")
        return super().check_action(action, parameters)

    def action_say_why_not(self) -> None:
        """Say why a key does nothing here."""
        self.notify(self.withheld or "", severity="warning")

    def action_act(self, verb: str) -> None:
        """Do something to the runs that the screen is about; a key pressed twice asks once."""
        if not self._preparing:
            self._preparing = True
            self._act(verb)

    @work(group="act")
    async def _act(self, verb: str) -> None:
        from flowforge_tui.actions.acting import carry_out, prepare

        try:
            decided = await prepare(self, verb)
        finally:
            self._preparing = False
        if decided is not None:
            await carry_out(self, decided)

    async def ask(self, question: Question) -> Mapping[str, str] | None:
        """Ask and return what was answered; nothing where another question is open already."""
        from flowforge_tui.modals.confirm import Confirm

        return None if isinstance(self.screen, Confirm) else await self.push_screen_wait(Confirm(question))

    @work(group="act")
    async def action_hold_workflow(self) -> None:
        """Pause the workflow of the run at hand, or another one; or resume it."""
        from flowforge_tui.queues.pausing import hold

        chosen = self.screen.targets() if hasattr(self.screen, "targets") else []
        await hold(self, "workflow", chosen[0].workflow if chosen else getattr(self.screen, "workflow", ""))

    def meant(self, word: str) -> str:
        """Return a word of a command line; `@` is the run that the screen is about."""
        if word != "@":
            return word
        chosen = self.screen.targets() if hasattr(self.screen, "targets") else []
        run_id = chosen[0].id if chosen else getattr(self.screen, "run_id", None)
        return word if run_id is None else str(run_id)

    def copy(self, text: str) -> None:
        """Copy a text to the terminal's clipboard (OSC 52)."""
        self.copy_to_clipboard(text)
        many = len(text.split()) if all(len(word) == ID for word in text.split()) else 1
        self.notify(f"copied {many} ids" if many > 1 else f"copied: {one_line(text, 120)}", timeout=2, markup=False)

    def notify(self, message: str, **how: Any) -> None:
        """Tell something; what is told may come from users, and is never read as markup."""
        super().notify(self.plain(message, 400), **{"markup": False, **how})

    def _keep_screenshot(self) -> None:
        self.deliver_screenshot()

    def get_system_commands(self, screen: Screen[Any]) -> Iterable[SystemCommand]:
        """Return what the palette knows: what can be done here, where one can go, how it looks."""
        from flowforge_tui.palette import commands

        yield from commands(self, screen)
        yield SystemCommand("Change theme", "Colours; some are of high contrast", self.action_change_theme)
        yield SystemCommand("Save screenshot", "The screen as SVG", self._keep_screenshot)
        yield SystemCommand("Quit", "Runs keep going", self.action_quit)
