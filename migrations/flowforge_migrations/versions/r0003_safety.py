"""What failing safely needs: signals and decisions, incidents, child runs, idempotency keys that run out.

Workers of the release before must have stopped: they know neither the new steps nor the new name of `label`.

- `label` holds what a step is told by its outcome: a branch, the name of a signal, the number of a foreach's items.
- Steps that wait may have open dependencies: a foreach waits for its items, an approval for decisions. So may running
  ones: what they are about to wait for has come already.
- `signals` keeps what came for a run from outside, until a step takes it and after that.
- `incidents` counts what a person has to look at, one row for the same thing over and over, until it is resolved.
- A run that a step started knows that step.
- An idempotency key that has run out is released by forgetting the digest of its input, and can be used again.
"""

from __future__ import annotations

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

UPGRADE = """
ALTER TABLE steps RENAME COLUMN branch TO label;
ALTER TABLE steps DROP CONSTRAINT steps_ready, ADD CONSTRAINT steps_ready
    CHECK (open_dependencies = 0 OR status NOT IN ('queued', 'completed', 'compensated')) NOT VALID;
ALTER TABLE runs
    ADD COLUMN parent_run_id uuid,
    ADD COLUMN parent_step_no integer,
    ADD CONSTRAINT runs_parent CHECK ((parent_run_id IS NULL) = (parent_step_no IS NULL)) NOT VALID;
CREATE INDEX runs_by_parent ON runs (parent_run_id, parent_step_no, id) WHERE parent_run_id IS NOT NULL;
DROP INDEX runs_by_idempotency_key;
CREATE UNIQUE INDEX runs_by_idempotency_key ON runs (workflow_id, idempotency_key)
    WHERE idempotency_key IS NOT NULL AND input_digest IS NOT NULL;

CREATE TABLE signals (
    run_id uuid NOT NULL,
    no integer NOT NULL,
    step_no integer,
    kind text NOT NULL,
    name text NOT NULL,
    actor text NOT NULL,
    at timestamptz NOT NULL,
    payload json NOT NULL,
    PRIMARY KEY (run_id, no)
);

CREATE TABLE incidents (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    fingerprint text NOT NULL,
    kind text NOT NULL,
    workflow text NOT NULL,
    run_id uuid NOT NULL,
    step text,
    error jsonb NOT NULL,
    count integer NOT NULL,
    first_seen timestamptz NOT NULL,
    last_seen timestamptz NOT NULL,
    notified_at timestamptz,
    resolved_at timestamptz,
    resolved_by text,
    resolution text,
    CONSTRAINT incidents_resolved CHECK ((resolved_at IS NULL) = (resolved_by IS NULL))
) WITH (fillfactor = 70);
CREATE UNIQUE INDEX incidents_open ON incidents (fingerprint) WHERE resolved_at IS NULL;
CREATE INDEX incidents_to_notify ON incidents (id) WHERE notified_at IS NULL;
"""

DOWNGRADE = """
DROP TABLE signals, incidents;
DROP INDEX runs_by_idempotency_key;
UPDATE runs SET idempotency_key = NULL WHERE idempotency_key IS NOT NULL AND input_digest IS NULL;
CREATE UNIQUE INDEX runs_by_idempotency_key ON runs (workflow_id, idempotency_key) WHERE idempotency_key IS NOT NULL;
DROP INDEX runs_by_parent;
ALTER TABLE runs DROP CONSTRAINT runs_parent, DROP COLUMN parent_run_id, DROP COLUMN parent_step_no;
UPDATE steps SET open_dependencies = 0 WHERE open_dependencies > 0 AND status IN ('waiting', 'running');
ALTER TABLE steps DROP CONSTRAINT steps_ready, ADD CONSTRAINT steps_ready
    CHECK (open_dependencies = 0 OR status IN ('pending', 'cancelled', 'failed', 'skipped'));
ALTER TABLE steps RENAME COLUMN label TO branch;
"""


def upgrade() -> None:
    """Add the tables and columns; nothing is rewritten."""
    op.execute(UPGRADE)


def downgrade() -> None:
    """Go back; signals and incidents are lost, and so are idempotency keys that have run out."""
    op.execute(DOWNGRADE)
