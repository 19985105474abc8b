"""What every kind of test shares; helpers to import lie in `tests/support`."""

from __future__ import annotations

import sys
from pathlib import Path

# `from tests.support.checker import check_at_rest` works from any folder, installed or not.
_ROOT = str(Path(__file__).resolve().parent.parent)
if _ROOT not in sys.path:
    sys.path.insert(0, _ROOT)
