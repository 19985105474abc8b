"""`flowforge run`: what is started, what is said, and how it ends."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import IO

import pytest

from tests.acceptance.cli.conftest import ENDLESS, FAILING, QUICK, Flow, Shell

FULL_ID = 36
STRAY = '{id: a, type: transform, depends_on: [b], config: {expression: "1"}}'


def test_a_file_is_published_when_it_changed(flowforge: Shell, flow: Flow, queue: str):
    """The id alone is on stdout; the version is on stderr."""
    first = flowforge("run", flow(QUICK))
    assert len(first.out.strip()) == FULL_ID
    assert f"published {queue} version 1\n" in first.err
    assert f"{queue} version 1 is unchanged\n" in flowforge("run", flow(QUICK)).err
    assert f"published {queue} version 2\n" in flowforge("run", flow(FAILING)).err
    assert flowforge("run", queue, "--json").document["version"] == 2
    assert flowforge("run", f"{queue}@1", "--json").document["version"] == 1


def test_waiting_without_a_worker_brings_one(flowforge: Shell, flow: Flow):
    """It works for as long as the command waits, and says so."""
    done = flowforge("run", flow(QUICK), "-i", "n=41", "--wait")
    assert "working here for as long as this waits" in done.err
    assert '"result": 42' in done.err
    assert len(done.out.strip()) == FULL_ID


@pytest.mark.usefixtures("worker")
def test_waiting_with_a_worker_only_waits(flowforge: Shell, flow: Flow):
    """--json is the run document when it has ended, and nothing else."""
    done = flowforge("run", flow(QUICK), "--input", '{"n": 1}', "--wait", "--json", "--label", "k=v", "--priority", "3")
    assert "working here" not in done.err
    document = done.document
    assert document["schema"] == "flowforge/run/v1"
    assert (document["status"], document["output"]) == ("completed", {"a": {"result": 2}})
    assert (document["labels"], document["priority"], document["trigger"]) == ({"k": "v"}, 3, "cli")
    assert [step["status"] for step in document["steps"]] == ["completed"]
    assert document["finished_at"].endswith("Z")


def test_the_exit_code_is_the_outcome(flowforge: Shell, flow: Flow):
    """5 for a run that failed, with the error, where, and what next."""
    done = flowforge("run", flow(FAILING), "--wait", code=5)
    assert "✗ FAILED" in done.err
    assert "'input' has no 'missing'" in done.err
    assert "flowforge retry" in done.err


def test_a_timeout_ends_the_waiting_and_not_the_run(flowforge: Shell, flow: Flow):
    """Exit code 8, and how to come back."""
    done = flowforge("run", flow(ENDLESS), "--wait", "--timeout", "300ms", code=8)
    short = done.out.strip()[-8:]
    assert f"run {short} goes on" in done.err
    assert f"flowforge watch {short}" in done.err
    assert flowforge("show", short, "--json").document["status"] in ("pending", "running")
    flowforge("cancel", short)


def test_ctrl_c_detaches(flowforge: Shell, flow: Flow):
    """Exit code 130; the run goes on, and it is said how to come back."""
    with flowforge.running("run", flow(ENDLESS), "--watch") as process:
        run_id = _line(process.stdout)
        while "workflow.started" not in _line(process.stdout):
            pass
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert f"interrupted: run {run_id[-8:]} goes on" in said
    assert "Traceback" not in said
    assert flowforge("cancel", run_id, "--json").document["id"] == run_id


def _line(stream: IO[str] | None) -> str:
    assert stream is not None
    line = stream.readline()
    assert line, "the command ended"
    return line.strip()


def test_the_same_key_is_the_same_run(flowforge: Shell, flow: Flow):
    """A second start with a key says so, and is no error; a third that waits returns its outcome."""
    file = flow(QUICK)
    first = flowforge("run", file, "--idempotency-key", "o-7")
    second = flowforge("run", file, "--idempotency-key", "o-7")
    assert second.out == first.out
    assert "has this idempotency key already" in second.err
    third = flowforge("run", file, "--idempotency-key", "o-7", "--wait", "--json").document
    assert (third["id"], third["status"]) == (first.out.strip(), "completed")
    flowforge("run", file, "-i", "n=9", "--idempotency-key", "o-7", code=7)


def test_an_invalid_file_shows_every_finding_with_its_place(flowforge: Shell):
    """Exit code 2, and nothing is published or started."""
    file = flowforge.write("bad.yaml", f"name: bad-flow\nsteps:\n  - {STRAY}\n")
    done = flowforge("run", file, code=2)
    assert done.out == ""
    assert "error[FF012]: step 'a' depends on unknown step 'b'" in done.err
    assert "  --> bad.yaml:3:" in done.err
    assert "^" in done.err
    assert "help: flowforge workflow lint bad.yaml" in done.err
    flowforge("run", "bad-flow", code=3)


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["nothing.yaml"], 3, "there is no file nothing.yaml"),
        (["nothing-here"], 3, "there is no workflow 'nothing-here'"),
        (["nothing-here@x"], 2, "is not a number"),
        (["FILE", "--input", "{"], 2, "the input is not JSON"),
        (["FILE", "--input", "@nothing.json"], 3, "there is no file nothing.json"),
        (["FILE", "--input", "[1]"], 2, "input"),
        (["FILE", "-i", "n=x"], 2, "input"),
        (["FILE", "-i", "n"], 2, "is not name=value"),
        (["FILE", "--priority", "99999"], 2, "priority"),
        (["FILE", "--idempotency-key", ""], 2, "idempotency key"),
        (["FILE", "--input", '{"n": 1, "s": "\\u0000"}'], 2, "NUL"),
        (["FILE", "--input", '{"n": NaN}'], 2, "NaN"),
    ],
)
def test_what_makes_no_sense_is_refused_in_one_sentence(
    flowforge: Shell, flow: Flow, words: list[str], code: int, said: str
):
    """Before anything is started."""
    schema = "input_schema: {type: object, properties: {n: {type: integer}}}"
    file = flow(QUICK, top=schema)
    done = flowforge("run", *(file if word == "FILE" else word for word in words), code=code)
    assert said in done.err
    assert done.out == ""


def test_input_comes_from_stdin(flowforge: Shell, flow: Flow):
    """--input - reads it, -i adds to it."""
    done = flowforge("run", flow(QUICK), "--input", "-", "-i", "m.o=2", "--json", stdin='{"n": 1}')
    assert done.document["input"] == {"n": 1, "m": {"o": 2}}


def test_a_file_of_inputs_starts_a_run_for_each_line(flowforge: Shell, flow: Flow, tmp_path: Path, queue: str):
    """Ids in the order of the lines; with a key in each line the file can be given again."""
    lines = tmp_path / "orders.jsonl"
    lines.write_text("".join(f'{{"n": {no}, "order": {{"id": "A{no}"}}}}\n' for no in range(7)) + "\n")
    target = flow(QUICK)
    first = flowforge("run", target, "--input-file", str(lines), "--key", "order.id", "-i", "extra=1")
    ids = first.out.split()
    assert len(set(ids)) == 7
    assert f"7 runs of {queue}@1 are started\n" in first.err
    found = [flowforge("show", run, "--json").document for run in (ids[0], ids[6])]
    assert [one["input"] for one in found] == [{"n": no, "order": {"id": f"A{no}"}, "extra": 1} for no in (0, 6)]
    again = flowforge("run", queue, "--input-file", str(lines), "--key", "order.id", "-i", "extra=1", "--json")
    told = [json.loads(line) for line in again.out.splitlines()]
    assert [(one["id"], one["line"], one["duplicate"]) for one in told] == [(ids[no], no + 1, True) for no in range(7)]
    assert "7 of them earlier" in again.err


@pytest.mark.parametrize(
    ("line", "words"),
    [("{", "line 3: the input is not JSON"), ('{"n": 1}', "line 3: the input has no text or number at 'order'")],
)
def test_a_line_that_is_no_input_stops_there_and_is_named(
    flowforge: Shell, flow: Flow, tmp_path: Path, line: str, words: str
):
    """Exit code 2, and how many were started before it."""
    lines = tmp_path / "orders.jsonl"
    lines.write_text(f'{{"n": 1, "order": "a"}}\n{{"n": 2, "order": "b"}}\n{line}\n')
    done = flowforge("run", flow(QUICK), "--input-file", str(lines), "--key", "order", code=2)
    assert words in done.err
    assert "0 runs of" in done.err
