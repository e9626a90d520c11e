# SPDX-License-Identifier: Apache-2.0
"""addOrUpdateService"""

from typing import Any

import pytest

from tests.unit.contract import COIN, Contract, error, event
from tests.unit.fine_tuning.world import OTHER_TEE, STAKE, TEE, World, offer

QUOTA = {"cpuCount": 64, "nodeMemory": 512, "gpuCount": 8, "nodeStorage": 4096, "gpuType": "H100"}
LARGEST = 2**64 - 1
LONG = "x" * 257


def updated(provider: str, **changes: Any) -> Any:
    """The event that comes with what `offer(**changes)` registers."""
    url, quota, price, occupied, _, signer = offer(**changes)
    return event(
        "ServiceUpdated",
        provider=provider,
        url=url,
        quota=quota,
        pricePerToken=price,
        teeSignerAddress=signer,
        occupied=occupied,
    )


def shown(provider: str, acknowledged: bool = False, **changes: Any) -> dict[str, Any]:
    """The registration that `offer(**changes)` makes."""
    url, quota, price, occupied, models, signer = offer(**changes)
    return {
        "provider": provider,
        "url": url,
        "quota": quota,
        "pricePerToken": price,
        "occupied": occupied,
        "models": models,
        "teeSignerAddress": signer,
        "teeSignerAcknowledged": acknowledged,
    }


def test_registers_with_the_whole_value_as_stake(world: World, serving: Contract, provider: str) -> None:
    before = world.evm.balance(provider)
    done = world.register(provider, stake=STAKE + 5)
    assert done.result is None
    assert done.events == [event("ProviderStaked", provider=provider, amount=STAKE + 5), updated(provider)]
    assert world.evm.balance(provider) == before - STAKE - 5
    assert serving.ask("getService", provider) == shown(provider)


def test_checks_in_order_at_the_first_registration(world: World, serving: Contract, provider: str) -> None:
    def refused(value: int, **changes: Any) -> object:
        return serving.refused("addOrUpdateService", *offer(**changes), sender=provider, value=value)

    wrong: dict[str, Any] = {
        "url": "u" * 2049,
        "quota": QUOTA | {"gpuType": LONG, "cpuCount": 2**64},
        "models": ["m"] * 64 + [LONG],
    }
    assert refused(STAKE - 1, **wrong) == error("InsufficientStake", provided=STAKE - 1, required=STAKE)
    assert refused(0, **wrong) == error("InsufficientStake", provided=0, required=STAKE)
    assert refused(STAKE, **wrong) == error("TextTooLong", length=2049, max=2048)
    wrong["url"] = "u" * 2048
    assert refused(STAKE, **wrong) == error("TextTooLong", length=257, max=256)
    wrong["quota"] = QUOTA | {"gpuType": "g" * 256, "cpuCount": 2**64}
    assert refused(STAKE, **wrong) == error("TooManyItems", count=65, max=64)
    wrong["models"] = ["m"] * 63 + [LONG]
    assert refused(STAKE, **wrong) == error("AmountTooLarge", amount=2**64, max=LARGEST)
    wrong["quota"] = QUOTA | {"gpuType": "g" * 256}
    assert refused(STAKE, **wrong) == error("TextTooLong", length=257, max=256)
    wrong["models"] = ["m"] * 63 + ["m" * 256]
    world.register(provider, **wrong)
    assert serving.ask("getService", provider) == shown(provider, **wrong)


@pytest.mark.parametrize("number", ["cpuCount", "nodeMemory", "gpuCount", "nodeStorage"])
def test_numbers_of_the_quota_up_to_64_bits(world: World, serving: Contract, provider: str, number: str) -> None:
    refused = serving.refused(
        "addOrUpdateService", *offer(quota=QUOTA | {number: 2**256 - 1}), sender=provider, value=STAKE
    )
    assert refused == error("AmountTooLarge", amount=2**256 - 1, max=LARGEST)
    world.register(provider, quota=QUOTA | {number: LARGEST})
    assert serving.ask("getService", provider)["quota"] == QUOTA | {number: LARGEST}


def test_a_stake_too_large_to_count(world: World, serving: Contract, provider: str) -> None:
    world.evm.set_balance(provider, 2**100)
    assert serving.refused("addOrUpdateService", *offer(), sender=provider, value=2**95) == error(
        "AmountTooLarge", amount=2**95, max=2**95 - 1
    )
    world.register(provider, stake=2**95 - 1)
    serving.send("removeService", sender=provider)
    assert world.evm.balance(provider) == 2**100


@pytest.mark.usefixtures("registered")
def test_an_update_takes_no_coins(serving: Contract, provider: str) -> None:
    for value in (1, STAKE):
        refused = serving.refused("addOrUpdateService", *offer(url="u" * 2049), sender=provider, value=value)
        assert refused == error("CannotAddStakeWhenUpdating")


CHANGES: list[dict[str, Any]] = [
    {},
    {"url": "https://elsewhere.example"},
    {"url": ""},
    {"pricePerToken": 2**256 - 1},
    {"pricePerToken": 0},
    {"occupied": True},
    {"models": []},
    {"models": [""]},
    {"models": ["qwen/qwen2.5-0.5b-instruct", "meta/llama-3.3-70b", ""]},
    {"models": ["m" * 256] * 64},
    {"quota": QUOTA | {"gpuType": ""}},
    *({"quota": QUOTA | {name: 0}} for name in QUOTA if name != "gpuType"),
]


@pytest.mark.usefixtures("confirmed")
@pytest.mark.parametrize("change", CHANGES, ids=[" ".join(change) or "nothing" for change in CHANGES])
def test_a_change_of_anything_but_the_signer_keeps_the_confirmation(
    world: World, serving: Contract, provider: str, change: dict[str, Any]
) -> None:
    done = world.update(provider, **change)
    assert done.events == [updated(provider, **change)]
    assert serving.ask("getService", provider) == shown(provider, acknowledged=True, **change)
    assert world.update(provider).events == [updated(provider)]
    assert serving.ask("getService", provider) == shown(provider, acknowledged=True)


@pytest.mark.usefixtures("confirmed")
def test_a_change_of_the_signer_takes_the_confirmation_back(world: World, serving: Contract, provider: str) -> None:
    world.update(provider, teeSignerAddress=OTHER_TEE.address)
    assert serving.ask("getService", provider) == shown(provider, teeSignerAddress=OTHER_TEE.address)
    world.update(provider)
    assert serving.ask("getService", provider) == shown(provider)


@pytest.mark.usefixtures("confirmed")
def test_the_stake_survives_updates(world: World, serving: Contract, provider: str) -> None:
    before = world.evm.balance(provider)
    world.update(provider, teeSignerAddress=OTHER_TEE.address)
    world.update(provider, occupied=True, url="")
    serving.send("removeService", sender=provider)
    assert world.evm.balance(provider) == before + STAKE


def test_words_that_look_alike_when_joined_are_told_apart(world: World, serving: Contract, provider: str) -> None:
    first: dict[str, Any] = {"url": "ab", "quota": QUOTA | {"gpuType": "c"}, "models": ["d", "ef"]}
    for second in (
        first | {"models": ["de", "f"]},
        first | {"url": "a", "quota": QUOTA | {"gpuType": "bc"}},
        first | {"url": "abd", "models": ["", "ef"]},
        first | {"models": ["d", "ef", ""]},
    ):
        mark = world.evm.snapshot()
        world.register(provider, **first)
        world.update(provider, **second)
        assert serving.ask("getService", provider) == shown(provider, **second)
        serving.history.clear()
        world.evm.revert(mark)


def test_a_registration_after_a_removal_is_a_first_one(world: World, serving: Contract, provider: str) -> None:
    world.register(provider, occupied=True)
    world.confirm(provider)
    serving.send("removeService", sender=provider)
    assert serving.refused("addOrUpdateService", *offer(), sender=provider) == error(
        "InsufficientStake", provided=0, required=STAKE
    )
    world.register(provider)
    assert serving.ask("getService", provider) == shown(provider)


def test_text_that_could_not_be_code_by_itself(world: World, serving: Contract, provider: str) -> None:
    raw = serving.interface.encode("addOrUpdateService", *offer(url="\u00ef\x00\x01", models=["\u00ef"]))
    assert world.evm.send(serving.address, raw, sender=provider, value=STAKE).success
    serving.history.append(event("ProviderStaked", provider=provider, amount=STAKE))
    assert serving.ask("getService", provider)["url"] == "\u00ef\x00\x01"
    assert serving.ask("getService", provider)["models"] == ["\u00ef"]


def test_a_stranger_registers_for_nobody_else(world: World, serving: Contract, provider: str, stranger: str) -> None:
    world.register(stranger, stake=STAKE + COIN)
    assert serving.refused("getService", provider, sender=provider) == error("ServiceNotExist", provider=provider)
    assert serving.ask("getService", stranger)["teeSignerAddress"] == TEE.address
