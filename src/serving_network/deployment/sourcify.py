# SPDX-License-Identifier: Apache-2.0
"""A client for Sourcify, version 2 of its interface.

A submission is answered with a ticket, the ticket is asked until the job is done. A Vyper contract is at most a
`match`, also when it is the very bytecode: Sourcify's `exact_match` needs a metadata hash in the code, which the
compiler does not write.
"""

import asyncio
from dataclasses import dataclass
from typing import Any, Literal

import aiohttp

from serving_network.deployment.errors import VerifierFailed
from serving_network.untrusted import parse_json, printable

URL = "https://sourcify.dev/server"
POLL_SECONDS = 2.0

Match = Literal["exact_match", "match"]


@dataclass(frozen=True)
class SourcifyResult:
    """How the sources fit the contract: its code on chain, and where it could be found its creation."""

    runtime: Match
    creation: Match | None
    already_known: bool


class Sourcify:
    """One Sourcify server. `session` is the caller's and stays open."""

    def __init__(self, session: aiohttp.ClientSession, url: str = URL, poll_seconds: float = POLL_SECONDS) -> None:
        self._session = session
        self._url = url.rstrip("/")
        self._poll_seconds = poll_seconds

    async def known(self, chain_id: int, address: str) -> SourcifyResult | None:
        """What Sourcify already knows of a contract; None when it does not. Raises VerifierFailed."""
        status, body = await self._ask("GET", f"/v2/contract/{chain_id}/{address}")
        if status not in (200, 404):
            raise _failure(status, body)
        return _result(body, already_known=True) if body.get("match") else None

    async def verify(
        self,
        chain_id: int,
        address: str,
        standard_json: dict[str, Any],
        compiler: str,
        contract: str,
        creation_transaction: str | None,
        timeout_seconds: float = 300,
    ) -> SourcifyResult:
        """Submit sources and wait for the verdict.

        `compiler` like "0.4.3+commit.bff19ea2", `contract` like "contracts/ledger/LedgerManager.vy:LedgerManager".
        Raises VerifierFailed with the service's reason, or when it has no verdict within `timeout_seconds`.
        """
        request: dict[str, Any] = {
            "stdJsonInput": standard_json,
            "compilerVersion": compiler,
            "contractIdentifier": contract,
        }
        if creation_transaction is not None:
            request["creationTransactionHash"] = creation_transaction
        status, body = await self._ask("POST", f"/v2/verify/{chain_id}/{address}", request)
        if status == 409 and (found := await self.known(chain_id, address)) is not None:
            return found
        if status != 202 or not isinstance(body.get("verificationId"), str):
            raise _failure(status, body)
        try:
            async with asyncio.timeout(timeout_seconds):
                return await self._verdict(body["verificationId"])
        except TimeoutError as error:
            raise VerifierFailed(
                f"Sourcify has no verdict on {address} after {timeout_seconds:.0f} seconds.",
                next_step=f"Look at {self._url}/v2/verify/{body['verificationId']} later.",
            ) from error

    async def _verdict(self, ticket: str) -> SourcifyResult:
        while True:
            status, body = await self._ask("GET", f"/v2/verify/{ticket}")
            if status != 200:
                raise _failure(status, body)
            if body.get("isJobCompleted"):
                if body.get("error"):
                    raise _failure(status, _table(body["error"]))
                return _result(_table(body.get("contract")), already_known=False)
            await asyncio.sleep(self._poll_seconds)

    async def _ask(self, method: str, path: str, content: dict[str, Any] | None = None) -> tuple[int, dict[str, Any]]:
        try:
            async with self._session.request(method, self._url + path, json=content) as response:
                body = parse_json(await response.read())
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            raise VerifierFailed(
                f"Sourcify at {self._url} gave no answer that can be read.",
                cause=printable(str(error)),
                next_step="Check the address and try again; verifying twice does no harm.",
            ) from error
        return response.status, _table(body)


def _table(told: Any) -> dict[str, Any]:
    return told if isinstance(told, dict) else {}


def _result(body: dict[str, Any], *, already_known: bool) -> SourcifyResult:
    runtime, creation = body.get("runtimeMatch") or body.get("match"), body.get("creationMatch")
    if runtime not in ("exact_match", "match"):
        raise VerifierFailed(
            "Sourcify finished without a match.", cause=printable(body), next_step="serving verify local"
        )
    return SourcifyResult(runtime, creation if creation in ("exact_match", "match") else None, already_known)


def _failure(status: int, body: dict[str, Any]) -> VerifierFailed:
    reason = body.get("message") or f"HTTP status {status}"
    code = body.get("customCode")
    return VerifierFailed(
        f"Sourcify refused: {printable(reason)}",
        cause=f"its code: {printable(code)}" if code else None,
        next_step="Wait a minute and try again." if status == 429 else "serving verify local",
    )
