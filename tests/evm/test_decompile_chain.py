"""Code from a node: what is asked, what is understood, and that nothing of the URL but its host is ever said."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from whet import limits
from whet.errors import CodeError, WhetError
from whet.evm.decompile import endpoint as module
from whet.evm.decompile.chain import behind, block_name, checked_address, follow, is_address, with_checksum
from whet.evm.decompile.endpoint import Endpoint, RpcError
from whet.evm.decompile.given import Task, load, named
from whet.evm.decompile.run import Options

PROXY = "0x" + "aa" * 20
TARGET = "0x" + "bb" * 20
SLOT = 0x360894A13BA1A3210667C828492DB98DCA3E2076CC3735A920A3CA505D382BBC
BEACON_SLOT = 0xA3F0AD74E5423AEBFD80D3EF4346578335A9A72AEAEE59FF6CB3582B35133D50
MINIMAL = f"0x363d3d373d3d3d363d73{TARGET[2:]}5af43d82803e903d91602b57fd5bf3"
PLAIN = "0x6001600255600060005260206000f3"
SECRET = "s3cr3t-key-0123456789"

Answers = dict[str, Callable[[list[Any]], Any]]


class Node:
    """Answers by method; `raw`: instead of that, (status, headers, body). Remembers what it was asked."""

    def __init__(self, server: ThreadingHTTPServer) -> None:
        self.port = server.server_address[1]
        self.answers: Answers = {}
        self.raw: tuple[int, dict[str, str], bytes] | None = None
        self.asked: list[tuple[str, list[Any]]] = []
        self.headers: dict[str, str] = {}
        self.drip_s = 0.0

    @property
    def url(self) -> str:
        return f"http://user:pa%20ss@127.0.0.1:{self.port}/v3/{SECRET}?token={SECRET}2"

    def body(self, question: dict[str, Any]) -> bytes:
        self.asked.append((question["method"], question["params"]))
        result = self.answers[question["method"]](question["params"])
        return json.dumps({"jsonrpc": "2.0", "id": question["id"], **result}).encode()


@pytest.fixture
def node() -> Iterator[Node]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            question = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            found.headers = dict(self.headers)
            status, headers, body = found.raw or (200, {}, found.body(question))
            self.send_response(status)
            for key, value in headers.items():
                self.send_header(key, value)
            self.end_headers()
            try:
                for at in range(0, len(body), 20) if found.drip_s else [0]:
                    self.wfile.write(body[at : at + 20] if found.drip_s else body)
                    time.sleep(found.drip_s)
            except OSError:
                return

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    found = Node(server)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield found
    server.shutdown()
    server.server_close()
    thread.join()


def codes(table: dict[str, str]) -> Answers:
    return {"eth_getCode": lambda parameters: {"result": table.get(parameters[0], "0x")}}


def task(given: str, node: Node | None = None, follows: bool = False, block: str = "latest") -> Task:
    return Task("x", given, Options(), url=node.url if node else "", follows=follows, block=block)


def test_code_at_an_address(node: Node) -> None:
    node.answers = codes({PROXY: PLAIN})
    code, told = load(task(with_checksum(PROXY), node, block="19000000"))
    assert code.runtime.hex() == PLAIN[2:]
    assert told == [f"address: {with_checksum(PROXY)}, block 19000000"]
    assert node.asked == [("eth_getCode", [PROXY, "0x121eac0"])]
    assert node.headers["Authorization"] == "Basic dXNlcjpwYSBzcw=="


def test_a_minimal_proxy_is_named_and_followed(node: Node) -> None:
    node.answers = codes({PROXY: MINIMAL, TARGET: PLAIN})
    code, told = load(task(PROXY, node))
    assert code.runtime.hex() == MINIMAL[2:]
    assert told[1] == f"proxy (EIP-1167 minimal proxy) to {TARGET} (--follow decompiles that)"
    code, told = load(task(PROXY, node, follows=True))
    assert code.runtime.hex() == PLAIN[2:]
    assert told[-1] == f"decompiled: the implementation at {with_checksum(TARGET)}"


def test_a_proxy_by_its_slot(node: Node) -> None:
    body = f"0x7f{SLOT:064x}545060006000f3"
    node.answers = codes({PROXY: body, TARGET: PLAIN})
    node.answers["eth_getStorageAt"] = lambda _: {"result": f"0x{TARGET[2:]:0>64}"}
    code, told = load(task(PROXY, node))
    assert f"storage slot {SLOT:#066x}) to {TARGET}" in told[1]
    assert ("eth_getStorageAt", [PROXY, hex(SLOT), "latest"]) in node.asked
    assert load(task(PROXY, node, follows=True))[0].runtime.hex() == PLAIN[2:]
    node.answers["eth_getStorageAt"] = lambda _: {"result": "0x" + "0" * 64}
    assert len(load(task(PROXY, node))[1]) == 1, "an implementation knows the slot too, and has nothing in it"
    assert "perhaps a proxy" in str(behind(code, "", None, "latest"))


def test_a_beacon_is_asked_for_what_it_stands_for(node: Node) -> None:
    node.answers = codes({PROXY: f"0x7f{BEACON_SLOT:064x}545060006000f3", TARGET: PLAIN})
    node.answers["eth_getStorageAt"] = lambda _: {"result": f"0x{'cc' * 20:0>64}"}
    node.answers["eth_call"] = lambda _: {"result": f"0x{TARGET[2:]:0>64}"}
    assert load(task(PROXY, node, follows=True))[0].runtime.hex() == PLAIN[2:]
    assert ("eth_call", [{"to": "0x" + "cc" * 20, "data": "0x5c60da1b"}, "latest"]) in node.asked


def test_proxies_in_a_circle_end(node: Node) -> None:
    node.answers = codes({TARGET: MINIMAL, PROXY: MINIMAL})
    with pytest.raises(CodeError, match="proxies without an end"):
        load(task(PROXY, node, follows=True))


def test_following_needs_a_node() -> None:
    with pytest.raises(CodeError, match="name a node: --rpc URL"):
        load(task(MINIMAL, follows=True))
    assert load(task(PLAIN, follows=True))[1] == []


def test_no_code_at_the_address(node: Node) -> None:
    node.answers = codes({})
    with pytest.raises(CodeError, match="no code stands there"):
        load(task(PROXY, node))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("0x" + "a" * 39, "40 hex digits, this has 39"),
        ("0x" + "a" * 41, "40 hex digits, this has 41"),
        ("0x" + "a" * 39 + "g", "'g' is no hex digit"),
        ("0x5AAeb6053F3E94C9b9A09f33669435E7Ef1BeAed", "checksum"),
    ],
)
def test_addresses_that_are_none(text: str, said: str, node: Node) -> None:
    assert is_address(text)
    with pytest.raises(CodeError, match=said):
        load(task(text, node))
    assert node.asked == []


def test_addresses_with_the_right_checksum_or_none() -> None:
    given = "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed"  # of EIP-55
    assert with_checksum(given.lower()) == given
    for text in (given, given.lower(), "0x" + given[2:].upper()):
        assert checked_address(text) == given.lower()


def test_an_address_without_a_node_is_not_taken_for_code() -> None:
    with pytest.raises(CodeError, match="--rpc URL"):
        load(task(PROXY))


def test_blocks() -> None:
    assert (block_name("17"), block_name("0x11"), block_name("safe")) == ("0x11", "0x11", "safe")
    for wrong in ("-1", "soon", ""):
        with pytest.raises(CodeError, match="no block"):
            block_name(wrong)


@pytest.mark.parametrize(
    "url", ["ftp://host/x", "file:///etc/passwd", "localhost:8545", "http://", "http://h:x/"]
)
def test_only_http(url: str) -> None:
    with pytest.raises(RpcError, match="no URL of a node"):
        Endpoint(url)


def bad(node: Node, raw: tuple[int, dict[str, str], bytes], seconds: float = 5.0) -> str:
    node.raw = raw
    with pytest.raises(RpcError) as caught:
        Endpoint(node.url, seconds).ask("eth_getCode", PROXY, "latest")
    said = str(caught.value)
    assert not any(secret in said for secret in (SECRET, "pa ss", "pa%20ss", "user"))
    assert caught.value.__cause__ is None
    assert caught.value.where == f"http://127.0.0.1:{node.port}"
    return said


def test_what_a_node_can_answer_wrongly(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    error = {"error": {"code": -32000, "message": f"key {SECRET} \x1b[31mspent\u202e\n at /v3/{SECRET}"}}
    said = bad(node, (200, {}, json.dumps(error).encode()))
    assert "refuses eth_getCode: key ... " in said
    assert "\x1b" not in said
    assert "\u202e" not in said
    assert "no JSON-RPC" in bad(node, (200, {}, b"<html>"))
    assert "no JSON-RPC" in bad(node, (200, {}, b"[" * 100_000))
    assert "no result" in bad(node, (200, {}, b"{}"))
    assert "HTTP 401" in bad(node, (401, {}, b"no"))
    assert "HTTP 429: slow down" in bad(node, (429, {}, b'{"error": {"message": "slow down"}}'))
    assert "redirect (HTTP 302)" in bad(node, (302, {"Location": "file:///etc/passwd"}, b""))
    monkeypatch.setattr(limits, "RPC_BYTES", 1000)
    assert "more than 1,000 bytes" in bad(node, (200, {}, b" " * 2000))


def test_an_answer_that_drips_is_given_up(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_CHUNK_BYTES", 20)
    node.drip_s = 0.05
    assert "within 0.2 s" in bad(node, (200, {}, b" " * 2000), 0.2)


def test_a_node_that_is_not_there() -> None:
    with pytest.raises(RpcError, match=r"http://127\.0\.0\.1:9: cannot be reached"):
        Endpoint(f"http://127.0.0.1:9/{SECRET}").ask("eth_blockNumber")


@pytest.mark.parametrize("result", [None, 7, "code", "0xzz", {"a": 1}])
def test_results_that_are_no_code(result: Any, node: Node) -> None:
    node.answers = {"eth_getCode": lambda _: {"result": result}}
    with pytest.raises(WhetError, match=r"no hex|has no result"):
        load(task(PROXY, node))


def test_names_of_inputs(tmp_path: Any) -> None:
    (tmp_path / "in").mkdir()
    for name in ("a.hex", "A.json", "b.txt", "c.md"):
        (tmp_path / "in" / name).write_text("00")
    assert [name for name, _ in named([str(tmp_path), PROXY, "6001", "6002", str(tmp_path / "in/a.hex")])][
        :5
    ] == [
        "in_A",
        "in_a-2",
        "in_b",
        PROXY,
        "code",
    ]
    (tmp_path / "none").mkdir()
    with pytest.raises(CodeError, match="no files with code"):
        named([str(tmp_path / "none")])
    with pytest.raises(CodeError, match="standard input stands alone"):
        named(["-", "6001"])


def test_following_stops_at_code_that_is_no_proxy(node: Node) -> None:
    from whet.evm.bytecode import read_code

    code, at, told = follow(read_code(PLAIN), PROXY, Endpoint(node.url), "latest")
    assert (code.runtime.hex(), at, told) == (PLAIN[2:], PROXY, [])
