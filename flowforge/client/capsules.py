"""Capsules as files: told from ids of runs, read with care, and written whole or not at all.

Needs no server. What a file holds is checked by flowforge.model.unpacking.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO
from uuid import UUID

from flowforge.errors import CapsuleError, Conflict, NotFound, UsageError
from flowforge.model.capsule import Capsule
from flowforge.model.unpacking import MAX_FILE, unpack

#: The ending of a capsule's file.
SUFFIX = ".ffz"
#: Begins every archive of several capsules (flowforge.client.bundles).
_ARCHIVE = b"PK\x03\x04"


def is_file(reference: str | UUID) -> bool:
    """Say whether a reference to a run means a file: by its ending or a slash, never by what happens to lie around."""
    return isinstance(reference, str) and (reference.endswith(SUFFIX) or "/" in reference)


def is_archive(path: Path) -> bool:
    """Say whether a file is an archive of several capsules; a pipe, which can be read only once, is none."""
    return path.is_file() and _content(path, len(_ARCHIVE)) == _ARCHIVE


def read(path: str | Path) -> Capsule:
    """Return the capsule in a file; NotFound, or CapsuleError with what is wrong."""
    path = Path(path)
    # No more than that, whatever the size says: a device or a pipe has none.
    content = _content(path, MAX_FILE + 1)
    if content.startswith(_ARCHIVE):
        raise CapsuleError(
            f"{path} is a bundle of several runs",
            hint=f"flowforge import {path}, then name one of them · flowforge notebook --bundle {path}",
        )
    return unpack(content, name=str(path))


def write(capsule: Capsule, path: str | Path, *, force: bool = False) -> int:
    """Write a capsule to a file that is not there yet, or by *force* over one that is; return how many bytes."""
    path = Path(path)
    if path.exists() and not force:
        raise Conflict(f"{path} exists already", hint="--force writes over it")
    content = capsule.pack()
    with replacing(path) as file:
        file.write(content)
    return len(content)


@contextmanager
def replacing(path: Path) -> Iterator[IO[bytes]]:
    """Open a file to write to that takes its name when the block has ended; UsageError where that cannot be."""
    try:
        # Beside the file, so that nobody ever sees half of one under its name.
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
            try:
                yield file
            except BaseException:
                Path(file.name).unlink()
                raise
        os.replace(file.name, path)  # noqa: PTH105 - Path.replace would need another Path
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}") from None


def _content(path: Path, most: int) -> bytes:
    """Return the beginning of a file."""
    try:
        with path.open("rb") as file:
            return file.read(most)
    except FileNotFoundError:
        raise NotFound(f"there is no file {path}", hint="flowforge export RUN -o FILE writes a capsule") from None
    except IsADirectoryError:
        raise CapsuleError(f"{path} is a folder, not a capsule") from None
    except OSError as error:
        raise CapsuleError(f"{path} cannot be read: {error.strerror}") from None
