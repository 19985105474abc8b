"""Lists printed as they are read: a table, or one JSON document; what is printed takes no memory any more."""

from __future__ import annotations

from collections.abc import AsyncIterable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from flowforge_cli import render
from flowforge_cli.text import Row, Table

T = TypeVar("T")


@dataclass(frozen=True)
class Listing(Generic[T]):
    """How the rows of a list are printed: for people, and as data."""

    titles: Sequence[str]
    row: Callable[[T], Row]
    #: What stands before the rows in the document, and the name of their field.
    head: Mapping[str, Any]
    field: str
    document: Callable[[T], object]
    indent: str = ""

    async def show(
        self, parts: AsyncIterable[Sequence[T]], *, json: bool, tail: Callable[[], dict[str, Any]] = dict
    ) -> int:
        """Print what comes in parts; return how many rows there were. Of none a table has not even a header.

        *tail* is asked at the end for what stands behind the rows in the document.
        """
        return await (self._as_document(parts, tail) if json else self._as_table(parts))

    async def _as_document(self, parts: AsyncIterable[Sequence[T]], tail: Callable[[], dict[str, Any]]) -> int:
        written, count = render.ListDocument(dict(self.head), self.field), 0
        async for part in parts:
            written.add(self.document(one) for one in part)
            count += len(part)
        written.end(tail())
        return count

    async def _as_table(self, parts: AsyncIterable[Sequence[T]]) -> int:
        lines, count = Table(self.titles, indent=self.indent), 0
        async for part in parts:
            if part:
                render.out(*lines.lines([self.row(one) for one in part]))
            count += len(part)
        return count
