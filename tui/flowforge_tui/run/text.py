"""Text of a run's screen: what comes from users is harmless, and shows what it would have done.

Whatever comes from users goes through `safe` or `one_line` before it reaches a screen: what would drive a terminal,
reorder or hide text is shown as an escape, so that a person who inspects data sees that it is there. Pure.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TypeAlias

from flowforge.model.text import LOOKS, Look, Span, clock, duration, moment, short_id, shown_text, state

__all__ = ["Line", "Span", "clock", "compact", "duration", "look", "moment", "one_line", "plain", "safe"]
__all__ += ["short_id", "state"]

#: Characters of one piece of data that are shown.
CAP = 200_000

Line: TypeAlias = "list[Span]"


def safe(text: object, cap: int = CAP) -> str:
    """Return *text*, of any number of lines, harmless."""
    return shown_text(text, cap)


def one_line(text: object, cap: int = 200) -> str:
    """Return *text* as one harmless line of at most *cap* characters."""
    flat = " ".join(safe(text, cap * 4).split())
    return flat if len(flat) <= cap else flat[: cap - 1] + "…"


def compact(value: object, cap: int = 120) -> str:
    """Return a JSON value on one harmless line."""
    return one_line(json.dumps(value, ensure_ascii=False, default=str), cap)


def look(status: str) -> Look:
    """Return how a state looks."""
    return LOOKS.get(status) or Look("?", "?", one_line(status).upper(), "")


def plain(lines: Sequence[Line]) -> str:
    """Return lines without their styles."""
    return "\n".join("".join(span.text for span in line).rstrip() for line in lines)
