"""Three-address code as Solidity that compiles."""
