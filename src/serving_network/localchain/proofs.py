# SPDX-License-Identifier: Apache-2.0
"""`eth_getProof` (EIP-1186): accounts and storage slots with their Merkle proofs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from serving_network.errors import RpcError

from .core import Chain
from .methods import BlockChoice, Methods
from .roots import StateTrie
from .transactions import INVALID_INPUT
from .wire import UNSUPPORTED, address_text, hexed, invalid, read_address, read_slot

MOST_SLOTS = 1024
"""How many slots one request may ask for, as in geth."""


@dataclass(frozen=True)
class ProofMethods:
    """Methods that prove what the state of a block is."""

    chain: Chain
    choice: BlockChoice

    def methods(self) -> Methods:
        return {"eth_getProof": self.proof}

    def proof(self, address: Any, slots: Any, block: Any = "latest") -> dict[str, Any]:
        who = read_address(address)
        if not isinstance(slots, list) or len(slots) > MOST_SLOTS:
            raise invalid(f"storage keys must be a list of at most {MOST_SLOTS}")
        wanted = [read_slot(slot) for slot in slots]
        trie = self.chain.roots
        if not isinstance(trie, StateTrie):
            raise RpcError(
                UNSUPPORTED, "this chain keeps no Merkle trie to prove anything; start it with: serving up --proofs"
            )
        asked = self.chain.preview()[0] if self.choice.is_pending(block) else self.choice.must_find(block)
        if not trie.knows(asked.state_root):
            raise RpcError(INVALID_INPUT, f"block {asked.number} was mined without --proofs, so it proves nothing")
        proven = trie.prove(asked.state_root, who, wanted)
        return {
            "address": address_text(who),
            "accountProof": [hexed(node) for node in proven.nodes],
            "balance": hex(proven.account.balance),
            "codeHash": hexed(proven.account.code_hash),
            "nonce": hex(proven.account.nonce),
            "storageHash": hexed(proven.storage_root),
            "storageProof": [
                {"key": key, "value": hex(value), "proof": [hexed(node) for node in nodes]}
                for key, (_, value, nodes) in zip(slots, proven.slots, strict=True)
            ],
        }
