# SPDX-License-Identifier: Apache-2.0
"""The private chain as a node, with one method that answers JSON-RPC requests."""

from __future__ import annotations

import inspect
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Self

from serving_network.errors import RpcError
from serving_network.untrusted import printable

from .accounts import development_keys
from .core import Chain, Settings
from .developer import DeveloperMethods
from .events import Events, Push
from .methods import (
    BlockChoice,
    BlockMethods,
    FeeMethods,
    LogMethods,
    Methods,
    NodeMethods,
    SendMethods,
    StateMethods,
)
from .proofs import ProofMethods
from .roots import BoundRoots, StateTrie
from .store import Store
from .trace import TraceMethods
from .wire import invalid
from .world import StateReader, World

METHOD_NOT_FOUND = -32601
COIN = 10**18


class EmbeddedChain:
    """A private chain in this process, with cancun rules and ten funded accounts.

    Every transaction is mined in a block of its own as soon as it is sent, unless `automine` is off
    (`evm_setAutomine`). Blocks mined within the same second have the same timestamp.

    `state` is a directory that stores the chain, so that a chain with the same id continues where it stopped; without
    it the chain is in memory. Pending transactions are not stored. `coins` is the initial balance of each account, in
    whole coins; `gas_limit` is that of a block; `genesis_time` is in unix seconds (None: now). `origin` is the state of
    another chain to start from, read on demand; with it the accounts receive no coins. With `proofs`, the chain keeps
    a Merkle trie of its state, so blocks have the state roots of Ethereum and `eth_getProof` answers. This takes more
    time for each block, and does not work with an `origin`.

    Thread-safe. Raises ConfigurationError if the directory cannot be used.
    """

    def __init__(
        self,
        *,
        chain_id: int = 31337,
        gas_limit: int = 30_000_000,
        coins: int = 1_000_000,
        genesis_time: int | None = None,
        automine: bool = True,
        state: Path | None = None,
        origin: StateReader | None = None,
        proofs: bool = False,
    ) -> None:
        if proofs and origin is not None:
            raise ValueError("A chain with an origin has no proofs: the trie does not contain the origin's accounts.")
        self._keys = {key.public_key.to_canonical_address(): key for key in development_keys()}
        settings = Settings(
            chain_id=chain_id,
            gas_limit=gas_limit,
            genesis_time=genesis_time,
            balances=dict.fromkeys(self._keys, coins * COIN) if origin is None else {},
        )
        self._store = None if state is None else Store(state, chain_id)
        self._use(Chain(settings, World(origin), StateTrie() if proofs else BoundRoots(), self._store))
        self._chain.automine = automine

    def _use(self, chain: Chain) -> None:
        self._lock = threading.RLock()
        self._chain = chain
        self._events = Events()
        chain.listeners.append(self._events.notify)
        chain.arrivals.append(self._events.arrived)
        choice = BlockChoice(chain)
        states = StateMethods(chain, choice)
        groups: list[Methods] = [
            NodeMethods(chain).methods(),
            BlockMethods(chain, choice).methods(),
            states.methods(),
            ProofMethods(chain, choice).methods(),
            FeeMethods(chain, choice).methods(),
            SendMethods(chain, states, self._keys).methods(),
            LogMethods(chain, choice, self._events).methods(),
            TraceMethods(chain, choice).methods(),
            DeveloperMethods(chain).methods(),
        ]
        self._methods = {name: (method, *_arity(method)) for group in groups for name, method in group.items()}

    @property
    def accounts(self) -> list[str]:
        """The ten funded accounts, with checksums."""
        return [str(key.public_key.to_checksum_address()) for key in self._keys.values()]

    def request(self, method: str, params: Sequence[Any] = ()) -> Any:
        """The result of one JSON-RPC method, in JSON values. Raises RpcError as a node would."""
        found = self._methods.get(method)
        if found is None:
            raise RpcError(
                METHOD_NOT_FOUND,
                f"the method {printable(method)} does not exist/is not available on the embedded chain; "
                "anvil may have it: serving up --node anvil",
            )
        answer, least, most = found
        if not least <= len(params) <= most:
            raise invalid(f"{method} takes {_range(least, most)}, not {len(params)}")
        with self._lock:
            return answer(*params)

    def subscribe(self, kind: str, criteria: Any, push: Push) -> str:
        """Call `push(id, what)` for every `newHeads`, matching `logs` or `newPendingTransactions`. Returns the id.

        `push` is called in the thread that mines, and must not block. Raises RpcError for another kind.
        """
        with self._lock:
            return self._events.subscribe(kind, criteria, push)

    def unsubscribe(self, name: str) -> bool:
        """End a subscription. Returns False if there is none with this id."""
        with self._lock:
            return self._events.unsubscribe(name)

    def copy(self) -> Self:
        """A copy in memory with the same blocks and state. Changes to the copy do not affect this chain."""
        with self._lock:
            twin = object.__new__(type(self))
            twin._keys = self._keys
            twin._store = None
            twin._use(self._chain.copy())
            return twin

    def close(self) -> None:
        """Close the state directory. A chain in memory need not be closed."""
        with self._lock:
            if self._store is not None:
                self._store.close()

    def __enter__(self) -> EmbeddedChain:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _arity(method: Callable[..., Any]) -> tuple[int, int]:
    """The minimum and maximum number of arguments of the method."""
    function = getattr(method, "__func__", method)
    most = function.__code__.co_argcount - inspect.ismethod(method)
    return most - len(function.__defaults__ or ()), most


def _range(least: int, most: int) -> str:
    count = f"{least}" if least == most else f"{least} to {most}"
    return f"{count} argument" if most == 1 else f"{count} arguments"
