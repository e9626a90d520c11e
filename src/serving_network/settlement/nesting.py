"""A limit on how deeply JSON from outside may be nested.

Python's own guard is its recursion limit, and py-evm's dependencies raise that to 100,000 when they are
imported: from then on a line of brackets ends the process instead of raising RecursionError.
"""

from __future__ import annotations

import re
from typing import Final

MAX_NESTING: Final = 100

_STRING_OR_BRACKET = re.compile(r'"(?:[^"\\]|\\.)*"|[\[\]{}]', re.DOTALL)


def too_deep(text: str) -> bool:
    """Whether a JSON text nests arrays and objects more than MAX_NESTING deep."""
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
