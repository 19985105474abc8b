"""Postgres: the committed state machine, its history and its outbox. Persists decisions in sets, decides nothing."""
