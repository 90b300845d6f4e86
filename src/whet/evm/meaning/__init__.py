"""What three-address code means in Solidity's terms: types, arguments, storage, events, calls, errors."""
