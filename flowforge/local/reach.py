"""Programs where the server account can run them.

Root's virtual environment often lies below /root, which is closed to the account that root's servers run under.
The programs are then copied, once per version, to a folder of root's that everybody may read.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

from flowforge.errors import ServerStartError
from flowforge.local.account import Account

STORE = Path("/var/lib/flowforge/programs")


def within_reach(program: Path, account: Account, needs: Sequence[Path]) -> Path:
    """Return *program*, or its copy if *account* cannot reach it; *needs* are the files and folders it runs from."""
    if account.reaches(program):
        return program
    # Programs find libraries and data by relative paths: the copy keeps how they lie to each other.
    root = Path(os.path.commonpath([path.parent for path in needs]))
    found = program.stat()
    key = f"{program}:{found.st_mtime_ns}:{found.st_size}"
    copy = STORE / hashlib.sha256(key.encode(errors="surrogateescape")).hexdigest()[:12]
    if not copy.exists():
        try:
            _copy(root, needs, copy)
        except OSError as error:
            raise ServerStartError(
                f"cannot copy {program} to {copy}, where user ids other than root's can run it: {error}",
                hint="install FlowForge in a folder that everybody may read, e.g. /opt/flowforge",
            ) from error
    return copy / program.relative_to(root)


def _copy(root: Path, needs: Sequence[Path], copy: Path) -> None:
    """Copy to a temporary name and rename: a copy that exists is complete."""
    copy.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    unfinished = Path(tempfile.mkdtemp(prefix="copying-", dir=copy.parent))
    try:
        for path in needs:
            target = unfinished / path.relative_to(root)
            target.parent.mkdir(parents=True, exist_ok=True)
            if path.is_dir():
                shutil.copytree(path, target, symlinks=True, ignore=shutil.ignore_patterns("*.a", "include"))
            else:
                shutil.copy2(path, target)
        _open_to_readers(unfinished)
        try:
            unfinished.rename(copy)
        except OSError:  # somebody else was faster
            if not copy.exists():
                raise
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def _open_to_readers(folder: Path) -> None:
    folder.chmod(0o755)
    for parent, folders, files in os.walk(folder):
        for name in folders:
            Path(parent, name).chmod(0o755)
        for name in files:
            path = Path(parent, name)
            if not path.is_symlink():
                path.chmod(0o755 if path.stat().st_mode & 0o100 else 0o644)
