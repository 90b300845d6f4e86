"""Three-address code as text: `flat`, which loses nothing, and `structured`, which is short and pleasant to read."""

from __future__ import annotations

from whet.evm.text.flat import flat, flat_function
from whet.evm.text.structured import structured, structured_function
from whet.evm.text.tokens import count_tokens

__all__ = ["count_tokens", "flat", "flat_function", "structured", "structured_function"]
