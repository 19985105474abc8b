"""The settings of the local Postgres: safe first, then small and quiet, then fast on two cores.

They are given on the command line, so every start has exactly these and no file in the data folder is edited;
an operator's ALTER SYSTEM applies to everything that is not listed here.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

from flowforge.local.binaries import Program

#: The majors that brought asynchronous I/O, and lz4 for the WAL.
_ASYNCHRONOUS_IO = 18
_WAL_LZ4 = 15

_SETTINGS = {
    # Reachable through the Unix socket in a private folder, and in no other way.
    "listen_addresses": "",
    "port": "5432",  # only part of the socket's name
    "unix_socket_permissions": "0700",
    # Durable: an answered commit is on disk.
    "fsync": "on",
    "synchronous_commit": "on",
    "full_page_writes": "on",
    # Memory: our working set (live runs, outbox, recent events) fits; a laptop keeps the rest.
    "shared_buffers": "128MB",
    "work_mem": "8MB",
    "maintenance_work_mem": "64MB",
    "huge_pages": "off",  # "try" dies with SIGBUS in containers whose huge-page limit is zero
    "max_connections": "100",
    # systemd removes a user's POSIX shared memory at logout; what lies in the main segment stays.
    "min_dynamic_shared_memory": "16MB",
    # WAL: no replica and no archive, so the smallest level; rare checkpoints, since each makes every page be
    # written whole once more; at most 1 GB to recover from, some ten seconds.
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "checkpoint_timeout": "15min",
    "max_wal_size": "1GB",
    "min_wal_size": "128MB",  # recycled segments: creating one stalls a commit
    # Planner and workers: small indexed statements on two cores gain nothing from parallel plans or a JIT.
    "jit": "off",
    "max_worker_processes": "4",
    "max_parallel_workers_per_gather": "0",
    "random_page_cost": "1.1",  # nobody runs this on spinning disks
    # Outbox and step rows churn: look often. A look costs a few milliseconds when there is nothing to do.
    "autovacuum_naptime": "30s",
    # A worker killed with SIGKILL while its statement waits for a lock must not keep its own locks.
    "client_connection_check_interval": "5s",
    # The log is a file without rotation while the server runs: starts, stops and crashes go there; errors of
    # statements go to the client that sent them.
    "log_min_messages": "log",
    "log_checkpoints": "off",
    "log_timezone": "UTC",
    "timezone": "UTC",
    "lc_messages": "C",  # start errors are looked for in the log
}


def postgres_settings(program: Program, data: Path) -> dict[str, str]:
    """The settings for this build of Postgres on this data folder."""
    settings = dict(_SETTINGS)
    if program.major >= _ASYNCHRONOUS_IO:
        # Three processes fewer: asynchronous reads pay off for large scans, which we do not do.
        settings["io_method"] = "sync"
    if _has_lz4(program.path, data):
        # Several times cheaper than pglz: JSON inputs and outputs, and whole pages in the WAL.
        settings["default_toast_compression"] = "lz4"
        if program.major >= _WAL_LZ4:
            settings["wal_compression"] = "lz4"
    if _has_library(program.path, "pg_stat_statements"):
        settings["shared_preload_libraries"] = "pg_stat_statements"
    return settings


def _has_lz4(program: Path, data: Path) -> bool:
    """Ask the program itself: it refuses a value it was not built for (2 ms)."""
    name = "default_toast_compression"
    probe = [str(program), "-D", str(data), "-C", name, "-c", f"{name}=lz4"]
    return subprocess.run(probe, capture_output=True, check=False).returncode == 0


def _has_library(program: Path, name: str) -> bool:
    lib = program.parent.parent / "lib"
    return any((folder / f"{name}.so").exists() for folder in (lib, lib / "postgresql"))
