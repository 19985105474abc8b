"""Whether the files of the modules that a child process has imported are still the same.

A warm child keeps modules; a deployed change must not wait until it is replaced. Only modules of the user count:
installed packages and the standard library change with the installation, which restarts the worker.
"""

from __future__ import annotations

import os
import site
import sys
import sysconfig
from typing import TypeAlias

_Stamp: TypeAlias = tuple[int, int, int]


class Sources:
    """The user's source files that were imported since this was made, as they were then."""

    def __init__(self) -> None:
        self._modules = set(sys.modules)
        self._stamps: dict[str, _Stamp | None] = {}
        self._installed = tuple(
            os.path.join(os.path.realpath(folder), "")  # noqa: PTH118 - called for every module
            for folder in {
                sysconfig.get_path("stdlib"),
                sysconfig.get_path("platstdlib"),
                *site.getsitepackages(),
                site.getusersitepackages(),
            }
        )

    def note(self) -> None:
        """Remember the files of modules that are new."""
        if len(sys.modules) == len(self._modules):
            return
        for name in sys.modules.keys() - self._modules:
            self._modules.add(name)
            file = getattr(sys.modules.get(name), "__file__", None)
            if isinstance(file, str) and not os.path.realpath(file).startswith(self._installed):
                self._stamps[file] = _stamp(file)

    def changed(self) -> bool:
        """Say whether any remembered file is not what it was."""
        return any(_stamp(file) != stamp for file, stamp in self._stamps.items())


def _stamp(file: str) -> _Stamp | None:
    try:
        status = os.stat(file)  # noqa: PTH116 - called for every module before every call
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino
