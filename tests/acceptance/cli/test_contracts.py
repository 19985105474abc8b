"""What scripts rely on: every command that knows --json keeps to the fields and types of `contracts/json.json`.

The file may only grow. A field that is missing from it, or a command that is missing here, fails.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.cli.commands import commands, options
from tests.acceptance.cli.conftest import Done, Shell, serving
from tests.support.eventually import eventually_sync

GOLDEN: dict[str, dict[str, str]] = json.loads((Path(__file__).parent / "contracts" / "json.json").read_text())

QUEUE = "contracts"
GOOD = (
    f"name: con-good\nqueue: {QUEUE}\nsteps: [{{id: a, type: transform, config: {{expression: 'get(input.n, 1)'}}}}]\n"
)
BAD = (
    f"name: con-bad\nqueue: {QUEUE}\nsteps:\n"
    "  - {id: a, type: transform, config: {expression: input.missing.value}, retry: {max_attempts: 1}}\n"
)
SLOW = f"name: con-slow\nqueue: {QUEUE}\nsteps: [{{id: a, type: delay, config: {{duration: 1h}}}}]\n"
ASK = f"name: con-ask\nqueue: {QUEUE}\nsteps: [{{id: a, type: approval, config: {{prompt: 'may I?'}}}}]\n"
PAID = f"name: con-paid\nqueue: {QUEUE}\nsteps: [{{id: paid, type: wait_signal}}]\n"

#: Commands in the order in which they are typed, with their exit codes; capitals are ids that the place has.
TYPED = [
    ("run good.yaml", 0),
    ("run good.yaml --input-file rows.jsonl", 0),
    ("run good.yaml --watch", 0),
    ("ps -n 3", 0),
    ("ps --count", 0),
    ("show GOOD", 0),
    ("show BAD", 0),
    ("show GOOD --ledger", 0),
    ("show GOOD --follow", 0),
    ("explain SLOW", 0),
    ("explain", 0),
    ("events GOOD", 0),
    ("events GOOD --follow", 0),
    ("logs GOOD", 0),
    ("diff GOOD BAD", 20),
    ("export GOOD -o good.ffz", 0),
    ("import good.ffz", 7),
    ("import --list", 0),
    ("receipt show GOOD", 0),
    ("receipt verify receipt.json", 0),
    ("receipt key", 0),
    ("watch BAD", 5),
    ("wait GOOD", 0),
    ("wait GOOD BAD", 5),
    ("signal PAID paid", 0),
    ("approve ASK a", 0),
    ("pause SLOW", 0),
    ("resume SLOW", 0),
    ("cancel SLOW --dry-run", 0),
    ("cancel --workflow con-slow --plan plan.json", 0),
    ("apply plan.json --yes", 0),
    ("retry GOOD", 7),
    ("retry BAD", 0),
    ("wait BAD", 5),
    ("skip BAD a", 0),
    ("retry --workflow nobody --yes", 0),
    ("replay GOOD --dry-run", 0),
    ("replay GOOD", 0),
    ("incident ls --workflow con-bad", 0),
    ("incident show INCIDENT", 0),
    ("incident resolve INCIDENT", 0),
    ("notebook --list", 0),
    ("workflow lint good.yaml", 0),
    ("workflow publish good.yaml", 0),
    ("workflow ls", 0),
    ("workflow show con-good", 0),
    ("workflow graph good.yaml", 0),
    ("workflow simulate good.yaml", 0),
    ("workflow pause con-good", 0),
    ("workflow resume con-good", 0),
    ("workflow archive con-good@1 --yes", 0),
    ("init project", 0),
    ("queue ls", 0),
    ("queue pause contracts", 0),
    ("queue resume contracts", 0),
    ("queue dead contracts", 0),
    ("worker ls", 0),
    ("worker drain --all", 0),
    ("doctor", 20),
    ("db upgrade", 0),
    ("db downgrade REVISION --yes", 0),
    ("db status", 0),
    ("up", 0),
    ("status", 0),
    ("config show", 0),
    ("version", 0),
]
#: Commands whose documents are looked at where they are tested, because they take long or stop what others use.
ELSEWHERE = {
    "demo": "test_demo.py",
    "bench": "test_demo.py",
    "dev": "test_installation.py",
    "down": "test_installation.py",
}
#: Commands that print a document a line, beside those with --follow; and those that are refused.
LINES = {"run good.yaml --input-file rows.jsonl", "run good.yaml --watch", "watch BAD"}
REFUSED = ("import good.ffz", "retry GOOD")


@pytest.fixture(scope="module")
def printed(home: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Done]:
    """What each command has printed, typed one after the other."""
    shell = Shell(tmp_path_factory.mktemp("contracts"), {"FLOWFORGE_HOME": str(home), "FLOWFORGE_KILL_GRACE": "1s"})
    for name, text in (("good", GOOD), ("bad", BAD), ("slow", SLOW), ("ask", ASK), ("paid", PAID)):
        shell.write(f"{name}.yaml", text)
    shell.write("rows.jsonl", "{}\n")
    with shell.running("worker", "start", "--queue", QUEUE):
        serving(shell, QUEUE)
        names = {name.upper(): shell("run", f"{name}.yaml").out.strip() for name in ("slow", "ask", "paid")}
        names["GOOD"] = shell("run", "good.yaml", "--wait").out.strip()
        names["BAD"] = shell("run", "bad.yaml", "--wait", code=5).out.strip()
        names["REVISION"] = shell("db", "status", "--json").document["current"]
        (incident,) = shell("incident", "ls", "--workflow", "con-bad", "--json").document["incidents"]
        names["INCIDENT"] = str(incident["id"])
        shell("receipt", names["BAD"])
        shell.write("receipt.json", shell("receipt", names["GOOD"], "--json").out)
        for name in ("SLOW", "ASK", "PAID"):
            _waiting(shell, names[name])
        return {
            line: shell(*(names.get(word, word) for word in line.split()), "--json", code=code) for line, code in TYPED
        }


def _waiting(shell: Shell, run: str) -> None:
    eventually_sync(lambda: shell("show", run, "--json").document["steps"][0]["status"] == "waiting")


def documents(line: str, done: Done) -> list[dict[str, Any]]:
    """Return what was printed: one document, or one a line where a run is followed."""
    followed = line in LINES or "--follow" in line
    found: list[dict[str, Any]] = done.lines if followed else [done.document]
    return found


def fields(value: dict[str, Any], path: str = "") -> Iterator[tuple[str, str]]:
    """Yield the fields of a document and their types, those of objects in lists too."""
    for name, one in value.items():
        yield f"{path}{name}", kind(one)
        if isinstance(one, list):
            for item in one:
                if isinstance(item, dict):
                    yield from fields(item, f"{path}{name}[].")


def kind(value: object) -> str:
    """Return the type that JSON knows."""
    names = {bool: "boolean", int: "number", float: "number", str: "string", list: "list", dict: "object"}
    return "null" if value is None else names[type(value)]


@pytest.mark.parametrize("line", [line for line, _ in TYPED if line not in REFUSED])
def test_a_document_keeps_its_contract(printed: dict[str, Done], line: str):
    """One schema, every field of it, of the type that it has always had."""
    for document in documents(line, printed[line]):
        schema = document.get("schema")
        assert schema in GOLDEN, f"{schema} of `{line}` is not in contracts/json.json"
        golden = GOLDEN[schema]
        found = dict.fromkeys(fields(document))
        assert {name for name, of in golden.items() if "[]" not in name and "optional" not in of} <= set(document)
        for name, type_ in found:
            # What is in a list is another test's as well: it may have what nothing has here.
            inner = "[]" in name
            assert inner or name in golden, f"{schema}: {name} is new; write it down in contracts/json.json"
            allowed = {*golden.get(name, type_).split("|"), *(["null"] if inner else [])}
            assert allowed == {"null"} or type_ in allowed, f"{schema}: {name} is {type_}, not {golden[name]}"


def test_what_is_refused_leaves_stdout_empty(printed: dict[str, Done]):
    """So that whoever reads documents reads none."""
    for line in REFUSED:
        assert printed[line].out == ""
        assert printed[line].err.startswith("error: ")


def test_every_command_with_json_is_here():
    """Found in the parser: a new one has to be typed above."""
    known = {name for name, command in commands().items() if "--json" in options(command)}
    typed = {name for name in known for line, _ in TYPED if line == name or line.startswith(f"{name} ")}
    assert known - typed == set(ELSEWHERE)
    for name, file in ELSEWHERE.items():
        text = (Path(__file__).parent / file).read_text()
        assert f'"{name}"' in text
        assert '"--json"' in text
