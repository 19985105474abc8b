"""Runs of other installations, to be looked at: a table of their own, so that nothing here ever takes one for a run.

Each row holds a capsule as its file does. The columns beside it are what lists and references need.
"""

from __future__ import annotations

from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

UPGRADE = """
CREATE TABLE imported_runs (
    id uuid PRIMARY KEY,
    workflow text NOT NULL,
    version integer NOT NULL,
    status text NOT NULL,
    created_at timestamptz NOT NULL,
    finished_at timestamptz,
    exported_at timestamptz NOT NULL,
    imported_at timestamptz NOT NULL DEFAULT now(),
    imported_by text NOT NULL,
    capsule bytea NOT NULL
);
ALTER TABLE imported_runs ALTER COLUMN capsule SET STORAGE EXTERNAL;
CREATE INDEX imported_runs_by_time ON imported_runs (imported_at DESC);
"""

DOWNGRADE = "DROP TABLE imported_runs"


def upgrade() -> None:
    """Add the table."""
    op.execute(UPGRADE)


def downgrade() -> None:
    """Go back; imported runs are lost, their files are not."""
    op.execute(DOWNGRADE)
