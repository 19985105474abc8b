"""The revision of a run: what lets a decision be written without locking the run first.

`rows_ahead` says that a step may have a row although nothing before it is final; otherwise a worker knows without
looking that a step it has not reached was never touched.
"""

from __future__ import annotations

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

UPGRADE = """
ALTER TABLE runs
    ADD COLUMN revision integer NOT NULL DEFAULT 0,
    ADD COLUMN rows_ahead boolean NOT NULL DEFAULT true;
ALTER TABLE runs ALTER COLUMN rows_ahead SET DEFAULT false;
"""

DOWNGRADE = "ALTER TABLE runs DROP COLUMN revision, DROP COLUMN rows_ahead"


def upgrade() -> None:
    """Add the columns; runs that exist may have been retried, so nothing is taken for granted about them."""
    op.execute(UPGRADE)


def downgrade() -> None:
    """Remove the columns."""
    op.execute(DOWNGRADE)
