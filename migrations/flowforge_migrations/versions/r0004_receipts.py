"""Receipts: a signed record of every run that has ended, chained for each tenant.

- `receipt_for` is the end (`finished_at`) that a run's newest receipt is about. A run that was retried has another
  end, or none, so nothing has to be reset; runs without a receipt are found by a partial index that those with one
  leave. Runs that ended before get theirs soon after the upgrade.
- `receipts` keeps bodies as they were signed; they are not compressed, which would take longer than making them.
- `receipt_batches` keeps what vouches for a batch: the hashes under its root, and the root's signature.
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
    hashes bytea NOT NULL,
    signature bytea NOT NULL,
    created_at timestamptz NOT NULL
);

CREATE TABLE receipts (
    run_id uuid NOT NULL,
    run_receipt_no integer NOT NULL CHECK (run_receipt_no > 0),
    tenant text NOT NULL,
    no bigint NOT NULL,
    batch_id bigint NOT NULL,
    position integer NOT NULL,
    body text NOT NULL,
    PRIMARY KEY (run_id, run_receipt_no),
    UNIQUE (tenant, no)
) WITH (toast_tuple_target = 8160);
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
