"""An Ethereum node's JSON-RPC over HTTP: one question, one answer, nothing of the URL in any message.

Left out: batches, websockets, redirects (a node has no reason for one), retries. The URL may hold credentials, as user and
password or as part of its path; only scheme and host are ever shown. What the node says is hostile text.
Source: https://ethereum.github.io/execution-apis/
"""

from __future__ import annotations

import base64
import http.client
import json
import time
import urllib.error
import urllib.request
from typing import IO, Any
from urllib.parse import SplitResult, unquote, urlsplit, urlunsplit

from whet import limits
from whet.errors import WhetError
from whet.visible import visible

_CHUNK_BYTES = 65_536


class RpcError(WhetError):
    """The node cannot be reached, refuses, or gives no answer that can be understood."""


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any, **__: Any) -> None:
        return None


class Endpoint:
    """A node. Raises RpcError for a URL that is none of http or https."""

    def __init__(self, url: str, seconds: float = limits.RPC_SECONDS) -> None:
        parts = _split(url)
        self.shown, self.seconds = _shown(parts), seconds
        host = parts.netloc.rpartition("@")[2]
        self._url = urlunsplit((parts.scheme, host, parts.path, parts.query, ""))
        self._secrets = _secrets(parts)
        self._headers = {"Content-Type": "application/json", "Accept": "application/json"}
        if parts.username is not None:
            pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}".encode()
            self._headers["Authorization"] = f"Basic {base64.b64encode(pair).decode()}"
        self._opener = urllib.request.build_opener(_NoRedirects)

    def ask(self, method: str, *parameters: Any) -> Any:
        """The "result". Raises RpcError."""
        question = {"jsonrpc": "2.0", "id": 1, "method": method, "params": list(parameters)}
        answer = self._parsed(self._post(json.dumps(question).encode()))
        if answer.get("error") is not None:
            raise self._failed(f"the node refuses {method}: {self._told(answer['error'])}")
        if "result" not in answer:
            raise self._failed(f"the node's answer to {method} has no result")
        return answer["result"]

    def _post(self, body: bytes) -> bytes:
        until = time.monotonic() + self.seconds
        try:
            request = urllib.request.Request(self._url, body, self._headers)
            with self._opener.open(request, timeout=self.seconds) as answer:
                return self._read(answer, until)
        except urllib.error.HTTPError as error:
            with error:
                raise self._refused(error, until) from None
        except TimeoutError:
            raise self._slow() from None
        except urllib.error.URLError as error:
            if isinstance(error.reason, TimeoutError):
                raise self._slow() from None
            why = getattr(error.reason, "strerror", None) or type(error.reason).__name__
            raise self._failed(
                f"cannot be reached: {why}", "is the node running, is the address right? --rpc URL"
            ) from None
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise self._failed(f"does not speak HTTP as expected: {type(error).__name__}") from None

    def _read(self, answer: IO[bytes], until: float) -> bytes:
        parts, size = [], 0
        while part := answer.read(_CHUNK_BYTES):
            parts.append(part)
            size += len(part)
            if size > limits.RPC_BYTES:
                raise self._failed(f"answers with more than {limits.RPC_BYTES:,} bytes")
            if time.monotonic() > until:
                raise self._slow()
        return b"".join(parts)

    def _refused(self, error: urllib.error.HTTPError, until: float) -> RpcError:
        if 300 <= error.code < 400:
            return self._failed(
                f"answers with a redirect (HTTP {error.code}), which is not followed",
                "give the URL it leads to",
            )
        fix = "is the key in the URL right?" if error.code in (401, 403) else ""
        try:
            said = self._told(self._parsed(self._read(error, until)).get("error"))
        except (RpcError, OSError):
            said = ""
        return self._failed(f"answers with HTTP {error.code}{f': {said}' if said else ''}", fix)

    def _parsed(self, raw: bytes) -> dict[str, Any]:
        try:
            answer = json.loads(raw)
        except (ValueError, RecursionError):
            answer = None
        if not isinstance(answer, dict):
            raise self._failed("answers with what is no JSON-RPC", "is this the URL of a node?")
        return answer

    def _told(self, error: Any) -> str:
        """The node's words, without anything of the URL."""
        message = error.get("message") if isinstance(error, dict) else error
        told = str(message or "it does not say why")
        for secret in self._secrets:
            told = told.replace(secret, "...")
        return visible(" ".join(told.split()))[:200]

    def _slow(self) -> RpcError:
        return self._failed(f"gave no whole answer within {self.seconds:g} s", "try again, or another node")

    def _failed(self, what: str, fix: str = "") -> RpcError:
        return RpcError(what, where=self.shown, fix=fix)


def _split(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        port_is_a_number = parts.port is None or parts.port >= 0
    except ValueError:
        parts, port_is_a_number = urlsplit(""), False
    if parts.scheme not in ("http", "https") or not parts.hostname or not port_is_a_number:
        raise RpcError("no URL of a node", where="--rpc", fix="such as http://localhost:8545")
    if any(ord(char) <= 0x20 or ord(char) >= 0x7F for char in url):
        raise RpcError("a URL with characters that none has", where="--rpc", fix="quote it: %20 for a space")
    return parts


def _shown(parts: SplitResult) -> str:
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"


def _secrets(parts: SplitResult) -> list[str]:
    """Everything of the URL that may be a key, the longest first."""
    path = [part for part in parts.path.split("/") if len(part) > 5]
    found = [
        parts.username or "",
        parts.password or "",
        parts.path if len(parts.path) > 5 else "",
        parts.query,
    ]
    found += [*path, *(value.rpartition("=")[2] for value in parts.query.split("&"))]
    return sorted({one for one in found if one}, key=lambda one: (-len(one), one))
