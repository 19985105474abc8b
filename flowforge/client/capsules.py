"""Capsules as files: told from ids of runs, read with care, and written whole or not at all.

Needs no server. What a file holds is checked by flowforge.model.unpacking.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from uuid import UUID

from flowforge.errors import CapsuleError, Conflict, NotFound, UsageError
from flowforge.model.capsule import Capsule
from flowforge.model.unpacking import MAX_FILE, unpack

#: The ending of a capsule's file.
SUFFIX = ".ffz"


def is_file(reference: str | UUID) -> bool:
    """Say whether a reference to a run means a file: by its ending or a slash, never by what happens to lie around."""
    return isinstance(reference, str) and (reference.endswith(SUFFIX) or "/" in reference)


def read(path: str | Path) -> Capsule:
    """Return the capsule in a file; NotFound, or CapsuleError with what is wrong."""
    path = Path(path)
    try:
        with path.open("rb") as file:
            # No more than that, whatever the size says: a device or a pipe has none.
            content = file.read(MAX_FILE + 1)
    except FileNotFoundError:
        raise NotFound(f"there is no file {path}", hint="flowforge export RUN -o FILE writes a capsule") from None
    except IsADirectoryError:
        raise CapsuleError(f"{path} is a folder, not a capsule") from None
    except OSError as error:
        raise CapsuleError(f"{path} cannot be read: {error.strerror}") from None
    return unpack(content, name=str(path))


def write(capsule: Capsule, path: str | Path, *, force: bool = False) -> int:
    """Write a capsule to a file that is not there yet, or by *force* over one that is; return how many bytes."""
    path = Path(path)
    if path.exists() and not force:
        raise Conflict(f"{path} exists already", hint="--force writes over it")
    content = capsule.pack()
    try:
        # Beside the file, so that nobody ever sees half of one under its name.
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
            file.write(content)
        os.replace(file.name, path)  # noqa: PTH105 - Path.replace would need another Path
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}") from None
    return len(content)
