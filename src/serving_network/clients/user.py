# SPDX-License-Identifier: Apache-2.0
"""The user's client: deposits, funding providers, refunds, acknowledgements and tokens."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from serving_network.addresses import several, to_checksum_address
from serving_network.chain.blocking import blocking
from serving_network.clients.actor import Actor, AsyncActor
from serving_network.clients.read.inference import inference_service
from serving_network.contracts.errors import (
    AccountNotExists,
    InsufficientAvailableBalance,
    InsufficientBalance,
    LedgerExists,
    LedgerNotExists,
    MinimumDepositRequired,
    ServiceNotExist,
)
from serving_network.contracts.models import FINE_TUNING, INFERENCE, Account
from serving_network.counting import count
from serving_network.errors import InvalidInput, ServingError
from serving_network.messages.session_tokens import (
    DAY_MS,
    SESSION_ID,
    IssuedToken,
    SessionToken,
    TokenBook,
    new_token,
    sign_token,
)
from serving_network.money import ALL, Amount, Wei, describe, whole_wei

if TYPE_CHECKING:
    from collections.abc import Sequence

    from serving_network.chain.receipts import Receipt
    from serving_network.clients.read.network import Service
    from serving_network.contracts.models import Ledger, ProviderService

PROVIDERS_PER_RETRIEVAL = 20


@dataclass(frozen=True)
class Funding:
    """What a transfer to a provider will do, computed before it is sent. Amounts are in wei.

    `cancelled` is the part taken from the user's pending refunds, `moved` the part that leaves the ledger, and
    `locked_for` the number of seconds for which a refund stays locked. `obstacle` is the error that the transfer would
    fail with; `warnings` should be shown to the user first.
    """

    amount: int
    cancelled: int
    moved: int
    available: int
    locked_for: int
    account: Account | None
    offer: ProviderService | None
    obstacle: ServingError | None
    warnings: tuple[str, ...]


class AsyncUser(AsyncActor):
    """A user of the network. Amounts are in wei; `withdraw` also takes `ALL`."""

    async def open_ledger(self, amount: int, info: str = "") -> Receipt:
        """Open a ledger with `amount`. Raises MinimumDepositRequired, LedgerExists, AdditionalInfoTooLong."""
        effect = f"opens a ledger for {self.address} with {describe(whole_wei(amount))}"
        try:
            return await self.submit(self.ledger_contract.call("addLedger", info, value=amount, effect=effect))
        except MinimumDepositRequired as refusal:
            refusal.next_step = f"serving ledger open '{describe(refusal.required)}'"
            raise
        except LedgerExists as refusal:
            refusal.next_step = f"serving ledger deposit '{describe(amount)}'"
            raise

    async def describe_ledger(self, info: str) -> Receipt:
        """Change the information about this user that providers receive."""
        effect = "changes the additional information of the ledger"
        return await self.submit(self.ledger_contract.call("updateAdditionalInfo", info, effect=effect))

    async def deposit(self, amount: int, recipient: str | None = None) -> Receipt:
        """Deposit `amount` into the caller's or a recipient's ledger. Opens the ledger if there is none."""
        whose = to_checksum_address(recipient or self.address)
        effect = f"moves {describe(whole_wei(amount))} from the wallet to the ledger of {whose}"
        if recipient is None:
            call = self.ledger_contract.call("depositFund", value=amount, effect=effect)
        else:
            call = self.ledger_contract.call("depositFundFor", whose, value=amount, effect=effect)
        return await self.submit(call)

    async def withdraw(self, amount: Amount) -> Receipt:
        """Withdraw exactly `amount`, or `ALL` that is available, from the ledger to the wallet.

        A ledger that is left without coins, here and with providers, is deleted. Raises MinimumDepositRequired if less
        than the minimum would remain, InsufficientBalance if less is available, and InvalidInput for `ALL` if nothing
        is.
        """
        asked = None if amount is ALL else whole_wei(amount)
        ledger = await self._own_ledger()
        moved = ledger.available if asked is None else asked
        if amount is ALL and not moved:
            raise InvalidInput(
                "No coins are available in the ledger.",
                next_step="Collect refunds with serving ledger retrieve --all, or delete an empty ledger with serving"
                " ledger delete.",
            )
        if moved > ledger.available:
            refusal = InsufficientBalance(user=self.address)
            refusal.cause = f"Available: {describe(ledger.available)}. The withdrawal needs {describe(moved)}."
            raise refusal
        what = f"all that is available, {describe(moved)}," if amount is ALL else describe(moved)
        effect = f"moves {what} from the ledger to the wallet"
        sends_all = await self.ledger_contract.has("refundAll", sender=self.address)
        if sends_all and moved == ledger.total:
            effect += ", deleting the ledger"
            if accounts := len((await self.balances(self.address)).accounts):
                effect += f" and {count(accounts, 'empty account')}"
        if sends_all and amount is ALL:
            return await self.submit(self.ledger_contract.call("refundAll", effect=effect))
        return await self.submit(self.ledger_contract.call("refund", moved, effect=effect))

    async def delete_ledger(self) -> Receipt:
        """Delete the empty ledger. Raises MustWithdrawAllFundsFirst."""
        effect = f"deletes the ledger of {self.address} and its empty accounts"
        return await self.submit(self.ledger_contract.call("deleteLedger", effect=effect))

    async def check_funding(self, provider: str, amount: int, service: str = INFERENCE) -> Funding:
        """What `fund` would do, and what would make it fail. Sends nothing."""
        whole_wei(amount)
        ledger = await self.ledger(self.address)
        account = await self.account(self.address, provider, service)
        offer = await self.offer(provider, service)
        settings = await self.settings(service)
        least_ledger, minimum = await self.minimums()
        cancelled = min(amount, account.pending_refund) if account else 0
        obstacle: ServingError | None = None
        if ledger is None:
            obstacle = LedgerNotExists(user=self.address)
            obstacle.next_step = f"serving ledger open '{describe(max(least_ledger, amount))}'"
        elif offer is None:
            obstacle = ServiceNotExist(provider=to_checksum_address(provider))
        elif account is None and amount < minimum:
            obstacle = MinimumDepositRequired(provided=Wei(amount), required=Wei(minimum))
            obstacle.next_step = f"serving ledger fund {provider} '{describe(minimum)}' --service {service}"
        elif amount - cancelled > ledger.available:
            obstacle = InsufficientAvailableBalance(available=Wei(ledger.available), required=Wei(amount - cancelled))
            obstacle.next_step = f"serving ledger deposit '{describe(amount - cancelled - ledger.available)}'"
        warnings = []
        if offer is not None and not offer.confirmed:
            warnings.append(
                "The network's owner has not confirmed this provider's TEE signer: the provider cannot be paid yet."
            )
        if account is not None and not account.acknowledged:
            warnings.append("You revoked the acknowledgement of this provider. Funding acknowledges it again.")
        if cancelled:
            warnings.append(f"{describe(cancelled)} of it cancel your pending refunds, newest first.")
        return Funding(
            amount=amount,
            cancelled=cancelled,
            moved=amount - cancelled,
            available=ledger.available if ledger else 0,
            locked_for=settings["lockTime"],
            account=account,
            offer=offer,
            obstacle=obstacle,
            warnings=tuple(warnings),
        )

    async def fund(
        self, provider: str, amount: int, service: str = INFERENCE, *, even_unregistered: bool = False
    ) -> Receipt:
        """Move `amount` from the ledger to the account with a provider, and acknowledge its TEE signer.

        With 0 and an existing account it only acknowledges. Raises ServiceNotExist for a provider that is not
        registered, unless `even_unregistered` is set: the contract would accept the coins.
        """
        found = await self.service(service)
        if not even_unregistered and await self.offer(provider, found.name) is None:
            raise ServiceNotExist(provider=to_checksum_address(provider))
        moved = describe(whole_wei(amount))
        effect = f"moves {moved} from the ledger to the account with {provider} in {found.name}"
        call = self.ledger_contract.call(
            "transferFund", to_checksum_address(provider), found.name, amount, effect=effect
        )
        return await self.submit(call)

    async def top_up(self, provider: str, below: int, to: int, service: str = INFERENCE) -> Receipt | None:
        """Fund the provider up to `to` if less than `below` is spendable there. Returns None if nothing was needed."""
        if whole_wei(to) < whole_wei(below):
            raise InvalidInput("The target of a top-up is below its threshold.", next_step="Set a higher target.")
        account = await self.account(self.address, provider, service)
        spendable = account.spendable if account else 0
        if account is not None and spendable >= below:
            return None
        return await self.fund(provider, to - spendable, service)

    async def retrieve(self, providers: Sequence[str] | None = None, service: str | None = None) -> list[Receipt]:
        """Request refunds from these providers, or from all, and collect the refunds that are unlocked.

        Without `service` this covers all services. More than 20 providers take several transactions. Providers with
        nothing to request and nothing unlocked are skipped. Raises AccountNotExists, before anything is sent, for a
        provider without an account.
        """
        chosen = None if providers is None else [to_checksum_address(one) for one in several(providers)]
        services = [await self.service(service)] if service else await self.services()
        listed: dict[str, list[str]] = {
            one.name: await self.ledger_contract.read("getLedgerProviders", self.address, one.name) for one in services
        }
        for provider in chosen or ():
            if not any(provider in names for names in listed.values()):
                raise AccountNotExists(user=self.address, provider=provider)
        receipts = []
        for name, known in listed.items():
            wanted = await self._retrievable([one for one in known if chosen is None or one in chosen], name)
            for start in range(0, len(wanted), PROVIDERS_PER_RETRIEVAL):
                part = wanted[start : start + PROVIDERS_PER_RETRIEVAL]
                whom = count(len(part), "provider")
                effect = f"requests a full refund from {whom} in {name}, collecting what is unlocked"
                call = self.ledger_contract.call("retrieveFund", part, name, effect=effect)
                receipts.append(await self.submit(call))
        return receipts

    async def _retrievable(self, providers: Sequence[str], service: str) -> list[str]:
        """The providers with coins to request, or with an unlocked refund."""
        found = await self.service(service)
        if not await found.contract.has("getAccount", self.address, self.address):
            return list(providers)  # a service of another kind, whose accounts cannot be read
        chosen = await asyncio.gather(*(self._has_news(provider, found) for provider in providers))
        return [provider for provider, news in zip(providers, chosen, strict=True) if news]

    async def _has_news(self, provider: str, service: Service) -> bool:
        account = await self.account(self.address, provider, service.name)
        if account is None or not account.balance:
            return False
        if account.spendable:
            return True
        unlocked, *_ = await service.contract.read(
            "processRefund", self.address, provider, sender=self.ledger_contract.address, block="pending"
        )
        return bool(unlocked)

    async def acknowledge(self, provider: str, service: str = INFERENCE, *, acknowledged: bool = True) -> Receipt:
        """Acknowledge the provider's TEE signer, or revoke the acknowledgement (only with an empty account)."""
        found = await self.service(service)
        does = "acknowledges" if acknowledged else "revokes the acknowledgement of"
        effect = f"{does} the TEE signer of {provider} in {found.name}"
        return await self.submit(
            found.contract.call("acknowledgeTEESigner", to_checksum_address(provider), acknowledged, effect=effect)
        )

    async def acknowledge_deliverable(self, provider: str, id: str, service: str = FINE_TUNING) -> Receipt:  # noqa: A002
        """Acknowledge a fine-tuned model, so that the provider is paid in full and reveals its secret."""
        found = await self.service(service)
        effect = f"acknowledges the deliverable {id!r} of {provider}: its fee will be paid in full"
        return await self.submit(
            found.contract.call("acknowledgeDeliverable", to_checksum_address(provider), id, effect=effect)
        )

    async def make_session(
        self, provider: str, service: str = INFERENCE, *, lifetime_ms: int = DAY_MS, free: bool = False
    ) -> str:
        """An Authorization header for one session of at most 24 hours. Raises InvalidInput for a longer one.

        With `free`, it is also made without an account: a provider can serve users without payment. Otherwise raises
        AccountNotExists.
        """
        if free:
            account = await self.account(self.address, provider, service) or Account(
                service, self.address, to_checksum_address(provider), 0, 0, 0, (), "", acknowledged=False
            )
        else:
            account = await self._account_with(provider, service)
        return sign_token(new_token(account, _now_ms(), token_id=SESSION_ID, lifetime_ms=lifetime_ms), self.signer)

    async def openai(self, provider: str, service: str = INFERENCE, *, lifetime_ms: int = DAY_MS) -> dict[str, Any]:
        """What the `openai` package takes to talk to a provider: `OpenAI(**user.openai(provider))`.

        The session lasts 24 hours at most. Raises ServiceNotExist and AccountNotExists.
        """
        offer, _ = await inference_service(self, to_checksum_address(provider), service)
        header = await self.make_session(provider, service, lifetime_ms=lifetime_ms)
        return {"base_url": f"{offer.url}/v1/proxy", "api_key": header.removeprefix("Bearer ")}

    async def make_api_key(
        self,
        provider: str,
        book: TokenBook,
        service: str = INFERENCE,
        *,
        lifetime_ms: int = 0,
        token_id: int | None = None,
    ) -> str:
        """An Authorization header that can be revoked by its id. With `lifetime_ms` 0 it does not expire.

        Its id is neither revoked on the chain nor in use by another key in the book. Raises InvalidInput.
        """
        account = await self._account_with(provider, service)
        # In a thread, because another process may hold the book's lock for seconds.
        entering = asyncio.create_task(
            asyncio.to_thread(_enter, book, self.chain.chain_id, account, token_id, lifetime_ms)
        )
        try:
            token, _ = await asyncio.shield(entering)
            return sign_token(token, self.signer)
        except BaseException:  # cancelled, or declined on a device: no key was made
            await asyncio.wait([entering])
            if entering.exception() is None:
                await asyncio.to_thread(_remove, book, entering.result()[1])
            raise

    async def revoke_tokens(self, provider: str, token_ids: Sequence[int], service: str = INFERENCE) -> Receipt:
        """Revoke API keys permanently, even if the account is deleted."""
        if isinstance(token_ids, int):
            raise InvalidInput(
                f"{token_ids} stands in place of a list of token ids.", next_step="Pass a list, also for one id."
            )
        found = await self.service(service)
        whose = to_checksum_address(provider)
        which = ", ".join(map(str, token_ids))
        effect = f"revokes {count(len(token_ids), 'token')} ({which}) for {provider} permanently"
        if len(token_ids) == 1:
            return await self.submit(found.contract.call("revokeToken", whose, token_ids[0], effect=effect))
        return await self.submit(found.contract.call("revokeTokens", whose, list(token_ids), effect=effect))

    async def revoke_all_tokens(self, provider: str, service: str = INFERENCE) -> Receipt:
        """Revoke every token for this provider, sessions included."""
        found = await self.service(service)
        effect = f"revokes every token for {provider}"
        return await self.submit(found.contract.call("revokeAllTokens", to_checksum_address(provider), effect=effect))

    async def _own_ledger(self) -> Ledger:
        ledger = await self.ledger(self.address)
        if ledger is None:
            raise LedgerNotExists(user=self.address)
        return ledger

    async def _account_with(self, provider: str, service: str) -> Account:
        account = await self.account(self.address, provider, service)
        if account is None:
            raise AccountNotExists(user=self.address, provider=to_checksum_address(provider))
        return account


def _enter(
    book: TokenBook, chain_id: int, account: Account, token_id: int | None, lifetime_ms: int
) -> tuple[SessionToken, IssuedToken]:
    """Choose an id and enter the API key into the book. Raises InvalidInput and RunInProgress."""
    now = _now_ms()
    with book.locked():
        if token_id is None:
            token_id = book.free_id(chain_id, account, now)
        elif token_id in book.in_use(chain_id, account, now) or token_id == SESSION_ID:
            raise InvalidInput(f"Token {token_id} is in use.", next_step="Omit the id to use a free one.")
        token = new_token(account, now, token_id=token_id, lifetime_ms=lifetime_ms)
        issued = IssuedToken(
            chain_id,
            account.service,
            account.user,
            account.provider,
            token.token_id,
            token.generation,
            token.timestamp,
            token.expires_at,
        )
        book.remember(issued)
    return token, issued


def _remove(book: TokenBook, issued: IssuedToken) -> None:
    with book.locked():
        book.forget(issued)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


class User(Actor):
    """`AsyncUser` for code without an event loop."""

    role = AsyncUser

    open_ledger = blocking(AsyncUser.open_ledger)
    describe_ledger = blocking(AsyncUser.describe_ledger)
    deposit = blocking(AsyncUser.deposit)
    withdraw = blocking(AsyncUser.withdraw)
    delete_ledger = blocking(AsyncUser.delete_ledger)
    check_funding = blocking(AsyncUser.check_funding)
    fund = blocking(AsyncUser.fund)
    top_up = blocking(AsyncUser.top_up)
    retrieve = blocking(AsyncUser.retrieve)
    acknowledge = blocking(AsyncUser.acknowledge)
    acknowledge_deliverable = blocking(AsyncUser.acknowledge_deliverable)
    make_session = blocking(AsyncUser.make_session)
    openai = blocking(AsyncUser.openai)
    make_api_key = blocking(AsyncUser.make_api_key)
    revoke_tokens = blocking(AsyncUser.revoke_tokens)
    revoke_all_tokens = blocking(AsyncUser.revoke_all_tokens)
