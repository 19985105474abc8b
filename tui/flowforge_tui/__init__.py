"""The package of the terminal dashboard, `flowforge top`. It holds nothing yet."""
