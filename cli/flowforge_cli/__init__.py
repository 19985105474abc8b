"""The command line: parses, calls the client, renders. It holds no SQL, no Redis and no decisions."""
