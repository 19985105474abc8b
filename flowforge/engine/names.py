"""The names of everything in Redis: one prefix per installation, so that two databases can share a server."""

from __future__ import annotations

from dataclasses import dataclass

#: The consumer group of all workers.
GROUP = "workers"


def lanes_of(queue: str) -> tuple[str, str]:
    """Return the lanes of a queue: python steps need a child process, and have one of their own."""
    return queue, f"{queue}.python"


@dataclass(frozen=True, slots=True)
class Names:
    """Keys and channels of one installation."""

    #: From the id of the installation, which lies in its database.
    installation: str

    @property
    def prefix(self) -> str:
        """What every key begins with."""
        return f"ff:{self.installation}"

    def lane(self, lane: str) -> str:
        """The dispatch stream of a lane."""
        return f"{self.prefix}:q:{lane}"

    @property
    def events(self) -> str:
        """The stream that every event is published to."""
        return f"{self.prefix}:events"

    @property
    def wake(self) -> str:
        """The channel that says: the outbox is not empty."""
        return f"{self.prefix}:wake"

    @property
    def control(self) -> str:
        """The channel that tells workers to stop attempts."""
        return f"{self.prefix}:control"

    @property
    def epoch(self) -> str:
        """The key whose loss shows that the server lost everything."""
        return f"{self.prefix}:epoch"
