"""The recipes that come with whet, run by name or copied with `whet init`."""
