"""What opens above a screen and answers something, one a file."""
