"""Which colours stand on which, measured on what a screen has really drawn (WCAG 2)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from rich.color import Color
from rich.style import Style
from textual.strip import Strip

#: What separates, frames, fills or scrolls is nothing to read: lines and blocks.
DRAWN = frozenset(chr(code) for code in range(0x2500, 0x25A0))
#: What lines are drawn with where there is ASCII only.
PLAIN = frozenset("|+-")


class Pair(NamedTuple):
    """A text as it was drawn: its colour, and what is behind it."""

    text: str
    colour: Color
    ground: Color


def luminance(colour: Color) -> float:
    """Return how bright a colour is."""
    assert colour.triplet is not None
    parts = [part / 255 for part in colour.triplet]
    linear = [part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def ratio(colour: Color, ground: Color) -> float:
    """Return how far a colour stands out: from 1, not at all, to 21, black on white."""
    dark, light = sorted((luminance(colour), luminance(ground)))
    return (light + 0.05) / (dark + 0.05)


def contrast(style: Style) -> float:
    """Return how far text stands out in a style."""
    assert style.color is not None
    assert style.bgcolor is not None
    return ratio(style.color, style.bgcolor)


def drawn(app: Any) -> Iterator[Pair]:
    """Yield every text on the screen; what lies dimmed behind a window is not there to be read."""
    screen = app.screen
    lines = DRAWN if app.unicode else DRAWN | PLAIN
    update = screen._compositor.render_update(full=True, screen_stack=app._background_screens)
    for y, strip in enumerate(Strip.join(line) for line in update.strips):
        x = 0
        for text, style, control in strip:
            if not control and style is not None and text.strip() and not set(text.strip()) <= lines:
                skipped = len(text) - len(text.lstrip())
                if not _behind(screen, x + skipped, y):
                    yield _pair(text.strip(), style)
            x += len(text)


def _behind(screen: Any, x: int, y: int) -> bool:
    if not screen.is_modal:
        return False
    widget, _ = screen.get_widget_at(x, y)
    return widget is screen or any(one.styles.visibility == "hidden" for one in (widget,))


def _pair(text: str, style: Style) -> Pair:
    colour, ground = style.color or Color.default(), style.bgcolor or Color.default()
    return Pair(text, ground, colour) if style.reverse else Pair(text, colour, ground)
