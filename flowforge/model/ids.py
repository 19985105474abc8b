"""Ids of runs, built from their numbers.

The constructor of UUID checks six ways in which it may be called, which takes longer than reading the row it is for.
"""

from __future__ import annotations

from uuid import UUID, SafeUUID

_make, _set = object.__new__, object.__setattr__


def from_number(number: int) -> UUID:
    """Return the id that is *number*; 128 bits, unchecked."""
    made = _make(UUID)
    _set(made, "int", number)
    _set(made, "is_safe", SafeUUID.unknown)
    return made
