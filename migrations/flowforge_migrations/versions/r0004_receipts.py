"""Receipts: a signed record of every run that has ended, chained for each tenant.

- `receipt_for` is the end (`finished_at`) that a run's newest receipt is about. A run that was retried has another
  end, or none, so nothing has to be reset; runs without a receipt are found by a partial index that those with one
  leave. Runs that ended before get theirs soon after the upgrade.
- `receipt_batches` keeps the receipts of a batch and what vouches for them: their bodies as they were signed, a line
  each, compressed together (a tenth of the disk and of the log that rows of their own would take), their hashes, and
  the signature of the root over these.
- `receipts` says in which batch, and where in it, a run's receipts are.
- `receipt_chains` has the head of each tenant's chain, so that it goes on although receipts are pruned.
- `receipt_keys` has every public key; the private one too, unless it is kept elsewhere.
"""

from __future__ import annotations

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

UPGRADE = """
ALTER TABLE runs ADD COLUMN receipt_for timestamptz;
CREATE INDEX runs_without_receipt ON runs (finished_at)
    WHERE finished_at IS NOT NULL AND receipt_for IS DISTINCT FROM finished_at;

CREATE TABLE receipt_keys (
    id text PRIMARY KEY,
    public_key bytea NOT NULL CHECK (length(public_key) = 32),
    private_key bytea CHECK (length(private_key) = 32),
    created_at timestamptz NOT NULL DEFAULT now(),
    retired_at timestamptz,
    CHECK (retired_at IS NULL OR private_key IS NULL)
);
CREATE UNIQUE INDEX receipt_keys_one_to_sign_with ON receipt_keys ((true)) WHERE private_key IS NOT NULL;

CREATE TABLE receipt_chains (
    tenant text PRIMARY KEY,
    no bigint NOT NULL,
    hash bytea NOT NULL
);

CREATE TABLE receipt_batches (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    key_id text NOT NULL REFERENCES receipt_keys,
    signature bytea NOT NULL,
    hashes bytea NOT NULL,
    bodies bytea NOT NULL,
    created_at timestamptz NOT NULL
);
ALTER TABLE receipt_batches ALTER COLUMN hashes SET STORAGE EXTERNAL, ALTER COLUMN bodies SET STORAGE EXTERNAL;

CREATE TABLE receipts (
    run_id uuid NOT NULL,
    run_receipt_no integer NOT NULL CHECK (run_receipt_no > 0),
    batch_id bigint NOT NULL,
    position integer NOT NULL,
    PRIMARY KEY (run_id, run_receipt_no)
);
"""

DOWNGRADE = """
DROP TABLE receipts, receipt_batches, receipt_chains, receipt_keys;
DROP INDEX runs_without_receipt;
ALTER TABLE runs DROP COLUMN receipt_for;
"""


def upgrade() -> None:
    """Create the tables; the index is built over all runs that have ended."""
    op.execute(UPGRADE)


def downgrade() -> None:
    """Drop them, with every receipt and key."""
    op.execute(DOWNGRADE)
