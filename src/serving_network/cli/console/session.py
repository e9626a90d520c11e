# SPDX-License-Identifier: Apache-2.0
"""One run of one command: its network and key turned into a connection and a signer.

What connects and signs is imported when it is used: importing it takes longer than most local commands run.
"""

from __future__ import annotations

import functools
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from serving_network.chains import LOCAL_CHAIN
from serving_network.cli.console.locked_signer import LockedSigner
from serving_network.cli.console.options import Sending
from serving_network.cli.console.output import Named
from serving_network.cli.console.prompts import open_with_password
from serving_network.cli.console.sending import submit
from serving_network.cli.console.times import span_up
from serving_network.errors import KeyFailure, UnknownName

if TYPE_CHECKING:
    from eth_typing import ChecksumAddress

    from serving_network.chain.connection import AsyncConnection
    from serving_network.chain.fees import Fees
    from serving_network.cli.console.home import Home
    from serving_network.cli.console.output import Output
    from serving_network.clients.actor import AsyncActor
    from serving_network.clients.owner import AsyncOwner
    from serving_network.clients.provider import AsyncProvider
    from serving_network.clients.read.network import AsyncNetwork
    from serving_network.clients.user import AsyncUser
    from serving_network.networks import NamedNetwork
    from serving_network.signing import Signer

A = TypeVar("A", bound="AsyncActor")

DEVICE = "ledger:"


@dataclass
class Session:
    """One run of one command. What a command puts into `beside` joins the transactions in its JSON result."""

    configuration: Home
    network: NamedNetwork
    out: Output
    key: str | None = None
    key_from_input: bool = False
    sending: Sending = field(default_factory=Sending)
    sent: str | None = None
    done: list[dict[str, Any]] = field(default_factory=list)
    beside: dict[str, Any] = field(default_factory=dict)
    _chain: AsyncConnection | None = None
    _silent: set[str] = field(default_factory=set)
    _signer: Signer | None = None
    _unlocked: dict[str, Signer] = field(default_factory=dict)

    @property
    def dry_run(self) -> bool:
        """Whether nothing is sent or written."""
        return self.sending.dry_run

    async def chain(self) -> AsyncConnection:
        """The connection to the network's chain. Raises NodeUnreachable and WrongChain."""
        from serving_network.chain.connection import AsyncConnection

        if self._chain is None:
            self._chain = await AsyncConnection.open(
                self.network.urls, self.network.chain_id, on_silence=self._note_silence
            )
        return self._chain

    def _note_silence(self, where: str) -> None:
        if where not in self._silent:
            self._silent.add(where)
            self.out.note(f"Waiting for {where} to answer. Press Ctrl-C to stop.", "yellow")

    async def reader(self) -> AsyncNetwork:
        """The network, for reading."""
        from serving_network.clients.read.network import AsyncNetwork

        return AsyncNetwork(await self.chain(), self.network.require_ledger())

    async def act(self, role: type[A]) -> A:
        """The network, for acting in a role. What the client sends goes through this session."""
        fees = await self.fees()
        actor = role(await self.chain(), self._account(), self.network.require_ledger(), fees=fees)
        actor.submit = functools.partial(submit, self, actor, fees)
        return actor

    async def user(self) -> AsyncUser:
        """The network, for acting as a user."""
        from serving_network.clients.user import AsyncUser

        return await self.act(AsyncUser)

    async def provider(self) -> AsyncProvider:
        """The network, for acting as a provider."""
        from serving_network.clients.provider import AsyncProvider

        return await self.act(AsyncProvider)

    async def owner(self) -> AsyncOwner:
        """The network, for acting as the owner of its contracts."""
        from serving_network.clients.owner import AsyncOwner

        return await self.act(AsyncOwner)

    async def fees(self) -> Fees | None:
        """The fees that the options ask for; None if they leave them to the node."""
        from serving_network.chain.fees import Fees

        most, tip, legacy = self.sending.max_fee, self.sending.tip, self.sending.legacy
        if most is None:
            if tip is None and not legacy:
                return None
            suggested = (await (await self.chain()).suggested_fees()).max_fee_per_gas
            return Fees.gas_price(suggested) if legacy else Fees(suggested, tip or 0)
        if legacy:
            return Fees.gas_price(most)
        return Fees(most, most if tip is None else min(most, tip))

    def address(self, text: str) -> ChecksumAddress:
        """The address that is written as an address, a name in the address book, or a key's name."""
        return self.configuration.address(text)

    def address_or_own(self, text: str | None) -> ChecksumAddress:
        """As `address`; without a text the address of the key in use."""
        return self.address(text) if text else self.own_address()

    def name(self, address: str) -> Named:
        """The address with its name, if it has one."""
        return Named(self.configuration.name_of(address), address)

    def own_address(self) -> ChecksumAddress:
        """The address of the key in use. Needs no password."""
        return self._account().address

    def _account(self) -> Signer:
        """The key, still locked if it is in the key store: its password is asked for when something is signed."""
        if self._signer is None and not self.key_from_input:
            name = self.key or self.configuration.key_in_use
            if name and not name.startswith(DEVICE) and not (self.key is None and _environment_key() is not None):
                return LockedSigner(self.configuration.keys.find(name).address, self.signer)
        return self.signer()

    def signer(self) -> Signer:
        """The unlocked key: from standard input, the environment, or the key store.

        Raises KeyFailure and UnknownName. A command that sends through `act` has it unlocked after the confirmation.
        """
        if self._signer is None:
            self._signer = self._find_signer()
        return self._signer

    def _find_signer(self) -> Signer:
        if self.key_from_input:
            from serving_network.wallet.keys import key_from_stream

            return key_from_stream(sys.stdin)
        if self.key is None and (found := _environment_key()) is not None:
            return found
        name = self.key or self.configuration.key_in_use
        if name is None:
            raise KeyFailure("No key is in use.", next_step="serving key new NAME")
        return self.unlock(name)

    def unlock(self, name: str) -> Signer:
        """A key of the key store, or "ledger:N" on a device. Raises UnknownName, WrongPassword and KeyLocked."""
        if name.startswith(DEVICE):
            from serving_network.wallet.hardware import connected_ledger

            number = name.removeprefix(DEVICE)
            if not number.isdecimal():
                raise UnknownName(
                    f"{name!r} is not an account of a Ledger device.",
                    next_step=f"Write {DEVICE}0, {DEVICE}1 and so on.",
                )
            return connected_ledger(int(number))
        keys = self.configuration.keys
        keys.find(name)
        if name not in self._unlocked:
            prompt = f"Password of the key {name!r}: "
            self._unlocked[name] = open_with_password(prompt, name, functools.partial(keys.unlock, name))
        return self._unlocked[name]

    def time_travel_hint(self, wait: int) -> None:
        """On a local network, name the command that moves its time by `wait` seconds. Does nothing elsewhere."""
        if wait > 0 and self.network.chain_id == LOCAL_CHAIN:
            self.out.note(f"To move this local network's time past it: serving local travel {span_up(wait)}")

    def finish(self) -> None:
        """Print what was done, for programs."""
        if self.done:
            self.out.result({"dry_run": self.dry_run, "transactions": self.done} | self.beside)

    async def close(self) -> None:
        """Close the connection."""
        if self._chain is not None:
            await self._chain.close()


def _environment_key() -> Signer | None:
    from serving_network.wallet.keys import key_from_environment

    return key_from_environment()
