"""Families of like cases: a few members stand for all in `make test`, the others are left to `make test-thorough`.

CI runs both, so no case is left out of a clean checkout's check.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

import pytest


def family(values: Iterable[Any], *, quick: Collection[Any]) -> list[Any]:
    """Return *values* for `parametrize`; all but the *quick* ones are marked thorough."""
    members = list(values)
    unknown = [one for one in quick if one not in members]
    assert not unknown, f"not in the family: {unknown}"
    return [one if one in quick else pytest.param(one, marks=pytest.mark.thorough) for one in members]
