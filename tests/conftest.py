"""What every kind of test shares; helpers to import lie in `tests/support`."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

from hypothesis import HealthCheck, settings

# `from tests.support.checker import check_at_rest` works from any folder, installed or not.
_ROOT = str(Path(__file__).resolve().parent.parent)
if _ROOT not in sys.path:
    sys.path.insert(0, _ROOT)

# A slow machine is no reason to fail: an example may take as long as it takes, and so may making one.
settings.register_profile("patient", settings(), deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")

# Who is started in the background of a script ignores Ctrl-C; what is started here has to heed it, as on a terminal.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
