"""Step types: one executor a file."""
