"""Holding a workflow or a queue: a kill switch that is durable, and says who turned it and why.

Workers of the release before do not look at it: stop them first.

- `pauses` has a row for each time something was held; what was not resumed is held now, the others are the record.
- Runs of a workflow without a gate can wait too, namely for a pause to end: they have an index of their own, which
  running runs are never in.
- A worker says how many child processes it has for python steps, so that one can see when they are all taken.
"""

from __future__ import annotations

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

UPGRADE = """
CREATE TABLE pauses (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind text NOT NULL CHECK (kind IN ('workflow', 'queue')),
    name text NOT NULL,
    workflow_id bigint,
    paused_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    paused_by text NOT NULL,
    reason text,
    resumed_at timestamptz,
    resumed_by text,
    resume_reason text,
    CONSTRAINT pauses_workflow CHECK ((kind = 'workflow') = (workflow_id IS NOT NULL)),
    CONSTRAINT pauses_resumed CHECK ((resumed_at IS NULL) = (resumed_by IS NULL))
);
CREATE UNIQUE INDEX pauses_open ON pauses (kind, name) WHERE resumed_at IS NULL;
CREATE INDEX pauses_of_workflows ON pauses (workflow_id) WHERE resumed_at IS NULL AND workflow_id IS NOT NULL;
CREATE INDEX pauses_by_name ON pauses (kind, name, id);
CREATE INDEX runs_to_admit ON runs (workflow_id, id)
    WHERE gate_id IS NULL AND finished_at IS NULL AND status = 'pending';
ALTER TABLE workers ADD COLUMN python_processes integer;
"""

#: Runs that a pause holds back would wait for ever.
DOWNGRADE = """
DO $$
BEGIN
    IF EXISTS (SELECT FROM runs WHERE gate_id IS NULL AND finished_at IS NULL AND status = 'pending') THEN
        RAISE EXCEPTION 'runs are held back by paused workflows: resume or cancel them first';
    END IF;
END $$;
DROP INDEX runs_to_admit;
ALTER TABLE workers DROP COLUMN python_processes;
DROP TABLE pauses;
"""


def upgrade() -> None:
    """Create the table; the index is built over all runs."""
    op.execute(UPGRADE)


def downgrade() -> None:
    """Drop them, with the record; refused while runs are held back."""
    op.execute(DOWNGRADE)
