"""`show --at`, `--ledger`, `events` with filters, `diff`, `export`, `import`: what happened, typed."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from tests.acceptance.cli.conftest import FAILING, QUICK, Flow, Shell

TWO = """
{id: a, type: transform, config: {expression: "input.n + 1"}}
{id: b, type: transform, depends_on: [a], config: {expression: "steps.a.output.result * 2"}}
"""


@pytest.fixture
def nowhere(flowforge: Shell, tmp_path: Path) -> Shell:
    """The same folder, and servers that nobody can reach: what works there needs none."""
    return flowforge.within(
        FLOWFORGE_HOME=str(tmp_path / "none"),
        FLOWFORGE_DATABASE_URL="postgresql://nobody@127.0.0.1:1/none",
        FLOWFORGE_REDIS_URL="redis://127.0.0.1:1",
    )


def test_a_run_as_it_was_and_where_its_time_went(flowforge: Shell, flow: Flow):
    """By the number of an event or by time; the parts sum to the whole."""
    run = flowforge("run", flow(TWO), "-i", "n=1", "--wait").out.strip()
    document = flowforge("show", run, "--json").document
    assert round(sum(document["ledger"]["parts"].values()), 6) == document["ledger"]["seconds"]
    assert document["ledger"]["critical_path"][0]["step"] == "a"
    shown = flowforge("show", run, "--ledger").out
    assert "went to" in shown
    assert "(run)" in shown
    was = flowforge("show", run, "--at", "5", "--json").document
    assert (was["status"], was["output"], was["at"]["seq"]) == ("running", None, 5)
    assert [step["status"] for step in was["steps"]] == ["completed", "pending"]
    assert "after event 5" in flowforge("show", run, "--at", "5").out
    flowforge("show", run, "--at", "5", "--follow", code=2)
    assert "no run yet at 2001-01-01: it was created at" in flowforge("show", run, "--at", "2001-01-01", code=2).err
    assert flowforge("show", run, "--at", document["created_at"][:23] + "Z", "--json").document["status"] == "pending"
    assert [one["schema"] for one in flowforge("show", run, "--follow", "--json").lines] == ["flowforge/run/v1"]


def test_events_are_filtered(flowforge: Shell, flow: Flow):
    """By step, type, number and time; what never matches is a mistake."""
    run = flowforge("run", flow(TWO), "-i", "n=1", "--wait").out.strip()

    def types(*words: str) -> list[str]:
        found = flowforge("events", run, "--json", *words).document["events"]
        return [f"{event['type']} {event['step'] or ''}".strip() for event in found]

    assert types("--step", "b", "--type", "*.completed") == ["step.completed b"]
    assert types("--after", "1", "--limit", "1") == ["workflow.started"]
    assert types("--until", "+0s") == []
    followed = flowforge("events", run, "--follow", "--step", "a", "--json").lines
    assert {event["step"] for event in followed} == {"a"}
    assert "did you mean 'step.failed'?" in flowforge("events", run, "--type", "step.faild", code=2).err


def test_two_runs_are_compared(flowforge: Shell, flow: Flow):
    """Exit code 20 when they differ in substance; what differs only in time is the same."""
    file = flow(TWO)
    one, two, other = (flowforge("run", file, "-i", f"n={n}", "--wait").out.strip() for n in (1, 1, 5))
    assert flowforge("diff", one, two, "--json").document["same"]
    document = flowforge("diff", one, other, "--json", code=20).document
    assert (document["schema"], document["first"]["step"]) == ("flowforge/diff/v1", "a")
    assert document["input"]["changes"] == [{"path": "n", "kind": "changed", "before": 1, "after": 5}]
    shown = flowforge("diff", one, other, code=20).out
    assert "they part at  a  (output)" in shown
    assert "+  n: 5" in shown


def test_a_run_in_a_file_opens_without_servers(flowforge: Shell, nowhere: Shell, flow: Flow):
    """What drives a terminal does nothing there either; credentials are not in it."""
    words = ("-i", "n=1", "-i", 'note="\\u001b]0;owned\\u0007"', "-i", "password=hunter2")
    run = flowforge("run", flow(QUICK), *words, "--wait").out.strip()
    assert flowforge("export", run, "-o", "x.ffz").out == "x.ffz\n"
    exported = flowforge("export", run, "-o", "x.ffz", "--force", "--json").document
    assert (exported["runs"], exported["redacted"]) == ([run], ["run.input.password"])
    document = nowhere("show", "x.ffz", "--json").document
    assert (document["id"], document["input"]["password"]) == (run, "[redacted]")
    for verb in ("show", "events"):
        assert "\x1b" not in nowhere(verb, "x.ffz").out
    flowforge("replay", "x.ffz", "--dry-run", "--set", "input.n=4", code=20)


def test_a_run_of_another_installation_is_looked_at_only(flowforge: Shell, flow: Flow):
    """Imported, it has an id like others, and no verb that moves runs takes it."""
    run = flowforge("run", flow(FAILING), "--wait", code=5).out.strip()
    flowforge("export", run, "-o", "x.ffz")
    other = f"{run[:-1]}{(int(run[-1], 16) + 1) % 16:x}"
    text = gzip.decompress(Path(flowforge.folder, "x.ffz").read_bytes()).decode()
    Path(flowforge.folder, "y.ffz").write_bytes(gzip.compress(text.replace(run, other).encode()))
    assert flowforge("import", "y.ffz").out == f"{other}\n"
    assert other in [one["id"] for one in flowforge("import", "--list", "--json").document["runs"]]
    assert flowforge("show", other, "--json").document["id"] == other
    assert "it can only be looked at" in flowforge("retry", other, code=7).err
    flowforge("import", "--forget", other)
    flowforge("show", other, code=3)


def test_files_that_are_no_capsules_are_refused(nowhere: Shell):
    """With what is wrong, and exit code 2; one that is not there is 3."""
    nowhere.write("text.ffz", "hello")
    assert "not compressed with gzip" in nowhere("show", "text.ffz", code=2).err
    Path(nowhere.folder, "odd.ffz").write_bytes(gzip.compress(b'{"schema": "flowforge/run/v1"}'))
    assert "is no capsule" in nowhere("show", "odd.ffz", code=2).err
    assert "there is no file" in nowhere("events", "missing.ffz", code=3).err
