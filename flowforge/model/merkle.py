"""A tree of hashes over the receipts of a batch: one signature, of its root, vouches for each of them alone.

The way from a receipt to the root is a hash a level, with the side it stands on; RFC 9162 shapes the tree (leaves and
nodes are hashed apart, an odd one goes up as it is), so none can be taken for the other.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence

LEFT, RIGHT = "left:", "right:"


def leaf(item: bytes) -> bytes:
    """Return the hash of an item as a leaf."""
    return hashlib.sha256(b"\0" + item).digest()


def _node(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\1" + left + right).digest()


def levels(items: Iterable[bytes]) -> list[list[bytes]]:
    """Return the tree over items, of which there is at least one: the leaves first, the root last."""
    level = [leaf(item) for item in items]
    tree = [level]
    while len(level) > 1:
        pairs = zip(level[::2], level[1::2], strict=False)
        level = [_node(left, right) for left, right in pairs] + (level[-1:] if len(level) % 2 else [])
        tree.append(level)
    return tree


def root(items: Iterable[bytes]) -> bytes:
    """Return the root over items."""
    return levels(items)[-1][0]


def path(tree: Sequence[Sequence[bytes]], index: int) -> list[str]:
    """Return the way from a leaf to the root."""
    way: list[str] = []
    for level in tree[:-1]:
        sibling = index ^ 1
        if sibling < len(level):
            way.append((RIGHT if sibling > index else LEFT) + level[sibling].hex())
        index //= 2
    return way


def climb(item: bytes, way: Iterable[str]) -> bytes:
    """Go from an item to the root it belongs to; ValueError for a way that is none."""
    here = leaf(item)
    for one in way:
        side, other = one[: one.find(":") + 1], bytes.fromhex(one[one.find(":") + 1 :])
        if side not in (LEFT, RIGHT) or len(other) != len(here) or f"{side}{other.hex()}" != one:
            raise ValueError(f"not a step of a proof: {one!r}")
        here = _node(other, here) if side == LEFT else _node(here, other)
    return here
