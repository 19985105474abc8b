"""Lists without rows, with more than are read at a time, and with a reader who has seen enough."""

from __future__ import annotations

import json
import os
import subprocess

import pytest

from tests.acceptance.cli.conftest import ENDLESS, FLOWFORGE, Flow, Shell

pytestmark = pytest.mark.thorough

#: More than the first two parts of a list hold.
MANY = 1_250

#: Lists of which nothing is there, the field of their document, and what is said instead of rows.
EMPTY = [
    ("ps --workflow nobody-has-this", "runs", "flowforge workflow ls"),
    ("incident ls --workflow nobody-has-this", "incidents", "flowforge ps --status failed"),
    ("incident ls --all --workflow nobody-has-this", "incidents", "flowforge ps --status failed"),
    ("queue dead", "letters", "flowforge queue ls"),
    ("import --list", "runs", "flowforge import FILE"),
]


@pytest.mark.parametrize(("command", "field", "advice"), EMPTY, ids=lambda value: value if " " in value else "")
def test_an_empty_list_says_how_to_go_on(
    flowforge: Shell, tmp_path_factory: pytest.TempPathFactory, command: str, field: str, advice: str
):
    """On stderr; as data it is `[]`, and as text it is nothing."""
    if command.startswith("import"):
        for run in flowforge(*command.split(), "--json").document["runs"]:
            flowforge("import", "--forget", run["id"])
    shown = flowforge(*command.split())
    assert shown.out == ""
    assert advice in shown.err
    assert flowforge(*command.split(), "--json").document[field] == []


def test_a_list_of_any_length_has_every_run_once(flowforge: Shell, flow: Flow, queue: str):
    """In parts, in order, as data and as text; ids are as long as it takes to tell all of them apart."""
    flowforge.write("rows.jsonl", "{}\n" * MANY)
    started = flowforge("run", flow(ENDLESS), "--input-file", "rows.jsonl").out.split()
    words = ("ps", "--workflow", queue, "--limit", "100000")
    listed = [run["id"] for run in flowforge(*words, "--json").document["runs"]]
    assert listed == sorted(started, reverse=True)
    _, *rows = flowforge(*words).out.splitlines()
    short = [row.split()[2] for row in rows]
    assert len(set(short)) == MANY
    assert all(run.replace("-", "").endswith(end) for run, end in zip(listed, short, strict=True))
    first = flowforge("ps", "--workflow", queue, "--limit", "101", "--json").document
    assert [run["id"] for run in first["runs"]] == listed[:101]
    assert first["after"] == listed[100]
    flowforge("cancel", "--workflow", queue, "--yes")


@pytest.mark.parametrize("words", [("events", "RUN"), ("events", "RUN", "--json"), ("ps", "-n", "100000", "--json")])
def test_a_reader_may_leave_when_it_has_seen_enough(flowforge: Shell, flow: Flow, words: tuple[str, ...]):
    """As `head` does: no error, and nothing is said of it."""
    items = '{id: a, type: foreach, config: {items: "range(300)", step: {type: transform, config: {expression: "1"}}}}'
    run = flowforge("run", flow(items), "--wait", "--json").document["id"]
    typed = [run if word == "RUN" else word for word in words]
    process = subprocess.Popen(
        [*FLOWFORGE, *typed],
        cwd=flowforge.folder,
        env=flowforge.environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    assert os.read(process.stdout.fileno(), 10)
    process.stdout.close()
    _, said = process.communicate(timeout=60)
    assert (process.returncode, said) == (0, b"")


def test_every_event_of_a_long_history_is_printed(flowforge: Shell, flow: Flow):
    """However many there are, filters and limits included."""
    items = '{id: a, type: foreach, config: {items: "range(700)", step: {type: transform, config: {expression: "1"}}}}'
    run = flowforge("run", flow(items), "--wait", "--json").document["id"]
    events = flowforge("events", run, "--json").document["events"]
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
    assert len(events) > 2 * 700
    assert len(flowforge("events", run, "--type", "step.completed").out.splitlines()) == 701
    last = flowforge("events", run, "--after", "600", "--limit", "3", "--json").document["events"]
    assert [event["seq"] for event in last] == [601, 602, 603]
    assert json.dumps(last) == json.dumps(events[600:603])
