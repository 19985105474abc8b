"""What a shell completes words with: the names that an installation has now, read quickly or not at all.

One synchronous connection and one statement with a deadline: whoever presses TAB waits for it. It imports the driver
and nothing else, because imports are most of the time that there is.
"""

from __future__ import annotations

import psycopg

from flowforge.store import queues

SCHEMA = "flowforge"

#: Milliseconds of a statement, seconds of a connection, and candidates that are offered.
DEADLINE, CONNECT, MOST = 150, 1, 50
#: Digits of a whole id of a run.
FULL = 32

#: By kind; each gives a word and what is said about it, for words that begin, or ids that also end, with what is typed.
QUERIES = {
    "runs": """
        SELECT CASE WHEN r.id::text LIKE %(typed)s || '%%' AND %(typed)s <> '' THEN r.id::text
                    ELSE right(replace(r.id::text, '-', ''), 8) END, w.name || ' ' || r.status
        FROM (SELECT id, status, workflow_id FROM runs ORDER BY id DESC LIMIT 2000) AS r
        JOIN workflows w ON w.id = r.workflow_id
        WHERE r.id::text LIKE %(typed)s || '%%' OR right(replace(r.id::text, '-', ''), 8) LIKE %(typed)s || '%%'
        ORDER BY r.id DESC LIMIT %(most)s""",
    "workflows": """
        SELECT name, NULL FROM workflows WHERE starts_with(name, %(typed)s) ORDER BY name LIMIT %(most)s""",
    "versions": """
        SELECT w.name || '@' || v.version, v.status::text
        FROM workflow_versions v JOIN workflows w ON w.id = v.workflow_id
        WHERE w.name = split_part(%(typed)s, '@', 1) AND starts_with(v.version::text, split_part(%(typed)s, '@', 2))
        ORDER BY v.version DESC LIMIT %(most)s""",
    "incidents": """
        SELECT id::text, workflow || coalesce(' ' || step, '') || ' ' || kind FROM incidents
        WHERE resolved_at IS NULL AND starts_with(id::text, %(typed)s) ORDER BY last_seen DESC LIMIT %(most)s""",
    "steps": """
        SELECT DISTINCT s.step_id, NULL FROM workflow_steps s
        WHERE starts_with(s.step_id, %(typed)s) AND (%(workflow)s::text IS NULL OR s.version_id IN (
            SELECT v.id FROM workflow_versions v JOIN workflows w ON w.id = v.workflow_id WHERE w.name = %(workflow)s))
          AND (%(run)s::text IS NULL OR s.version_id IN (
            (SELECT version_id FROM runs WHERE %(run)s = '@last' ORDER BY id DESC LIMIT 1)
            UNION (SELECT version_id FROM runs WHERE %(run)s = '@last-failed' AND status = 'failed'
                   ORDER BY id DESC LIMIT 1)
            UNION (SELECT version_id FROM runs WHERE id BETWEEN %(first)s::uuid AND %(last)s::uuid
                   ORDER BY id DESC LIMIT 1)
            UNION SELECT r.version_id FROM (SELECT id, version_id FROM runs ORDER BY id DESC LIMIT 2000) AS r
            WHERE right(replace(r.id::text, '-', ''), length(%(run)s)) = %(run)s))
        ORDER BY 1 LIMIT %(most)s""",
    "queues": f"""
        SELECT name, NULL FROM ({queues.KNOWN}) AS known (name)
        WHERE starts_with(name, %(typed)s) ORDER BY 1 LIMIT %(most)s""",  # noqa: S608 - constants only
    "workers": """
        SELECT id, status FROM workers WHERE status <> 'stopped' AND starts_with(id, %(typed)s)
        ORDER BY id LIMIT %(most)s""",
}


def candidates(
    url: str, kind: str, typed: str, *, workflow: str | None = None, run: str | None = None
) -> list[tuple[str, str]]:
    """Return words of a kind that go on with what is typed, each with a description; nothing when anything is wrong.

    Steps are those of a workflow's versions, or of the version of *run*: an id, a part of one, @last or @last-failed.
    """
    options = f"-c search_path={SCHEMA} -c statement_timeout={DEADLINE} -c default_transaction_read_only=on"
    pattern = typed.replace("\\", "\\\\").replace("%", r"\%").replace("_", r"\_") if kind == "runs" else typed
    digits = "" if run is None else run.replace("-", "")
    whole = len(digits) <= FULL and not set(digits) - set("0123456789abcdef")
    parameters = {
        "typed": pattern,
        "most": MOST,
        "workflow": workflow,
        "run": digits if whole and digits else run,
        "first": digits.ljust(FULL, "0") if whole and digits else None,
        "last": digits.ljust(FULL, "f") if whole and digits else None,
    }
    try:
        with psycopg.connect(url, connect_timeout=CONNECT, options=options) as connection:
            rows = connection.execute(QUERIES[kind].encode(), parameters).fetchall()
    except psycopg.Error:
        return []
    return [(str(word), str(text or "")) for word, text in rows]
