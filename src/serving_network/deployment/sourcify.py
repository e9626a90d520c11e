# SPDX-License-Identifier: Apache-2.0
"""A client for Sourcify, version 2 of its interface.

A submission returns a ticket, which is polled until the job is done. A Vyper contract is at most a `match`, even with
identical bytecode: an `exact_match` requires a metadata hash in the code, which the Vyper compiler does not write.
"""

import asyncio
from dataclasses import dataclass
from typing import Any, Literal

import aiohttp

from serving_network.deployment.errors import VerifierFailed
from serving_network.untrusted import parse_json, printable

POLL_SECONDS = 2.0

Match = Literal["exact_match", "match"]


@dataclass(frozen=True)
class SourcifyResult:
    """How the sources match the contract: its code on chain and, if known, its creation code."""

    runtime: Match
    creation: Match | None
    already_known: bool


class Sourcify:
    """One Sourcify server. The caller owns `session` and closes it."""

    def __init__(self, session: aiohttp.ClientSession, url: str, poll_seconds: float = POLL_SECONDS) -> None:
        self._session = session
        self._url = url.rstrip("/")
        self._poll_seconds = poll_seconds

    async def known(self, chain_id: int, address: str) -> SourcifyResult | None:
        """What Sourcify already knows about a contract; None if nothing. Raises VerifierFailed."""
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
        """Submit sources and wait for the result.

        `compiler` like "0.4.3+commit.bff19ea2", `contract` like "contracts/ledger/LedgerManager.vy:LedgerManager".
        Raises VerifierFailed with the service's reason, or if there is no result within `timeout_seconds`.
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
                f"Sourcify has no result for {address} after {timeout_seconds:.0f} seconds.",
                next_step=f"Check {self._url}/v2/verify/{body['verificationId']} later.",
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
                f"Sourcify at {self._url} sent no valid answer.",
                cause=printable(str(error)),
                next_step="Check the URL and try again. It is safe to verify twice.",
            ) from error
        return response.status, _table(body)


def _table(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


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
        cause=f"Its error code is {printable(code)}." if code else None,
        next_step="Wait a minute and try again." if status == 429 else "serving verify local",
    )
