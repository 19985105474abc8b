"""Queues, workers, and whether what lies between them is healthy."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import ClassVar

from textual import on, work
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Container
from textual.message import Message
from textual.widget import Widget

from flowforge.errors import FlowforgeError
from flowforge.model.overview import Transport, WorkerStanding
from flowforge.model.pausing import Pause
from flowforge.model.text import one_line
from flowforge_streams.errors import StreamError
from flowforge_tui import keys
from flowforge_tui.modals.confirm import Question
from flowforge_tui.modals.letters import LettersModal
from flowforge_tui.queues import pausing
from flowforge_tui.queues.lines import QUEUES, WORKERS, health, queue_cells, rates, worker_cells, worker_details
from flowforge_tui.screen import View
from flowforge_tui.widgets.header import Header
from flowforge_tui.widgets.preview import Preview
from flowforge_tui.widgets.table import Listed, Table

#: Seconds between two looks.
PACE = 2.0


class TransportTaken(Message):
    """Queues and workers were read, and what is held."""

    def __init__(self, transport: Transport, pauses: Sequence[Pause]) -> None:
        super().__init__()
        self.transport, self.pauses = transport, pauses


class Sides(Container):
    """Queues and workers, side by side where there is room."""

    def compose(self) -> ComposeResult:
        """Make both lists."""
        yield Table(QUEUES, id="queues")
        yield Table(WORKERS, id="workers")


class QueuesScreen(View):
    """Screen 3."""

    VIEW = "queues"
    BINDINGS: ClassVar[list[BindingType]] = keys.bindings(keys.LIST, keys.WORKERS, keys.QUEUES)
    HORIZONTAL_BREAKPOINTS: ClassVar[list[tuple[int, str]] | None] = [(0, "-narrow"), (140, "-wide")]  # type: ignore[misc]
    AUTO_FOCUS = "#queues"

    def __init__(self) -> None:
        super().__init__()
        self._now: Transport | None = None
        self._before: Transport | None = None
        self._pauses: Sequence[Pause] = ()

    def middle(self) -> Iterable[Widget]:
        """Make both lists, and how the way between them is."""
        yield Sides()
        yield Preview(lines=7)

    def on_mount(self) -> None:
        """Begin to look."""
        self.set_interval(PACE, self.look)
        self.look()

    @work(exclusive=True, group="transport")
    async def look(self) -> None:
        """Read queues and workers."""
        await self.app.live.opened.wait()
        if self.app.live.paused and self._now is not None:
            return

        async def read() -> None:
            client = self.app.client
            self.post_message(TransportTaken(await client.transport(), await client.pauses()))

        await self.app.live.tried(read)

    def on_transport_taken(self, message: TransportTaken) -> None:
        """Show what was read."""
        self._before, self._now = self._now, message.transport
        self._pauses = message.pauses
        self.beat()

    def beat(self) -> None:
        """Show what has become of it."""
        if (seen := self._now) is None:
            return
        now = self.app.live.now()
        held = {one.name for one in self._pauses if one.kind == "queue"}
        queues = [
            (one.name, queue_cells(one, rates(seen, self._before, one.name), held=one.name in held))
            for one in seen.queues
        ]
        self.query_one("#queues", Table).show(Listed(queues))
        shown = sorted(seen.workers, key=lambda one: (one.status == "stopped", one.status != "lost", one.started_at))
        self.query_one("#workers", Table).show(Listed([(one.id, worker_cells(one, now)) for one in shown]))
        here = self.worker()
        more = [] if here is None else [[], *worker_details(here, now)]
        self.query_one(Preview).show([*health(seen, now), *pausing.lines(self._pauses, now), *more])

    def on_descendant_focus(self) -> None:
        """Show in the header which list the keys go to."""
        header = self.query_one(Header)
        header.view = str(self.table.id)
        header.refresh()

    @on(Table.Moved)
    def moved(self) -> None:
        """Show what another worker has."""
        self.beat()

    @on(Table.Opened)
    def opened(self) -> None:
        """Show the dead letters of a queue, or the run that a worker has had longest."""
        worker = self.worker()
        if self.table.id == "queues":
            self.action_dead_letters()
        elif worker is not None and worker.held:
            self.app.open_run(worker.held[0].run)
        else:
            self.say("it has nothing")

    def worker(self) -> WorkerStanding | None:
        """Return the worker under the cursor."""
        key = self.query_one("#workers", Table).key
        return next((one for one in self._now.workers if one.id == key), None) if self._now else None

    def queue(self) -> str:
        """Return the queue under the cursor."""
        return str(self.query_one("#queues", Table).key or "default")

    def offers(self, verb: str) -> bool:
        """Return whether a key means something here: only a worker that works can be drained."""
        if verb == "drain":
            worker = self.worker()
            return worker is not None and worker.status == "active"
        return super().offers(verb)

    def copied(self) -> tuple[str, str] | None:
        """Return the name under the cursor, and the command that lists it."""
        if self.table.id == "queues":
            return self.queue(), f"flowforge worker start --queue {self.queue()}"
        return None if self.worker() is None else (str(self.table.key), "flowforge worker ls")

    @work(group="letters", exclusive=True)
    async def action_dead_letters(self) -> None:
        """List what nobody could use of a queue."""
        try:
            letters = await self.app.client.dead_letters(self.queue())
        except (StreamError, FlowforgeError) as error:
            self.say(error, "error")
            return
        await self.app.push_screen(LettersModal(self.queue(), letters))

    @work(group="hold")
    async def action_hold(self) -> None:
        """Pause the queue under the cursor, or resume it."""
        await pausing.hold(self.app, "queue", self.queue())
        self.look()

    @work(group="drain")
    async def action_drain(self) -> None:
        """Ask the worker under the cursor to stop after what it is doing."""
        here = self.worker()
        if here is None:
            self.say("there is no worker here", "warning")
            return
        if here.status not in ("active", "draining"):
            self.say(f"cannot drain: it is {here.status}", "warning")
            return
        effects = [
            f"{one_line(here.id, 60)}, pid {here.pid} on {one_line(here.host, 40)}.",
            f"It takes nothing new and ends{_when(len(here.held))}.",
        ]
        command = f"flowforge worker drain {here.id}"
        question = Question(
            f"Drain worker {here.id}?", effects, "Drain", "Keep it working", 1, (), None, lambda _: command
        )
        if await self.app.ask(question) is None:
            return
        try:
            asked = await self.app.client.drain([here.id])
        except FlowforgeError as error:
            self.say(error, "error")
        else:
            self.say(f"✓ {here.id}: drains" if asked else "it has stopped already")
        self.look()


def _when(held: int) -> str:
    """Say what a worker that drains waits for."""
    return {0: " at once", 1: " when its attempt has ended"}.get(held, f" when its {held} attempts have ended")


class WorkersScreen(QueuesScreen):
    """The same, with the workers in focus."""

    AUTO_FOCUS = "#workers"
