"""A diagnosis and a simulation as text: complete, and harmless whatever they hold."""

from __future__ import annotations

from uuid import UUID

import pytest

from flowforge.client.script import Script
from flowforge.client.simulating import simulate
from flowforge.model.audit import Violation
from flowforge.model.health import Check, Diagnosis, findings
from flowforge_cli import doctor_text, render, simulation_text
from tests.factories import step

HOSTILE = "\x1b]0;owned\x07 \x1b[31mred\u202e\nsecond line"


def shown(lines: doctor_text.Lines, capsys: pytest.CaptureFixture[str]) -> str:
    """Print lines; return what arrives."""
    render.out(*lines)
    return capsys.readouterr().out


def test_a_finding_says_all_that_is_known_of_it(capsys: pytest.CaptureFixture[str]):
    """The invariant, the first ten runs and the count, what it means, what cures it."""
    violations = [Violation("token.differs", f"step a has token {no}", UUID(int=no)) for no in range(12)]
    text = shown(doctor_text.lines(Diagnosis([], findings(violations), 12, whole=True), unicode=False), capsys)
    assert "x tokens differ from the number of claims (12)  token.differs" in text
    assert "breaks  8: no commit with an old token succeeds" in text
    assert str(UUID(int=9)) in text
    assert str(UUID(int=10)) not in text
    assert "and 2 more" in text
    assert "--fix   takes the number from the history" in text
    assert "1 finding, 1 can be repaired by machine" in text


def test_a_finding_says_what_to_type_next(capsys: pytest.CaptureFixture[str]):
    """The repair where there is one, and a look at the runs: at the step, where it is one."""
    run = UUID(int=7)
    violations = [
        Violation("lease.over", "its lease ended", run, 3, "charge it"),
        Violation("result.twice", "it has two", run),
        Violation("queue.unserved", "it has no worker", run, "mail"),
    ]
    found = findings(violations)
    assert {one.kind: one.commands for one in found} == {
        "lease.over": ["flowforge doctor --fix", f"flowforge explain {run} 'charge it'"],
        "result.twice": [f"flowforge events {run}"],
        "queue.unserved": ["flowforge worker start --queue mail"],
    }
    text = shown(doctor_text.lines(Diagnosis([], found, 1, whole=True), unicode=False), capsys)
    assert all(f"    next    {line}" in text for one in found for line in one.commands)


def test_health_is_one_word_after_what_was_looked_at(capsys: pytest.CaptureFixture[str]):
    """And what could not be looked at is said."""
    checks = [Check("schema", "ok", "at 0004"), Check("streams", "skipped", "Redis cannot be used")]
    text = shown(doctor_text.lines(Diagnosis(checks, [], 5, whole=True), unicode=True), capsys)
    assert text.splitlines()[:3] == [
        "✓ schema               at 0004",
        "· streams              Redis cannot be used",
        "✓ invariants           all 12 hold, in 5 runs",
    ]
    assert text.endswith("\nhealthy\n")


def test_hostile_text_is_harmless(capsys: pytest.CaptureFixture[str]):
    """Names, errors and inputs come from outside."""
    violations = [Violation("server.redis", HOSTILE)]
    checks = [Check("disk", "ok", HOSTILE)]
    text = shown(doctor_text.lines(Diagnosis(checks, findings(violations), 0, whole=False), unicode=True), capsys)
    fails = step("a", name=HOSTILE, config={"expression": "input[input.key]"})
    done = simulate({"name": "test", "steps": [fails]}, {"key": HOSTILE}, Script())
    text += shown(simulation_text.outcome(done, unicode=True), capsys)
    text += shown(simulation_text.steps(done, unicode=True), capsys)
    text += shown(simulation_text.events(done, UUID(int=0)), capsys)
    assert not {"\x1b", "\x07", "\u202e"} & set(text)
    assert not any(line.startswith("second") for line in text.splitlines())
