"""What an operator can do to runs: what it means, what it would change, and doing it."""
