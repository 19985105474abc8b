"""Widgets that every screen shares, one a file."""
