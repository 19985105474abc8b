"""A network of its own for one worker: a namespace with two cables, each of which can be pulled out.

Needs root and the `ip` command; scenarios say what they do without.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from itertools import count

_numbers = count(1)


def possible() -> bool:
    """Say whether namespaces can be made here."""
    return os.geteuid() == 0 and shutil.which("ip") is not None


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)


class Network:
    """A namespace; whatever runs inside reaches this machine over the addresses of its two cables."""

    def __init__(self) -> None:
        number = next(_numbers)
        self._name = f"chaos{os.getpid()}-{number}"
        self._cables = [f"ch{os.getpid() % 100000}-{number}{side}" for side in "ab"]
        # Private addresses that hardly anybody uses, and that http steps can be allowed to call.
        self.addresses = [f"10.213.{number}.{1 + 4 * side}" for side in range(2)]
        _ip("netns", "add", self._name)
        for side, cable in enumerate(self._cables):
            inner = f"{cable}i"
            _ip("link", "add", cable, "type", "veth", "peer", "name", inner, "netns", self._name)
            _ip("addr", "add", f"10.213.{number}.{1 + 4 * side}/30", "dev", cable)
            _ip("link", "set", cable, "up")
            _ip("-n", self._name, "addr", "add", f"10.213.{number}.{2 + 4 * side}/30", "dev", inner)
            _ip("-n", self._name, "link", "set", inner, "up")
        _ip("-n", self._name, "link", "set", "lo", "up")

    @property
    def inside(self) -> list[str]:
        """What a command has to begin with to run inside."""
        return ["ip", "netns", "exec", self._name]

    def pull(self, side: int) -> None:
        """Pull a cable out."""
        _ip("link", "set", self._cables[side], "down")

    def plug(self, side: int) -> None:
        """Put a cable back in."""
        _ip("link", "set", self._cables[side], "up")

    def remove(self) -> None:
        """Take everything away."""
        _ip("netns", "del", self._name)
        for cable in self._cables:
            subprocess.run(["ip", "link", "del", cable], check=False, capture_output=True)
