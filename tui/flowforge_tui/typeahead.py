"""Keys one after the other: what is typed faster than the screen follows goes where it would have gone slowly.

Textual hands a key to what has the focus when it comes, and looks for its action later. Between the two a line of text
may have been focused or a screen opened: then the key is nobody's. So a key waits until the one before it has been
handled, and until the screen that it opened is there. A question is different: what was typed before it could be read
is no answer to it, and is dropped.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

from textual import events
from textual.message import Message
from textual.screen import Screen

if TYPE_CHECKING:
    from flowforge_tui.app import TopApp

#: Seconds after which a key is no longer waited for: what had it is gone.
PATIENCE = 1.0


class Handled(Message):
    """It goes the way of the key before it, and says at its end that the key has been handled."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number


class Turn(Message):
    """The next key may be handled."""


class Typeahead:
    """The keys that wait."""

    def __init__(self, app: TopApp) -> None:
        self._app = app
        self._waiting: deque[events.Key] = deque()
        self._busy = False
        #: The number of what is waited for; a late word about something earlier says nothing.
        self._number = 0
        #: When the key that is being handled was typed.
        self.typed_at = 0.0

    @property
    def busy(self) -> bool:
        """Whether a key is being handled, or waits."""
        return self._busy

    async def take(self, key: events.Key) -> None:
        """Handle a key, now or when those before it have been handled."""
        if self._busy:
            self._waiting.append(key)
        else:
            await self._handle(key)

    async def turn(self) -> None:
        """Handle the key that has waited longest."""
        await self._handle(self._waiting.popleft())

    def wait_for(self, screen: Screen[Any]) -> None:
        """Let keys wait for a screen that is being opened: they are meant for it."""
        number = self._wait()
        screen.call_after_refresh(self.go_on, number)

    def go_on(self, number: int) -> None:
        """What had that number is over: handle the next key, unless something else is waited for by now."""
        if number != self._number:
            return
        self._number += 1
        self._busy = bool(self._waiting)
        if self._waiting:
            self._app.post_message(Turn())

    async def _handle(self, key: events.Key) -> None:
        if key.time < getattr(self._app.screen, "readable_at", 0.0):
            self.go_on(self._number)
            return
        self.typed_at = key.time
        target = self._app.focused or self._app.screen
        number = self._wait()
        await self._app.press(key)
        if number == self._number and not target.post_message(Handled(number)):
            self.go_on(number)

    def _wait(self) -> int:
        """Begin to wait, but not for ever: who had the key may be gone."""
        self._busy = True
        self._number += 1
        self._app.set_timer(PATIENCE, lambda number=self._number: self.go_on(number))
        return self._number
