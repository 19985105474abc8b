"""What has no receipt yet, in a table of its own, so that a run's row is not rewritten when it gets one.

A partial index over `runs` made the mark an update that no page could take heap-only: every receipt cost an entry in
each of the indexes of `runs`. Now the transition that ends a run adds a row to `receipts_due`, and whoever makes the
receipt deletes it. Which end a receipt is about stands beside the receipt; of earlier receipts of a run that was
retried, it is not known.
"""

from __future__ import annotations

from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

UPGRADE = """
CREATE TABLE receipts_due (
    finished_at timestamptz NOT NULL,
    run_id uuid NOT NULL,
    PRIMARY KEY (finished_at, run_id)
) WITH (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 0);
INSERT INTO receipts_due (finished_at, run_id)
SELECT finished_at, id FROM runs WHERE finished_at IS NOT NULL AND receipt_for IS DISTINCT FROM finished_at;

ALTER TABLE receipts ADD COLUMN finished_at timestamptz;
UPDATE receipts p SET finished_at = r.receipt_for
FROM runs r WHERE r.id = p.run_id AND p.run_receipt_no = (
    SELECT max(q.run_receipt_no) FROM receipts q WHERE q.run_id = p.run_id);

DROP INDEX runs_without_receipt;
ALTER TABLE runs DROP COLUMN receipt_for;
"""

DOWNGRADE = """
ALTER TABLE runs ADD COLUMN receipt_for timestamptz;
UPDATE runs r SET receipt_for = p.finished_at
FROM (SELECT run_id, max(finished_at) AS finished_at FROM receipts GROUP BY run_id) AS p WHERE p.run_id = r.id;
CREATE INDEX runs_without_receipt ON runs (finished_at)
    WHERE finished_at IS NOT NULL AND receipt_for IS DISTINCT FROM finished_at;
ALTER TABLE receipts DROP COLUMN finished_at;
DROP TABLE receipts_due;
"""


def upgrade() -> None:
    """Move the mark; every run with a receipt is looked at once."""
    op.execute(UPGRADE)


def downgrade() -> None:
    """Move it back; every such run is rewritten."""
    op.execute(DOWNGRADE)
