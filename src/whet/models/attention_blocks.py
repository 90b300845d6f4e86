"""How `whet.models.attention` cuts its rows, for who computes and who plans; nothing heavy is loaded for it."""

LONGEST = 2048
"""Up to so many positions a CPU computes attention with its scores written out."""
BLOCK = 256
"""Of so many queries at a time."""


def blocks(length: int) -> list[tuple[int, int]]:
    """Where blocks of queries begin and end."""
    return [(start, min(start + BLOCK, length)) for start in range(0, length, BLOCK)]
