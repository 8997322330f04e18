"""The loop that all methods train in."""
