# SPDX-License-Identifier: Apache-2.0
"""A client for the verification service of a Blockscout explorer, version 2 of its API.

The explorer queues a submission and does not report a failure; success shows in the contract's entry. So the client
first asks whether the explorer has the compiler.
"""

import asyncio
import json
from dataclasses import dataclass
from typing import Any

import aiohttp

from serving_network.deployment.errors import VerifierFailed
from serving_network.untrusted import parse_json, printable

POLL_SECONDS = 3.0
OPTION = "vyper-standard-input"


@dataclass(frozen=True)
class BlockscoutResult:
    """`name` is the contract's name as the explorer shows it."""

    name: str
    already_known: bool


class Blockscout:
    """One explorer, by its URL. The caller owns `session` and closes it."""

    def __init__(self, session: aiohttp.ClientSession, url: str, poll_seconds: float = POLL_SECONDS) -> None:
        self._session = session
        self._url = url.rstrip("/")
        self._poll_seconds = poll_seconds

    async def known(self, address: str) -> BlockscoutResult | None:
        """What the explorer shows of a verified contract; None if it is not verified. Raises VerifierFailed."""
        status, body = await self._get(f"/api/v2/smart-contracts/{address}")
        if status == 404:
            return None
        if status != 200:
            raise _failure(status, body)
        return BlockscoutResult(str(body.get("name") or ""), already_known=True) if body.get("is_verified") else None

    async def verify(
        self, address: str, standard_json: dict[str, Any], compiler: str, timeout_seconds: float = 300
    ) -> BlockscoutResult:
        """Submit sources and wait until the explorer shows the contract as verified.

        `compiler` like "0.4.3+commit.bff19ea2". Raises VerifierFailed if the explorer cannot verify this kind of
        source, does not have the compiler, refuses, or does not finish within `timeout_seconds`.
        """
        if (found := await self.known(address)) is not None:
            return found
        await self._check_offer(compiler)
        form = aiohttp.FormData()
        form.add_field("compiler_version", f"v{compiler}")
        form.add_field("license_type", "apache_2_0")
        form.add_field("files[0]", json.dumps(standard_json), filename="input.json", content_type="application/json")
        path = f"/api/v2/smart-contracts/{address}/verification/via/{OPTION}"
        status, body = await self._read(self._session.post(self._url + path, data=form))
        if status != 200 or "started" not in str(body.get("message")):
            raise _failure(status, body)
        try:
            async with asyncio.timeout(timeout_seconds):
                while (found := await self.known(address)) is None:
                    await asyncio.sleep(self._poll_seconds)
        except TimeoutError as error:
            raise VerifierFailed(
                f"The explorer does not show {address} as verified after {timeout_seconds:.0f} seconds.",
                cause="It does not report whether the job is still running or has failed.",
                next_step=f"Check {self._url}/address/{address} later.",
            ) from error
        return BlockscoutResult(found.name, already_known=False)

    async def _check_offer(self, compiler: str) -> None:
        status, body = await self._get("/api/v2/smart-contracts/verification/config")
        if status != 200:
            raise _failure(status, body)
        if OPTION not in _list(body.get("verification_options")):
            raise VerifierFailed(
                "This explorer does not verify Vyper from standard JSON.", next_step="serving verify sourcify CONTRACT"
            )
        if f"v{compiler}" not in _list(body.get("vyper_compiler_versions")):
            raise VerifierFailed(
                f"This explorer does not have Vyper {compiler}.", next_step="serving verify sourcify CONTRACT"
            )

    async def _get(self, path: str) -> tuple[int, dict[str, Any]]:
        return await self._read(self._session.get(self._url + path))

    async def _read(self, request: Any) -> tuple[int, dict[str, Any]]:
        try:
            async with request as response:
                body = parse_json(await response.read())
                status = int(response.status)
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            raise VerifierFailed(
                f"The explorer at {self._url} sent no valid answer.",
                cause=printable(str(error)),
                next_step="Check the URL and try again. It is safe to verify twice.",
            ) from error
        return status, body if isinstance(body, dict) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _failure(status: int, body: dict[str, Any]) -> VerifierFailed:
    reason = body.get("message") or body.get("errors") or f"HTTP status {status}"
    return VerifierFailed(
        f"The explorer refused: {printable(reason)}",
        next_step="Wait a minute and try again." if status == 429 else "serving verify local",
    )
