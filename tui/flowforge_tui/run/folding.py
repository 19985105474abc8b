"""What of a JSON document is folded at first, and lines at which a person folds and opens it. Pure.

Large and deep members are folded, so that a document shows its shape before its bulk. A choice belongs to a member's
path and outlasts new values of the same document.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

from flowforge_tui.run.text import Line, Span

#: The way to a member: names of mappings and numbers of lists; what is beyond a bound has a number of its own.
Path: TypeAlias = "tuple[str | int, ...]"

#: Members, counted with all that is in them, of what is open at first.
MODEST = 60
#: Entries of a list or mapping whose entries are folded at first.
CROWD = 20


class Handle(list[Span]):
    """A line at which something is folded, or was opened."""

    def __init__(self, line: Line, path: Path, *, opened: bool) -> None:
        super().__init__(line)
        self.path, self.opened = path, opened


@dataclass(frozen=True, slots=True)
class Folds:
    """What is open."""

    #: Members that are not as they are at first.
    toggled: Collection[Path] = ()
    #: Whether everything is open at first, or folded; None: by size.
    every: bool | None = None

    def opens(self, value: Any, path: Path, *, crowded: bool = False) -> bool:
        """Say whether a member is open; one of a crowd is folded at first."""
        by_size = not path or (not crowded and modest(value))
        first = by_size if self.every is None else self.every or not path
        return first != (path in self.toggled)

    def asked(self, path: Path) -> bool:
        """Say whether more was asked for than is shown at first."""
        return path in self.toggled


AT_FIRST = Folds()


def modest(value: Any) -> bool:
    """Say whether a member holds few others; of a large one no more than that is looked at."""
    left = MODEST
    for _ in _members(value):
        left -= 1
        if left < 0:
            return False
    return True


def _members(value: Any) -> Iterator[Any]:
    waiting = [value]
    while waiting:
        one = waiting.pop()
        inside = one.values() if isinstance(one, dict) else one if isinstance(one, (list, tuple)) else ()
        for member in inside:
            yield member
            if isinstance(member, (dict, list, tuple)):
                waiting.append(member)
