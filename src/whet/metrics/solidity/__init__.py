"""How near a written Solidity function is to the true one: one file, one metric. Defined to the letter in docs/metrics.md."""
