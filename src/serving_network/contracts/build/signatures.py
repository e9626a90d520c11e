# SPDX-License-Identifier: Apache-2.0
"""Parse ABI entries from readable lines: `event Paid(address indexed user, uint256 amount)`."""

from __future__ import annotations

import re
from typing import Any

from .errors import SignatureError

_LINE = re.compile(
    r"^(?P<kind>constructor|event|error|receive|fallback) ?(?P<name>\w*)\((?P<inputs>[^()]*)\)(?P<payable> payable)?$"
)


def parse(line: str) -> dict[str, Any]:
    """Parse a constructor, event, error, receive or fallback, without structs. Raises `SignatureError`."""
    match = _LINE.match(line)
    if match is None:
        raise SignatureError(f"not an ABI entry: {line}")
    kind = match["kind"]
    inputs = [_input(text, line) for text in match["inputs"].split(", ") if text]
    mutability = "payable" if match["payable"] else "nonpayable"
    match kind:
        case "event":
            return {"type": kind, "name": match["name"], "inputs": inputs, "anonymous": False}
        case "error":
            return {"type": kind, "name": match["name"], "inputs": inputs}
        case "constructor":
            return {"type": kind, "inputs": inputs, "stateMutability": mutability}
        case _:
            return {"type": kind, "stateMutability": mutability}


def _input(text: str, line: str) -> dict[str, Any]:
    match text.split(" "):
        case [kind, "indexed", name] if line.startswith("event"):
            return {"name": name, "type": kind, "indexed": True}
        case [kind, name] if line.startswith("event"):
            return {"name": name, "type": kind, "indexed": False}
        case [kind, name]:
            return {"name": name, "type": kind}
    raise SignatureError(f"not a parameter: {text} in {line}")
