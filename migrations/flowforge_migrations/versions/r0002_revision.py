"""What lets a transition be written without locking the run first, and with less work.

Workers of the release before must have stopped: they would change runs without counting it.

- `revision` counts the decisions that changed a run: whoever writes one states the revision it was made on.
- `rows_ahead` says that a step may have a row although nothing before it is final; otherwise a worker knows without
  looking that a step it has not reached was never touched.
- Inputs, outputs and events are stored as the text they were written as: nothing looks into them on the way, and
  numbers and the order of keys stay as they were given.
- Active runs have an index of their own, failed and cancelled ones another: completed runs, nearly all there are,
  leave the first and never enter the second.
- Dispatches are found by their lane: a relay publishes those of the lanes that its worker serves.
- Runs and steps are vacuumed less often and less hastily: nearly all dead rows are pruned by the next update of their
  page, and a vacuum at full speed took one of two cores for seconds.
"""

from __future__ import annotations

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

EVENTS = """
CREATE VIEW events AS
    SELECT e.run_id, e.seq + (item.position - 1)::integer AS seq, item.event ->> 'type' AS type,
           item.event ->> 'step' AS step, (item.event ->> 'attempt')::integer AS attempt, e.at,
           coalesce(item.event -> 'data', '{{}}') AS data
    FROM run_events e, {json}_array_elements(e.events) WITH ORDINALITY AS item (event, position);
"""

#: Runs that exist may have been retried, so nothing is taken for granted about them.
UPGRADE = f"""
DROP VIEW events;
ALTER TABLE runs
    ADD COLUMN revision integer NOT NULL DEFAULT 0,
    ADD COLUMN rows_ahead boolean NOT NULL DEFAULT true,
    ALTER COLUMN input TYPE json USING input::json,
    ALTER COLUMN output TYPE json USING output::json;
ALTER TABLE runs ALTER COLUMN rows_ahead SET DEFAULT false;
ALTER TABLE steps ALTER COLUMN output TYPE json USING output::json;
ALTER TABLE run_events ALTER COLUMN events TYPE json USING events::json;
{EVENTS.format(json="json")}
DROP INDEX runs_not_completed;
CREATE INDEX runs_active ON runs (workflow_id, status, id) WHERE finished_at IS NULL;
CREATE INDEX runs_unsuccessful ON runs (status, id) WHERE status IN ('failed', 'cancelled');
ALTER TABLE outbox DROP CONSTRAINT outbox_pkey, ADD PRIMARY KEY (lane, id);
ALTER TABLE runs RESET (autovacuum_vacuum_cost_delay);
ALTER TABLE runs SET (autovacuum_vacuum_scale_factor = 0.1);
ALTER TABLE steps RESET (autovacuum_vacuum_cost_delay);
ALTER TABLE steps SET (autovacuum_vacuum_scale_factor = 0.1);
"""

DOWNGRADE = f"""
DROP VIEW events;
ALTER TABLE outbox DROP CONSTRAINT outbox_pkey, ADD PRIMARY KEY (id);
ALTER TABLE runs SET (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 0);
ALTER TABLE steps SET (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 0);
DROP INDEX runs_active;
DROP INDEX runs_unsuccessful;
CREATE INDEX runs_not_completed ON runs (status, id) WHERE status <> 'completed';
ALTER TABLE run_events ALTER COLUMN events TYPE jsonb USING events::jsonb;
ALTER TABLE steps ALTER COLUMN output TYPE jsonb USING output::jsonb;
ALTER TABLE runs
    DROP COLUMN revision,
    DROP COLUMN rows_ahead,
    ALTER COLUMN input TYPE jsonb USING input::jsonb,
    ALTER COLUMN output TYPE jsonb USING output::jsonb;
{EVENTS.format(json="jsonb")}
"""


def upgrade() -> None:
    """Add the columns and change the types; rewrites the tables, so it takes as long as copying them."""
    op.execute(UPGRADE)


def downgrade() -> None:
    """Go back."""
    op.execute(DOWNGRADE)
