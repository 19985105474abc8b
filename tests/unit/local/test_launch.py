"""Logs do not grow for ever, daemons inherit nothing, and the import is cheap."""

from __future__ import annotations

import subprocess
import sys

from flowforge.local.launch import LOG_LIMIT, Log, environment


def test_a_small_log_is_continued(tmp_path):
    """The error of this start does not quote the last one."""
    path = tmp_path / "x.log"
    path.write_text("yesterday\n")
    log = Log.begin(path)
    log.note("today\n")
    assert path.read_text() == "yesterday\ntoday\n"
    assert log.tail() == "today\n"


def test_a_large_log_is_put_aside(tmp_path):
    """One generation is kept."""
    path = tmp_path / "x.log"
    path.write_bytes(bytes(LOG_LIMIT + 1))
    log = Log.begin(path)
    log.note("today\n")
    assert path.read_text() == "today\n"
    assert (tmp_path / "x.log.1").stat().st_size == LOG_LIMIT + 1


def test_a_log_that_was_never_written_has_no_end(tmp_path):
    """A server may die before its first word."""
    assert Log.begin(tmp_path / "x.log").tail() == ""


def test_servers_inherit_none_of_our_settings(monkeypatch):
    """PGDATA or LC_ALL of a shell would silently change what is created."""
    for name in ("PGDATA", "PGOPTIONS", "PGPORT", "LC_MESSAGES", "LANG", "TZ"):
        monkeypatch.setenv(name, "ours")
    assert "ours" not in environment().values()


def test_the_import_loads_no_driver_and_starts_nothing():
    """Every command imports it, also those that need no server."""
    code = (
        "import sys; before = set(sys.modules); import flowforge.local; "
        "heavy = {'sqlalchemy', 'redis', 'psycopg', 'platformdirs', 'subprocess', 'tempfile', 'socket', 'shutil'}; "
        "sys.exit(' '.join(heavy & set(sys.modules) - before) or None)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
