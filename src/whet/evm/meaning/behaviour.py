"""Mutability and return values of public functions, from what their walk does and gives back.

Not told apart by bytecode: pure from view where a constant or an immutable is given back (said: view without arguments),
a function that does not check msg.value from one that is declared payable.
"""

from __future__ import annotations

from whet.evm.meaning.evidence import Uses, checked_type, full_type, value_type
from whet.evm.meaning.memory import Payload
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


def returns(uses: Uses) -> tuple[str, ...] | None:
    """The types that the function gives back; None where its RETURNs do not tell or do not agree."""
    found: tuple[str, ...] | None = None
    for effect in uses.walk.effects:
        if effect.op == "STOP" or (effect.op == "RETURN" and effect.args[1] == 0):
            types: tuple[str, ...] | None = ()
        elif effect.op == "RETURN" and effect.payload is not None:
            types = _types(uses, effect.payload)
        else:
            continue
        if types is None or (found is not None and len(found) != len(types)):
            return None
        found = types if found is None else tuple(_joined(a, b) for a, b in zip(found, types, strict=True))
    return tuple(_BOOLS.get(kind, kind) or "uint256" for kind in found) if found is not None else None


_BOOLS = {"0": "", "1": "bool"}
"""What the constants 0 and 1 are taken for where nothing else is given back."""


def _joined(a: str, b: str) -> str:
    if a in _BOOLS or b in _BOOLS:
        other = b if a in _BOOLS else a
        return "bool" if other in ("bool", *_BOOLS) and a != b else other
    return a if a == b or not b else (b if not a else "uint256")


def _types(uses: Uses, payload: Payload) -> tuple[str, ...] | None:
    words = payload.words
    if isinstance(payload.length, int) and payload.length % 32 == 0:
        if len(words) > 1 and words[0] == 32:
            return ("string",)
        return tuple(_kind(uses, word) for word in words)
    if not words or not isinstance(words[0], int) or words[0] % 32 or not 0 < words[0] <= 32 * 16:
        return None
    heads = words[0] // 32
    if heads > len(words):
        return None
    return tuple(_head(uses, payload, i, heads) for i in range(heads))


def _head(uses: Uses, payload: Payload, position: int, heads: int) -> str:
    word = payload.words[position]
    if position == 0:
        length = payload.words[heads] if heads < len(payload.words) else None
        return _sized(payload.length, length)
    return _kind(uses, word)


def _sized(total: Word, length: Word | None) -> str:
    """bytes, string or an array, by how the length of the whole depends on that of the content."""
    if isinstance(length, Node):
        factor = dict(linear(total)[1]).get(length, 0)
        if factor and factor % 32 == 0:
            return "uint256[]"
    if any(node.op == "LOOP" for node, _ in linear(total)[1]):
        return "uint256[]"
    return "string"


def _kind(uses: Uses, word: Word | None, depth: int = 0) -> str:
    if word is None or depth > 8:
        return ""
    if isinstance(word, int):
        if word in (0, 1):
            return str(word)
        return "bytes4" if not word & ((1 << 224) - 1) else ""
    if word.op == "CALLDATALOAD":
        return checked_type(uses, word) or full_type(uses, word)
    if word.op == "CHOICE":
        kinds = [_kind(uses, part, depth + 1) for part in word.args[:-1]]
        joined = kinds[0]
        for kind in kinds[1:]:
            joined = _joined(joined, kind)
        return joined
    return value_type(word)
