"""What three-address code means in Solidity's terms: types, arguments, storage, events, calls, errors."""

from whet.evm.meaning.analyse import analyse as analyse
from whet.evm.meaning.base import Meaning as Meaning
