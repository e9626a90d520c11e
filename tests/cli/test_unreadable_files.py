# SPDX-License-Identifier: Apache-2.0
"""Files and ports that cannot be used: what failed, why, and what to do, without Python's own notation."""

from __future__ import annotations

import ast
import errno
import json
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

import serving_network
from serving_network.untrusted import parse_json, reason_of
from tests.cli.conftest import Terminal

SOURCES = sorted(Path(serving_network.__file__).parent.rglob("*.py"))
READERS = {
    "settlement send": ("settlement", "send", "FILE", "--key", "provider"),
    "settlement preview": ("settlement", "preview", "FILE", "--key", "provider"),
    "migrate check": ("migrate", "check", "user", "--typed-data", "FILE"),
    "key import": ("key", "import", "second", "--keystore", "FILE"),
    "settle": ("settle", "FILE.jsonl", "--check"),
    "settle --columns": ("settle", "x.jsonl", "--check", "--columns", "FILE"),
    "settle --users": ("settle", "x.jsonl", "--check", "--users", "FILE"),
    "service register": ("service", "register", "FILE", "--key", "provider"),
    "bill verify": ("bill", "verify", "--file", "FILE"),
    "gateway adopt": ("gateway", "adopt", "FILE", "--key", "provider"),
    "deploy plan": ("deploy", "plan", "--files", "FILE"),
}


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (FileNotFoundError(errno.ENOENT, "No such file or directory", "x"), "No such file or directory"),
        (OSError(errno.EADDRINUSE, "error while attempting to bind on address ('::1', 1)"), "Address already in use"),
        (socket.gaierror(socket.EAI_NONAME, "Name or service not known"), "Name or service not known"),
        (json.JSONDecodeError("Expecting value", "\n ", 2), "Expecting value in line 2, column 2"),
        (KeyError("nonce"), "'nonce' is missing"),
        (TimeoutError(), "no answer in time"),
        (EOFError(), "EOFError"),
        (ValueError("two\nlines."), "two\\nlines"),
    ],
)
def test_a_reason_is_one_line_without_numbers(error: Exception, reason: str) -> None:
    assert reason_of(error) == reason


def test_bytes_that_are_not_text_have_a_reason() -> None:
    with pytest.raises(ValueError, match="utf-8") as raised:
        parse_json(b'{"\xff": 1}')
    assert reason_of(raised.value) == "byte 3 is not text in UTF-8"


@pytest.mark.parametrize("words", READERS.values(), ids=READERS)
@pytest.mark.parametrize("content", [None, "directory", b"\xff\xfe\x00", b"{", b"[1, 2]"], ids=str)
def test_a_file_that_cannot_be_used(
    serving: Terminal, tmp_path: Path, words: tuple[str, ...], content: bytes | str | None
) -> None:
    path = tmp_path / "FILE"
    if content == "directory":
        path.mkdir()
    elif isinstance(content, bytes):
        path.write_bytes(content)
    failed = serving(*(one.replace("FILE", str(path)) for one in words), code=None)
    told = failed.err + failed.out
    assert failed.code in (2, 3, 4, 10), told
    assert not [word for word in ("Errno", "codec", "Traceback", "(char") if word in told], told
    assert str(path) in told
    assert "Next   " in failed.err


def test_no_failure_passes_on_the_text_of_an_operating_system_error() -> None:
    found = [f"{path.name}:{line}" for path in SOURCES for line in raw_texts(path.read_text("utf-8"))]
    assert found == []


CAUGHT = {"OSError", "FileNotFoundError", "UnicodeDecodeError"}


def raw_texts(source: str) -> Iterator[int]:
    """Lines that show the text of a caught OSError as Python writes it."""
    if not any(name in source for name in CAUGHT):
        return
    for handler in ast.walk(ast.parse(source)):
        if not isinstance(handler, ast.ExceptHandler) or handler.type is None:
            continue
        caught = {one.id for one in ast.walk(handler.type) if isinstance(one, ast.Name)}
        if not caught & CAUGHT or "ServingError" in caught:
            continue
        for node in ast.walk(handler):
            match node:
                case (
                    ast.Call(func=ast.Name(id="str" | "repr"), args=[ast.Name(id=name)])
                    | ast.FormattedValue(value=ast.Name(id=name))
                ) if name == handler.name:
                    yield node.lineno


@pytest.mark.parametrize(
    "words",
    [
        ("up", "--port"),
        ("up", "--gateway-port"),
        ("up", "--explore-port"),
        ("demo", "--port"),
        ("gateway", "run", "--port"),
        ("gateway", "run", "--metrics-port"),
        ("gateway", "init", "--port"),
    ],
    ids=" ".join,
)
def test_a_port_is_a_number_that_a_port_has(lonely: Terminal, words: tuple[str, ...]) -> None:
    assert "less than or equal to 65535" in lonely(*words, "65536", code=2).err


def test_the_port_of_the_gateway_is_chosen_with_its_own_option(lonely: Terminal) -> None:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        held.listen()
        port = held.getsockname()[1]
        failed = lonely("up", "--port", "0", "--gateway", "--gateway-port", str(port), code=3)
    assert f"serving up --gateway --gateway-port {port + 1}" in failed.err


@pytest.mark.parametrize("encoding", ["ascii", "ascii:surrogateescape"])
def test_a_tree_is_printed_where_there_is_no_utf_8(serving: Terminal, encoding: str) -> None:
    shown = serving.program("account", "show", PYTHONIOENCODING=encoding)
    assert "total" in shown.out
    assert shown.err == ""
