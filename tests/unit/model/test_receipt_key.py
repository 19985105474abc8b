"""Keys: every form in which people keep them, and what is none."""

from __future__ import annotations

import json
from base64 import b64encode

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from flowforge.model.receipt_key import InvalidKey, Signer, pem, public_keys, seed_of, signed

SEED = bytes(range(32))
SIGNER = Signer(SEED)
PUBLIC = b64encode(SIGNER.public_key).decode()


def private_pem(key: Ed25519PrivateKey | None = None, password: bytes = b"") -> str:
    """Return a private key as PEM."""
    key = key or Ed25519PrivateKey.from_private_bytes(SEED)
    lock = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, lock).decode()


def test_a_private_key_is_pem_or_base64():
    """White space around it does not matter."""
    assert seed_of(private_pem()) == SEED
    assert seed_of(f" {b64encode(SEED).decode()}\n") == SEED


def other_pem() -> str:
    """Return a private key of another kind."""
    return private_pem(generate_private_key(SECP256R1()))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "text", ["", "secret", b64encode(b"short").decode(), private_pem(password=b"x"), "-----BEGIN X-----", other_pem()]
)
def test_what_is_no_private_key_is_refused_without_saying_it(text: str):
    """A secret that was mistyped does not end up in a log."""
    with pytest.raises(InvalidKey) as caught:
        seed_of(text)
    assert not text or text not in str(caught.value)


def test_public_keys_are_read_in_every_form_in_which_they_are_printed():
    """PEM, several of them; the document of --json; base64."""
    other = Signer(b"o" * 32).public_key
    both = [SIGNER.public_key, other]
    assert public_keys(pem(both[0]) + pem(both[1])) == both
    listed = [{"public_key": b64encode(one).decode()} for one in both]
    assert public_keys(json.dumps({"keys": listed})) == both
    assert public_keys(f"{PUBLIC}\n") == both[:1]


@pytest.mark.parametrize("text", ["", "x", "{}", '{"keys": [1]}', '{"keys": []}', private_pem(), PUBLIC + " x"])
def test_what_holds_no_public_key_is_refused(text: str):
    """Rather than verified against nothing."""
    with pytest.raises(InvalidKey):
        public_keys(text)


def test_a_signature_is_of_one_key_and_one_root():
    """And garbage is none."""
    signature = SIGNER.sign(b"r" * 32)
    assert signed(SIGNER.public_key, signature, b"r" * 32)
    assert not signed(Signer(b"o" * 32).public_key, signature, b"r" * 32)
    assert not signed(SIGNER.public_key, signature, b"s" * 32)
    assert not signed(b"short", signature, b"r" * 32)
    assert str(SEED.hex()) not in repr(SIGNER)
