# SPDX-License-Identifier: Apache-2.0
"""The text that a model generated in an answer, streamed or not, and its tokens.

Each choice is counted by itself. Long text is counted in pieces, each rounded down by a token, so little is kept.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Hashable, Iterator
from typing import Any, Final

PIECE: Final = 2**14
"""Characters that are kept of an answer until they are counted."""


class AnswerTexts:
    """Collects the text of one answer to a request at this path of a model server. `count` counts tokens."""

    def __init__(self, path: str, count: Callable[[str], int]) -> None:
        self._path = path
        self._count = count
        self._texts: dict[Hashable, list[str]] = {}
        self._length = 0
        self._counted = 0
        self.has_text = False

    @property
    def choices(self) -> int:
        """How many choices or parts the answer has; 0 if it is not one of generated text."""
        return len(self._texts)

    def add_event(self, event: Any) -> None:
        """Take the JSON of a stream's event. What is not generated text is ignored."""
        self._add(_events(self._path, event))

    def add_body(self, answer: Any) -> None:
        """Take the JSON of an answer that was not streamed."""
        self._add(_bodies(self._path, answer))

    def tokens(self, *, cut: bool = False) -> int:
        """The tokens so far. `cut`: the last one of each choice may be incomplete, and does not count."""
        rest = (self._count("".join(texts)) for texts in self._texts.values())
        return self._counted + sum(max(0, tokens - cut) for tokens in rest)

    def _add(self, found: Iterator[tuple[Hashable, str]]) -> None:
        try:
            for choice, text in found:
                self._texts.setdefault(choice, []).append(text)
                self._length += len(text)
                self.has_text = self.has_text or bool(text)
        except (KeyError, TypeError, ValueError, AttributeError):
            return
        if self._length > PIECE:
            self._counted = self.tokens(cut=True)
            self._texts = {choice: [] for choice in self._texts}
            self._length = 0


def _events(path: str, event: Any) -> Iterator[tuple[Hashable, str]]:
    if path == "/messages":
        if event["type"] == "content_block_delta":
            yield event["index"], _first(event["delta"], "text", "thinking", "partial_json")
    elif path == "/responses":
        if event["type"].endswith(".delta") and isinstance(event["delta"], str):
            yield (event["output_index"], event.get("content_index")), event["delta"]
    else:
        yield from _choices(event, "delta")


def _bodies(path: str, answer: Any) -> Iterator[tuple[Hashable, str]]:
    if path == "/messages":
        for place, part in enumerate(answer["content"]):
            yield place, _first(part, "text", "thinking")
            yield from ((place, text) for text in _call(part, "input"))
    elif path == "/responses":
        for place, item in enumerate(answer["output"]):
            for part in item.get("content") or ():
                yield place, _first(part, "text", "refusal")
            yield from ((place, text) for text in _call(item, "arguments"))
    else:
        yield from _choices(answer, "message")


def _choices(answer: Any, part: str) -> Iterator[tuple[Hashable, str]]:
    for choice in answer["choices"]:
        number = int(choice.get("index", 0))
        said = choice.get(part) or choice
        # Some servers send the same reasoning under both names.
        yield number, _first(said, "reasoning_content", "reasoning")
        for name in ("content", "refusal", "text"):
            yield number, _first(said, name)
        for call in said.get("tool_calls") or ():
            yield from ((number, text) for text in _call(call.get("function") or {}, "arguments"))


def _call(call: Any, arguments: str) -> Iterator[str]:
    """The name and the arguments of a call, if it is one."""
    if arguments in call or "name" in call:
        yield _first(call, "name")
        given = call.get(arguments) or ""
        yield given if isinstance(given, str) else json.dumps(given)


def _first(part: Any, *names: str) -> str:
    """The first of these fields that is text."""
    return next((text for name in names if isinstance(text := part.get(name), str) and text), "")
