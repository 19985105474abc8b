"""Making a consumer group again after the server lost it, without a hot loop and without flooding the log.

NOGROUP answers at once, so BLOCK does not pace a reader whose group keeps vanishing (an evicting server, a
script that deletes it): this does. The group starts at the beginning of the stream, because what was published
between the loss and now must not be skipped; what is read twice is the reader's to tolerate.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from .backoff import Backoff
from .errors import StreamRefused
from .link import Link
from .throttle import ThrottledLog

logger = logging.getLogger("flowforge_streams")


async def create_group(link: Link, stream: str, group: str) -> bool:
    """Make the stream and the group; return False when the group exists, and fail for any other reason."""
    try:
        await link.call("XGROUP", "CREATE", stream, group, "0", "MKSTREAM")
    except StreamRefused as refused:
        if refused.code != "BUSYGROUP":
            raise
        return False
    return True


class Recreation:
    """The repair of one group, counted and paced over all its calls."""

    def __init__(
        self,
        link: Link,
        stream: str,
        group: str,
        *,
        log: ThrottledLog | None = None,
        backoff: Backoff | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._link = link
        self._stream = stream
        self._group = group
        self._log = log or ThrottledLog(logger)
        self._backoff = backoff or Backoff()
        self._sleep = sleep
        #: times the group was found missing and made again from here
        self.count = 0

    async def repair(self) -> None:
        """Make the group again: at once after the first loss, later and later while it keeps vanishing."""
        await self._sleep(self._backoff.next())
        created = await create_group(self._link, self._stream, self._group)
        self.count += created
        verb = "made it again" if created else "another process made it again"
        self._log.warning("stream %s had lost its group %s; %s", self._stream, self._group, verb)

    def settled(self) -> None:
        """Note that the group was there."""
        self._backoff.reset()
