"""How a dashboard was asked for: decided once, by whoever starts it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from flowforge_tui.themes import DEFAULT


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Options:
    """What one dashboard works with beside its client."""

    #: What the header calls the installation.
    place: str = "local"
    #: Only looking is allowed.
    read_only: bool = False
    #: Whether the terminal can show more than ASCII.
    unicode: bool = True
    theme: str = DEFAULT
    #: A run, or a capsule's file, that is opened at once.
    first: str | None = None
    #: Keys by the ids of keys.py.
    keys: Mapping[str, str] = field(default_factory=dict)
    #: The verbs of the command line, for `:`; and how it is started.
    verbs: Sequence[str] = ()
    command: Sequence[str] = (sys.executable, "-m", "flowforge_cli")
    #: Runs kept in the list.
    limit: int = 10_000
    #: Seconds between two looks at what has changed, and between two looks at everything that has not ended.
    interval: float = 0.25
    resync: float = 5.0
    clock: Callable[[], datetime] = _now
