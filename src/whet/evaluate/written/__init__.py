"""Solidity that a model writes for held-out functions, beside what others write: texts, verdicts, figures.

    held_out    which functions are asked, and how
    nearest     the training example whose TAC is nearest
    answers     what a model writes
    figures     how near each text is to the true one, and tables of it
    score       the story: all of it for every domain

docs/metrics.md says what is counted. `score` needs the extra `evm`.
"""

MODEL, NEAREST, EMITTER, FALLBACK = "model", "nearest example", "emitter", "model, else emitter"
"""Who writes, beside the model before training: the last model, the nearest training example, the emitter, and the last
model where it behaves the same, else the emitter."""
LENGTHS = (100, 200, 400, 1000)
"""Characters of the true text at which another bin of lengths begins."""
