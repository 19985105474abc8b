"""The commands, one group per module; each is imported when it is called, and imports what it needs inside."""
