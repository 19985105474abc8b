"""Arrays in Postgres' binary form, made in one go: how sets of rows travel on the hot path.

The driver dumps an array element by element, which costs more than the transition it describes, and looks for
placeholders in a long statement every time. Here a column is packed as a whole, and a statement is numbered once.
What leaves here is exactly what `array_send` would send (PostgreSQL: src/backend/utils/adt/arrayfuncs.c): dimensions,
a flag for nulls, the element's type, length and lower bound, then each element with its length in front, -1 for null.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from itertools import count
from struct import pack
from sys import byteorder
from typing import Any, ClassVar
from uuid import UUID

import psycopg
from psycopg import AsyncCursor, AsyncRawCursor
from psycopg.adapt import Buffer, Dumper, Loader
from psycopg.pq import Format
from psycopg.rows import TupleRow

from flowforge.model.ids import from_number
from flowforge.store.database import Connection

_NULL = b"\xff\xff\xff\xff"
_UUID_LENGTH = pack(">i", 16)
_BOOLS = {True: b"\0\0\0\1\1", False: b"\0\0\0\1\0"}
#: Postgres counts microseconds from here.
_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


class Packed(bytes):
    """An array in binary form; the subclass says of what type, because the driver goes by the class."""

    __slots__ = ()
    oid: ClassVar[int]
    element: ClassVar[int]

    @classmethod
    def of(cls, length: int, body: bytes) -> Packed:
        """Put the header in front of *length* packed elements."""
        return cls(pack(">iiiii", 1, 1, cls.element, length, 1) + body if length else pack(">iii", 0, 0, cls.element))


class _Bools(Packed):
    oid, element = 1000, 16


class _Int2s(Packed):
    oid, element = 1005, 21


class _Int4s(Packed):
    oid, element = 1007, 23


class _Int8s(Packed):
    oid, element = 1016, 20


class _Texts(Packed):
    oid, element = 1009, 25


class _Times(Packed):
    oid, element = 1185, 1184


class _Uuids(Packed):
    oid, element = 2951, 2950


class _PackedDumper(Dumper):
    format = Format.BINARY

    def dump(self, obj: Packed) -> Buffer:
        return obj


class _UuidLoader(Loader):
    format = Format.BINARY

    def load(self, data: Buffer) -> UUID:
        return from_number(int.from_bytes(data, "big"))


psycopg.adapters.register_loader("uuid", _UuidLoader)


def _register(kind: type[Packed]) -> None:
    dumper = type(f"{kind.__name__}Dumper", (_PackedDumper,), {"oid": kind.oid})
    psycopg.adapters.register_dumper(kind, dumper)


for _kind in (_Bools, _Int2s, _Int4s, _Int8s, _Texts, _Times, _Uuids):
    _register(_kind)


def statement(query: str) -> bytes:
    """Number the placeholders of a query whose parameters are all packed: each `%b` becomes `$1`, `$2` and so on."""
    numbers = count(1)
    return re.sub("%b", lambda _: f"${next(numbers)}", query).encode()


async def execute(connection: Connection, query: bytes, parameters: Sequence[Packed]) -> AsyncCursor[TupleRow]:
    """Execute a numbered statement; rows come in binary."""
    cursor = AsyncRawCursor(connection)
    return await cursor.execute(query, parameters, binary=True)


def int4s(values: Sequence[int]) -> Packed:
    """Pack integers, none of them null; DataError for one that does not fit."""
    length = len(values)
    elements = array("i", bytes(8 * length))
    elements[::2] = array("i", [4]) * length
    try:
        elements[1::2] = array("i", values)
    except OverflowError as error:
        raise psycopg.DataError(f"integer out of range: {error}") from error
    if byteorder == "little":
        elements.byteswap()
    return _Int4s.of(length, elements.tobytes())


def optional_int4s(values: Sequence[int | None]) -> Packed:
    """Pack integers."""
    return _Int4s.of(len(values), b"".join([_NULL if value is None else pack(">ii", 4, value) for value in values]))


def int2s(values: Sequence[int]) -> Packed:
    """Pack small integers, none of them null."""
    return _Int2s.of(len(values), b"".join([pack(">ih", 2, value) for value in values]))


def int8s(values: Sequence[int | None]) -> Packed:
    """Pack big integers."""
    parts = [_NULL if value is None else pack(">iq", 8, value) for value in values]
    return _Int8s.of(len(values), b"".join(parts))


def bools(values: Sequence[bool]) -> Packed:
    """Pack truth values, none of them null."""
    return _Bools.of(len(values), b"".join([_BOOLS[value] for value in values]))


def uuids(values: Sequence[UUID]) -> Packed:
    """Pack ids, none of them null."""
    return _Uuids.of(len(values), _UUID_LENGTH.join([b"", *[value.bytes for value in values]]))


def optional_uuids(values: Sequence[UUID | None]) -> Packed:
    """Pack ids."""
    parts = [_NULL if value is None else _UUID_LENGTH + value.bytes for value in values]
    return _Uuids.of(len(values), b"".join(parts))


def texts(values: Sequence[str | None]) -> Packed:
    """Pack texts that differ from row to row; DataError for one that is not text Postgres knows."""
    if not any(values) and "" not in values:
        return _Texts.of(len(values), _NULL * len(values))
    parts: list[bytes] = []
    for value in values:
        if value is None:
            parts.append(_NULL)
        else:
            data = _utf8(value)
            parts += (pack(">i", len(data)), data)
    return _Texts.of(len(values), b"".join(parts))


def words(values: Sequence[str | None]) -> Packed:
    """Pack texts that are the same few over and over: statuses, names of workers and lanes."""
    return _Texts.of(len(values), _repeated(values, _word))


def times(values: Sequence[datetime | None]) -> Packed:
    """Pack aware times; many rows of a batch share theirs."""
    return _Times.of(len(values), _repeated(values, _time))


def _repeated(values: Sequence[Any], pack_one: Callable[[Any], bytes]) -> bytes:
    """Pack values many of which are the same; a column in which all are is packed once."""
    length = len(values)
    if length > 1 and values.count(values[0]) == length:
        return pack_one(values[0]) * length
    return b"".join(map(pack_one, values))


def columns(packers: Iterable[Callable[[Sequence[Any]], Packed]], rows: Sequence[tuple[Any, ...]]) -> list[Packed]:
    """Pack rows, of which there is at least one, column by column, each with its packer."""
    return [packer(column) for packer, column in zip(packers, zip(*rows, strict=True), strict=True)]


def from_microseconds(value: int) -> datetime:
    """Return the time that Postgres counts as so many microseconds."""
    return _EPOCH + value * _MICROSECOND


@lru_cache(maxsize=4096)
def _word(value: str | None) -> bytes:
    if value is None:
        return _NULL
    data = _utf8(value)
    return pack(">i", len(data)) + data


@lru_cache(maxsize=4096)
def _time(value: datetime | None) -> bytes:
    return _NULL if value is None else pack(">iq", 8, (value - _EPOCH) // _MICROSECOND)


def _utf8(value: str) -> bytes:
    try:
        return value.encode()
    except UnicodeEncodeError as error:
        raise psycopg.DataError(f"not valid text: {error}") from error
