"""The screens of one run: its steps on a time axis, what they took and gave, its history, why it waits, a diff."""
