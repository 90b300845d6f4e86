"""Solidity's compilers and libraries by exact version, and what they know about their bytecode: the truth of the benches.

Needs the extra `evm` (a node to run the compilers in). The first use of a version fetches it from npm, all later ones
work without a network.
"""
