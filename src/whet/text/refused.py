"""How the reading of one file says no: with a reason that is counted and a detail for the reader."""

from __future__ import annotations


class Refused(ValueError):
    """One input that cannot be read. `reason` is one of a few fixed phrases, `detail` is for a person.

    Not a `WhetError`: one bad file among ten thousand is a counted drop, and the source that reads it
    turns this into a `Dropped`.
    """

    def __init__(self, reason: str, detail: str = "") -> None:
        self.reason, self.detail = reason, detail
        super().__init__(f"{reason}: {detail}" if detail else reason)
