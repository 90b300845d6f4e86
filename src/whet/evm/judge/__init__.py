"""What a model wrote for a pair, judged: put where the author's function stands, compiled, and run beside the original.

    from whet.evm.judge import Judge

    with Pool() as pool:
        judge = Judge([from_npm("solmate@6.8.0")], pool)
        (verdict,) = judge.judged([(pair, text, "shown")])
        print(verdict.parses, verdict.compiles, verdict.abi, verdict.behaves, verdict.why)

docs/pairs.md says what is compared. Needs the extra `evm`.
"""

from whet.evm.judge.judge import Judge
from whet.evm.judge.nouns import BEHAVES, NOT_COMPARED, Verdict

__all__ = ["BEHAVES", "NOT_COMPARED", "Judge", "Verdict"]
