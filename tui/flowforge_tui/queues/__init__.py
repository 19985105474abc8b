"""Queues, workers and the health of what lies between."""
