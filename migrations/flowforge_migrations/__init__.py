"""The versions of the database schema, applied by `flowforge db upgrade`; shipped in the wheel."""
