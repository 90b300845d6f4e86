"""Model families, one file per stock architecture. See `base.Family`."""
