"""Traces that are off: nothing is imported, nothing is changed."""

from __future__ import annotations

import subprocess
import sys

from flowforge.engine import tracing
from flowforge.engine.tracing import OFF

ALONE = """
import sys
from flowforge.engine import tracing
tracer = tracing.make("off")
with tracer.active(None):
    assert tracer.begin("assignment", "w-1") == "assignment"
assert tracer.active(None) is tracer.active(None)
tracer.close()
assert "opentelemetry" not in sys.modules
"""

#: redis imports OpenTelemetry for metrics of its own when it is installed; here nobody can.
WHOLE = """
import sys
sys.modules["opentelemetry"] = None
import flowforge.client.core
import flowforge.engine.worker
from flowforge.engine.engine import Endpoints, Engine
from flowforge.settings import Settings
assert not Engine(Endpoints("postgresql://", "redis://"), Settings()).tracer.on
"""


def run(code):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)


def test_the_tracer_imports_no_opentelemetry():
    done = run(ALONE)
    assert (done.returncode, done.stderr) == (0, "")


def test_an_engine_works_where_opentelemetry_is_not_installed():
    done = run(WHOLE)
    assert (done.returncode, done.stderr) == (0, "")


def test_off_is_one_object_for_everybody():
    assert tracing.make("off") is OFF
    assert not OFF.on
