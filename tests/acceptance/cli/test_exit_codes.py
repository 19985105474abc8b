"""Every exit code, provoked: one clear sentence on stderr, never a traceback."""

from __future__ import annotations

import signal

import pytest

from flowforge_cli.exit_codes import ExitCode
from tests.acceptance.cli.conftest import ENDLESS, FAILING, QUICK, Flow, Shell

#: What is typed, in the order of the codes; and what is said.
PROVOKED = [
    (ExitCode.OK, "version", ""),
    (ExitCode.USAGE, "ps --colour", "error: no such option: --colour"),
    (ExitCode.USAGE, "shwo", "error: there is no command 'shwo' (did you mean 'show'?)"),
    (ExitCode.USAGE, "run broken.yaml", "error[FF"),
    (ExitCode.USAGE, "run good.yaml -i n", "error: "),
    (ExitCode.NOT_FOUND, "show ffffffff-ffff-7fff-8fff-ffffffffffff", "error: there is no run "),
    (ExitCode.NOT_FOUND, "workflow show nobody-has-this", "error: there is no workflow "),
    (ExitCode.NOT_FOUND, "apply nothing.json", "error: there is no file nothing.json"),
    (ExitCode.FAILED, "wait FAILED", "FAILED"),
    (ExitCode.CANCELLED, "wait CANCELLED", "CANCELLED"),
    (ExitCode.CONFLICT, "retry GOOD", "error: "),
    (ExitCode.TIMEOUT, "wait GOING --timeout 50ms", "not ended after 0.05 s: run "),
    (ExitCode.FINDINGS, "workflow lint broken.yaml", "error[FF"),
    (ExitCode.FINDINGS, "diff GOOD FAILED", ""),
]


@pytest.fixture
def typed(flowforge: Shell, flow: Flow) -> dict[str, str]:
    """Runs in every state that has a code."""
    names = {"GOING": flowforge("run", flow(ENDLESS)).out.strip()}
    names["CANCELLED"] = flowforge("run", flow(ENDLESS)).out.strip()
    flowforge("cancel", names["CANCELLED"])
    names["FAILED"] = flowforge("run", flow(FAILING), "--wait", code=5).out.strip()
    names["GOOD"] = flowforge("run", flow(QUICK, name="good.yaml"), "--wait").out.strip()
    flowforge.write(
        "broken.yaml", "name: broken\nsteps: [{id: a, type: transform, config: {expression: '1'}, depends_on: [b]}]\n"
    )
    return names


def test_every_code_is_provoked_and_explained(flowforge: Shell, typed: dict[str, str]):
    """The first line says it."""
    for code, line, said in PROVOKED:
        done = flowforge(*(typed.get(word, word) for word in line.split()), code=code)
        first = done.err.partition("\n")[0].lower()
        assert said.lower() in first, f"{line}: {done.err}"
        assert not said or done.err.endswith("\n")


def test_a_server_that_is_not_there_is_four(flowforge: Shell):
    """Whoever needs it says which one, and why."""
    gone = {"FLOWFORGE_DATABASE_URL": "postgresql://127.0.0.1:1/x", "FLOWFORGE_REDIS_URL": "redis://127.0.0.1:1"}
    for words in (("ps",), ("status",)):
        done = flowforge.within(**gone)(*words, code=ExitCode.UNREACHABLE)
        assert done.err.startswith("error: ")
        assert "127.0.0.1" in done.err


def test_a_fault_of_its_own_is_one(flowforge: Shell):
    """Here the database driver is broken: the fault is named in a line, its details are for --debug."""
    flowforge.write("psycopg.py", "raise RuntimeError('nobody expects this')\n")
    cold = Shell(flowforge.folder, flowforge.variables, cold=True)
    done = cold("ps", code=ExitCode.INTERNAL)
    assert done.err == (
        "error: internal error: RuntimeError: nobody expects this\n"
        "  help: run it again with --debug for the details, and report it\n"
    )


def test_an_interruption_is_130_and_the_run_goes_on(flowforge: Shell, typed: dict[str, str]):
    """It says how to come back."""
    run = typed["GOING"]
    with flowforge.running("events", run, "--follow") as process:
        assert process.stdout is not None
        assert "workflow.created" in process.stdout.readline()
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
    assert process.returncode == ExitCode.INTERRUPTED
    assert said.startswith(f"interrupted: run {run[-8:]} goes on\n  help: flowforge watch {run[-8:]}\n")


def test_no_code_was_forgotten():
    """All but those of which the tests above are about."""
    assert {code for code, _, _ in PROVOKED} | {1, 4, 130} == set(ExitCode)
