"""The driver of the stream server is loaded by whoever needs it, and by nobody else."""

from __future__ import annotations

import subprocess
import sys


def test_a_client_loads_the_driver_when_it_first_asks_the_stream_server():
    """Every command that asks Postgres only starts that much sooner."""
    program = """
import sys
from flowforge.client import AsyncClient
from flowforge_streams import StreamError
assert "redis" not in sys.modules
from flowforge_streams import RedisLog
assert "redis" in sys.modules
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
