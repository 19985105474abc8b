"""How screens keep up: a client that reconnects, and what it brings."""
