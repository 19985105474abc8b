"""Things of a test's own inside a worker process: step types, and clocks that are wrong.

Nothing of the product knows about them: a folder on the worker's PYTHONPATH is all it takes.
"""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent

BLOCKER = """
    import time

    from flowforge.model.outcome import Completed

    SECONDS = 10


    class Blocker:
        \"\"\"Blocks the event loop of its worker, as a badly written step type does.\"\"\"

        def __init__(self, settings):
            pass

        def execute(self, assignment):
            time.sleep(SECONDS)
            return Completed(None)
"""

#: Moves the wall clock of a Python process, and makes it jump once; the monotonic clock stays as it is.
CLOCK = """
    import datetime
    import os
    import time

    _true, _true_ns, _datetime = time.time, time.time_ns, datetime.datetime
    _begun, _shift, _jump, _after = _true(), {shift}, {jump}, {after}


    def _now():
        true = _true()
        return true + _shift + (_jump if true - _begun > _after else 0.0)


    class _Datetime(_datetime):
        @classmethod
        def now(cls, tz=None):
            return cls.fromtimestamp(_now(), tz)

        @classmethod
        def utcnow(cls):
            return cls.utcfromtimestamp(_now())


    time.time = _now
    time.time_ns = lambda: int(_now() * 1e9)
    datetime.datetime = _Datetime
"""

#: A release that writes messages of version 2, and reads both.
NEWER = """
    from dataclasses import replace

    from flowforge.engine import message

    _decode, _encode = message.decode, message.encode


    def decode(delivery):
        if delivery.fields.get("v") == b"2":
            delivery = replace(delivery, fields={**delivery.fields, "v": b"1"})
        return _decode(delivery)


    def encode(stream, row):
        entry = _encode(stream, row)
        return replace(entry, fields={**entry.fields, "v": b"2"})


    message.decode, message.encode = decode, encode
    message.is_newer = lambda delivery: False
"""


def step_type(folder: Path, name: str, code: str, attribute: str) -> str:
    """Install a step type for workers that have the returned folder on their PYTHONPATH."""
    place = folder / f"plugin-{name}"
    metadata = place / f"chaos_{name}-1.0.dist-info"
    metadata.mkdir(parents=True)
    (place / f"chaos_{name}.py").write_text(dedent(code))
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: chaos-{name}\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(f"[flowforge.steps]\n{name} = chaos_{name}:{attribute}\n")
    return str(place)


def clock(folder: Path, *, shift: float = 0.0, jump: float = 0.0, after: float = 0.0) -> str:
    """Make a wall clock that is wrong by *shift* seconds and jumps by *jump* when a worker is *after* seconds old."""
    place = folder / f"clock-{shift:g}-{jump:g}-{after:g}"
    place.mkdir()
    text = dedent(CLOCK).format(shift=shift, jump=jump, after=after)
    (place / "sitecustomize.py").write_text(text)
    return str(place)


def newer_release(folder: Path) -> str:
    """Make workers of the release after this one, as far as their messages are concerned."""
    place = folder / "newer"
    place.mkdir()
    (place / "sitecustomize.py").write_text(dedent(NEWER))
    return str(place)
