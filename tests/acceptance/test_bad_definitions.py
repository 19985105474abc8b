"""Definitions that make no sense: a place, a reason, exit code 2, and nothing stored."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.kit.person import Operator

STEP = "{id: a, type: transform, config: {expression: '1'}}"

#: What is written, and what the error says: code, line and a word of the message.
BAD = {
    "text that is not YAML": ("name: bad\nsteps: [{id: a, type: transform\n", "FF001", ""),
    "a tab for indentation": ("name: bad\nsteps:\n\t- {id: a}\n", "FF001", ":3:"),
    "text that is not JSON": ('{"name": "bad", "steps": [{"id": "a"', "FF001", ":1:"),
    "an empty file": ("", "FF006", "empty"),
    "a list": ("- a\n- b\n", "FF006", "mapping"),
    "a step without type": ("name: bad\nsteps:\n  - {id: a}\n", "FF008", "type"),
    "no steps": ("name: bad\n", "FF008", "steps"),
    "a name of the wrong type": (f"name: [x]\nsteps: [{STEP}]\n", "FF009", ":1:"),
    "steps of the wrong type": ("name: bad\nsteps: 17\n", "FF009", ":2:"),
    "a timeout that is no duration": (f"name: bad\ntimeout: soon\nsteps: [{STEP}]\n", "FF009", "soon"),
    "a limit below one": (f"name: bad\nconcurrency: {{limit: 0}}\nsteps: [{STEP}]\n", "FF009", ":2:"),
    "an unknown key": (
        "name: bad\nsteps:\n  - {id: a, type: delay, depend_on: b, config: {duration: 1s}}\n",
        "FF007",
        "depends_on",
    ),
    "a misspelt key of the workflow": (f"name: bad\ntimeoutt: 1s\nsteps: [{STEP}]\n", "FF007", "timeout"),
    "an unknown key of a config": (
        "name: bad\nsteps:\n  - {id: a, type: http, config: {url: 'http://x', metod: GET}}\n",
        "FF007",
        "method",
    ),
    "a key that is given twice": (f"name: bad\nname: y\nsteps: [{STEP}]\n", "FF003", ":2:"),
    "a key that is given twice in JSON": ('{"name": "bad", "name": "y", "steps": []}', "FF003", "twice"),
    "a tag": (f"name: !!python/object/apply:os.system [true]\nsteps: [{STEP}]\n", "FF004", ":1:"),
    "two documents": (f"name: bad\nsteps: [{STEP}]\n---\nname: y\n", "FF004", ""),
    "two steps with the same id": (f"name: bad\nsteps:\n  - {STEP}\n  - {STEP}\n", "FF010", ":4:"),
    "a circle": (
        """name: bad
steps:
  - {id: a, type: delay, depends_on: b, config: {duration: 1s}}
  - {id: b, type: delay, depends_on: a, config: {duration: 1s}}
""",
        "FF011",
        "a",
    ),
    "a step that depends on itself": (
        "name: bad\nsteps:\n  - {id: a, type: delay, depends_on: a, config: {duration: 1s}}\n",
        "FF011",
        ":3:",
    ),
    "an unknown dependency": (
        """name: bad
steps:
  - {id: reserve, type: delay, config: {duration: 1s}}
  - {id: b, type: delay, depends_on: [reserv], config: {duration: 1s}}
""",
        "FF012",
        '"suggestion": "reserve"',
    ),
    "an unknown target of a branch": (
        """name: bad
steps:
  - {id: a, type: conditional, config: {condition: "true", branches: {"true": {target_step: nowhere}}}}
""",
        "FF013",
        "nowhere",
    ),
    "an expression that cannot be parsed": (
        "name: bad\nsteps:\n  - {id: a, type: transform, config: {expression: 'input.n +'}}\n",
        "FF014",
        ":3:",
    ),
    "an expression that wants to escape": (
        "name: bad\nsteps:\n  - {id: a, type: transform, config: {expression: '__import__(\"os\")'}}\n",
        "FF014",
        ":3:",
    ),
    "an expression that reads what does not exist": (
        "name: bad\nsteps:\n  - {id: a, type: transform, config: {expression: 'steps.b.output'}}\n",
        "FF015",
        "b",
    ),
    "a schema that is none": (f"name: bad\ninput_schema: {{type: objekt}}\nsteps: [{STEP}]\n", "FF017", ":2:"),
    "a number that is none": (f"name: bad\nsteps: [{STEP}]\nmetadata: {{n: .nan}}\n", "FF005", ":3:"),
}


def test_every_kind_of_nonsense_in_a_definition_is_found_where_it_stands(operator: Operator):
    """One `lint` of thirty files: each finding has its code and a word that helps, and nothing is stored."""
    paths = {}
    for number, (what, (text, _, _)) in enumerate(BAD.items()):
        paths[what] = operator.folder / f"bad-{number}.yaml"
        paths[what].write_text(text)
    stored = operator.stored()
    result = operator.shell.type("workflow", "lint", *map(str, paths.values()), code=20)
    told = {finding["file"]: finding["diagnostics"] for finding in lint(operator, *paths.values())}
    for what, (_, code, words) in BAD.items():
        path = str(paths[what])
        assert code in [finding["code"] for finding in told[path]], (what, told[path])
        assert f"--> {path}{words}" in result.err or words in json.dumps(told[path]), (what, told[path])
    assert "Traceback" not in result.err
    assert operator.stored() == stored


@pytest.mark.parametrize(
    "what",
    ["text that is not YAML", "a name of the wrong type", "an unknown key", "a circle", "a key that is given twice"],
)
def test_a_definition_that_makes_no_sense_is_not_run(operator: Operator, what: str):
    """`run` shows the same findings with file, line and caret, ends with exit code 2, and stores nothing."""
    text, code, words = BAD[what]
    path = operator.folder / "bad.yaml"
    path.write_text(text)
    stored = operator.stored()
    operator.shell.type("run", str(path), code=2).refused(code, f"--> {path}:", words, "^")
    assert operator.stored() == stored


def lint(operator: Operator, *paths: Path) -> list[dict[str, Any]]:
    """Return what `lint` finds, by file."""
    found: list[dict[str, Any]] = operator.shell.type("workflow", "lint", *map(str, paths), "--json", code=20).document[
        "files"
    ]
    return found


@pytest.mark.parametrize(
    "first",
    ["name: x", "name: bad\ntimeoutt: 1s", "name: bad\ntimeout: soon", "timeout: 1m"],
    ids=["a bad name", "an unknown key", "a bad value", "no name"],
)
def test_all_errors_of_a_file_are_told_at_once_with_the_line_and_a_caret(operator: Operator, first: str):
    """A fault in the head hides neither a missing type, nor a circle, nor an expression that cannot be parsed."""
    path = operator.folder / "four.yaml"
    path.write_text(f"""{first}
steps:
  - {{id: a, tipe: delay, config: {{duration: 1s}}}}
  - {{id: b, type: transform, depends_on: [c], config: {{expression: "1"}}}}
  - {{id: c, type: transform, depends_on: [b], config: {{expression: "1"}}}}
  - {{id: d, type: transform, config: {{expression: "input.n +"}}}}
""")
    result = operator.shell.type("run", str(path), code=2)
    for word in ("tipe", "error[FF011]", "error[FF014]"):
        assert word in result.err, result.err
    carets = [line for line in result.err.splitlines() if "^" in line and set(line.strip()) <= set("|^ ")]
    assert len(carets) >= 4


def test_a_definition_of_more_than_a_megabyte_is_refused(operator: Operator):
    """It is not even parsed: the answer comes at once, and names the limit."""
    path = operator.folder / "large.yaml"
    path.write_text(f"name: bad\ndescription: {'x' * 1_100_000}\nsteps: [{STEP}]\n")
    stored = operator.stored()
    operator.shell.type("run", str(path), code=2).refused("1,048,576", str(path))
    assert operator.stored() == stored


def test_an_alias_bomb_is_refused(operator: Operator):
    """Nine levels of nine aliases would be 387 million values."""
    levels = [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 10)]
    path = operator.folder / "bomb.yaml"
    path.write_text("\n".join(["name: bad", "a0: &a0 lol", *levels, f"steps: [{STEP}]"]))
    operator.shell.type("run", str(path), code=2).refused("FF004", "alias")


def test_a_definition_that_nests_without_end_is_refused(operator: Operator):
    """Ten thousand brackets, in YAML and in JSON."""
    for name, text in (("deep.yaml", f"name: {'[' * 10_000}"), ("deep.json", '{"name": ' + "[" * 10_000)):
        path = operator.folder / name
        path.write_text(text)
        operator.shell.type("run", str(path), code=2).refused("FF00", str(path))


@pytest.mark.parametrize("content", [b"\xff\xfe\x00binary", b"name: bad\x00y\n", b"name: \x1b[31mred\n"])
def test_a_file_that_is_no_text_is_refused_without_driving_the_terminal(operator: Operator, content: bytes):
    """Bytes that are not UTF-8, NUL, an escape sequence: the error is printable."""
    path = operator.folder / "binary.yaml"
    path.write_bytes(content)
    result = operator.shell.type("run", str(path), code=2)
    result.refused(str(path))
    assert all(char.isprintable() or char == "\n" for char in result.err)


def test_a_file_that_is_not_there_is_not_found(operator: Operator):
    """Exit code 3; a folder is a usage error."""
    operator.shell.type("run", "nowhere.yaml", code=3).refused("nowhere.yaml")
    operator.shell.type("run", f"{operator.folder}/", code=2).refused(str(operator.folder))


def test_an_unknown_workflow_is_not_found_and_the_next_best_is_named(operator: Operator):
    """Exit code 3, with what was probably meant."""
    flow = operator.flow(f"steps: [{STEP}]\n", f"orders-{operator.queue}")
    operator.shell.type("workflow", "publish", str(flow))
    operator.shell.type("run", f"order-{operator.queue}", code=3).refused(f"did you mean 'orders-{operator.queue}'")
    operator.shell.type("run", f"orders-{operator.queue}@7", code=3).refused("7")


def test_linting_tells_the_same_as_data_and_stores_nothing(operator: Operator):
    """Exit code 20, and every finding with line and column."""
    path: Path = operator.folder / "lint.yaml"
    path.write_text("name: bad\nsteps:\n  - {id: a, type: transform, config: {expression: '1 +'}}\n")
    stored = operator.stored()
    result = operator.shell.type("workflow", "lint", str(path), "--json", code=None)
    assert result.code == 20
    (finding,) = json.loads(result.out)["files"][0]["diagnostics"]
    assert (finding["code"], finding["line"]) == ("FF014", 3)
    assert finding["column"] > 1
    assert operator.stored() == stored
