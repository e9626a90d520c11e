# SPDX-License-Identifier: Apache-2.0
"""Rehearse a plan on a copy of the chain's state.

An upgrade must not change an answer: every listing, balance and setting is read before the upgrade, after it, and after
the rollback. Between them a new user deposits and withdraws everything, after which the books must balance.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from serving_network.addresses import to_checksum_address
from serving_network.chain.connection import AsyncConnection
from serving_network.clients.read.books import Books
from serving_network.clients.read.providers import registered_providers
from serving_network.contracts import load
from serving_network.deployment.books import front_of, recorded_books
from serving_network.deployment.calls import step_data
from serving_network.deployment.chain_copy import on_a_copy, send_as
from serving_network.deployment.errors import RehearsalFailed
from serving_network.deployment.plan import Plan
from serving_network.deployment.record import Record, RecordedContract, Step
from serving_network.deployment.spec import WEEK
from serving_network.deployment.steps import created_address, known_addresses, resolve
from serving_network.deployment.upgrade import upgrade_call
from serving_network.errors import ContractError, ServingError
from serving_network.hashing import keccak
from serving_network.money import describe

Answers = dict[str, str]

_AMOUNTS: Final = frozenset({"MIN_ACCOUNT_BALANCE", "MIN_TRANSFER_AMOUNT", "MIN_PROVIDER_STAKE"})
"""Constants of the contracts in wei."""
NEWCOMER = to_checksum_address(keccak(b"a newcomer of the rehearsal")[12:])


@dataclass(frozen=True)
class Rehearsal:
    """The result of a rehearsal. `gas` is by step, `answers` the number of answers that were compared. `settings` are
    constants of the code that differ, as "name: before -> after". The books are in wei."""

    block: int
    gas: Mapping[str, int]
    answers: int
    settings: tuple[str, ...]
    before: Books
    after: Books


async def rehearse_deployment(
    chain: AsyncConnection, record: Record, plan: Plan
) -> tuple[dict[str, int], dict[str, str]]:
    """The gas of every step of the plan, and the address of each creation, found on a copy of the chain.

    Raises RehearsalFailed naming the step that would fail.
    """

    async def work(copy: AsyncConnection) -> tuple[dict[str, int], dict[str, str]]:
        addresses = known_addresses(record)
        gas = await _do(copy, plan.sender, plan.steps, addresses)
        return gas, addresses

    return await on_a_copy(chain, await chain.block_number(), work)


async def rehearse_upgrade(chain: AsyncConnection, record: Record, plan: Plan) -> Rehearsal:
    """Upgrade and roll back on a copy of the newest state.

    Raises RehearsalFailed if the books do not balance, an answer changes or a step fails.
    """
    block = await chain.block_number()
    contract = record.contract(plan.subject)
    call = upgrade_call(plan)

    async def work(copy: AsyncConnection) -> Rehearsal:
        before, asked = await recorded_books(copy, record), await answers(copy, record)
        _balanced(before, "before the upgrade")
        addresses = known_addresses(record)
        create = [step for step in plan.steps if step.action == "create"]
        gas = await _do(copy, plan.sender, create, addresses)
        gas |= await _do(copy, contract.upgrade_owner, [call], addresses)
        layouts = {plan.subject: _new_layout(contract, create)}
        after, again = await recorded_books(copy, record, layouts=layouts), await answers(copy, record)
        _balanced(after, "after the upgrade")
        settings = _compare(asked, again, "the upgrade changes", may_lose=not create)
        await _live(copy, record, layouts)
        back = call.model_copy(update={"arguments": [contract.implementation.address]})
        await _do(copy, contract.upgrade_owner, [back], addresses)
        _compare(asked, await answers(copy, record), "putting the former implementation back changes", may_lose=False)
        return Rehearsal(block, gas, len(asked), settings, before, after)

    return await on_a_copy(chain, block, work)


async def answers(chain: AsyncConnection, record: Record) -> Answers:
    """What the contracts answer about their state, by question. Questions without an answer are left out."""
    users = [one["user"] for one in await front_of(chain, record.ledger).listing("getAllLedgers")]
    found: Answers = {}
    for name, contract in record.contracts.items():
        questions = _getters(contract)
        if name == "ledger":
            questions += [("getLedger", (user,)) for user in users]
        else:
            questions += [("getAccountsByUser", (user, 0, 50)) for user in users]
            providers = [one["provider"] for one in await registered_providers(front_of(chain, contract))]
            questions += [("getService", (provider,)) for provider in providers]
            questions += [("getAccountsByProvider", (provider, 0, 50)) for provider in providers]
        interface = load(contract.implementation.contract).interface
        calls = [(contract.front.address, interface.encode(getter, *arguments)) for getter, arguments in questions]
        for (getter, arguments), answer in zip(questions, await chain.call_many(calls), strict=True):
            question = f"{name}.{getter}({', '.join(map(str, arguments))})"
            if not isinstance(answer, ContractError):
                found[question] = answer.hex()
            elif answer.data:
                found[question] = str(answer)
    return found


def _getters(contract: RecordedContract) -> list[tuple[str, tuple[Any, ...]]]:
    return [
        (entry["name"], ())
        for entry in load(contract.implementation.contract).abi
        if entry["type"] == "function" and entry["stateMutability"] in ("view", "pure") and not entry["inputs"]
    ]


async def _do(
    copy: AsyncConnection, sender: str, steps: tuple[Step, ...] | list[Step], addresses: dict[str, str]
) -> dict[str, int]:
    """Send the steps as any account, and add what they create to `addresses`. Returns the gas by step."""
    gas = {}
    for step in steps:
        to = None if step.to is None else resolve(step.to, addresses)
        nonce = int(await copy.rpc("eth_getTransactionCount", [sender, "latest"]), 16)
        try:
            receipt = await send_as(copy, sender, to, step_data(step, addresses))
        except ServingError as error:
            raise RehearsalFailed(
                f"{step.id} would fail: {error}",
                cause=error.cause,
                next_step="Nothing was sent. Fix the plan and run again.",
            ) from error
        gas[step.id] = receipt.gas_used
        if step.action == "create":
            addresses[step.id] = created_address(sender, nonce)
    return gas


async def _live(copy: AsyncConnection, record: Record, layouts: Mapping[str, Mapping[str, Any]]) -> None:
    """A new user deposits, funds a provider of every service, retrieves everything and withdraws it."""
    ledger = front_of(copy, record.ledger)
    encode = ledger.interface.encode
    minimum = max([await ledger.read(name) for name in ("MIN_ACCOUNT_BALANCE", "MIN_TRANSFER_AMOUNT")])
    deposit = minimum * (len(record.services) + 1)
    try:
        await send_as(copy, NEWCOMER, ledger.address, encode("depositFund"), value=deposit)
        await _fund_and_retrieve(copy, record, minimum)
        balance = (await ledger.read("getLedger", NEWCOMER))["availableBalance"]
        await send_as(copy, NEWCOMER, ledger.address, encode("refund", balance))
    except ServingError as error:
        raise RehearsalFailed(
            f"After the upgrade a user cannot deposit and withdraw: {error}",
            cause=error.cause,
            next_step="Nothing was sent. Fix the implementation.",
        ) from error
    _balanced(await recorded_books(copy, record, layouts=layouts), "after a deposit and a withdrawal")
    if balance != deposit:
        raise RehearsalFailed(
            "A new user does not get everything back.",
            cause=f"Deposited {deposit} wei, could withdraw {balance} wei.",
            next_step="Nothing was sent. Fix the implementation.",
        )


async def _fund_and_retrieve(copy: AsyncConnection, record: Record, amount: int) -> None:
    ledger = front_of(copy, record.ledger)
    encode = ledger.interface.encode
    for name, service in record.services.items():
        providers = [one["provider"] for one in await registered_providers(front_of(copy, service))]
        if not providers or not (await ledger.read("getServiceInfo", service.front.address))["fullName"]:
            continue
        await send_as(copy, NEWCOMER, ledger.address, encode("transferFund", providers[0], name, amount))
        retrieve = encode("retrieveFund", providers[:1], name)
        await send_as(copy, NEWCOMER, ledger.address, retrieve)
        await copy.rpc("evm_increaseTime", [hex(WEEK + 1)])
        await copy.rpc("evm_mine")
        await send_as(copy, NEWCOMER, ledger.address, retrieve)


def _new_layout(contract: RecordedContract, create: list[Step]) -> Mapping[str, Any]:
    if create:
        return load(contract.implementation.contract).storage_layout
    return contract.former[-1].storage_layout


def _balanced(books: Books, when: str) -> None:
    if books.problems:
        raise RehearsalFailed(
            f"The books do not balance {when}: {'; '.join(books.problems)}.",
            next_step="Nothing was sent. Find the cause first.",
        )


def _compare(before: Answers, after: Answers, says: str, *, may_lose: bool) -> tuple[str, ...]:
    """The constants of the code that differ.

    Raises RehearsalFailed for any other difference, and for a question that is no longer answered, unless `may_lose`: a
    rollback loses what the current code has added.
    """
    changed = [question for question, answer in before.items() if after.get(question) != answer]
    if may_lose:
        changed = [one for one in changed if one in after]
    settings = [one for one in changed if one.partition(".")[2].partition("(")[0].isupper()]
    if harm := [one for one in changed if one not in settings]:
        raise RehearsalFailed(
            f"On a copy of the chain {says} {len(harm)} answers: {', '.join(harm[:5])}.",
            cause="The new code reads stored words differently.",
            next_step="Nothing was sent. Fix the implementation.",
        )
    return tuple(f"{one}: {_value(one, before[one])} -> {_value(one, after.get(one, ''))}" for one in settings)


def _value(question: str, answer: str) -> str:
    if not answer:
        return "nothing"
    value = int(answer, 16)
    return describe(value) if question.partition(".")[2].partition("(")[0] in _AMOUNTS else str(value)
