"""Raw replies of the server, read into values. Pure: the same for every connection and every version.

The hot path is `deliveries`: one pass, no copies, nothing per entry but a Delivery and its field mapping.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from functools import lru_cache
from typing import Any

from .delivery import Delivery, Record
from .standing import Consumer, Pending


def decoded_fields(flat: Sequence[bytes]) -> dict[str, bytes]:
    """Pair up names and values; a name that is not UTF-8 is escaped, because names are for people."""
    return dict(zip(map(_name, flat[::2]), flat[1::2], strict=True))


@lru_cache(maxsize=256)
def _name(name: bytes) -> str:
    """Decode a field's name; there are few, and they come with every entry."""
    return name.decode("utf-8", "backslashreplace")


def deliveries(
    stream: str, rows: Iterable[Any], *, delivered: int | None, reclaimed: bool = False
) -> tuple[list[Delivery], list[str], int]:
    """Split rows into deliveries, ids whose entry is gone, and the number of gone entries without an id.

    Re-reading one's own pending list yields `[id, nil]` for an entry that was deleted; XAUTOCLAIM of Redis
    6.2 yields a bare nil, and 7 and later leave it out.
    """
    found: list[Delivery] = []
    gone: list[str] = []
    nameless = 0
    for row in rows:
        if row is None or row[0] is None:
            nameless += 1
        elif row[1] is None:
            gone.append(row[0].decode())
        else:
            found.append(Delivery(stream, row[0].decode(), decoded_fields(row[1]), delivered, reclaimed))
    return found, gone, nameless


def records(rows: Iterable[Any]) -> list[Record]:
    """Read entries that were read without a group."""
    return [Record(row[0].decode(), decoded_fields(row[1])) for row in rows]


def first_stream(reply: Any) -> Sequence[Any]:
    """Return the rows of the only stream that was asked for; nil means nothing came in time."""
    return reply[0][1] if reply else ()


def fields(reply: Sequence[Any]) -> Mapping[bytes, Any]:
    """Read one flat name/value list; unknown names are kept."""
    return dict(zip(reply[::2], reply[1::2], strict=True))


def table(reply: Iterable[Sequence[Any]]) -> list[Mapping[bytes, Any]]:
    """Read a list of flat name/value lists, the form of every XINFO reply; unknown names are kept."""
    return [fields(row) for row in reply]


def consumers(reply: Iterable[Sequence[Any]]) -> list[Consumer]:
    """Read XINFO CONSUMERS."""
    return [
        Consumer(row[b"name"].decode(), row[b"pending"], timedelta(milliseconds=row[b"idle"])) for row in table(reply)
    ]


def pending(reply: Iterable[Sequence[Any]]) -> list[Pending]:
    """Read the extended form of XPENDING."""
    return [
        Pending(entry_id.decode(), consumer.decode(), timedelta(milliseconds=idle), delivered)
        for entry_id, consumer, idle, delivered in reply
    ]


def info(reply: bytes) -> dict[str, str]:
    """Read an INFO section."""
    lines = (line.partition(":") for line in reply.decode().splitlines() if ":" in line)
    return {name: value for name, _, value in lines}
