"""Runs are indexed by how long they took from a second on.

The index of all durations is written at a random place by every run that ends: with two million finished runs, each end
touched a page of its own, and a checkpoint later wrote it to the log as a whole. That cost a database with such a
history 6 to 8 % of its throughput. Runs that take a second or more come a few hundred a second at most, and they are
those that somebody looks for by their length; the shorter ones are sorted among the newest.
"""

from __future__ import annotations

from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

UPGRADE = """
DROP INDEX runs_by_duration;
CREATE INDEX runs_long_by_duration ON runs ((finished_at - started_at), id)
    WHERE finished_at - started_at >= interval '1 second';
"""

DOWNGRADE = """
DROP INDEX runs_long_by_duration;
CREATE INDEX runs_by_duration ON runs ((finished_at - started_at), id) WHERE finished_at IS NOT NULL;
"""


def upgrade() -> None:
    """Exchange the index; it is built over all runs, which takes some seconds for a million."""
    op.execute(UPGRADE)


def downgrade() -> None:
    """Index all durations again."""
    op.execute(DOWNGRADE)
