# SPDX-License-Identifier: Apache-2.0
"""The tokens that a model reads in a request, by the path at a model server under /v1."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

from serving_network.tokenizing.tokenizer import Message, Tokenizer
from serving_network.untrusted import parse_json

_TEXT_OF: Final = ("text", "thinking", "refusal", "output")
_MEDIA: Final = {
    "image_url", "video_url", "audio_url", "input_image", "input_audio", "input_file", "file", "image", "document",
}  # fmt: skip


def count_prompt(path: str, request: Mapping[str, Any], tokenizer: Tokenizer) -> int:
    """The tokens of a request's input; media count nothing. Raises ValueError if it has none that can be counted."""
    match path:
        case "/completions":
            return _count_prompts(request.get("prompt"), tokenizer) + tokenizer.count(str(request.get("suffix") or ""))
        case "/embeddings":
            return _count_prompts(request.get("input"), tokenizer)
        case "/chat/completions":
            messages = [_of_chat(one) for one in _mappings(request.get("messages"))]
            tools = request.get("tools") or request.get("functions")
            switches = request.get("chat_template_kwargs")
            return tokenizer.count_chat(messages, tools, switches if isinstance(switches, dict) else {})
        case "/messages":
            items = _mappings(request.get("messages"))
            return tokenizer.count_chat([*_system(request.get("system")), *map(_plain, items)], request.get("tools"))
        case "/responses":
            given = request.get("input")
            items = [{"role": "user", "content": given}] if isinstance(given, str) else _mappings(given)
            messages = [*_system(request.get("instructions")), *map(_plain, items)]
            return tokenizer.count_chat(messages, request.get("tools"))
    raise ValueError("the input of this route is not text")


def is_counted_exactly(path: str, request: Mapping[str, Any], tokenizer: Tokenizer) -> bool:
    """Whether `count_prompt` counts all that a model reads: the template is known, and there is only text."""
    if path in ("/completions", "/embeddings"):
        return True
    return path == "/chat/completions" and tokenizer.has_template and not _has_media(request.get("messages"))


def _count_prompts(prompts: Any, tokenizer: Tokenizer) -> int:
    """A text, its tokens, or a list of either."""
    if isinstance(prompts, str):
        return tokenizer.count(prompts, special=True)
    if not isinstance(prompts, list) or not prompts:
        raise ValueError("the prompt is not text")
    if type(prompts[0]) is int:
        return len(prompts)
    return sum(_count_prompts(one, tokenizer) for one in prompts)


def _of_chat(message: Message) -> Message:
    """A message as templates take it: text instead of parts, and the arguments of calls as objects."""
    content = message.get("content")
    plain = {**message, "content": content if content is None else _text(content)}
    if isinstance(calls := message.get("tool_calls"), list):
        plain["tool_calls"] = [_with_arguments(one) for one in calls]
    return plain


def _with_arguments(call: Any) -> Any:
    try:
        function = call["function"]
        return {**call, "function": {**function, "arguments": parse_json(function["arguments"])}}
    except (KeyError, TypeError, ValueError, AttributeError):
        return call


def _plain(message: Message) -> Message:
    """A message or an item of another API as one of a chat: who says it, and all of its text."""
    role = message.get("role") or ("tool" if str(message.get("type")).endswith("_output") else "assistant")
    return {"role": role, "content": _text(message.get("content") or [dict(message)])}


def _system(content: Any) -> list[Message]:
    return [{"role": "system", "content": _text(content)}] if content else []


def _text(content: Any) -> str:
    """The text of a message's content, its parts one a line."""
    return content if isinstance(content, str) else "\n".join(_parts(content))


def _parts(content: Any) -> Iterator[str]:
    for part in content if isinstance(content, list) else ():
        if isinstance(part, str):
            yield part
        elif isinstance(part, Mapping):
            yield from (text for name in _TEXT_OF if isinstance(text := part.get(name), str))
            if part.get("type") in ("tool_use", "function_call", "custom_tool_call"):
                called = part.get("arguments") or part.get("input") or {}
                yield f"{part.get('name')} {called if isinstance(called, str) else json.dumps(called)}"
            for name in ("content", "output", "summary"):
                if inner := part.get(name):
                    yield from [inner] if isinstance(inner, str) and name != "output" else _parts(inner)


def _has_media(messages: Any) -> bool:
    contents = [one.get("content") for one in _mappings(messages)]
    parts = [part for content in contents if isinstance(content, list) for part in content]
    return any(isinstance(part, Mapping) and part.get("type") in _MEDIA for part in parts)


def _mappings(value: Any) -> list[Message]:
    return [one for one in value if isinstance(one, Mapping)] if isinstance(value, list) else []
