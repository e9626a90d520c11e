"""Text that comes from outside, JSON and TOML, read so that whatever is wrong with it is a ValueError.

Python's own guard against deep nesting is its recursion limit, and py-evm's dependencies raise that to 100,000 when
they are imported: from then on a line of brackets ends the process instead of raising RecursionError.
"""

from __future__ import annotations

import json
import re
import tomllib
from typing import Any, Final, NoReturn

MAX_NESTING: Final = 100
LONGEST_WORDS: Final = 500

_STRING_OR_BRACKET = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+"?|[\[\]{}]', re.DOTALL)


def too_deep(text: str) -> bool:
    """Whether a JSON text nests arrays and objects more than MAX_NESTING deep. Takes time in proportion to the text."""
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
    """JSON in UTF-8. Raises ValueError, also for nesting, for NaN and Infinity, and for a key that comes twice."""
    text = _text(content)
    if too_deep(text):
        raise ValueError(f"nested more than {MAX_NESTING} deep")
    return json.loads(text, object_pairs_hook=_each_once, parse_constant=_no_number)


def parse_toml(content: str | bytes) -> dict[str, Any]:
    """TOML in UTF-8. Raises ValueError, also for nesting."""
    text = _text(content)
    try:
        return tomllib.loads(text)
    except RecursionError:
        raise ValueError("nested too deep") from None


def words(value: Any) -> str:
    """What somebody else said, fit to be shown: without characters that steer a terminal or cannot be written, and
    no longer than LONGEST_WORDS."""
    text = value if isinstance(value, str) else repr(value)
    shown = "".join(one if one.isprintable() else " " for one in text[: LONGEST_WORDS + 1])
    return shown if len(shown) <= LONGEST_WORDS else shown[:LONGEST_WORDS] + "..."


def without_secrets(url: str) -> str:
    """`url` as scheme and host: user, path and query may carry passwords and API keys."""
    scheme, _, rest = url.partition("://")
    return f"{scheme}://{rest.partition('/')[0].partition('?')[0].rpartition('@')[2]}"


def _text(content: str | bytes) -> str:
    """Without the mark that editors of another system put in front."""
    return content.decode("utf-8-sig") if isinstance(content, bytes) else content.removeprefix("\ufeff")


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        met: set[str] = set()
        for name, _ in pairs:
            if name in met:
                raise ValueError(f"{words(name)!r} comes twice")
            met.add(name)
    return found


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a number")
