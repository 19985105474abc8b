"""User data as text that is harmless on a screen, and the words that all surfaces share.

Whatever comes from users goes through `safe` or `one_line` before it reaches a screen: what would drive a terminal,
reorder or hide text is shown as an escape, so that a person sees that it is there. Pure.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import TypeAlias

from flowforge.model.text import LOOKS, Look, Span, clock, duration, moment, short_id, state

__all__ = ["Line", "Span", "clock", "compact", "duration", "look", "moment", "one_line", "plain", "safe"]
__all__ += ["short_id", "state"]

#: Characters of one piece of data that are shown.
CAP = 200_000

Line: TypeAlias = "list[Span]"

_COLOURS = re.compile(r"\x1b\[[0-9;:]*m")
#: Controls except newline, line separators, and the invisible characters that reorder or hide text.
_UNSAFE = re.compile(
    "[\x00-\x09\x0b-\x1f\x7f-\x9f\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    "\ud800-\udfff\U000e0000-\U000e007f]"
)


def safe(text: object, cap: int = CAP) -> str:
    """Return *text*, of any number of lines, harmless: colours are dropped, other controls are shown as escapes."""
    clean = str(text)
    if len(clean) > cap:
        clean = clean[: cap - 1] + "…"
    if clean.isascii() and clean.isprintable():
        return clean
    clean = _COLOURS.sub("", clean.replace("\r\n", "\n")).expandtabs(4)
    return _UNSAFE.sub(_escaped, clean)


def _escaped(match: re.Match[str]) -> str:
    return json.dumps(match[0])[1:-1]


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
