"""The state of one in-memory stream, and the rules Redis applies to it; no waiting and no I/O.

The rules are those of Redis 7 and later: a deleted entry leaves the pending list when a reclaim meets it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

Id = tuple[int, int]


def parse_id(text: str) -> Id:
    """Read `<milliseconds>-<sequence>`; ids compare as numbers, not as text."""
    milliseconds, _, sequence = text.partition("-")
    return int(milliseconds), int(sequence or 0)


def format_id(entry_id: Id) -> str:
    """Write an id the way the server does."""
    return f"{entry_id[0]}-{entry_id[1]}"


@dataclass(slots=True)
class Claim:
    """Who has a pending entry."""

    consumer: str
    since: float
    delivered: int


@dataclass(slots=True)
class GroupState:
    """One group: how far it has read, what is pending, and when each consumer was last seen."""

    last: Id = (0, 0)
    claims: dict[Id, Claim] = field(default_factory=dict)
    seen: dict[str, float] = field(default_factory=dict)


@dataclass(slots=True)
class StreamState:
    """One stream and its groups."""

    entries: dict[Id, Mapping[str, bytes]] = field(default_factory=dict)
    last: Id = (0, 0)
    groups: dict[str, GroupState] = field(default_factory=dict)

    def append(self, fields: Mapping[str, bytes], *, at: int, max_len: int | None = None) -> Id:
        """Append an entry under an id that grows even when the clock does not; trim to *max_len*."""
        self.last = max((at, 0), (self.last[0], self.last[1] + 1))
        self.entries[self.last] = fields
        if max_len is not None:
            for oldest in list(self.entries)[: max(0, len(self.entries) - max_len)]:
                del self.entries[oldest]
        return self.last

    def after(self, start: Id, count: int) -> list[Id]:
        """List up to *count* ids after *start*."""
        found: list[Id] = []
        for entry_id in self.entries:
            if len(found) == count:
                break
            if entry_id > start:
                found.append(entry_id)
        return found

    def take(self, group: GroupState, consumer: str, count: int, now: float) -> list[Id]:
        """Deliver up to *count* entries the group has not seen."""
        taken = self.after(group.last, count)
        for entry_id in taken:
            group.claims[entry_id] = Claim(consumer, now, 1)
            group.last = entry_id
        return taken

    def retake(self, group: GroupState, consumer: str, count: int, start: Id, now: float) -> list[Id]:
        """Deliver again what *consumer* has pending after *start*; deleted entries leave the list."""
        taken: list[Id] = []
        for entry_id in sorted(one for one, claim in group.claims.items() if claim.consumer == consumer):
            if entry_id <= start or len(taken) == count:
                continue
            if entry_id not in self.entries:
                del group.claims[entry_id]
                continue
            claim = group.claims[entry_id]
            claim.since, claim.delivered = now, claim.delivered + 1
            taken.append(entry_id)
        return taken

    def reclaim(
        self, group: GroupState, consumer: str, *, idle: float, count: int, start: Id, now: float
    ) -> tuple[Id, list[Id], list[Id]]:
        """Claim what was idle, looking at ten times *count* entries; return where to go on, found, deleted."""
        found: list[Id] = []
        deleted: list[Id] = []
        window = [entry_id for entry_id in sorted(group.claims) if entry_id >= start]
        looked = 0
        for entry_id in window[: count * 10]:
            if len(found) + len(deleted) == count:
                break
            looked += 1
            claim = group.claims[entry_id]
            if now - claim.since < idle:
                continue
            if entry_id in self.entries:
                group.claims[entry_id] = Claim(consumer, now, claim.delivered + 1)
                found.append(entry_id)
            else:
                del group.claims[entry_id]
                deleted.append(entry_id)
        following = window[looked] if looked < len(window) else (0, 0)
        return following, found, deleted
