"""A soak of half a minute: that hours of them end in a report is seen before they are spent."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]


def test_a_short_soak_reports_what_it_has_done(seed: int):
    """Every run ended as it should, nothing violated, exit code 0, and every number is there."""
    command = [sys.executable, "-m", "tests.chaos.soak", "--minutes", "0.5", "--runs", "77", "--json"]
    done = subprocess.run(
        [*command, "--seed", str(seed)], cwd=REPOSITORY, check=False, capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stderr[-3000:]
    report = json.loads(done.stdout)
    # Seven of each shape; one shape has runs of runs, and the sagas are undone.
    assert report["runs"] == {"completed": 77, "failed": 7}
    assert report["undone"] == 7
    assert report["violations"] == []
    assert sum(report["faults"].values()) > 0
    assert report["effects"] > 77
