"""FlowForge: durable workflows on Postgres and Redis Streams, with the operator in mind."""

__version__ = "0.1.0"
