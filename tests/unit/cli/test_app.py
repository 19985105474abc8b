"""The command line as a whole: its table of verbs, its global options, its way to end."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest
import typer

from flowforge.errors import Conflict, DefinitionError
from flowforge.model.diagnostics import Diagnostic
from flowforge_cli import app, session
from flowforge_streams.errors import StreamUnavailable as StreamGone


def command(name: str):
    """Return a verb's command, loaded."""
    root = typer.main.get_command(app.app)
    return root.get_command(None, name)  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", app.VERBS)
def test_every_verb_says_what_it_does_and_shows_how(name: str):
    """A sentence in the list, and help with examples for every command."""
    found = command(name)
    assert found.name == name
    assert app.VERBS[name].summary.endswith(".")
    commands = getattr(found, "commands", {name: found})
    for verb, one in commands.items():
        spelled = f"flowforge {name}" if verb == name else f"flowforge {name} {verb}"
        _, _, examples = one.help.partition("Examples:")
        lines = [line.strip() for line in examples.strip().splitlines()]
        assert any(spelled in line for line in lines), f"no example of: {spelled}"
        assert len(one.help.partition("Examples:")[0].strip()) > 10, f"{spelled} does not say what it does"
        assert all(option.help for option in one.params if option.name != "help"), f"{spelled}: an option without help"


@pytest.mark.parametrize("name", app.VERBS)
def test_examples_name_options_that_exist(name: str):
    """What is shown can be typed."""
    found = command(name)
    for verb, one in getattr(found, "commands", {name: found}).items():
        known = {option for parameter in one.params for option in (*parameter.opts, *parameter.secondary_opts)}
        spelled = f"flowforge {name}" if verb == name else f"flowforge {name} {verb}"
        for line in one.help.partition("Examples:")[2].splitlines():
            _, found_it, rest = line.partition(f"{spelled} ")
            own = re.split(r"[|;&>]| {3}", rest)[0] if found_it else ""
            options = re.findall(r"(?<=\s)--?[a-z][a-z-]*", f" {own}")
            assert set(options) <= known | {"--help", "--profile", "--debug", "--no-input"}, f"{line} ({spelled})"


def test_the_commands_of_the_contract_are_there():
    """Surfaces.md, section 2: the verbs of this release."""
    assert set(command("workflow").commands) == {
        "lint",
        "publish",
        "ls",
        "show",
        "archive",
        "graph",
        "schema",
        "pause",
        "resume",
        "simulate",
    }
    assert set(command("worker").commands) == {"start", "ls", "drain"}
    assert set(command("queue").commands) == {"ls", "pause", "resume", "dead"}
    assert set(command("db").commands) == {"upgrade", "downgrade", "status"}
    assert set(command("config").commands) == {"show"}
    assert set(command("receipt").commands) == {"show", "verify", "key"}


@pytest.mark.parametrize(
    ("given", "moved"),
    [
        (["ps", "--profile", "prod", "-n", "5"], ["--profile", "prod", "ps", "-n", "5"]),
        (["ps", "--profile=prod"], ["--profile=prod", "ps"]),
        (["run", "x", "--debug", "--no-input"], ["--debug", "--no-input", "run", "x"]),
        (["run", "--", "--debug"], ["run", "--", "--debug"]),
        (["ps", "--profile"], ["--profile", "ps"]),
        ([], []),
    ],
)
def test_global_options_may_stand_behind_the_verb(given: list[str], moved: list[str]):
    """Before `--`, wherever it comes naturally."""
    assert app.hoist(given) == moved


@pytest.mark.parametrize(
    ("line", "code", "said"),
    [
        (["pss"], 2, "error: there is no command 'pss' (did you mean 'ps'?)\n  help: flowforge --help\n"),
        (["show"], 2, "error: missing argument 'RUN'.\n  help: flowforge show --help\n"),
        (["ps", "--xyzzy"], 2, "error: no such option: --xyzzy\n  help: flowforge ps --help\n"),
        (["ps", "--status", "faild"], 2, "error: 'faild' is not a status of runs\n  help: did you mean 'failed'?\n"),
        (["ps", "--limit", "0"], 2, None),
        (["run", "x", "--detach", "--wait"], 2, None),
        (["run", "x", "--timeout", "5s"], 2, None),
        (["run", "x", "--wait", "--timeout", "soon"], 2, None),
        (["worker", "drain"], 2, None),
        (["bench", "--shape", "round:3"], 2, None),
        (["completion", "tcsh"], 2, None),
        (["config"], 2, None),
    ],
)
def test_a_line_that_makes_no_sense_says_why_and_how_to_go_on(
    line: list[str], code: int, said: str | None, capsys: pytest.CaptureFixture[str]
):
    """One line what, one line what next, on stderr; exit code 2, before any server is touched."""
    assert app.run(line) == code
    printed = capsys.readouterr()
    assert printed.out == ""
    if said is not None:
        assert printed.err == said
    assert "Traceback" not in printed.err


def test_an_error_of_ours_is_two_lines_and_a_code(capsys: pytest.CaptureFixture[str]):
    """What and what next; hostile text in it is harmless."""
    assert app.report(Conflict("run \x1b[31m7 has ended", hint="flowforge show 7")) == 7
    assert capsys.readouterr().err == "error: run [31m7 has ended\n  help: flowforge show 7\n"


def test_redis_away_is_a_server_that_cannot_be_reached(capsys: pytest.CaptureFixture[str]):
    """Whatever command met it: no fault of ours to be reported, and runs go on."""
    assert app.report(StreamGone("Error 111 connecting to localhost:6379.")) == 4
    said = capsys.readouterr().err
    assert "error: Redis cannot be reached: Error 111 connecting to localhost:6379\n" in said
    assert "help: runs go on meanwhile" in said


def test_a_fault_of_ours_has_a_traceback_only_for_those_who_ask(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    """Without --debug a fault is one line and a hint."""
    fault = KeyError("x")
    assert app.report(fault) == 1
    assert capsys.readouterr().err.startswith("error: internal error: KeyError: 'x'\n  help: run it again with --debug")
    monkeypatch.setattr(session.options, "debug", True)
    assert app.report(fault) == 1
    assert "KeyError: 'x'\nerror: internal error" in capsys.readouterr().err


def test_findings_of_a_definition_without_a_file_are_shown_by_path(capsys: pytest.CaptureFixture[str]):
    """A stored definition has no lines to point at."""
    finding = Diagnostic("FF012", "step 'b' depends on unknown step 'c'", path=("steps", 1, "depends_on"))
    assert app.report(DefinitionError("invalid", diagnostics=[finding])) == 2
    assert capsys.readouterr().err == (
        "error[FF012]: step 'b' depends on unknown step 'c'\n  --> <definition> at steps[1].depends_on\n"
    )


def test_help_loads_nothing_but_typer():
    """It is there before one has let go of the key."""
    heavy = "psycopg redis sqlalchemy pydantic alembic rich httpx flowforge.client flowforge.settings asyncio"
    code = (
        "import sys\nfrom flowforge_cli.app import run\ncode = run(['--help'])\n"
        f"print([name for name in {heavy.split()} if name in sys.modules], code, file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=_environment(), check=True)
    assert done.stderr == "[] 0\n"
    assert all(verb in done.stdout for verb in app.VERBS)


def _environment() -> dict[str, str]:
    # A coverage measurement of subprocesses would import more.
    return {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE")}
