"""What is known of a word at one place holds at all: kinds of words, types told by signatures, names of well-known slots."""

from __future__ import annotations

import pytest

from whet.evm.keccak import keccak256, selector
from whet.evm.lifting import lift_code
from whet.evm.meaning.abi_types import flat, head_words, is_dynamic, split
from whet.evm.meaning.analyse import analyse
from whet.evm.meaning.kinds import HASH, MADE, NUMBER, PLAIN, TOLD, Kinds
from whet.evm.meaning.standards import _DECLARED, declared
from whet.evm.meaning.well_known import _NAMESPACES, well_known
from whet.evm.signatures import Signatures


def test_a_vote_holds_for_all_that_are_joined_before_and_after_it() -> None:
    kinds = Kinds()
    kinds.join("argument", "slot")
    kinds.vote("slot", "bytes32", HASH)
    kinds.join("slot", "key")
    assert [kinds.of(one) for one in ("argument", "slot", "key", "other")] == ["bytes32"] * 3 + [""]


@pytest.mark.parametrize("joined_first", [True, False])
def test_the_stronger_vote_wins_however_they_come_together(joined_first: bool) -> None:
    kinds = Kinds()
    if joined_first:
        kinds.join("a", "b")
    for _ in range(3):
        kinds.vote("a", "bytes32", MADE)
    kinds.vote("b", "uint256", PLAIN)
    if not joined_first:
        kinds.join("a", "b")
    assert kinds.of("a") == kinds.of("b") == "uint256"
    kinds.vote("a", "int256", TOLD)
    assert kinds.of("b") == "int256"


def test_a_sum_alone_makes_no_slot_a_number_and_no_text_is_a_word() -> None:
    kinds = Kinds()
    kinds.vote(("slot", (3,)), "uint256", NUMBER)
    kinds.vote(("slot", (3,)), "bytes", PLAIN)
    assert kinds.of_slot((3,)) == ""
    assert kinds.text_of(("slot", (3,))) == "bytes"
    kinds.vote(("slot", (3,)), "uint256", TOLD)
    assert kinds.of_slot((3,)) == "uint256"


def test_types_have_parts_and_take_words() -> None:
    assert split("address,(uint256,bytes)[],bool") == ("address", "(uint256,bytes)[]", "bool")
    assert flat("(uint256,bool[2])[2]") == ("uint256", "bool", "bool") * 2
    assert head_words("(uint256,string)") == head_words("bytes32[]") == 1
    assert is_dynamic("(uint256,bytes)[3]")
    assert not is_dynamic("(uint256,bool)[3]")


def test_what_standards_declare() -> None:
    standard = declared("royaltyInfo(uint256,uint256)")
    assert standard is not None
    assert (standard.mutability, standard.results) == ("view", ("address", "uint256"))
    emptied = declared("setApprovalForAll(address,bool)")
    assert emptied is not None
    assert emptied.results == ()
    assert declared("transfer(address)") is None


def test_functions_of_standards_stand_once_and_are_signatures() -> None:
    known = Signatures.builtin()
    every = [one for line in _DECLARED.strip().splitlines() for one in line.partition(": ")[2].split()]
    assert len(every) == len(set(every))
    assert all(one == one.strip() and one.endswith(")") and one.count("(") == 1 for one in every)
    named = sum(one in known.functions(selector(one)) for one in every)
    assert named > 0.8 * len(every)


@pytest.mark.parametrize(
    ("slot", "byte", "name"),
    [
        # ERC-1967 gives these as numbers
        (0x360894A13BA1A3210667C828492DB98DCA3E2076CC3735A920A3CA505D382BBC, 0, "ERC1967_implementation"),
        (0xB53127684A568B3173AE13B9F8A6016E243E63B6E8EE1178D6A717850B5D6103, 0, "ERC1967_admin"),
        (0xA3F0AD74E5423AEBFD80D3EF4346578335A9A72AEAEE59FF6CB3582B35133D50, 0, "ERC1967_beacon"),
        # so do ERC-1822 and OpenZeppelin's sources
        (0xC5F16F0FCC639FA48A6947836D9850F504798523BF8C9A3A87D5876CF622BCF7, 0, "ERC1822_implementation"),
        (0x52C63247E1F47DB19D5CE0460030C497F067CA4CEBF71BA98EEADABE20BACE00 + 2, 0, "ERC20_totalSupply"),
        (0x9016D09D72D40FDAE2FD8CEAC6B6234C7706214FD39C1CD1E609A0528C199300, 0, "Ownable_owner"),
        (0xF0C57E16840DF040F15088DC2F81FE391C3923BEC73E23A9662EFC9C229C6A00, 8, "Initializable_initializing"),
        (0x9016D09D72D40FDAE2FD8CEAC6B6234C7706214FD39C1CD1E609A0528C199300 + 7, 16, "Ownable_7_16"),
        (5, 0, ""),
        ((1 << 256) - 1, 0, ""),
    ],
)
def test_well_known_slots(slot: int, byte: int, name: str) -> None:
    assert well_known(slot, byte) == name


def test_no_member_of_a_namespace_hides_another() -> None:
    for line in _NAMESPACES.strip().replace("\n    ", " ").splitlines():
        name, _, members = line.partition(": ")
        text = f"openzeppelin.storage.{name}".encode()
        inner = (int.from_bytes(keccak256(text), "big") - 1).to_bytes(32, "big")
        base = int.from_bytes(keccak256(inner), "big") & ~0xFF
        places = [(slot, byte) for slot in range(16) for byte in range(32)]
        found = [well_known(base + slot, byte) for slot, byte in places]
        for member in members.split():
            assert found.count(f"{name}_{member.partition('@')[0].partition(':')[0]}") == 1


def _logs(slot: int, topic: int) -> bytes:
    """A contract whose function f() logs what stands in a slot."""
    f = selector("f()").to_bytes(4, "big").hex()
    return bytes.fromhex(f"5f3560e01c63{f}146011575f5ffd5b7f{slot:064x}545f527f{topic:064x}60205fa100")


@pytest.mark.parametrize("kind", ["bytes32", "int256", "uint256"])
def test_an_event_that_is_known_tells_what_stands_in_storage(kind: str) -> None:
    topic = int.from_bytes(keccak256(f"E({kind})".encode()), "big")
    abi = [{"type": "event", "name": "E", "inputs": [{"type": kind}]}]
    contract = lift_code(_logs(3, topic))
    assert [(v.slot, v.type) for v in analyse(contract, Signatures().with_abi(abi)).storage] == [(3, kind)]
    assert [v.type for v in analyse(contract, Signatures()).storage] == ["uint256"]


def test_a_well_known_slot_has_its_name_in_the_layout() -> None:
    slot = int.from_bytes(keccak256(b"eip1967.proxy.implementation"), "big") - 1
    (variable,) = analyse(lift_code(_logs(slot, 7))).storage
    assert (variable.name, variable.slot) == ("ERC1967_implementation", slot)
