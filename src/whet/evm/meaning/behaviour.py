"""Mutability of public functions, from what their walk does, and the checks that a header implies.

Not told apart by bytecode: pure from view where a constant or an immutable is given back (said: view without arguments),
a function that does not check msg.value from one that is declared payable.
"""

from __future__ import annotations

from whet.evm.meaning.evidence import Uses
from whet.evm.meaning.symbols import Node, Word, linear
from whet.evm.meaning.walk import Effect
from whet.evm.tac import Function

_CHANGES = frozenset({"SSTORE", "TSTORE", "CREATE", "CREATE2", "CALLCODE", "DELEGATECALL", "SELFDESTRUCT"})
_READS = frozenset(
    {"SLOAD", "TLOAD", "BALANCE", "SELFBALANCE", "EXTCODESIZE", "EXTCODEHASH", "EXTCODECOPY", "BLOCKHASH"}
)
_ENVIRONMENT = frozenset(
    {"ADDRESS", "CALLER", "ORIGIN", "TIMESTAMP", "NUMBER", "CHAINID", "GASPRICE", "COINBASE"}
    | {"PREVRANDAO", "GASLIMIT", "BASEFEE", "BLOBHASH", "BLOBBASEFEE"}
)
_PRECOMPILES = range(1, 18)


def mutability(uses: Uses, takes_value: bool, arguments: int) -> str:
    """ "payable", "nonpayable", "view" or "pure". takes_value: the dispatcher lets calls with value through."""
    walk = uses.walk
    refuses = any(
        _is_value(condition) and walk.shapes.gives_up(function, block)
        for condition, function, block, depth in walk.conditions
        if depth == 0
    )
    if takes_value and not refuses:
        return "payable"
    if walk.cut or any(_changes(effect) for effect in walk.effects):
        return "nonpayable"
    reads = any(e.op in _READS or (e.op == "STATICCALL" and not _is_precompile(e)) for e in walk.effects)
    if reads or any(node.op in _ENVIRONMENT for node in walk.symbols.nodes):
        return "view"
    return "pure" if arguments else "view"


def skipped_checks(uses: Uses, function: Function, known: str) -> dict[str, str]:
    """{block: the way on} of checks that the header implies: of msg.value and of calldata's length."""
    found: dict[str, str] = {}
    for condition, name, block, depth in uses.walk.conditions:
        if depth or name != function.name or not uses.walk.shapes.gives_up(name, block):
            continue
        if (_is_value(condition) and known != "payable") or _is_length(condition):
            blocks = function.blocks
            ways = [t for t in blocks[block].end.targets if blocks[t].end.op not in ("REVERT", "INVALID")]
            if len(ways) == 1:
                found[block] = ways[0]
    return found


def _is_length(condition: Word) -> bool:
    """`calldatasize() - 4 < constant`."""
    if isinstance(condition, int) or condition.op not in ("SLT", "LT"):
        return False
    _, terms = linear(condition.args[0])
    return isinstance(condition.args[1], int) and [n.op for n, _ in terms] == ["CALLDATASIZE"]


def _is_value(condition: Word) -> bool:
    while isinstance(condition, Node) and condition.op == "ISZERO":
        condition = condition.args[0]
    return isinstance(condition, Node) and condition.op == "CALLVALUE"


def _changes(effect: Effect) -> bool:
    if effect.op == "CALL":
        return not (_is_precompile(effect) and effect.args[2] == 0)
    return effect.op in _CHANGES or effect.op.startswith("LOG")


def _is_precompile(effect: Effect) -> bool:
    return isinstance(effect.args[1], int) and effect.args[1] in _PRECOMPILES


def entered_with_value(entry: Function) -> set[str]:
    """Names of the functions to which the dispatcher also goes when msg.value is not 0."""
    value = {s.results[0] for s in entry.statements() if s.op == "CALLVALUE"}
    seen, work = {"b0"}, ["b0"]
    while work:
        end = entry.blocks[work.pop()].end
        ways = end.targets[:1] if end.op == "BRANCH" and end.args[0] in value else end.targets
        work += [way for way in ways if way not in seen]
        seen.update(ways)
    return {entry.blocks[id_].end.function for id_ in seen if entry.blocks[id_].end.op == "ENTER"}
