"""What finds runs on a database of millions: an index for each question, most of them for the few runs it is about.

Indexes of `runs` cost every run; so nearly all here are partial, and hold what is rare: errors, replays, runs that were
not started by hand, steps that failed. `error` is set once at most in the life of most runs, so updates stay heap-only.

- `run_keys` has what runs are found by that is no column: labels, and the fields of input and output that a
  definition declares (`search`). Its key is its only index, and is in the order in which lists are shown. Rows are
  written with the run, and never change.
- Ended runs are sorted by their end, and by how long they took.
- A version's runs are found without reading those of others.
"""

from __future__ import annotations

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

UPGRADE = """
CREATE TABLE run_keys (
    name text NOT NULL,
    value text NOT NULL,
    run_id uuid NOT NULL,
    PRIMARY KEY (name, value, run_id)
);
INSERT INTO run_keys (name, value, run_id)
    SELECT 'label.' || l.key, l.value, r.id FROM runs r, jsonb_each_text(r.labels) AS l
    WHERE r.labels IS NOT NULL AND length(l.key) <= 200 AND length(l.value) <= 200;

CREATE INDEX runs_by_version ON runs (version_id, id);
CREATE INDEX runs_by_end ON runs (finished_at, id) WHERE finished_at IS NOT NULL;
CREATE INDEX runs_by_duration ON runs ((finished_at - started_at), id) WHERE finished_at IS NOT NULL;
CREATE INDEX runs_by_error ON runs ((error ->> 'code'), id) WHERE error IS NOT NULL;
CREATE INDEX runs_unsuccessful_by_workflow ON runs (workflow_id, status, id) WHERE status IN ('failed', 'cancelled');
CREATE INDEX runs_by_replay ON runs (replay_of, id) WHERE replay_of IS NOT NULL;
CREATE INDEX runs_by_trigger ON runs (trigger, id) WHERE trigger NOT IN ('api', 'cli');
CREATE INDEX steps_with_error ON steps (step_no, run_id) WHERE error IS NOT NULL;
CREATE INDEX workflow_steps_by_id ON workflow_steps (step_id, version_id);
"""

DOWNGRADE = """
DROP TABLE run_keys;
DROP INDEX runs_by_version, runs_by_end, runs_by_duration, runs_by_error, runs_unsuccessful_by_workflow, runs_by_replay,
    runs_by_trigger, steps_with_error, workflow_steps_by_id;
"""


def upgrade() -> None:
    """Create them; the indexes are built over all runs, which takes some seconds for a million."""
    op.execute(UPGRADE)


def downgrade() -> None:
    """Drop them."""
    op.execute(DOWNGRADE)
