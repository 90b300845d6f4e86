"""Models: their shapes, families, building, saving, and generation. Only `shape` is light; the rest imports torch."""
