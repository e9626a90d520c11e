# SPDX-License-Identifier: Apache-2.0
"""The settings of a gateway, read from a TOML file."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Final

from eth_utils import is_address

from serving_network.errors import ConfigurationError
from serving_network.gateway.limits import Limits
from serving_network.gateway.requests import Terms
from serving_network.gateway.upstreams import UpstreamSettings, are_headers, is_base_url, read_upstreams
from serving_network.untrusted import parse_toml, printable

TEMPLATE = """\
# Settings of `serving gateway run`. Prices, model and TEE signer are those of the registered service.

# The provider's address.
provider = "{provider}"

# The OpenAI-compatible model server, with its /v1, and headers that it wants.
upstream = "{upstream}"
# upstream_headers = {{ Authorization = "Bearer KEY" }}
# The model's name at the model server, if it is another one.
# upstream_model = "NAME"
# Several model servers, instead of upstream. They are tables, so write them at the end of this file.
# [[upstreams]]
# url = "http://127.0.0.1:8000/v1"
# headers = {{ Authorization = "Bearer KEY" }}
# model = "NAME"
# weight = 1
# max_concurrency = 256
# continuous_usage = true
# Further names under which users may ask for the model.
# aliases = []

# Where the gateway listens. Put nginx or Caddy with TLS before it.
host = "127.0.0.1"
port = 3080

# The output that is reserved if a request does not bound it, in tokens.
# default_output_tokens = 4096
# The model's context in tokens. Without it, a request reserves a token for each of its bytes.
# context = 8192
# Bound chats by this field: max_completion_tokens for servers that refuse max_tokens.
# output_field = "max_tokens"
# Remove these fields from requests, for servers that refuse them.
# strip_fields = []

# Requests served at once, in all, for one user and for one key.
# max_requests = 512
# max_requests_of_user = 64
# max_requests_of_key = 64
# Requests per minute of one user and of one key; 0 for no limit.
# requests_per_minute_of_user = 600
# requests_per_minute_of_key = 0
# Users who are not served.
# blocked = []
# Memory for the bodies and answers of all requests under way, in MiB.
# memory_mib = 512
"""

_COUNTS: Final = (
    "default_output_tokens", "context", "max_requests", "max_requests_of_user", "max_requests_of_key", "memory_mib",
)  # fmt: skip


@dataclass(frozen=True)
class Settings:
    """What a provider sets."""

    provider: str
    upstream: str | None = None
    upstreams: tuple[UpstreamSettings, ...] = ()
    upstream_headers: dict[str, str] = field(default_factory=dict)
    upstream_model: str | None = None
    aliases: list[str] = field(default_factory=list)
    host: str = "127.0.0.1"
    port: int = 3080
    default_output_tokens: int = 4096
    context: int | None = None
    output_field: str = "max_tokens"
    strip_fields: list[str] = field(default_factory=list)
    max_requests: int = 512
    max_requests_of_user: int = 64
    max_requests_of_key: int | None = None
    requests_per_minute_of_user: int = 600
    requests_per_minute_of_key: int = 0
    blocked: list[str] = field(default_factory=list)
    memory_mib: int = 512

    def terms(self, model: str) -> Terms:
        """What is sold of the registered model."""
        return Terms(
            model,
            aliases=frozenset(self.aliases),
            context=self.context,
            default_output_tokens=self.default_output_tokens,
            output_field=self.output_field,
            strip_fields=frozenset(self.strip_fields),
        )

    def limits(self) -> Limits:
        """How many requests are served at once."""
        return Limits(
            self.max_requests,
            self.max_requests_of_user,
            self.max_requests_of_key,
            self.requests_per_minute_of_user or None,
            self.requests_per_minute_of_key or None,
            frozenset(one.lower() for one in self.blocked),
            self.memory_mib * 2**20,
        )

    def servers(self) -> tuple[UpstreamSettings, ...]:
        """The model servers."""
        if self.upstream is None:
            return self.upstreams
        return (UpstreamSettings(self.upstream, self.upstream_headers, model=self.upstream_model),)


def read_settings(path: Path) -> Settings:
    """The settings in a TOML file. Raises ConfigurationError, which says what is missing or wrong."""
    try:
        content = parse_toml(path.read_bytes())
    except FileNotFoundError:
        raise ConfigurationError(
            f"There is no file {path}.", next_step="Write one: serving gateway init --upstream URL"
        ) from None
    except (OSError, ValueError) as error:
        raise _wrong(path, str(error)) from error
    known = {one.name for one in fields(Settings)}
    if unknown := sorted(content.keys() - known):
        raise _wrong(path, f"{', '.join(map(printable, unknown))} unknown.")
    if "provider" not in content:
        raise _wrong(path, "provider missing.")
    if ("upstream" in content) == ("upstreams" in content):
        raise _wrong(path, "It needs either upstream or [[upstreams]].")
    if "upstreams" in content:
        try:
            content["upstreams"] = read_upstreams(content["upstreams"])
        except ValueError as error:
            raise _wrong(path, f"{error}.") from error
    for name, value in content.items():
        if not _fits(name, value):
            raise _wrong(path, f"{name} cannot be {printable(str(value))}.")
    return Settings(**content)


def _fits(name: str, value: Any) -> bool:
    match name:
        case "upstream":
            return is_base_url(value)
        case "upstream_headers":
            return are_headers(value)
        case "upstreams":
            return isinstance(value, tuple)
        case "blocked":
            return isinstance(value, list) and all(is_address(one) for one in value)
        case "aliases" | "strip_fields":
            return isinstance(value, list) and all(isinstance(one, str) for one in value)
        case "port":
            return type(value) is int and 0 <= value < 65_536
        case "output_field":
            return value in ("max_tokens", "max_completion_tokens")
        case "requests_per_minute_of_user" | "requests_per_minute_of_key":
            return type(value) is int and value >= 0
        case name if name in _COUNTS:
            return type(value) is int and value > 0
        case _:
            return isinstance(value, str) and bool(value)


def _wrong(path: Path, cause: str) -> ConfigurationError:
    return ConfigurationError(
        f"{path} does not configure a gateway.", cause=printable(cause), next_step=f"Fix {path} and run again."
    )
