"""The engine's tables: workflows, runs, steps, events, outbox, gates, workers, logs.

What makes the hot tables fast, and must stay so: `steps` has no index but its key, and the columns that change
often on `runs` are in no index, so nearly every transition is a heap-only update; rows keep room for that
(fillfactor); the outbox is a set that is emptied by deletes; there are no foreign keys on hot tables, because
each check would lock the one busy row of a workflow version.
"""

from __future__ import annotations

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

UPGRADE = """
CREATE TYPE run_status AS ENUM (
    'pending', 'running', 'paused', 'cancelling', 'compensating', 'completed', 'failed', 'cancelled');
CREATE TYPE step_status AS ENUM (
    'pending', 'queued', 'running', 'waiting', 'completed', 'failed', 'cancelled', 'skipped', 'compensated');
CREATE TYPE version_status AS ENUM ('draft', 'published', 'archived');

CREATE TABLE installation (
    id uuid NOT NULL DEFAULT gen_random_uuid(),
    created_at timestamptz NOT NULL DEFAULT now(),
    only_one boolean PRIMARY KEY DEFAULT true CHECK (only_one)
);
INSERT INTO installation DEFAULT VALUES;

CREATE TABLE workflows (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name text NOT NULL UNIQUE,
    created_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE workflow_versions (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    workflow_id bigint NOT NULL REFERENCES workflows,
    version integer NOT NULL CHECK (version > 0),
    status version_status NOT NULL,
    digest text NOT NULL,
    definition jsonb NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    published_at timestamptz,
    archived_at timestamptz,
    UNIQUE (workflow_id, version),
    CHECK ((status = 'draft') = (published_at IS NULL))
);
CREATE UNIQUE INDEX workflow_versions_one_draft ON workflow_versions (workflow_id) WHERE status = 'draft';

CREATE TABLE workflow_steps (
    version_id bigint NOT NULL REFERENCES workflow_versions ON DELETE CASCADE,
    step_no integer NOT NULL,
    step_id text NOT NULL,
    name text NOT NULL,
    type text NOT NULL,
    PRIMARY KEY (version_id, step_no)
);

CREATE TABLE gates (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    workflow_id bigint NOT NULL REFERENCES workflows,
    key text NOT NULL DEFAULT '',
    max_active integer NOT NULL CHECK (max_active > 0),
    UNIQUE (workflow_id, key)
);

CREATE TABLE runs (
    id uuid PRIMARY KEY,
    workflow_id bigint NOT NULL,
    version_id bigint NOT NULL,
    gate_id bigint,
    priority smallint NOT NULL DEFAULT 0,
    status run_status NOT NULL,
    seq integer NOT NULL,
    open_steps integer NOT NULL CHECK (open_steps >= 0),
    output_bytes integer NOT NULL DEFAULT 0,
    created_at timestamptz NOT NULL,
    started_at timestamptz,
    finished_at timestamptz,
    deadline_at timestamptz,
    wake_at timestamptz,
    trigger text NOT NULL,
    replay_of uuid,
    idempotency_key text,
    input_digest text,
    traceparent text,
    labels jsonb,
    input jsonb NOT NULL,
    output jsonb,
    error jsonb,
    CONSTRAINT runs_finished CHECK ((finished_at IS NOT NULL) = (status IN ('completed', 'failed', 'cancelled')))
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 0);
CREATE INDEX runs_by_workflow ON runs (workflow_id, id);
CREATE INDEX runs_at_gate ON runs (gate_id, status, priority DESC, id)
    WHERE gate_id IS NOT NULL AND finished_at IS NULL;
CREATE INDEX runs_to_wake ON runs (wake_at) WHERE wake_at IS NOT NULL;
CREATE INDEX runs_not_completed ON runs (status, id) WHERE status <> 'completed';
CREATE UNIQUE INDEX runs_by_idempotency_key ON runs (workflow_id, idempotency_key) WHERE idempotency_key IS NOT NULL;

CREATE TABLE steps (
    run_id uuid NOT NULL,
    step_no integer NOT NULL,
    status step_status NOT NULL,
    open_dependencies integer NOT NULL,
    skipped_dependencies integer NOT NULL,
    attempt integer NOT NULL,
    failures integer NOT NULL,
    crashes integer NOT NULL,
    token integer NOT NULL,
    dispatch_no integer NOT NULL,
    worker text,
    due_at timestamptz,
    queued_at timestamptz,
    started_at timestamptz,
    finished_at timestamptz,
    cancel_requested boolean NOT NULL,
    branch text,
    error jsonb,
    output jsonb,
    progress jsonb,
    PRIMARY KEY (run_id, step_no),
    CONSTRAINT steps_dependencies CHECK (open_dependencies >= 0 AND skipped_dependencies >= 0),
    CONSTRAINT steps_leased CHECK (status <> 'running' OR (worker IS NOT NULL AND due_at IS NOT NULL)),
    CONSTRAINT steps_ready CHECK (open_dependencies = 0 OR status IN ('pending', 'cancelled', 'failed', 'skipped'))
) WITH (fillfactor = 60, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 0);

CREATE TABLE run_events (
    run_id uuid NOT NULL,
    seq integer NOT NULL,
    at timestamptz NOT NULL,
    xid xid8 NOT NULL DEFAULT pg_current_xact_id(),
    events jsonb NOT NULL,
    PRIMARY KEY (run_id, seq)
) WITH (autovacuum_vacuum_insert_scale_factor = 0.1);
CREATE INDEX run_events_by_xid ON run_events (xid);
COMMENT ON TABLE run_events IS
    'One row per run and transaction, holding the events it caused; seq is the number of the first of them.';

CREATE VIEW events AS
    SELECT e.run_id, e.seq + (item.position - 1)::integer AS seq, item.event ->> 'type' AS type,
           item.event ->> 'step' AS step, (item.event ->> 'attempt')::integer AS attempt, e.at,
           coalesce(item.event -> 'data', '{}') AS data
    FROM run_events e, jsonb_array_elements(e.events) WITH ORDINALITY AS item (event, position);

CREATE TABLE outbox (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    lane text NOT NULL,
    run_id uuid NOT NULL,
    step_no integer NOT NULL,
    dispatch_no integer NOT NULL,
    traceparent text
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_cost_delay = 0);

CREATE TABLE workers (
    id text PRIMARY KEY,
    host text NOT NULL,
    pid integer NOT NULL,
    version text NOT NULL,
    queues text[] NOT NULL,
    step_types text[] NOT NULL,
    concurrency integer NOT NULL,
    lease interval NOT NULL,
    status text NOT NULL CHECK (status IN ('active', 'draining', 'stopped')),
    started_at timestamptz NOT NULL DEFAULT now(),
    seen_at timestamptz NOT NULL DEFAULT now()
) WITH (fillfactor = 50);

CREATE TABLE step_logs (
    run_id uuid NOT NULL,
    step_no integer NOT NULL,
    attempt integer NOT NULL,
    text text NOT NULL,
    PRIMARY KEY (run_id, step_no, attempt)
);

CREATE TABLE cursors (
    name text PRIMARY KEY,
    xid xid8 NOT NULL,
    value text,
    updated_at timestamptz NOT NULL DEFAULT now()
);
INSERT INTO cursors (name, xid) VALUES ('feed', '0');
"""

DOWNGRADE = """
DROP VIEW events;
DROP TABLE cursors, step_logs, workers, outbox, run_events, steps, runs, gates, workflow_steps, workflow_versions,
    workflows, installation;
DROP TYPE version_status;
DROP TYPE step_status;
DROP TYPE run_status;
"""


def upgrade() -> None:
    """Create everything."""
    op.execute(UPGRADE)


def downgrade() -> None:
    """Drop everything."""
    op.execute(DOWNGRADE)
