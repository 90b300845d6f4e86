"""A tiny translation of bytecode to TAC, for tests of the interpreter that must not depend on the lifter.

Every jump's target must be pushed just before it; each block takes its whole stack through phis; one function.
"""

from __future__ import annotations

from whet.evm.opcodes import OPCODES
from whet.evm.tac import Block, Contract, End, Function, Operand, Phi, Statement


def lift(code: bytes) -> Contract:
    """TAC of the code. A stack that underflows or overflows ends its block with INVALID."""
    blocks: dict[str, Block] = {"b0": Block("b0", 0, [], [], End("JUMP", (), ("p0_0",)))}
    starts: dict[str, list[Operand]] = {}
    todo = [("b0", 0, [])]
    while todo:
        source, pc, stack = todo.pop()
        name = f"p{pc}_{len(stack)}"
        if name not in blocks:
            phis = [Phi(f"{name}_s{i}", {}) for i in range(len(stack))]
            block = blocks[name] = Block(name, pc, phis, [], End("STOP"))
            starts[name] = [phi.result for phi in phis]
            todo += [(name, *way) for way in _walk(code, block, list(starts[name]))]
        for phi, value in zip(blocks[name].phis, stack, strict=True):
            phi.incoming[source] = value
    return Contract({"main": Function("main", "entry", 0, (), None, blocks)}, len(code), {0: code})


def _walk(code: bytes, block: Block, stack: list[Operand]) -> list[tuple[int, list[Operand]]]:
    pc = block.pc
    while True:
        opcode = OPCODES.get(code[pc] if pc < len(code) else 0)
        if opcode is None or len(stack) < opcode.pops or len(stack) - opcode.pops + opcode.pushes > 1024:
            block.end = End("INVALID", pc=pc)
            return []
        if opcode.name == "JUMPDEST" and pc != block.pc:
            block.end = End("JUMP", (), (f"p{pc}_{len(stack)}",))
            return [(pc, stack)]
        args = tuple(stack.pop() for _ in range(opcode.pops))
        after = pc + 1 + opcode.immediate
        if opcode.name.startswith("PUSH"):
            stack.append(int.from_bytes(code[pc + 1 : after].ljust(opcode.immediate, b"\0"), "big"))
        elif opcode.name.startswith("DUP"):
            stack += [*args[::-1], args[-1]]
        elif opcode.name.startswith("SWAP"):
            stack += [args[0], *args[1:-1][::-1], args[-1]]
        elif opcode.name in ("JUMP", "JUMPI"):
            return _jump(code, block, opcode.name, args, after, stack)
        elif opcode.name in ("STOP", "RETURN", "REVERT", "INVALID", "SELFDESTRUCT"):
            block.end = End(opcode.name, args, pc=pc)
            return []
        elif opcode.name == "PC":
            stack.append(pc)
        elif opcode.name not in ("POP", "JUMPDEST"):
            results = (f"{block.id}_v{pc}",) if opcode.pushes else ()
            block.statements.append(Statement(opcode.name, args, results, pc))
            stack += results
        pc = after


def _jump(
    code: bytes, block: Block, name: str, args: tuple[Operand, ...], after: int, stack: list[Operand]
) -> list[tuple[int, list[Operand]]]:
    target = args[0]
    assert isinstance(target, int), "a jump to a place that is not pushed just before"
    if target >= len(code) or code[target] != 0x5B:
        block.end = End("INVALID")
        return []
    places = [target] if name == "JUMP" else [target, after]
    names = tuple(f"p{place}_{len(stack)}" for place in places)
    block.end = End("JUMP", (), names) if name == "JUMP" else End("BRANCH", (args[1],), names)
    if len(set(names)) < len(names):
        block.end = End("JUMP", (), names[:1])
    return [(place, list(stack)) for place in dict.fromkeys(places)]
