"""The themes of our own: a calm one, and two of high contrast. Textual brings others, among them those of ANSI.

Whatever the theme, text can be read on everything that it stands on: a colour that would be too close to one of the
grounds is moved away from it (WCAG 2: 4.5 to 1, in high contrast 7 to 1). What a terminal makes of ANSI's colours is
the terminal's business, so those stay.
"""

from __future__ import annotations

from collections.abc import Sequence

from textual.color import BLACK, WHITE, Color
from textual.theme import BUILTIN_THEMES, Theme

from flowforge.errors import UsageError

DEFAULT = "flowforge"
#: Grounds that are made of the background: of which other colour, and how much of it.
TINTED = {"cursor-line": ("primary", 0.22), "cursor-dim": ("primary", 0.1), "past-line": ("warning", 0.12)}
#: What text stands on, and the colours that text has; `quiet` is for what matters less.
GROUNDS = ("background", "surface", "panel", *TINTED)
INKS = ("foreground", "quiet", *(f"text-{one}" for one in ("primary", "warning", "error", "success", "accent")))
#: How far text stands out, at least; a theme may ask for more.
LEAST = 4.5
MORE = {"least-contrast": "7"}

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
        variables={"border": "#ffffff", "cursor-line": "#0000aa", **MORE},
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
        variables={"border": "#000000", "cursor-line": "#ffe680", **MORE},
    ),
)


def completed(variables: dict[str, str]) -> dict[str, str]:
    """Return a theme's colours with those that it does not name; all are solid, for a style has no half colours."""
    background = Color.parse(variables["background"])
    if background.ansi is not None:
        quiet = dict.fromkeys(("quiet", "text-muted", "text-disabled"), variables["secondary"])
        return {**dict.fromkeys(TINTED, "ansi_default"), **variables, **quiet}
    tinted = {name: background.blend(Color.parse(variables[of]), part).hex6 for name, (of, part) in TINTED.items()}
    made = {**tinted, "quiet": variables["secondary"], **variables}
    grounds, least = [Color.parse(made[name]) for name in GROUNDS], float(made.get("least-contrast", LEAST))
    made |= {name: _readable(Color.parse(made[name]), grounds, least).hex6 for name in INKS}
    return made | dict.fromkeys(("text-muted", "text-disabled"), made["quiet"])


def _readable(ink: Color, grounds: Sequence[Color], least: float) -> Color:
    """Return a colour that stands out from every ground: itself, or as much nearer to black or white as it takes."""
    far = max((BLACK, WHITE), key=lambda one: min(_contrast(one, ground) for ground in grounds))
    nearer = (ink.blend(far, part / 20) for part in range(20))
    return next((one for one in nearer if min(_contrast(one, ground) for ground in grounds) >= least), far)


def _contrast(one: Color, other: Color) -> float:
    dark, light = sorted((_luminance(one), _luminance(other)))
    return (light + 0.05) / (dark + 0.05)


def _luminance(colour: Color) -> float:
    red, green, blue = (_linear(part) for part in colour.normalized)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def _linear(part: float) -> float:
    return part / 12.92 if part <= 0.03928 else float(((part + 0.055) / 1.055) ** 2.4)  # noqa: PLR2004 - of sRGB


def known(name: str | None) -> str:
    """Return the name of a theme that exists; UsageError names those that do."""
    names = [*(theme.name for theme in THEMES), *BUILTIN_THEMES]
    if name is not None and name not in names:
        raise UsageError(f"there is no theme '{name}'", hint=f"there are: {', '.join(names)}")
    return name or DEFAULT
