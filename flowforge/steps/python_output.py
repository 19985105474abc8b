"""What a child process prints: read from its pipe as it comes, handed to the attempt as lines, up to a limit.

The pipe is always read, also beyond the limit: a function must not stop because nobody listens.
"""

from __future__ import annotations

import asyncio
import codecs
import os
from collections.abc import Callable

#: Bytes of one read, and of all reads that empty the pipe after a call.
_CHUNK = 64 * 1024
_REST = 16 * _CHUNK
#: Characters of a line that is not handed on before it ends.
_LINE = 16 * 1024
#: Characters of the end of the output that a crash is reported with.
_TAIL = 2_000


class Output:
    """The reading end of one child's stdout and stderr."""

    def __init__(self, descriptor: int, limit: int) -> None:
        os.set_blocking(descriptor, False)
        self._descriptor: int | None = descriptor
        self._limit = limit
        self._log: Callable[[str], None] | None = None
        self._begin(None)
        asyncio.get_running_loop().add_reader(descriptor, self._ready)

    def attach(self, log: Callable[[str], None]) -> None:
        """Hand what is printed from now on to *log*."""
        self._drain()
        self._begin(log)

    def detach(self) -> None:
        """Hand over what is in the pipe, then stop; returns when everything printed so far is handed over."""
        self._drain()
        if self._log is not None:
            self._emit(self._decoder.decode(b"", final=True), last=True)
        self._log = None

    def close(self) -> None:
        """Read what is left and close the pipe."""
        self._drain()
        self.detach()
        if self._descriptor is not None:
            asyncio.get_running_loop().remove_reader(self._descriptor)
            os.close(self._descriptor)
            self._descriptor = None

    @property
    def tail(self) -> str:
        """The end of what the current attempt has printed."""
        return self._tail

    def _begin(self, log: Callable[[str], None] | None) -> None:
        self._log = log
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._line = ""
        self._tail = ""
        self._taken = 0

    def _ready(self) -> None:
        self._read()

    def _drain(self) -> None:
        for _ in range(_REST // _CHUNK):
            if not self._read():
                return

    def _read(self) -> bool:
        """Read once; say whether there was anything."""
        if self._descriptor is None:
            return False
        try:
            data = os.read(self._descriptor, _CHUNK)
        except BlockingIOError:
            return False
        if not data:
            asyncio.get_running_loop().remove_reader(self._descriptor)
            os.close(self._descriptor)
            self._descriptor = None
            return False
        if self._log is not None:
            self._take(data)
        return True

    def _take(self, data: bytes) -> None:
        left = self._limit - self._taken
        if left < 0:
            return
        self._taken += len(data)
        self._emit(self._decoder.decode(data[:left]))
        if len(data) > left:
            self._emit(f"\n[output truncated after {self._limit:,} bytes]\n", last=True)

    def _emit(self, text: str, *, last: bool = False) -> None:
        """Hand over whole lines; what is secret in them can be found there."""
        text = (self._line + text).replace("\0", "\ufffd")
        cut = len(text) if last or len(text) > _LINE else text.rfind("\n") + 1
        self._line = text[cut:]
        if cut and self._log is not None:
            self._tail = (self._tail + text[:cut])[-_TAIL:]
            self._log(text[:cut])
