"""Is this the receipt that was signed, to the byte? Answered from the file and a public key alone.

What is checked: that the text is one in which receipts are handed on (so a changed space is found too), that the
body has the hash the proof names, that the proof leads from it to the root, and that the key has signed the root.
Without keys to trust, the key in the receipt is used: then the answer is that nothing was changed since somebody
signed it, not who did.
"""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple

from flowforge.model import merkle, receipt_key
from flowforge.model.receipt import ALGORITHM, SCHEMA, hash_of, key_id, layouts

_PROOF = {"algorithm", "hash", "path", "root", "signature", "key_id", "public_key"}


class Finding(NamedTuple):
    """Something that is wrong with a receipt."""

    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """What came of checking a receipt."""

    #: None where the text is not a receipt at all.
    document: dict[str, Any] | None
    findings: tuple[Finding, ...] = ()

    @property
    def valid(self) -> bool:
        """Whether nothing was changed."""
        return not self.findings


def check(data: bytes, trusted: Sequence[bytes] = ()) -> Verdict:
    """Check a receipt as it stands in a file; *trusted* are the public keys that may have signed it."""
    try:
        text = data.decode()
        document = json.loads(text, parse_float=_refuse, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return Verdict(None, (Finding("NOT_JSON", "this is not a receipt: it is not JSON, or no longer"),))
    if not isinstance(document, dict) or document.get("schema") != SCHEMA:
        return Verdict(None, (Finding("NOT_A_RECEIPT", f"this is not a receipt: it does not say {SCHEMA}"),))
    try:
        return Verdict(document, tuple(_findings(text, document, trusted)))
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return Verdict(document, (Finding("PROOF", "the proof is damaged: it does not have the form of one"),))


def chain_findings(documents: Iterable[Mapping[str, Any]]) -> list[Finding]:
    """Say where receipts do not follow each other: a number twice, or a neighbour with another hash.

    Only receipts that stand next to each other in a tenant's chain can be compared; what lies between others is not
    looked for.
    """
    ordered = sorted(documents, key=_place)
    found: list[Finding] = []
    for before, after in pairwise(ordered):
        if before["installation"] != after["installation"] or before["tenant"] != after["tenant"]:
            continue
        number, digest = after["receipt_no"], hash_of(before)
        where = f"receipt {number} of tenant {after['tenant']}"
        if before["receipt_no"] == number and digest != hash_of(after):
            found.append(Finding("FORK", f"{where} exists twice, for runs {before['run']} and {after['run']}"))
        elif before["receipt_no"] == number - 1 and after["previous_hash"] != digest:
            found.append(Finding("CHAIN", f"{where} does not follow receipt {number - 1}: it names another hash"))
    return found


def _place(document: Mapping[str, Any]) -> tuple[str, str, int]:
    return document["installation"], document["tenant"], document["receipt_no"]


def _findings(text: str, document: Mapping[str, Any], trusted: Sequence[bytes]) -> Iterable[Finding]:
    if text.removesuffix("\n") not in layouts(document):
        yield Finding("LAYOUT", "the text was changed: receipts are handed on byte by byte")
    proof = document["proof"]
    if set(proof) != _PROOF or proof["algorithm"] != ALGORITHM:
        yield Finding("PROOF", "the proof is damaged: it has other members than a proof")
        return
    digest = hash_of(document)
    if proof["hash"] != digest:
        yield Finding("HASH", f"the content was changed: its hash is {digest}, the proof is for {proof['hash']}")
    elif merkle.climb(bytes.fromhex(digest), proof["path"]).hex() != proof["root"]:
        yield Finding("PROOF", "the proof is damaged: it does not lead to the root")
    public_key = _exactly(proof["public_key"])
    if proof["key_id"] != key_id(public_key):
        yield Finding("KEY", "the proof is damaged: its key has another name than it says")
    elif trusted and public_key not in trusted:
        yield Finding("KEY", f"it was signed with another key ({proof['key_id']}) than those that are trusted")
    if not receipt_key.signed(public_key, _exactly(proof["signature"]), bytes.fromhex(proof["root"])):
        yield Finding("SIGNATURE", f"the signature is not that of key {proof['key_id']}")


def _exactly(text: str) -> bytes:
    """Decode base64 that has one spelling only: spare bits in its last letter are a change too."""
    raw = b64decode(text, validate=True)
    if b64encode(raw).decode() != text:
        raise ValueError(text)
    return raw


def _refuse(text: str) -> Any:
    raise ValueError(text)
