# SPDX-License-Identifier: Apache-2.0
"""The file for a Safe's Transaction Builder."""

from typing import Any

from serving_network.deployment.safe import SafeCall, batch, checksum

APPROVE: dict[str, Any] = {
    "type": "function",
    "name": "approve",
    "stateMutability": "nonpayable",
    "inputs": [{"name": "spender", "type": "address"}, {"name": "value", "type": "uint256"}],
}


def approval(name: str = "Transactions Batch", value: str = "100000000000") -> dict[str, Any]:
    call = SafeCall(
        to="0xA0b86991c6218b36c1d19D4a2e9Eb0cE3606eB48",
        method=APPROVE,
        arguments={"spender": "0x474e5Ded6b5D078163BFB8F6dBa355C3aA5478C8", "value": value},
    )
    return batch(
        [call],
        chain_id=1,
        safe="0xA77DE01e157f9f57C7c4A326eeE9C4874D0598b6",
        name=name,
        description="",
        created_at_ms=1761326849944,
    )


def test_the_checksum_is_the_one_that_the_builder_itself_wrote_for_this_batch() -> None:
    expected = "0x8b5032f716845c8b08bab3d63dbd9ba92e056f3557793cd041e59b84e16aa989"
    assert approval()["meta"]["checksum"] == expected


def test_the_checksum_covers_the_arguments_but_not_the_name() -> None:
    original = approval()
    assert checksum(approval(name="another")) == original["meta"]["checksum"]
    assert checksum(approval(value="100000000001")) != original["meta"]["checksum"]


def test_a_file_that_was_changed_does_not_fit_its_checksum() -> None:
    content = approval()
    content["transactions"][0]["to"] = "0x" + "11" * 20
    assert checksum(content) != content["meta"]["checksum"]
