"""`flowforge demo` and `bench`: what a newcomer types first, and what an engineer types second."""

from __future__ import annotations

import pytest

from tests.acceptance.cli.conftest import Shell


@pytest.mark.thorough
def test_the_demo_survives_a_kill_and_says_so_as_data(flowforge: Shell):
    """A real SIGKILL, a real lease, counted effects."""
    document = flowforge("demo", "--json").document
    assert document["schema"] == "flowforge/demo/v1"
    assert document["ok"], document["checks"]
    assert 0 < document["first_run_seconds"] < document["seconds"]
    assert document["killed"]["worker"] != document["taken_over"]["worker"]
    assert document["taken_over"]["seconds"] > 0
    counted = {one["step"]: (one["calls"], one["keys"], one["effects"]) for one in document["effects"]}
    assert counted.pop("charge") == (2, 1, 1)
    assert counted == dict.fromkeys(("reserve", "pack", "invoice", "confirm"), (1, 1, 1))
    attempts = {step["id"]: (step["attempts"], step["crashes"]) for step in document["run"]["steps"]}
    assert attempts["charge"] == (2, 1)
    assert len(attempts) == 6
    assert len(document["next"]) == 3


def test_the_demo_tells_a_story(flowforge: Shell):
    """What it shows is on stdout, what happens on the way on stderr; the next commands work."""
    done = flowforge("demo")
    assert "kill -9" in done.err
    assert "the lease ran out" in done.err
    assert "2 calls, 1 idempotency key, 1 effect" in done.out
    next_command = next(line for line in done.out.splitlines() if line.startswith("  flowforge show "))
    assert "✓ DONE  demo-order@1" in flowforge(*next_command.split()[1:]).out


@pytest.mark.thorough
def test_the_bench_measures_and_leaves_nothing_behind(flowforge: Shell):
    """A shape gives the document of the contract; afterwards nothing is active."""
    for shape, runs in (("linear:2", 100), ("serial:5", 5)):
        words = ["--runs", str(runs)] if shape != "serial:5" else []
        document = flowforge("bench", "--shape", shape, *words, "--json").document
        assert document["schema"] == "flowforge/bench/v1"
        assert (document["shape"], document["runs"]) == (shape, runs)
        assert document["runs_per_s"] > 0
        assert document["steps_per_s"] > document["runs_per_s"]
        assert 0 < document["latency_ms"]["p50"] <= document["latency_ms"]["p95"] <= document["latency_ms"]["p99"]
    assert flowforge("ps", "--status", "active", "--workflow", "bench-linear-2", "--json").document["runs"] == []
    assert "runs/s" in flowforge("bench", "--runs", "50", "--gate", "5").out
