"""EVM bytecode to three-address code that means the same: lifted, read, drawn, executed. No torch."""
