"""`receipt`: the record of a run as a person prints it, hands it on, and has it verified where no server is."""

from __future__ import annotations

import json
from base64 import b64encode

import pytest

from tests.acceptance.cli.conftest import FAILING, QUICK, Flow, Shell


@pytest.fixture
def offline(flowforge: Shell) -> Shell:
    """A shell that reaches no server, and must not start one."""
    return flowforge.within(FLOWFORGE_DATABASE_URL="postgresql://127.0.0.1:1/x", FLOWFORGE_REDIS_URL="redis://[::1]:1")


@pytest.fixture
def run(flowforge: Shell, flow: Flow) -> str:
    """A run that has completed, with the worker it brought along."""
    return flowforge("run", flow(QUICK), "--wait").out.strip()


@pytest.fixture
def receipt(flowforge: Shell, run: str) -> str:
    """Its receipt in a file."""
    return flowforge.write("receipt.json", flowforge("receipt", run, "--json").out)


def test_a_run_has_its_receipt_when_it_has_been_waited_for(flowforge: Shell, run: str, queue: str):
    """As text: what it was, how each step ended, who vouches for it."""
    shown = flowforge("receipt", run).out
    for words in ("EXECUTED", queue, run, "a", "transform", "SUCCESS", "sha256", "tenant default", "Ed25519"):
        assert words in shown
    assert flowforge("receipt", "show", run).out == shown
    history = flowforge("events", run, "--json").document["events"]
    assert history[-1]["type"] == "workflow.receipt.generated"


def test_the_document_is_what_was_signed(flowforge: Shell, run: str, queue: str):
    """The fields of the source document, and the proof; in a pipe it is verified as it comes."""
    done = flowforge("receipt", run, "--json")
    document = done.document
    assert (document["schema"], document["workflow_id"]) == ("flowforge/receipt/v1", queue)
    assert (document["status"], document["steps"][0]["status"]) == ("EXECUTED", "SUCCESS")
    assert document["timestamp"].endswith("Z")
    assert set(document["proof"]) > {"hash", "path", "root", "signature", "key_id", "public_key"}
    assert flowforge("receipt", "verify", "-", stdin=done.out).out.startswith("✓ VALID")
    assert flowforge("receipt", "--json", run).out == done.out


def test_a_receipt_is_verified_offline_with_the_public_key(flowforge: Shell, offline: Shell, receipt: str, run: str):
    """The key as PEM, as a document, or as it is; without one it says what was not checked."""
    offline.write("receipts.pub", flowforge("receipt", "key").out)
    offline.write("keys.json", flowforge("receipt", "key", "--json").out)
    listed = json.loads((offline.folder / "keys.json").read_text())["keys"]
    for key in ("receipts.pub", "keys.json", listed[0]["public_key"]):
        done = offline("receipt", "verify", receipt, "--key", key)
        assert run in done.out
        assert not done.err
    assert "--key" in offline("receipt", "verify", receipt).err
    document = offline("receipt", "verify", receipt, "--key", "receipts.pub", "--json").document
    assert (document["valid"], document["key_trusted"], document["files"][0]["run"]) == (True, True, run)


def test_a_changed_byte_is_a_finding(offline: Shell, receipt: str):
    """Exit code 20, and what was changed; anywhere in the file, or cut off."""
    text = (offline.folder / receipt).read_text()
    changes = {
        "content": text.replace("EXECUTED", "EXECUTEE"),
        "text": text.replace('"version": 1', '"version":  1'),
        "proof": text.replace("Ed25519", "Ed25518"),
        "JSON": text[:-30],
    }
    for said, changed in changes.items():
        assert changed != text
        done = offline("receipt", "verify", offline.write("changed.json", changed), code=20)
        assert said in done.err
        assert not done.out
    done = offline("receipt", "verify", receipt, "changed.json", "--json", code=20)
    assert [one["valid"] for one in done.document["files"]] == [True, False]
    assert done.document["files"][1]["findings"][0]["code"] == "NOT_JSON"


def test_a_receipt_that_another_key_signed_is_a_finding(offline: Shell, receipt: str):
    """Whatever it says of itself."""
    done = offline("receipt", "verify", receipt, "--key", b64encode(b"x" * 32).decode(), code=20)
    assert "another key" in done.err


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["verify", "nowhere.json"], 3, "no file nowhere.json"),
        (["verify", "."], 2, "cannot be read"),
        (["verify", "empty", "--key", "nowhere.pub"], 3, "no public key"),
        (["verify", "empty", "--key", "empty"], 2, "no Ed25519 public key"),
        (["verify", "empty"], 20, "not a receipt"),
        (["verify"], 2, "missing argument"),
        (["key", "--rotate", "--no-input"], 2, "--yes"),
    ],
)
def test_what_cannot_be_verified_is_said_in_a_sentence(offline: Shell, words: list[str], code: int, said: str):
    """Missing files, folders, bad keys, nothing at all."""
    offline.write("empty", "")
    told = offline("receipt", *words, code=code).err
    assert said in told.lower() + told


def test_a_run_that_goes_on_has_no_receipt_yet(flowforge: Shell, flow: Flow):
    """Exit code 7, and when there will be one; 3 for a run that does not exist."""
    run = flowforge("run", flow(QUICK)).out.strip()
    assert "gets its receipt when it has ended" in flowforge("receipt", run, code=7).err
    flowforge("receipt", "0" * 32, code=3)


def test_a_failed_run_has_a_receipt_that_says_why(flowforge: Shell, offline: Shell, flow: Flow):
    """A retried one has two; they follow each other."""
    run = flowforge("run", flow(FAILING), "--wait", code=5).out.strip()
    first = flowforge("receipt", run, "--json").document
    assert first["status"] == "FAILED"
    assert first["error"]["code"] == first["steps"][0]["error"]["code"]
    flowforge("retry", run, "--reason", "mended")
    with flowforge.running("worker", "start", "--queue", first["workflow_id"]):
        flowforge("wait", run, code=5)
        second = flowforge("receipt", run, "--json").document
    (action,) = second["operator_actions"]
    assert (action["type"], action["reason"]) == ("workflow.retried", "mended")
    assert second["supersedes"] == first["proof"]["hash"]
    assert "mended" in flowforge("receipt", run).out
    assert flowforge("receipt", run, "--number", "1", "--json").document == first
    assert "counted from 1" in flowforge("receipt", run, "--number", "3", code=3).err


def test_a_rotated_key_leaves_what_was_signed_before_verifiable(flowforge: Shell, offline: Shell, receipt: str):
    """All public keys are printed; the old one no longer signs."""
    before = flowforge("receipt", "key", "--json").document["keys"]
    done = flowforge("receipt", "key", "--rotate", "--yes")
    assert "no longer signs" in done.err
    after = flowforge("receipt", "key", "--json").document["keys"]
    assert [one["id"] for one in after[1:]] == [one["id"] for one in before]
    offline.write("receipts.pub", done.out)
    offline("receipt", "verify", receipt, "--key", "receipts.pub")
    offline("receipt", "verify", receipt, "--key", after[0]["public_key"], code=20)


def test_a_key_that_is_given_is_used_and_never_shown(flowforge: Shell, flow: Flow):
    """By the setting, in a file or as it is."""
    secret = b64encode(b"0123456789abcdef0123456789abcdef").decode()
    own = flowforge.within(FLOWFORGE_RECEIPT_KEY=f"@{flowforge.folder / flowforge.write('own.key', secret)}")
    run = own("run", flow(QUICK), "--wait").out.strip()
    public = next(one for one in own("receipt", "key", "--json").document["keys"] if one["private"] == "setting")
    document = own("receipt", run, "--json").out
    flowforge("receipt", "verify", "-", "--key", public["public_key"], stdin=document)
    given = flowforge.within(FLOWFORGE_RECEIPT_KEY=secret)
    assert secret not in given("config", "show").out + given("config", "show", "--json").out
    assert "given by the setting" in given("receipt", "key", "--rotate", "--yes", code=7).err
    assert "neither PEM" in flowforge.within(FLOWFORGE_RECEIPT_KEY="oops")("receipt", "key", code=2).err
