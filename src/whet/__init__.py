"""whet: from raw domain material to a language model that is trained, measured and in use.

Importing this package imports neither torch nor transformers; the rooms load them where they are used.
"""

from __future__ import annotations

__version__ = "0.1.0"
