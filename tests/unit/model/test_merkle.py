"""The tree over a batch: every receipt has a way to the root, and nothing else has."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowforge.model import merkle


def items(count: int) -> list[bytes]:
    """Return different hashes."""
    return [hashlib.sha256(str(no).encode()).digest() for no in range(count)]


@given(st.integers(1, 70), st.data())
def test_every_item_has_a_way_to_the_root(count: int, data: st.DataObject):
    """Whatever the size of the batch; and the way is that of no other item."""
    tree = merkle.levels(items(count))
    no, other = data.draw(st.integers(0, count - 1)), data.draw(st.integers(0, count))
    way = merkle.path(tree, no)
    assert merkle.climb(items(count)[no], way) == merkle.root(items(count))
    if other != no:
        assert merkle.climb(items(count + 1)[other], way) != merkle.root(items(count))


def test_the_tree_is_that_of_rfc_9162():
    """The hash of an empty leaf and of two leaves, as anybody else computes them."""
    assert merkle.leaf(b"").hex() == "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"
    left, right = merkle.leaf(b"a"), merkle.leaf(b"b")
    assert merkle.root([b"a", b"b"]) == hashlib.sha256(b"\1" + left + right).digest()


@pytest.mark.parametrize("step", ["", "left:", "up:" + "0" * 64, "left:" + "A" * 64, "right:" + "0" * 62, "0" * 64])
def test_what_is_no_step_of_a_proof_is_refused(step: str):
    """One spelling each, so that a changed letter is a changed proof."""
    with pytest.raises(ValueError, match=r"not a step|hexadecimal"):
        merkle.climb(b"x", [step])
