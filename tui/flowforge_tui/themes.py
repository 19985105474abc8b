"""The themes of our own: a calm one, and two of high contrast. Textual brings others, among them those of ANSI."""

from __future__ import annotations

from textual.color import Color
from textual.theme import BUILTIN_THEMES, Theme

from flowforge.errors import UsageError

DEFAULT = "flowforge"
#: How much of the primary colour is in the ground of the cursor's line.
CURSOR = 0.22

THEMES = (
    Theme(
        name=DEFAULT,
        primary="#6ea8fe",
        secondary="#97a6be",
        accent="#5cc8d8",
        warning="#e5b567",
        error="#f07178",
        success="#8fce7e",
        foreground="#d7dae0",
        background="#12151b",
        surface="#12151b",
        panel="#1c2129",
        dark=True,
    ),
    Theme(
        name="high-contrast",
        primary="#ffff00",
        secondary="#ffffff",
        accent="#00ffff",
        warning="#ffd700",
        error="#ff6666",
        success="#00ff00",
        foreground="#ffffff",
        background="#000000",
        surface="#000000",
        panel="#000000",
        dark=True,
        text_alpha=1.0,
        variables={"text-muted": "#ffffff", "border": "#ffffff", "cursor-line": "#0000aa"},
    ),
    Theme(
        name="high-contrast-light",
        primary="#0000aa",
        secondary="#000000",
        accent="#00008b",
        warning="#7a4a00",
        error="#a00000",
        success="#005a00",
        foreground="#000000",
        background="#ffffff",
        surface="#ffffff",
        panel="#ffffff",
        dark=False,
        text_alpha=1.0,
        variables={"text-muted": "#000000", "border": "#000000", "cursor-line": "#ffe680"},
    ),
)


def completed(variables: dict[str, str]) -> dict[str, str]:
    """Return a theme's colours with the ground of the cursor's line; it is solid, for a style has no half colours."""
    ground = Color.parse(variables["background"]).blend(Color.parse(variables["primary"]), CURSOR)
    return {"cursor-line": ground.hex6, **variables}


def known(name: str | None) -> str:
    """Return the name of a theme that exists; UsageError names those that do."""
    names = [*(theme.name for theme in THEMES), *BUILTIN_THEMES]
    if name is not None and name not in names:
        raise UsageError(f"there is no theme '{name}'", hint=f"there are: {', '.join(names)}")
    return name or DEFAULT
