"""The keys that receipts are signed with: Ed25519, in the forms in which people keep and hand on keys.

A private key is PEM (PKCS 8, without a password) or the base64 of its 32 bytes; public keys are PEM, the base64 of
their 32 bytes, or the document that `flowforge receipt key --json` prints.
"""

from __future__ import annotations

import json
import re
from base64 import b64decode, b64encode
from typing import Any

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from flowforge.errors import UsageError
from flowforge.model.receipt import SIGNED, key_id

#: Bytes of a key, private or public.
SIZE = 32

_PEM = re.compile(r"-----BEGIN [A-Z ]+-----.*?-----END [A-Z ]+-----", re.DOTALL)


class InvalidKey(UsageError):
    """That is not an Ed25519 key."""


class Signer:
    """A private key, ready to sign."""

    def __init__(self, seed: bytes) -> None:
        self._key = Ed25519PrivateKey.from_private_bytes(seed)
        self.public_key = self._key.public_key().public_bytes_raw()
        self.id = key_id(self.public_key)

    def sign(self, root: bytes) -> bytes:
        """Sign the root of a batch."""
        return self._key.sign(SIGNED + root)

    def __repr__(self) -> str:
        return f"Signer({self.id})"


def seed_of(text: str) -> bytes:
    """Return the 32 bytes of a private key that somebody keeps as PEM or base64."""
    if "-----BEGIN" in text:
        try:
            key = serialization.load_pem_private_key(text.strip().encode(), password=None)
        except (ValueError, TypeError, UnsupportedAlgorithm):
            raise InvalidKey(
                "the private key cannot be read",
                hint="openssl genpkey -algorithm ed25519 makes one, without a password",
            ) from None
        if not isinstance(key, Ed25519PrivateKey):
            raise InvalidKey("the private key is of another kind than Ed25519")
        return key.private_bytes_raw()
    seed = _decoded(text)
    if seed is None:
        raise InvalidKey(
            "the private key is neither PEM nor the base64 of 32 bytes", hint="openssl genpkey -algorithm ed25519"
        )
    return seed


def public_keys(text: str) -> list[bytes]:
    """Return every public key in a text: PEM, base64, or what `flowforge receipt key --json` prints."""
    found: list[bytes | None] = []
    if text.lstrip().startswith("{"):
        found = [_decoded(one) for one in _listed(text)]
    elif blocks := _PEM.findall(text):
        found = [_from_pem(block) for block in blocks]
    else:
        found = [_decoded(word) for word in text.split()]
    keys = [key for key in found if key is not None]
    if not keys or len(keys) != len(found):
        raise InvalidKey("there is no Ed25519 public key in it", hint="flowforge receipt key > receipts.pub")
    return keys


def pem(public_key: bytes) -> str:
    """Return a public key as other tools read it."""
    key = Ed25519PublicKey.from_public_bytes(public_key)
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return key.public_bytes(serialization.Encoding.PEM, form).decode()


def signed(public_key: bytes, signature: bytes, root: bytes) -> bool:
    """Say whether a key has signed a root."""
    try:
        Ed25519PublicKey.from_public_bytes(public_key).verify(signature, SIGNED + root)
    except (InvalidSignature, ValueError):
        return False
    return True


def _listed(text: str) -> list[str]:
    try:
        document: Any = json.loads(text)
        return [str(one["public_key"]) for one in document["keys"]]
    except (ValueError, KeyError, TypeError):
        raise InvalidKey("the keys are not what `flowforge receipt key --json` prints") from None


def _from_pem(block: str) -> bytes | None:
    try:
        key = serialization.load_pem_public_key(block.encode())
    except (ValueError, UnsupportedAlgorithm):
        return None
    return key.public_bytes_raw() if isinstance(key, Ed25519PublicKey) else None


def _decoded(text: str) -> bytes | None:
    """Return the 32 bytes whose base64 a text is, exactly."""
    try:
        raw = b64decode(text.strip(), validate=True)
    except ValueError:
        return None
    return raw if len(raw) == SIZE and b64encode(raw).decode() == text.strip() else None
