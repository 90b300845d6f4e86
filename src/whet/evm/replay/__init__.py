"""Differential replay: the same calls through the TAC interpreter and through pyrevm, everything observable compared."""
