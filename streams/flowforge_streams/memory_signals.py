"""The in-memory twin of the control channels; a listener that is slow keeps its messages in memory."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from typing import TYPE_CHECKING

from .seam import Signal

if TYPE_CHECKING:
    from .memory_log import MemoryLog


class MemorySignals:
    """Control channels of a `MemoryLog`."""

    def __init__(self, log: "MemoryLog") -> None:
        self._log = log
        self._listeners: list[tuple[frozenset[str], asyncio.Queue[Signal]]] = []

    async def publish(self, channel: str, payload: bytes | str = b"") -> int:
        """Send to whoever listens at this moment; return how many did, 0 when the server is away."""
        if self._log.down:
            return 0
        signal = Signal(channel, payload if isinstance(payload, bytes) else payload.encode())
        reached = [queue for channels, queue in self._listeners if channel in channels]
        for queue in reached:
            queue.put_nowait(signal)
        return len(reached)

    async def listen(self, channels: Sequence[str]) -> AsyncGenerator[Signal, None]:
        """Yield messages for ever; end it with `aclose` or a cancellation."""
        listener = (frozenset(channels), asyncio.Queue[Signal]())
        self._listeners.append(listener)
        try:
            while True:
                yield await listener[1].get()
        finally:
            self._listeners.remove(listener)
