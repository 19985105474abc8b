"""Verifying: one changed bit anywhere is found, with nothing but the file and a key."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowforge.model.receipt import hash_of, proven
from flowforge.model.receipt_key import Signer
from flowforge.model.verifying import chain_findings, check
from tests.support.receipts import SIGNER, chain, written

(*_, RECEIPT) = chain(5)
TEXT = written(RECEIPT)
KEY = SIGNER.public_key


def codes(data: bytes, *trusted: bytes) -> list[str]:
    """Return what is wrong."""
    return [finding.code for finding in check(data, trusted).findings]


def changed(**members: Any) -> bytes:
    """Return the receipt with other members."""
    return written({**RECEIPT, **members})


def damaged(**members: Any) -> bytes:
    """Return the receipt with another proof."""
    return changed(proof={**RECEIPT["proof"], **members})


@pytest.mark.parametrize("trusted", [(), (KEY,), (b"x" * 32, KEY)])
def test_a_receipt_is_valid_as_it_was_signed(trusted: tuple[bytes, ...]):
    """With the key at hand, or the one in it."""
    verdict = check(TEXT, trusted)
    assert verdict.valid
    assert verdict.document == RECEIPT


def test_every_receipt_of_a_batch_is_verified_alone():
    """Nothing of the others is needed."""
    for size in (1, 2, 3, 7):
        assert all(check(written(one), [KEY]).valid for one in chain(size))


@settings(max_examples=300)
@given(st.integers(0, len(TEXT) * 8 - 1))
def test_a_flipped_bit_is_found(bit: int):
    """Wherever it is: in what happened, in the proof, in white space."""
    data = bytearray(TEXT)
    data[bit // 8] ^= 1 << bit % 8
    assert codes(bytes(data), KEY)


def test_every_bit_of_a_receipt_counts():
    """All of them, once, without a key at hand."""
    data = bytearray(TEXT)
    missed = []
    for bit in range(len(data) * 8):
        data[bit // 8] ^= 1 << bit % 8
        if check(bytes(data)).valid:
            missed.append(bit)
        data[bit // 8] ^= 1 << bit % 8
    assert missed == []


@given(st.integers(0, len(TEXT)), st.binary(min_size=1, max_size=3))
def test_added_bytes_are_found(position: int, more: bytes):
    """But for the one line feed that a file may end with, or not."""
    data = TEXT[:position] + more + TEXT[position:]
    assert codes(data, KEY) or data == TEXT


@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.parametrize("ascii_only", [True, False])
def test_the_usual_tools_may_lay_it_out_anew(indent: int | None, ascii_only: bool):
    """`jq`, `jq -c`, `json.dumps`: the members and their order are the same."""
    assert check(json.dumps(RECEIPT, indent=indent, ensure_ascii=ascii_only).encode()).valid
    assert check(json.dumps(RECEIPT, separators=(",", ":")).encode() + b"\n").valid


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", "NOT_JSON"),
        (b"\xff\xfe", "NOT_JSON"),
        (b"[" * 100_000, "NOT_JSON"),
        (b"1.5", "NOT_JSON"),
        (b"[]", "NOT_A_RECEIPT"),
        (b'{"schema": "flowforge/run/v1"}', "NOT_A_RECEIPT"),
        (b'{"schema": "flowforge/receipt/v1"}', "PROOF"),
        (changed(status="FAILED"), "HASH"),
        (changed(extra=1), "HASH"),
        (changed(proof=None), "PROOF"),
        (changed(proof=["x"]), "PROOF"),
        (damaged(extra=1), "PROOF"),
        (damaged(algorithm="none"), "PROOF"),
        (damaged(path=[]), "PROOF"),
        (damaged(path=[1]), "PROOF"),
        (damaged(root="00" * 32), "PROOF"),
        (damaged(hash="00" * 32), "HASH"),
        (damaged(key_id="0" * 16), "KEY"),
        (damaged(signature="AA=="), "SIGNATURE"),
        (damaged(public_key="?"), "PROOF"),
        (TEXT.replace(b"\n", b"\r\n"), "LAYOUT"),
        (TEXT.replace(b'"trigger"', b'"\\u0074rigger"'), "LAYOUT"),
        (TEXT.replace(b'"version": 3', b'"version": 2,\n  "version": 3'), "LAYOUT"),
    ],
)
def test_what_was_changed_is_named(data: bytes, code: str):
    """One word for scripts, a sentence for people; never an exception."""
    assert code in codes(data)


def test_a_receipt_that_somebody_else_signed_is_found_with_the_key_alone():
    """It is consistent in itself: only the key to trust tells."""
    forger = Signer(b"f" * 32)
    forged = {**RECEIPT, "status": "FAILED"}
    del forged["proof"]
    from flowforge.model import merkle

    root = merkle.root([bytes.fromhex(hash_of(forged))])
    text = written(proven(forged, [], root, forger.sign(root), forger.public_key))
    assert check(text).valid
    assert codes(text, KEY) == ["KEY"]


def test_a_signature_for_something_else_is_none():
    """The words in front of the root make it one of a receipt."""
    root = bytes.fromhex(RECEIPT["proof"]["root"])
    from base64 import b64encode

    bare = b64encode(SIGNER._key.sign(root)).decode()
    assert codes(damaged(signature=bare)) == ["SIGNATURE"]


# -- the chain ---------------------------------------------------------------------------------------------------


def test_receipts_that_follow_each_other_are_chained():
    """In any order of the files, and with some of them missing."""
    receipts = chain(6)
    assert chain_findings(receipts[::-1]) == []
    assert chain_findings([receipts[0], receipts[5]]) == []


def test_a_receipt_that_replaces_another_is_found():
    """By the one behind it, or by its twin."""
    receipts = chain(3)
    other = {**receipts[1], "status": "FAILED"}
    assert [one.code for one in chain_findings([receipts[0], other, receipts[2]])] == ["CHAIN"]
    assert [one.code for one in chain_findings([receipts[1], other])] == ["FORK"]


def test_tenants_have_chains_of_their_own():
    """The first receipt of one does not follow the last of another."""
    first, second = chain(2)
    assert chain_findings([first, {**second, "tenant": "acme"}]) == []
