"""How a group and its server are doing, for metrics and diagnosis; nothing here decides about work."""

from dataclasses import dataclass
from datetime import timedelta


@dataclass(frozen=True, slots=True)
class Depth:
    """How much lies in a stream, seen from one group. A missing stream or group counts as empty."""

    #: entries in the stream; acked ones are deleted, so these are the waiting and the pending ones
    length: int
    #: entries delivered and not yet acked
    pending: int
    #: entries not yet delivered, as the server counts them; None on Redis 6.2 and when it lost count
    lag: int | None
    #: idle time of the pending entry with the lowest id; None when nothing is pending
    oldest_idle: timedelta | None
    #: entries ever appended to the stream, and ever delivered to the group; None where the server does not count
    added: int | None = None
    delivered: int | None = None

    @property
    def waiting(self) -> int:
        """Entries not yet delivered; exact while this group is the only one on its stream."""
        return max(0, self.length - self.pending) if self.lag is None else self.lag


@dataclass(frozen=True, slots=True)
class Consumer:
    """A name that has read from the group; it exists until it is retired."""

    name: str
    #: entries delivered to it and not yet acked
    pending: int
    #: time since it last read, claimed or was claimed for
    idle: timedelta


@dataclass(frozen=True, slots=True)
class Pending:
    """One delivered entry that is not acked yet."""

    entry_id: str
    #: name of the consumer that has it
    consumer: str
    #: time since it was delivered, claimed or touched
    idle: timedelta
    #: times it was delivered; touching does not count
    delivered: int


@dataclass(frozen=True, slots=True)
class EvictionPolicy:
    """What the server does when its memory is full."""

    #: value of `maxmemory-policy`
    policy: str
    #: memory limit in bytes; 0 = none
    limit: int

    @property
    def safe(self) -> bool:
        """Tell whether a stream can never be evicted together with its groups.

        `volatile-*` only evicts keys with a time to live, which no stream of ours has. `allkeys-*` is unsafe
        even without a limit today: a limit can be set while the server runs.
        """
        return not self.policy.startswith("allkeys")
