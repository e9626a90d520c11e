# SPDX-License-Identifier: Apache-2.0
"""Text, JSON and TOML from untrusted sources. Invalid input raises ValueError.

Python guards against deep nesting only by its recursion limit, and py-evm's dependencies raise that limit to 100,000
on import. A line of brackets would then crash the process instead of raising RecursionError.
"""

from __future__ import annotations

import json
import os
import re
import tomllib
import unicodedata
from typing import Any, Final, NoReturn

MAX_NESTING: Final = 100
MAX_PRINTABLE: Final = 500
MAX_DIGITS: Final = 400
"""More than any integer or float that a program uses."""

_KEY_BYTES: Final = 32
_LIKE_A_KEY: Final = re.compile(r"(?:0x)?[0-9a-f]{64}", re.IGNORECASE | re.ASCII)

_STRING_OR_BRACKET = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+"?|[\[\]{}]', re.DOTALL)


def too_deep(text: str) -> bool:
    """Whether a JSON text nests arrays and objects more than MAX_NESTING levels deep. Takes linear time."""
    if text.count("[") + text.count("{") <= MAX_NESTING:
        return False
    depth = 0
    for match in _STRING_OR_BRACKET.finditer(text):
        if match[0] in "[{":
            depth += 1
            if depth > MAX_NESTING:
                return True
        elif match[0] in "]}":
            depth -= 1
    return False


def parse_json(content: str | bytes) -> Any:
    """Parse JSON in UTF-8. Raises ValueError, also for deep nesting, long numbers, NaN, Infinity and duplicate keys."""
    text = _text(content)
    if too_deep(text):
        raise ValueError(f"nested more than {MAX_NESTING} deep")
    return _DECODER.decode(text)


def parse_toml(content: str | bytes) -> dict[str, Any]:
    """Parse TOML in UTF-8. Raises ValueError, also for deep nesting."""
    text = _text(content)
    try:
        return tomllib.loads(text)
    except RecursionError:
        raise ValueError("nested too deep") from None


def printable(value: Any, *, most: int | None = MAX_PRINTABLE, keep: str = "") -> str:
    """Untrusted text made safe to print: on one line, and cut after `most` characters.

    Line breaks, control characters and characters that change the direction of text could forge a line of the output;
    they are shown as escapes, such as \\n and \\u202e. The characters in `keep` are left as they are.
    """
    text = value if isinstance(value, str) else repr(value)
    if most is not None and len(text) > most:
        text = text[:most] + "..."
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() or one in keep else _escape(one) for one in text)


def quoted(value: Any) -> str:
    """A value that does not fit, for an error text. What looks like a private key is not shown."""
    if isinstance(value, bytes) and len(value) == _KEY_BYTES:
        return "a value of 32 bytes"
    if isinstance(value, str) and _LIKE_A_KEY.fullmatch(value.strip()):
        return "a text of 64 hexadecimal digits"
    return printable(repr(value))


def reason_of(error: BaseException) -> str:
    """Why something failed, on one printable line, without the numbers and paths that Python adds to it."""
    if isinstance(error, UnicodeDecodeError):
        return f"byte {error.start + 1} is not text in UTF-8"
    if isinstance(error, KeyError):
        return f"{printable(repr(error.args[0]))} is missing"
    if isinstance(error, json.JSONDecodeError):
        return f"{error.msg} in line {error.lineno}, column {error.colno}"
    if isinstance(error, OSError) and not hasattr(error, "library"):  # numbers in errors of OpenSSL are its own
        if error.errno is not None and error.errno > 0:
            return os.strerror(error.errno)
        if error.strerror:
            return printable(error.strerror)
    text = printable(str(error)).removesuffix(".")
    return text or ("no answer in time" if isinstance(error, TimeoutError) else type(error).__name__)


def _escape(character: str) -> str:
    if unicodedata.category(character) == "Zs":
        return " "
    return character.encode("unicode_escape").decode("ascii")


def printable_json(value: Any) -> str:
    """JSON on one line, in which control characters and characters that change the direction of text are escaped."""
    text = json.dumps(value, ensure_ascii=False)
    return "".join(one if one.isprintable() else json.dumps(one)[1:-1] for one in text)


def without_secrets(url: str) -> str:
    """The scheme and host of `url`: user, path and query may contain passwords and API keys."""
    scheme, _, rest = url.partition("://")
    return f"{scheme}://{rest.partition('/')[0].partition('?')[0].rpartition('@')[2]}"


def _text(content: str | bytes) -> str:
    """The text without a byte order mark."""
    text = content.decode() if isinstance(content, bytes) else content
    return text.removeprefix("\ufeff")


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        seen: set[str] = set()
        for name, _ in pairs:
            if name in seen:
                raise ValueError(f"{printable(name)!r} is a duplicate key")
            seen.add(name)
    return found


def _whole_number(digits: str) -> int:
    """The time to read a number grows with the square of its length."""
    if len(digits) > MAX_DIGITS:
        raise ValueError(f"a number with more than {MAX_DIGITS} digits")
    return int(digits)


def _reject_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a number")


_DECODER: Final = json.JSONDecoder(
    object_pairs_hook=_without_duplicates, parse_int=_whole_number, parse_constant=_reject_constant
)
