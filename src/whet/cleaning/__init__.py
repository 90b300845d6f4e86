"""Cleaning, one file per filter. See `base.Filter` for what a filter promises."""
