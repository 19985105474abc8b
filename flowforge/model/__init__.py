"""The pure core: definitions, plans, states and decisions, without clock, randomness or I/O."""
