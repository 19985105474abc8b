"""Runs of other installations, to be looked at."""
