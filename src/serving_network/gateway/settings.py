# SPDX-License-Identifier: Apache-2.0
"""The settings of a gateway: a TOML file, which the environment overrides, which options override.

The variable of `max_requests` is SERVING_GATEWAY_MAX_REQUESTS. In a variable or an option, commas separate a list and a
table is JSON. If both required settings are given there, no file is needed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Final

from serving_network.addresses import is_hex_address
from serving_network.contracts.models import Offer
from serving_network.errors import ConfigurationError, InvalidInput
from serving_network.gateway.limits import Limits
from serving_network.gateway.requests import Terms
from serving_network.gateway.upstreams import UpstreamSettings, are_headers, is_base_url, read_upstreams
from serving_network.money import parse_wei
from serving_network.untrusted import parse_json, parse_toml, printable, reason_of

VARIABLE_PREFIX: Final = "SERVING_GATEWAY_"

_TEMPLATE: Final = """\
# Settings of `serving gateway run`. Each can be overridden by a variable, such as SERVING_GATEWAY_PORT=3081, or by an
# option, such as --set port=3081.

# The provider's address.
provider = {provider}

# The OpenAI-compatible model server, with its /v1, and headers that it wants.
upstream = {upstream}
# upstream_headers = {{ Authorization = "Bearer KEY" }}
# The model's name at the model server, if it is another one.
# upstream_model = "NAME"
{tokenizer}
# Several model servers, instead of upstream. They are tables, so write them at the end of this file.
# [[upstreams]]
# url = "http://127.0.0.1:8000/v1"
# headers = {{ Authorization = "Bearer KEY" }}
# model = "NAME"
# weight = 1
# max_concurrency = 256
# continuous_usage = true
# tokenizer = "/path/to/tokenizer.json"
# Further names under which users may ask for the model.
# aliases = []

# Where the gateway listens: behind nginx or Caddy, or with its own certificate. SIGHUP reads the certificate again.
host = {host}
port = {port}
# tls_cert = "/etc/letsencrypt/live/NAME/fullchain.pem"
# tls_key = "/etc/letsencrypt/live/NAME/privkey.pem"

# The store of several gateways. Without it, the store is an SQLite file of this machine. The password is in ~/.pgpass
# or in the variable PGPASSWORD.
# store = "postgresql://serving@db.example/serving"

# The TEE signer: "local" has the key in SERVING_TEE_KEY, for development; "dstack" has one that dstack derives for this
# machine and path, and publishes its quote.
signer = {signer}
# dstack_endpoint = "/var/run/dstack.sock"
# dstack_key_path = "serving-network/tee-signer"

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
# Users who are served without payment: their receipts have no price.
# free = []
# Memory for the bodies and answers of all requests under way, in MiB.
# memory_mib = 512
# Read on for at most 5 seconds or 256 tokens after a client has left a stream, so that its input can be billed. It is
# shown in /v1/models.
# read_on_after_cancel = false
# The longest request in seconds. It bounds how long a requested refund can be outrun: see settle_seconds.
# request_seconds = 900

# Settle after this many seconds, or as soon as this much is unsettled, such as "50 0G".
# settle_seconds = 600
# settle_above = "50 0G"
# Pay at most this fee per gas; settlements wait while gas costs more.
# settle_max_fee = "20 gwei"
# Start the settler together with the gateway, with this key of the key store. Its password is in SERVING_PASSWORD.
{settle_key}

# Metrics for Prometheus, at http://127.0.0.1:PORT/metrics.
# metrics_port = 9464
# A log of requests and events in JSON, in up to six files of 10 MB. Without it, events go to standard error.
# log_file = "/var/log/serving/gateway.log"
# Record users' addresses in traces, too. Traces are exported as OTEL_EXPORTER_OTLP_ENDPOINT and other variables say.
# trace_users = false

# The service as it must be registered. The gateway does not start if the chain says otherwise.
[service]
{service}
"""

_TOKENIZER: Final = """\
# The model's tokenizer.json, with its chat template beside it. It counts what the model server does not report.
{}tokenizer = {}"""


@dataclass(frozen=True)
class Settings:
    """What a provider sets. `service` are the fields that the registered offer must have."""

    provider: str
    upstream: str | None = None
    upstreams: tuple[UpstreamSettings, ...] = ()
    upstream_headers: dict[str, str] = field(default_factory=dict)
    upstream_model: str | None = None
    tokenizer: str | None = None
    aliases: list[str] = field(default_factory=list)
    host: str = "127.0.0.1"
    port: int = 3080
    tls_cert: str | None = None
    tls_key: str | None = None
    default_output_tokens: int = 4096
    context: int | None = None
    output_field: str = "max_tokens"
    strip_fields: list[str] = field(default_factory=list)
    max_requests: int = 512
    max_requests_of_user: int = 64
    request_seconds: int = 900
    settle_seconds: int = 600
    settle_above: str | None = None
    settle_max_fee: str | None = None
    settle_key: str | None = None
    metrics_port: int | None = None
    log_file: str | None = None
    store: str | None = None
    service: dict[str, str | int] = field(default_factory=dict)
    max_requests_of_key: int | None = None
    requests_per_minute_of_user: int = 600
    requests_per_minute_of_key: int = 0
    blocked: list[str] = field(default_factory=list)
    free: list[str] = field(default_factory=list)
    read_on_after_cancel: bool = False
    memory_mib: int = 512
    trace_users: bool = False
    signer: str = "local"
    dstack_endpoint: str | None = None
    dstack_key_path: str | None = None

    def terms(self, model: str) -> Terms:
        """What is sold of the registered model."""
        return Terms(
            model,
            aliases=frozenset(self.aliases),
            context=self.context,
            default_output_tokens=self.default_output_tokens,
            output_field=self.output_field,
            reads_on=self.read_on_after_cancel,
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
            frozenset(one.lower() for one in self.free),
        )

    def servers(self) -> tuple[UpstreamSettings, ...]:
        """The model servers."""
        servers = self.upstreams
        if self.upstream is not None:
            servers = (UpstreamSettings(self.upstream, self.upstream_headers, model=self.upstream_model),)
        return tuple(replace(one, tokenizer=one.tokenizer or self.tokenizer) for one in servers)


def read_settings(path: Path, environment: Mapping[str, str], given: Mapping[str, str]) -> Settings:
    """The settings in a TOML file, overridden by variables, overridden by what was `given` as options.

    Raises ConfigurationError, which says what is missing or wrong, and where.
    """
    found = _of_file(path)
    values: dict[str, Any] = found or {}
    for name in _TYPES:
        if (text := environment.get(VARIABLE_PREFIX + name.upper())) is not None:
            values[name] = _typed(name, text, VARIABLE_PREFIX + name.upper())
    for name, text in given.items():
        values[name] = _typed(name, text, f"--set {printable(name)}")
    if "provider" not in values:
        raise _missing(path, "provider", is_file=found is not None)
    if "upstream" not in values and "upstreams" not in values:
        raise _missing(path, "upstream", is_file=found is not None)
    if "upstream" in values and "upstreams" in values:
        raise _wrong(str(path), "It needs either upstream or [[upstreams]].")
    return Settings(**values)


def render_settings(
    provider: str,
    upstream: str,
    offer: Offer,
    *,
    host: str,
    port: int,
    settle_key: str | None,
    signer: str,
    tokenizer: str | None = None,
) -> str:
    """A settings file with comments. Prices are in wei per token."""
    return _TEMPLATE.format(
        provider=_quoted(provider),
        signer=_quoted(signer),
        upstream=_quoted(upstream),
        host=_quoted(host),
        port=port,
        tokenizer=_TOKENIZER.format("" if tokenizer else "# ", _quoted(tokenizer or "/path/to/tokenizer.json")),
        settle_key=f"settle_key = {_quoted(settle_key)}" if settle_key else '# settle_key = "provider"',
        service="\n".join(f"{name} = {_quoted(getattr(offer, name))}" for name in SERVICE_FIELDS),
    )


def service_value(name: str, value: str | int) -> str | int:
    """A field of the table [service] as an offer has it. Raises InvalidInput for a price that is no amount."""
    return parse_wei(str(value)) if name.endswith("_price") and isinstance(value, str) else value


SERVICE_FIELDS: Final = (
    "service_type", "url", "model", "verifiability", "input_price", "output_price", "additional_info", "tee_signer",
)  # fmt: skip
_TYPES: Final = {one.name: str(one.type).removesuffix(" | None") for one in fields(Settings)}


def _of_file(path: Path) -> dict[str, Any] | None:
    try:
        content = parse_toml(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise _wrong(str(path), f"{reason_of(error)}.") from error
    if unknown := sorted(content.keys() - _TYPES.keys()):
        raise _wrong(str(path), f"{', '.join(map(printable, unknown))} unknown.")
    if "upstreams" in content:
        content["upstreams"] = _upstreams(content["upstreams"], str(path))
    for name, value in content.items():
        _check(name, value, str(path))
    return content


def _upstreams(value: Any, where: str) -> tuple[UpstreamSettings, ...]:
    try:
        return read_upstreams(value)
    except ValueError as error:
        raise _wrong(where, f"{error}.") from error


def _typed(name: str, text: str, where: str) -> Any:
    """A setting that was written as text."""
    if name not in _TYPES:
        raise _wrong(where, f"{name} unknown.")
    value: Any = text
    match _TYPES[name]:
        case "int" if text.lstrip("-").isdecimal() and text.isascii():
            value = int(text)
        case "bool" if text in ("true", "false"):
            value = text == "true"
        case "list[str]":
            value = [one.strip() for one in text.split(",") if one.strip()]
        case "dict[str, str]" | "dict[str, str | int]" | "tuple[UpstreamSettings, ...]":
            try:
                value = parse_json(text)
            except ValueError as error:
                raise _wrong(where, f"{name} is not JSON: {error}") from error
            value = _upstreams(value, where) if name == "upstreams" else value
    _check(name, value, where)
    return value


def _check(name: str, value: Any, where: str) -> None:
    if not _fits(name, value):
        shown = "that" if name == "upstream_headers" else value  # they contain the key of the model server
        raise _wrong(where, f"{name} cannot be {shown}.")


def _fits(name: str, value: Any) -> bool:
    match name:
        case "upstream":
            return is_base_url(value)
        case "upstream_headers":
            return are_headers(value)
        case "upstreams":
            return isinstance(value, tuple)
        case "blocked" | "free":
            return isinstance(value, list) and all(is_hex_address(one) for one in value)
        case "requests_per_minute_of_user" | "requests_per_minute_of_key":
            return type(value) is int and value >= 0
        case "service":
            return isinstance(value, dict) and all(_fits_service(*item) for item in value.items())
        case "port" | "metrics_port":
            return type(value) is int and 0 <= value < 65_536
        case "signer":
            return value in ("local", "dstack")
        case "output_field":
            return value in ("max_tokens", "max_completion_tokens")
        case "settle_above" | "settle_max_fee":
            return isinstance(value, str) and _is_amount(value)
    match _TYPES[name]:
        case "int":
            return type(value) is int and value > 0
        case "bool":
            return isinstance(value, bool)
        case "list[str]":
            return isinstance(value, list) and all(isinstance(one, str) for one in value)
        case _:
            return isinstance(value, str) and bool(value)


def _fits_service(name: str, value: Any) -> bool:
    if name not in SERVICE_FIELDS or type(value) not in (str, int):
        return False
    if name.endswith("_price"):
        return type(value) is int or _is_amount(value)
    return isinstance(value, str)


def _is_amount(text: str) -> bool:
    try:
        parse_wei(text)
    except InvalidInput:
        return False
    return True


def _quoted(value: str | int) -> str:
    """A value in TOML."""
    if isinstance(value, int):
        return str(value)
    escapes = {'"': '\\"', "\\": "\\\\"}
    return '"' + "".join(escapes.get(one, one if one.isprintable() else f"\\U{ord(one):08x}") for one in value) + '"'


def _missing(path: Path, name: str, *, is_file: bool) -> ConfigurationError:
    if is_file:
        return _wrong(str(path), f"{name} missing.")
    return ConfigurationError(
        f"There is no file {path}.",
        cause=f"Neither it nor {VARIABLE_PREFIX}{name.upper()} sets {name}.",
        next_step="Write one: serving gateway init --upstream URL",
    )


def _wrong(where: str, cause: str) -> ConfigurationError:
    return ConfigurationError(
        f"{where} does not configure a gateway.", cause=printable(cause), next_step=f"Fix {where} and run again."
    )
