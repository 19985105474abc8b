"""The shape in which sets of rows travel: one array per column, for `unnest`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any


def columns(rows: Sequence[tuple[Any, ...]]) -> list[list[Any]]:
    """Turn rows into one list per column; there must be at least one row."""
    return [list(column) for column in zip(*rows, strict=True)]


def json_text(value: object) -> str | None:
    """Return a stored document as JSON text, None for no document."""
    return None if value is None else json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=str)
