# SPDX-License-Identifier: Apache-2.0
"""The key and the quote of a TEE that dstack runs, from its guest agent.

The agent answers JSON over HTTP on a unix socket of the virtual machine, which a container must mount. Three of its
operations are used: GetKey derives a key from the app's secret and a path, GetQuote asks the processor to sign 64 bytes
of report data, and Info returns the compose file. The key stays in this process.

dstack-sdk on PyPI does the same, but depends on httpx and on `asyncio`, an obsolete copy of a module of Python.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import aiohttp

from serving_network.errors import ConfigurationError, InvalidInput, KeyFailure
from serving_network.messages.quotes import parse_body, render_report, report_data_of
from serving_network.untrusted import parse_json, printable, reason_of
from serving_network.wallet.local import LocalTeeSigner

KEY_PATH: Final = "serving-network/tee-signer"
ENDPOINT_VARIABLE: Final = "DSTACK_SIMULATOR_ENDPOINT"
SOCKETS: Final = (
    "/var/run/dstack.sock",
    "/run/dstack.sock",
    "/var/run/dstack/dstack.sock",
    "/run/dstack/dstack.sock",
)
MAX_BYTES: Final = 4 * 1024 * 1024
_SECONDS: Final = 30.0
_NEXT_STEP: Final = (
    'Run this in a machine of dstack with its socket mounted, or use another key: signer = "local", or --tee-key NAME.'
)


class TeeUnavailable(KeyFailure):
    """The TEE did not provide its key or its quote."""


@dataclass(frozen=True)
class Dstack:
    """The guest agent at `endpoint`: the path of its socket, or the URL of a simulator on this machine."""

    endpoint: str

    async def signer(self, path: str = KEY_PATH) -> LocalTeeSigner:
        """The signer whose key dstack derives for `path`. Raises TeeUnavailable, whose text never contains the key."""
        answer = await self._ask("GetKey", {"path": path, "purpose": "signing", "algorithm": "secp256k1"})
        try:
            return LocalTeeSigner(bytes.fromhex(answer["key"].removeprefix("0x")))
        except (KeyError, TypeError, AttributeError, ValueError, InvalidInput):
            # The exception could quote the key.
            raise TeeUnavailable("dstack did not return a private key.", next_step=_NEXT_STEP) from None

    async def report(self, signer: str) -> bytes:
        """The TEE's report, whose quote binds the address of `signer`, as clients expect it. Raises TeeUnavailable."""
        report_data = report_data_of(signer)
        answer = await self._ask("GetQuote", {"report_data": report_data.hex()})
        info = await self._ask("Info", {})
        try:
            quote = bytes.fromhex(answer["quote"].removeprefix("0x"))
            texts = [_text(answer.get("event_log")), _text(answer.get("vm_config")), _text(info.get("tcb_info"))]
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise TeeUnavailable("dstack did not return a quote.", next_step=_NEXT_STEP) from error
        body = parse_body(quote)
        if body is None or body.report_data != report_data:
            raise TeeUnavailable(
                "The quote of dstack does not contain the signer.",
                cause="It is not a TDX quote." if body is None else "Its report data is another one.",
                next_step="Use a machine with Intel TDX.",
            )
        return render_report(quote, report_data, event_log=texts[0], vm_config=texts[1], tcb_info=texts[2])

    async def _ask(self, method: str, content: dict[str, str]) -> dict[str, Any]:
        is_url = self.endpoint.startswith("http://")
        connector = None if is_url else aiohttp.UnixConnector(self.endpoint)
        url = f"{self.endpoint.rstrip('/') if is_url else 'http://dstack'}/{method}"
        timeout = aiohttp.ClientTimeout(total=_SECONDS)
        try:
            async with (
                aiohttp.ClientSession(connector=connector, timeout=timeout) as http,
                http.post(url, json=content, allow_redirects=False) as answer,
            ):
                body = await _bounded(answer)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise TeeUnavailable(
                f"dstack does not answer at {self.endpoint}.",
                cause=f"{reason_of(error)}.",
                next_step=_NEXT_STEP,
            ) from error
        try:
            found = parse_json(body)
        except ValueError:
            found = None
        if answer.status != 200 or not isinstance(found, dict):
            refusal = found.get("error") if isinstance(found, dict) and answer.status != 200 else None
            raise TeeUnavailable(
                f"dstack did not answer {method} with JSON: status {answer.status}.",
                cause=None if refusal is None else printable(refusal),
                next_step=_NEXT_STEP,
            )
        return found


def find_dstack(endpoint: str | None = None, environment: Mapping[str, str] = os.environ) -> Dstack:
    """The guest agent at `endpoint`; without one, where the SDKs of dstack look for it. Raises ConfigurationError."""
    chosen = endpoint or environment.get(ENDPOINT_VARIABLE)
    if not chosen:
        chosen = next((one for one in SOCKETS if Path(one).exists()), SOCKETS[0])
    if not chosen.startswith("/") and not _is_local_url(chosen):
        raise ConfigurationError(
            f"{printable(chosen)} is not an address of dstack.",
            cause="Its answers contain the key, so it must be a socket or a URL of this machine.",
            next_step="Use the path of a socket, or http://127.0.0.1:PORT for a simulator.",
        )
    return Dstack(chosen)


def _is_local_url(text: str) -> bool:
    try:
        parts = urlsplit(text)
        return parts.scheme == "http" and ip_address(parts.hostname or "").is_loopback
    except ValueError:
        return text == "http://localhost" or text.startswith(("http://localhost:", "http://localhost/"))


async def _bounded(answer: aiohttp.ClientResponse) -> bytes:
    content = bytearray()
    async for part in answer.content.iter_any():
        content += part
        if len(content) > MAX_BYTES:
            raise TeeUnavailable(f"dstack sent more than {MAX_BYTES} bytes.", next_step=_NEXT_STEP)
    return bytes(content)


def _text(value: Any) -> str:
    """JSON as text: older agents answer with text, newer ones may answer with the value itself."""
    return value if isinstance(value, str) else json.dumps(value or "")
