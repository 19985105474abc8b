"""How styles by name become colours: one set of component classes, so that themes decide about every one of them.

Text is painted as it is, never read as markup; where a terminal has no Unicode, our signs become ASCII.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from rich.cells import cell_len, set_cell_size
from rich.segment import Segment
from rich.style import Style
from textual.strip import Strip
from textual.widget import Widget

from flowforge.model.text import Span

if TYPE_CHECKING:
    from flowforge_tui.app import TopApp

#: Every style that a Span may name.
NAMES = (
    *("ok", "bad", "warn", "active", "dim", "strong", "title", "key", "here", "cursor", "badge", "tab", "match"),
    # Parts of JSON, and what a step did.
    *("name", "number", "text", "exec", "queued", "backoff", "timer", "signal", "children"),
)

#: The brush that is none: the widget itself.
_GROUND = "\0ground"
#: Our signs, and what stands for them where there is only ASCII.
_SIGNS = "●○✓✗▶◷‖■↺⊘↷·─│…▾▴◌→×↓↑▁▂▃▄▅▆▇█▸▌◆↳◦━┄"
_ASCII = str.maketrans(dict(zip(_SIGNS, "*o+x>~=#</-.-|~v^o>xv^_.-:=+*#+>*>+=.", strict=True)))


def ascii_only(text: str) -> str:
    """Return a text without anything beyond ASCII: our signs in letters, others as question marks."""
    return text if text.isascii() else text.translate(_ASCII).encode("ascii", "replace").decode("ascii")


def fit(text: str, width: int, *, right: bool = False) -> str:
    """Return a text in exactly so many cells of a terminal, cut with an ellipsis."""
    size = cell_len(text)
    if size > width:
        return set_cell_size(text, width - 1) + "…" if width > 0 else ""
    return " " * (width - size) + text if right else text + " " * (width - size)


class Painted(Widget):
    """A widget that draws spans."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {f"paint--{name}" for name in NAMES}

    if TYPE_CHECKING:
        app: TopApp

    def __init__(self, *children: Widget, **how: Any) -> None:
        super().__init__(*children, **how)
        self._brushes: dict[str, Style] = {}

    def notify_style_update(self) -> None:
        """Forget colours when the theme changes."""
        self._brushes.clear()
        super().notify_style_update()

    @property
    def unicode(self) -> bool:
        """Whether more than ASCII can be shown: as the screen says, else as the application does."""
        return bool(getattr(self.screen, "unicode", getattr(self.app, "unicode", True)))

    def brush(self, name: str) -> Style:
        """Return the style of a name, without a background unless it is meant to have one."""
        if name not in self._brushes:
            known = name in NAMES
            self._brushes[name] = self.get_component_rich_style(f"paint--{name}", partial=True) if known else Style()
        return self._brushes[name]

    def paint(self, spans: Iterable[Span], base: Style) -> list[Segment]:
        """Return spans as segments on the background of *base*."""
        unicode = self.unicode
        return [
            Segment(span.text if unicode else ascii_only(span.text), base + self.brush(span.style))
            for span in spans
            if span.text
        ]

    @property
    def ground(self) -> Style:
        """What everything is painted on; looked up once, because it is asked for line by line."""
        if _GROUND not in self._brushes:
            self._brushes[_GROUND] = self.rich_style
        return self._brushes[_GROUND]

    def strip(self, spans: Sequence[Span], width: int, base: Style | None = None) -> Strip:
        """Return one line of a screen."""
        base = self.ground if base is None else base
        return Strip(self.paint(spans, base)).adjust_cell_length(width, base)


class Painting(Painted):
    """Lines that are made anew whenever they are drawn; a subclass says which."""

    def lines(self, width: int) -> list[list[Span]]:
        """Return what to show in so many cells."""
        raise NotImplementedError

    def render_line(self, y: int) -> Strip:
        """Draw one line."""
        width = self.size.width
        if y == 0:
            self._made = self.lines(width)
        made = getattr(self, "_made", None) or self.lines(width)
        return self.strip(made[y] if y < len(made) else [], width)
