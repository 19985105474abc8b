"""The child process of a worker: ties its life to the worker's, limits itself, then serves calls.

Started as `python -m flowforge.steps.python_child SOCKET PARENT OPTIONS`, never forked from the worker. The tie
comes before everything that takes time. The signal is bound to the worker's *thread* that started the child, which
is the one its event loop runs in; a worker runs its loop in the main thread.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import sys

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_SIGKILL = 9


def main() -> None:
    """Serve calls on the socket until it closes."""
    parent = int(sys.argv[2])
    tie(parent)
    import json

    options = json.loads(sys.argv[3])
    confine(options)
    from flowforge.steps import python_serve

    python_serve.serve(int(sys.argv[1]), options)


def tie(parent: int) -> None:
    """Die with the worker, whatever it dies of."""
    if sys.platform == "linux":
        libc = ctypes.CDLL(None, use_errno=True)
        libc.prctl(_PR_SET_PDEATHSIG, _SIGKILL, 0, 0, 0)
        # Processes that detach from the function become children of this one, where the worker finds them.
        libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    else:
        _watch(parent)
    if os.getppid() != parent:  # the worker died before the tie was made
        os._exit(1)


def confine(options: dict[str, int | None]) -> None:
    """Set the limits that the installation asks for; no core dumps in any case."""
    import resource

    limits = {
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_AS: options.get("memory_bytes"),
        resource.RLIMIT_FSIZE: options.get("file_bytes"),
        resource.RLIMIT_NOFILE: options.get("open_files"),
    }
    for kind, wanted in limits.items():
        if wanted is None:
            continue
        hard = resource.getrlimit(kind)[1]
        value = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        # macOS knows limits that it does not let anyone set.
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(kind, (value, value))


def _watch(parent: int) -> None:
    """Do by polling what Linux does by a signal."""
    import threading
    import time

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os.killpg(0, _SIGKILL)

    threading.Thread(target=watch, name="flowforge-tie", daemon=True).start()


if __name__ == "__main__":
    main()
