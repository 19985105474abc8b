"""The engine: loops that load a part of the truth, ask the model what follows, and persist it in sets."""
