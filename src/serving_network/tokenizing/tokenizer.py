# SPDX-License-Identifier: Apache-2.0
"""A model's tokenizer, read from its tokenizer.json, and its chat template, from the files beside it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NoReturn

from serving_network.errors import ConfigurationError
from serving_network.untrusted import parse_json, reason_of

if TYPE_CHECKING:
    import jinja2

TOKENS_PER_MESSAGE: Final = 3
"""What a message counts beside its text if there is no chat template: its role and its bounds."""
TOKENS_OF_ANSWER: Final = 3
"""What starts the answer, if there is no chat template."""
PIECE: Final = 2**16
"""Longer texts are counted in pieces of this many characters, since each token takes about a hundred bytes."""

_GENERATION = re.compile(r"(\{%[-+]?\s*)(end)?generation(\s*[-+]?%\})")

Message = Mapping[str, Any]


class TokenizerUnusable(ConfigurationError):
    """The tokenizer's file cannot be read, or the extra that reads it is not installed."""


class Tokenizer:
    """Counts tokens. `encode` returns the number of tokens of a text, with those that begin and end it if asked."""

    def __init__(self, encode: Callable[[str, bool], int], template: jinja2.Template | None = None) -> None:
        self._encode = encode
        self._template = template

    @property
    def has_template(self) -> bool:
        """Whether chats are counted in the model's own template."""
        return self._template is not None

    def count(self, text: str, *, special: bool = False) -> int:
        """The tokens of a text. `special`: with those that the model puts around a text. Pieces are rounded down."""
        if len(text) <= PIECE:
            return self._encode(text, special)
        pieces = [text[start : start + PIECE] for start in range(0, len(text), PIECE)]
        return sum(self._encode(piece, False) for piece in pieces) - len(pieces) + 1

    def count_chat(
        self, messages: Sequence[Message], tools: Any = None, switches: Mapping[str, Any] | None = None
    ) -> int:
        """The tokens of a chat. A chat that the template refuses counts as without one."""
        rendered = self._rendered(messages, tools, switches or {})
        if rendered is not None:
            return self.count(rendered)
        texts = [text for message in messages for text in _texts(message)]
        if tools:
            texts.append(json.dumps(tools, ensure_ascii=False))
        return sum(map(self.count, texts)) + TOKENS_PER_MESSAGE * len(messages) + TOKENS_OF_ANSWER

    def _rendered(self, messages: Sequence[Message], tools: Any, switches: Mapping[str, Any]) -> str | None:
        if self._template is None:
            return None
        try:
            return self._template.render(
                {**switches, "messages": messages, "tools": tools or None, "add_generation_prompt": True}
            )
        except Exception:  # noqa: BLE001 - a template is a program, and what it does with a user's messages is unknown
            return None


def load_tokenizer(path: Path) -> Tokenizer:
    """The tokenizer in a tokenizer.json. Raises TokenizerUnusable.

    Its chat template is in chat_template.jinja or tokenizer_config.json in the same folder, if there is one.
    """
    try:
        import jinja2.sandbox  # noqa: F401
        import tokenizers
    except ImportError as error:
        raise TokenizerUnusable(
            "Tokens are counted by a library that is not installed.",
            next_step="Install the extra serving-network[tokenizer].",
        ) from error
    try:
        loaded: Any = tokenizers.Tokenizer.from_file(str(path))
    except Exception as error:
        raise _unusable(path, "a tokenizer", error) from error

    def encode(text: str, special: bool) -> int:
        # A batch is counted without Python's lock, so that other requests are served meanwhile.
        (encoded,) = loaded.encode_batch_fast([text], add_special_tokens=special)
        return len(encoded)

    loaded.no_padding()
    loaded.no_truncation()
    return Tokenizer(encode, _template_beside(path))


def _template_beside(path: Path) -> jinja2.Template | None:
    file, beside = path.with_name("chat_template.jinja"), path.with_name("tokenizer_config.json")
    try:
        config = parse_json(beside.read_bytes()) if beside.exists() else {}
        if not isinstance(config, dict):
            raise TypeError("it is not a JSON object")
        source = file.read_text("utf-8") if file.exists() else _default(config.get("chat_template"))
        return None if source is None else _compiled(source, config)
    except Exception as error:
        raise _unusable(file if file.exists() else beside, "a chat template", error) from error


def _default(template: Any) -> str | None:
    """The template of a configuration, which has one, or several by name."""
    if isinstance(template, list):
        template = {one["name"]: one["template"] for one in template}.get("default")
    return template if isinstance(template, str) else None


def _compiled(source: str, config: Mapping[str, Any]) -> jinja2.Template:
    """A template in the environment for which models' templates are written. It reaches nothing outside itself."""
    from jinja2.ext import loopcontrols
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols])
    environment.filters["tojson"] = _to_json
    environment.globals.update(raise_exception=_refuse, strftime_now=_now)
    environment.globals.update({name: _token(value) for name, value in config.items() if name.endswith("_token")})
    # The tag marks what the model generates, for training.
    plain = _GENERATION.sub(lambda tag: f"{tag[1]}{'endif' if tag[2] else 'if true'}{tag[3]}", source)
    return environment.from_string(plain)


def _token(value: Any) -> Any:
    return value.get("content") if isinstance(value, dict) else value


def _to_json(value: Any, indent: int | None = None, **_: Any) -> str:
    return json.dumps(value, ensure_ascii=False, indent=indent)


def _refuse(message: str) -> NoReturn:
    raise ValueError(message)


def _now(form: str) -> str:
    return datetime.now().astimezone().strftime(form)


def _texts(value: Any) -> list[str]:
    """All text in a message, without names of fields, roles, types and ids."""
    if isinstance(value, str):
        return [value]
    if isinstance(value, list):
        return [text for one in value for text in _texts(one)]
    if isinstance(value, Mapping):
        hidden = ("role", "type", "id", "tool_call_id")
        return [text for name, one in value.items() if name not in hidden for text in _texts(one)]
    return []


def _unusable(path: Path, what: str, error: Exception) -> TokenizerUnusable:
    return TokenizerUnusable(
        f"{path} is not {what}.",
        cause=f"{reason_of(error)}.",
        next_step="Pass the model's tokenizer.json, in its own folder.",
    )
