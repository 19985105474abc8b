"""What is asked about many runs at once, as SQL: aggregates that Postgres computes, over a read-only connection."""
