"""Frames whose columns are promised: the same names, order and dtypes whatever was found, also when nothing was.

Units stand in the names: `_s` is seconds, `_at` and `_seen` are times in UTC, a share is between 0 and 1. Numbers that
may be missing are pandas' nullable ones; ids are text, as the command line prints them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import pandas as pd

TIME = "datetime64[us, UTC]"
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


class Column(NamedTuple):
    """A column of a frame: its dtype, and what it says."""

    dtype: str
    doc: str


Columns = Mapping[str, Column]


def text(doc: str) -> Column:
    """Return a column of text."""
    return Column("str", doc)


def number(doc: str) -> Column:
    """Return a column of whole numbers, any of which may be missing."""
    return Column("Int64", doc)


def seconds(doc: str) -> Column:
    """Return a column of durations in seconds."""
    return Column("float64", doc)


def share(doc: str) -> Column:
    """Return a column of ratios."""
    return Column("float64", doc)


def time(doc: str) -> Column:
    """Return a column of times in UTC."""
    return Column(TIME, doc)


def flag(doc: str) -> Column:
    """Return a column of truths, any of which may be missing."""
    return Column("boolean", doc)


def value(doc: str) -> Column:
    """Return a column of JSON values."""
    return Column("object", doc)


def frame(rows: Iterable[Sequence[Any] | Mapping[str, Any]] | pd.DataFrame, columns: Columns) -> pd.DataFrame:
    """Return rows as a frame with exactly these columns; what a row does not have is missing."""
    found = rows if isinstance(rows, pd.DataFrame) else _gathered(list(rows), columns)
    made = {name: _series(found.get(name), column, found.index) for name, column in columns.items()}
    return noted(pd.DataFrame(made, index=found.index).reset_index(drop=True), found)


def noted(made: pd.DataFrame, found: pd.DataFrame) -> pd.DataFrame:
    """Let a frame say of itself what the one that it was made of says."""
    made.attrs = {**found.attrs, **made.attrs}
    return made


def _gathered(rows: list[Any], columns: Columns) -> pd.DataFrame:
    if rows and isinstance(rows[0], Mapping):
        return pd.DataFrame.from_records(rows)
    return pd.DataFrame.from_records(rows, columns=list(columns)[: len(rows[0])] if rows else list(columns))


def rows(frame: pd.DataFrame) -> Iterator[Any]:
    """Go through the rows of a frame; columns are attributes."""
    return frame.itertuples(index=False)


def groups(frame: pd.DataFrame, *keys: str) -> Iterator[tuple[Any, pd.DataFrame]]:
    """Go through the rows that have columns in common: their values, one alone if there is one column, and the rows."""
    chosen: Any = list(keys) if len(keys) > 1 else keys[0]
    yield from frame.groupby(chosen)


def _series(found: Any, column: Column, index: pd.Index[Any]) -> Any:
    if found is None:
        return pd.Series([None] * len(index), index=index, dtype=column.dtype)
    if column.dtype == TIME:
        return pd.to_datetime(found, utc=True).astype(TIME)
    if column.dtype == "str":
        return found.map(lambda one: None if _missing(one) else plain(str(one))).astype("str")
    if column.dtype in ("Int64", "float64"):
        return pd.to_numeric(found, errors="coerce").astype(column.dtype)
    return found.astype(column.dtype)


def plain(words: str) -> str:
    """Return text in which nothing drives a terminal: control characters are written out."""
    return _CONTROL.sub(lambda found: f"\\x{ord(found[0]):02x}", words)


def _missing(one: object) -> bool:
    return one is None or one is pd.NaT or one is pd.NA or (isinstance(one, float) and one != one)  # noqa: PLR0124 - NaN


def described(columns: Columns) -> pd.DataFrame:
    """Return what the columns of a frame are, one row for each."""
    return pd.DataFrame(
        [(name, column.dtype, column.doc) for name, column in columns.items()], columns=["column", "dtype", "meaning"]
    )
