"""One call under way: its memory, its data, where it goes on. What the steps of a program read and change.

Gas is not counted instruction by instruction: memory's growth, copies, stores, logs and calls are charged, so that what
the EVM ends for lack of gas at once (memory past a few MiB, a deep recursion) ends here too. A long loop does not.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from whet.evm.state_ops import Halt
from whet.evm.words import ADDRESS
from whet.evm.world import Log, World

if TYPE_CHECKING:
    from whet.evm.interpret import Machine
    from whet.evm.program import Node, Program


@dataclass(slots=True)
class Frame:
    """address: whose storage and balance. code_address: whose code. depth: 0 for the transaction's own call.

    status: "" while it runs, then "success", "revert" or "halt".
    """

    machine: Machine
    code_address: int
    address: int
    caller: int
    value: int
    calldata: bytes
    gas: int
    depth: int = 0
    static: bool = False
    create: bool = False
    out: tuple[int, int] = (0, 0)
    """Where in the caller's memory the output goes: offset, size."""
    memory: bytearray = field(default_factory=bytearray)
    returndata: bytes = b""
    output: bytes = b""
    status: str = ""
    why: str = ""
    mark: tuple[int, int, int] = (0, 0, 0)
    returns: list[tuple[list[Any], tuple[int, ...], Node]] = field(default_factory=list)
    """Private calls under way: the caller's values, slots of the results, where it goes on."""
    request: tuple[str, list[int]] | None = None
    """The message (CALL, CREATE, ...) that waits, and its arguments."""
    resume: tuple[int, Node] | None = None
    """After the message: the slot of its result, where to go on."""
    node: Node | None = None
    values: list[Any] = field(default_factory=list)
    code_size: int = 0
    world: World = field(init=False)
    compared: dict[tuple[int, int], bool] = field(init=False)

    def __post_init__(self) -> None:
        self.world, self.compared = self.machine.world, self.machine.compared

    def start(self, program: Program) -> None:
        self.code_size = program.contract.code_size
        self.values, self.node = program.entry.values.copy(), program.entry.first

    def charge(self, gas: int) -> None:
        self.gas -= gas
        if self.gas < 0:
            raise Halt("out of gas")

    def expand(self, offset: int, size: int) -> None:
        """Memory up to offset + size, in words of 32 bytes, at its price (Yellow Paper, appendix H.1)."""
        if not size or offset + size <= len(self.memory):
            return
        old, new = len(self.memory) // 32, (offset + size + 31) // 32
        self.charge(3 * (new - old) + new * new // 512 - old * old // 512)
        self.memory.extend(bytes(32 * (new - old)))

    def read(self, offset: int, size: int) -> bytes:
        if not size:
            return b""
        self.expand(offset, size)
        return bytes(self.memory[offset : offset + size])

    def write(self, offset: int, data: bytes) -> None:
        """Into memory that has been expanded."""
        if data:
            self.memory[offset : offset + len(data)] = data

    def read_code(self, offset: int, size: int) -> bytes:
        """Of the code that runs. Init code is in no account yet."""
        if self.create:
            code: bytes = self.machine.init_code[self.address]
            return code[offset : offset + size].ljust(size, b"\0")
        return self.world.account(self.code_address).read_code(offset, size)

    def forbid_static(self) -> None:
        if self.static:
            raise Halt("a change of state in a static call")  # EIP-214

    def log(self, topics: tuple[int, ...], data: bytes) -> None:
        self.world.logs.append(Log(self.address, topics, data))

    def finish(self, status: str, output: bytes, why: str = "") -> None:
        self.status, self.output, self.why = status, output, why

    def selfdestruct(self, beneficiary: int) -> None:
        self.forbid_static()
        self.world.destroy(self.address, beneficiary & ADDRESS)
        self.finish("success", b"")
