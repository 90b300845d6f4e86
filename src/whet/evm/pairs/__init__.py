"""Pairs of three-address code and Solidity from real sources: compiled, labelled, counted. docs/pairs.md.

    projects (folder, npm package, exports) -> compiler by pragma -> harnesses -> labels -> TAC -> pairs

Needs the extra `evm` (a node to run the compilers in). Importing this package imports nothing else of it.
"""
