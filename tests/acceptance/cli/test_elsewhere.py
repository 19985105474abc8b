"""A capsule of a failed run, taken to another installation that knows nothing of its workflow: looked at, never run."""

from __future__ import annotations

import gzip
import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from flowforge import forensics as fx
from flowforge.client import AsyncClient
from flowforge.engine.engine import Endpoints
from flowforge.settings import Settings
from flowforge_tui.options import Options
from tests.acceptance.cli.conftest import Shell, installed, serving
from tests.support.dashboard import QUICK, opened, screen_text
from tests.support.eventually import eventually

pytestmark = pytest.mark.thorough

INNER = """
name: elsewhere-inner
queue: elsewhere
steps:
  - {id: quote, type: python, config: {function: "trade:quote", args: {amount: "{{ input.amount }}"}}}
"""
ORDER = """
name: elsewhere-order
queue: elsewhere
steps:
  - id: reserve
    type: transform
    config: {expression: "{'place': input.amount}"}
    compensate:
      type: python
      config: {function: "trade:release", args: {place: "{{ steps.reserve.output.result.place }}"}}
  - id: price
    type: workflow
    depends_on: reserve
    config: {name: elsewhere-inner, input: {amount: "{{ input.amount }}"}}
  - id: charge
    type: python
    depends_on: price
    config: {function: "trade:charge", args: {amount: "{{ input.amount }}"}}
    retry: {max_attempts: 2, initial_delay: 10ms}
  - {id: ship, type: transform, depends_on: charge, config: {expression: "1"}}
"""
FUNCTIONS = """
def quote(amount):
    print("a quote for", amount)
    return amount * 2


def charge(amount):
    print("charging", amount)
    raise LookupError(f"no card for {amount}")


def release(place):
    print("released", place)
"""


@dataclass(frozen=True)
class Taken:
    """What was taken along: two failed runs as files, and where they are opened."""

    here: Shell
    there: Shell
    run: str
    other: str
    child: str


@pytest.fixture(scope="module")
def elsewhere() -> Iterator[Path]:
    """Another installation."""
    with installed() as one:
        yield one


@pytest.fixture(scope="module")
def taken(home: Path, elsewhere: Path, tmp_path_factory: pytest.TempPathFactory) -> Taken:
    """Two runs that failed and were undone, exported with the runs they had started."""
    folder = tmp_path_factory.mktemp("here")
    here = Shell(folder, {"FLOWFORGE_HOME": str(home), "FLOWFORGE_KILL_GRACE": "1s"})
    here.write("trade.py", FUNCTIONS)
    here.write("inner.yaml", INNER)
    here.write("order.yaml", ORDER)
    here("workflow", "publish", "inner.yaml")
    with here.running("worker", "start", "--queue", "elsewhere"):
        serving(here, "elsewhere")
        run, other = (
            here("run", "order.yaml", "-i", f"amount={amount}", "--wait", code=5).out.strip() for amount in (120, 7)
        )
        here("receipt", run)
    for name, one in (("a.ffz", run), ("b.ffz", other)):
        here("export", one, "--children", "-o", name)
    child = here("export", run, "--children", "-o", "a.ffz", "--force", "--json").document["runs"][1]
    there = Shell(tmp_path_factory.mktemp("there"), {"FLOWFORGE_HOME": str(elsewhere)})
    for name in ("a.ffz", "b.ffz"):
        shutil.copy(folder / name, there.folder)
    return Taken(here, there, run, other, child)


@pytest.fixture
def there(taken: Taken) -> Iterator[Shell]:
    """The other installation, with both runs in it; they are forgotten afterwards."""
    taken.there("import", "a.ffz")
    taken.there("import", "b.ffz")
    yield taken.there
    for run in taken.there("import", "--list", "--json").document["runs"]:
        taken.there("import", "--forget", run["id"])


def test_all_of_it_is_there(taken: Taken, there: Shell):
    """The same document, history, logs and receipt as where it ran; its past, and the run it had started, as well."""
    run = taken.run
    assert there("workflow", "ls", "--json").document["workflows"] == []
    for verb in ("show", "events", "logs", "receipt"):
        found = there(verb, run, "--json").document
        assert {**found, "at": None} == {**taken.here(verb, run, "--json").document, "at": None}, verb
    shown = there("show", run).out
    for word in ("FAILED", "elsewhere-order@1", "UNDONE", "LookupError: no card for 120", "undoing is completed"):
        assert word in shown
    was = there("show", run, "--at", "4", "--json").document
    assert (was["status"], was["at"]["seq"]) == ("running", 4)
    assert "charging 120" in there("logs", run, "charge").out
    assert there("show", taken.child, "--json").document["parent"] == {"run": run, "step": "price"}


def test_why_it_failed_is_said(taken: Taken, there: Shell):
    """From the file alone, with every attempt; and that commands are for where it ran."""
    found = there("explain", taken.run, "--json").document
    assert (found["foreign"], [one["kind"] for one in found["causes"]]) == (True, ["step_failed", "undone"])
    said = there("explain", taken.run).out
    for words in ("failed for good on attempt 2 of 2", "LookupError: no card for 120", "commands are for where it ran"):
        assert words in said
    assert "step 'ship' did not run: the run had ended before its turn came" in there("explain", taken.run, "ship").out


def test_its_receipt_is_verified(taken: Taken, there: Shell):
    """With the public key of where it ran; the other installation's own key did not sign it."""
    there.write("receipt.json", there("receipt", taken.run, "--json").out)
    there.write("key.pub", taken.here("receipt", "key").out)
    assert there("receipt", "verify", "receipt.json", "--key", "key.pub").out.startswith("✓ VALID")
    there.write("own.pub", there("receipt", "key").out)
    assert "signed with another key" in there("receipt", "verify", "receipt.json", "--key", "own.pub", code=20).err


def test_two_of_them_are_compared_and_one_is_rehearsed(taken: Taken, there: Shell):
    """Where they part; and what would differ with another input, without executing anything."""
    document = there("diff", taken.run, taken.other, "--json", code=20).document
    assert document["input"]["changes"] == [{"path": "amount", "kind": "changed", "before": 120, "after": 7}]
    assert "they part at  reserve  (output)" in there("diff", taken.run, taken.other, code=20).out
    dry = there("replay", taken.run, "--dry-run", "--set", "input.amount=5", code=20)
    assert '{"result": {"place": 120}} -> {"result": {"place": 5}}' in dry.out
    assert there("ps", "--json").document["runs"] == []


def test_nothing_moves_it(taken: Taken, there: Shell):
    """It is no run of this installation: not listed, not counted, and refused by whatever would change it."""
    for words in (["retry"], ["cancel"], ["replay"], ["pause"], ["skip", "charge"]):
        verb, *more = words
        assert "it can only be looked at" in there(verb, taken.run, *more, code=7).err
    assert there("ps", "--json").document["runs"] == []
    assert "nothing is stuck" in there("explain").err
    assert "this installation's own" in taken.here("import", "a.ffz", code=7).err


def test_it_is_imported_twice_and_forgotten(taken: Taken, there: Shell):
    """Once is enough; the run that came with it stays, and is said to."""
    assert there("import", "a.ffz").out.split() == [taken.run, taken.child]
    listed = there("import", "--list", "--json").document["runs"]
    assert sorted(one["id"] for one in listed).count(taken.run) == 1
    forgotten = there("import", "--forget", taken.run)
    assert f"the run that it had started stays: flowforge import --forget {taken.child}" in forgotten.err
    assert "was imported" in there("import", "--forget", taken.run, code=3).err
    assert "there is no run" in there("show", taken.run, code=3).err
    there("show", taken.child)


async def test_the_dashboard_opens_it(taken: Taken, there: Shell):
    """The screen of the run, as a recording."""
    servers = {one["name"]: one for one in there("status", "--json").document["servers"]}
    where = Endpoints(_postgres(there), f"unix://{servers['valkey']['socket']}?db=0")
    options = replace(QUICK, first=taken.run, clock=Options().clock)
    async with opened(AsyncClient(Settings(), endpoints=where), options=options, ready=False) as (app, _):
        words = ("elsewhere-order@1", "RECORDING", "reserve:compensate", "(blocked by charge)", "no card for 120")
        await eventually(lambda: all(word in screen_text(app) for word in words), what="the run is on the screen")


def test_notebooks_open_it(taken: Taken, there: Shell):
    """It answers by its id, and is no run of the installation."""
    with fx.open_source(_postgres(there)) as source:
        attempts = fx.attempts(taken.run, source=source)
        assert list(attempts[attempts["step"] == "charge"]["attempt"]) == [1, 2]
        assert "LookupError" in fx.run(taken.run, source=source)._repr_html_()
        assert fx.runs(source=source).empty


def _postgres(shell: Shell) -> str:
    """Return the address of an installation's Postgres."""
    servers = {one["name"]: one for one in shell("status", "--json").document["servers"]}
    return f"postgresql://flowforge@/flowforge?host={Path(servers['postgres']['socket']).parent}"


def _rewritten(taken: Taken, name: str, **changes: Any) -> str:
    document = json.loads(gzip.decompress((taken.there.folder / "a.ffz").read_bytes()))
    (taken.there.folder / name).write_bytes(gzip.compress(json.dumps({**document, **changes}).encode()))
    return name


def test_files_of_other_releases(taken: Taken):
    """What a later release adds to the format is ignored; another format is refused, and both versions are named."""
    more = _rewritten(taken, "more.ffz", flowforge="9.9.9", weather={"sun": True})
    assert taken.there("show", more, "--json").document["id"] == taken.run
    newer = _rewritten(taken, "newer.ffz", schema="flowforge/capsule/v2", flowforge="9.9.9")
    for verb in ("show", "import", "explain"):
        refused = taken.there(verb, newer, code=2).err
        assert "newer.ffz is a flowforge/capsule/v2, written by FlowForge 9.9.9" in refused
        assert "this release reads flowforge/capsule/v1" in refused
        assert "export" not in refused


def test_a_file_that_was_cut_off(taken: Taken):
    """Nothing of it is imported."""
    whole = (taken.there.folder / "a.ffz").read_bytes()
    (taken.there.folder / "cut.ffz").write_bytes(whole[: len(whole) // 2])
    for verb in ("show", "import", "explain"):
        assert "cut.ffz is damaged: its end is missing" in taken.there(verb, "cut.ffz", code=2).err
    assert taken.there("import", "--list", "--json").document["runs"] == []
