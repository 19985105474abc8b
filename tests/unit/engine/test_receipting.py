"""What receipts leave to work that waits."""

from __future__ import annotations

import pytest

from flowforge.engine.receipting import LATEST, LEAST, PATIENCE, rest


@pytest.mark.parametrize(
    ("age", "share"), [(PATIENCE, LEAST), (PATIENCE + 0.3 * (LATEST - PATIENCE), 0.3), (LATEST, 1.0), (2 * LATEST, 1.0)]
)
def test_receipts_take_a_share_of_the_time_that_grows_with_how_late_they_are(age: float, share: float):
    took = 0.2
    assert took / (took + rest(took, age)) == pytest.approx(share)
