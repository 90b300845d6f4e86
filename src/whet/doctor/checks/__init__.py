"""One file = one thing that may be wrong."""
