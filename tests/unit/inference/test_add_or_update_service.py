# SPDX-License-Identifier: Apache-2.0
"""addOrUpdateService"""

from typing import Any

import pytest

from tests.unit.contract import COIN, Contract, error, event
from tests.unit.inference.world import OFFER, OTHER_TEE, STAKE, TEE, World

MAX_PRICE = 2**104 - 1
CRITICAL: list[tuple[str, Any]] = [
    ("serviceType", "text-to-image"),
    ("serviceType", ""),
    ("model", "meta/llama-3.3-70b-instruct "),
    ("verifiability", "OpML"),
    ("teeSignerAddress", OTHER_TEE.address),
    ("additionalInfo", ""),
    ("additionalInfo", '{"region":"us"}'),
]


def updated(provider: str, time: int, **changes: Any) -> Any:
    offer = OFFER | changes
    fields = ("serviceType", "url", "inputPrice", "outputPrice", "model", "verifiability")
    values = {name: offer[name] for name in fields}
    order = ["serviceType", "url", "inputPrice", "outputPrice", "updatedAt", "model", "verifiability"]
    values["updatedAt"] = time
    return event("ServiceUpdated", service=provider, **{name: values[name] for name in order})


def service_of(provider: str, time: int, confirmed: bool, **changes: Any) -> dict[str, Any]:
    return {"provider": provider, "updatedAt": time, "teeSignerAcknowledged": confirmed} | OFFER | changes


def test_registers_with_the_whole_value_as_stake(world: World, serving: Contract, provider: str) -> None:
    done = world.register(stake=STAKE + 5)
    assert done.events == [
        event("ProviderStaked", provider=provider, amount=STAKE + 5),
        updated(provider, world.evm.time),
    ]
    assert serving.ask("getService", provider) == service_of(provider, world.evm.time, False)
    before = world.evm.balance(provider)
    serving.send("removeService", sender=provider)
    assert world.evm.balance(provider) == before + STAKE + 5


class TestChecksInOrder:
    def refused(self, world: World, value: int = 0, **changes: Any) -> Any:
        return world.serving.refused("addOrUpdateService", OFFER | changes, sender=world.provider, value=value)

    def test_of_a_registration(self, world: World) -> None:
        long = "x" * 4097
        for value in (0, 1, STAKE - 1):
            assert self.refused(world, value, additionalInfo=long) == error(
                "InsufficientStake", provided=value, required=STAKE
            )
        world.evm.set_balance(world.provider, 2**97)
        assert self.refused(world, 2**95, additionalInfo=long) == error("AmountTooLarge", amount=2**95, max=2**95 - 1)
        assert self.refused(world, STAKE, additionalInfo=long) == error("AdditionalInfoTooLong")

    @pytest.mark.usefixtures("registered")
    def test_of_an_update(self, world: World) -> None:
        assert self.refused(world, 1, additionalInfo="x" * 4097) == error("CannotAddStakeWhenUpdating")
        assert self.refused(world, STAKE) == error("CannotAddStakeWhenUpdating")
        assert self.refused(world, additionalInfo="x" * 4097, serviceType="x" * 257) == error("AdditionalInfoTooLong")

    @pytest.mark.parametrize(
        ("field", "most", "room"),
        [("serviceType", 256, 320), ("model", 256, 320), ("verifiability", 256, 320), ("url", 2048, 2560)],
    )
    def test_of_a_texts_length(self, world: World, field: str, most: int, room: int) -> None:
        for length in (most + 1, room):
            assert self.refused(world, STAKE, **{field: "x" * length}) == error("TextTooLong", length=length, max=most)
        assert self.refused(world, STAKE, **{field: "x" * (room + 1)}) is None
        world.register(**dict[str, Any]({field: "x" * most}))
        assert world.serving.ask("getService", world.provider)[field] == "x" * most

    def test_of_the_description(self, world: World) -> None:
        for length in (4097, 5120):
            assert self.refused(world, STAKE, additionalInfo="x" * length) == error("AdditionalInfoTooLong")
        assert self.refused(world, STAKE, additionalInfo="x" * 5121) is None
        world.register(additionalInfo="x" * 4096)

    @pytest.mark.parametrize("field", ["inputPrice", "outputPrice"])
    def test_of_a_price(self, world: World, field: str) -> None:
        for price in (MAX_PRICE + 1, 2**256 - 1):
            assert self.refused(world, STAKE, **{field: price}) == error("AmountTooLarge", amount=price, max=MAX_PRICE)
        world.register(**dict[str, Any]({field: MAX_PRICE}))
        assert world.serving.ask("getService", world.provider) == service_of(
            world.provider, world.evm.time, False, **{field: MAX_PRICE}
        )


@pytest.mark.usefixtures("confirmed")
class TestUpdates:
    def updates(self, world: World, confirmed: bool, **changes: Any) -> None:
        world.evm.time += 100
        done = world.update(**changes)
        assert done.events == [updated(world.provider, world.evm.time, **changes)]
        assert world.serving.ask("getService", world.provider) == service_of(
            world.provider, world.evm.time, confirmed, **changes
        )

    def test_of_nothing_at_all(self, world: World) -> None:
        self.updates(world, True)

    @pytest.mark.parametrize(
        "changes",
        [
            {"inputPrice": 0},
            {"outputPrice": 10**18},
            {"inputPrice": 1, "outputPrice": 2},
            {"url": "https://elsewhere.example"},
            {"url": ""},
            {"url": "x" * 2048, "inputPrice": 3},
        ],
    )
    def test_of_url_and_prices_keep_the_confirmation(self, world: World, changes: dict[str, Any]) -> None:
        self.updates(world, True, **changes)

    @pytest.mark.parametrize(("field", "value"), CRITICAL)
    def test_of_anything_else_take_it_back(self, world: World, field: str, value: Any) -> None:
        self.updates(world, False, **{field: value})
        self.updates(world, False)

    @pytest.mark.parametrize(("field", "value"), CRITICAL)
    def test_back_to_what_was_confirmed_need_a_new_confirmation(self, world: World, field: str, value: Any) -> None:
        world.update(**{field: value})
        self.updates(world, False)
        world.confirm()
        self.updates(world, True, inputPrice=99)

    @pytest.mark.parametrize(
        "changes",
        [
            # The same bytes, cut elsewhere: model and verifiability, description and url, type and model.
            {"model": OFFER["model"] + "T", "verifiability": "eeML"},
            {"additionalInfo": OFFER["additionalInfo"] + "h", "url": OFFER["url"][1:]},
            {"additionalInfo": OFFER["additionalInfo"][:-1], "url": "}" + OFFER["url"]},
            {"serviceType": "chatbo", "model": "t" + OFFER["model"]},
        ],
    )
    def test_that_only_move_a_border_between_texts_take_it_back(self, world: World, changes: dict[str, Any]) -> None:
        self.updates(world, False, **changes)

    def test_write_text_only_when_text_changes(self, world: World) -> None:
        long: dict[str, Any] = {"additionalInfo": "x" * 4096}
        world.update(**long)
        assert world.update(**long, inputPrice=1).gas_used < 150_000
        assert world.update(**long, url="https://other.example").gas_used > 900_000

    def test_keep_stake_and_place_in_the_list(self, world: World, serving: Contract, second: str) -> None:
        world.register(second)
        world.update(model="another")
        services, total = serving.ask("getAllServices", 0, 0)
        assert ([one["provider"] for one in services], total) == ([world.provider, second], 2)
        serving.send("removeService", sender=world.provider)


def test_registering_again_after_a_removal_is_a_first_time(world: World, serving: Contract, confirmed: None) -> None:  # noqa: ARG001
    serving.send("removeService", sender=world.provider)
    done = world.register()
    assert done.named("ProviderStaked") == [{"provider": world.provider, "amount": STAKE}]
    assert serving.ask("getService", world.provider)["teeSignerAcknowledged"] is False


def test_a_signer_of_zero_is_taken_and_settles_nothing(world: World, serving: Contract) -> None:
    nobody = "0x" + "00" * 20
    world.register(teeSignerAddress=nobody)
    world.confirm()
    service = serving.ask("getService", world.provider)
    assert (service["teeSignerAddress"], service["teeSignerAcknowledged"]) == (nobody, True)


def test_a_service_with_a_signer_of_zero_is_updated_without_a_second_stake(world: World, provider: str) -> None:
    world.register(teeSignerAddress="0x" + 40 * "0")
    world.update(url="https://elsewhere")
    assert world.serving.ask("getService", provider)["url"] == "https://elsewhere"


def test_texts_of_any_bytes(world: World, serving: Contract, provider: str) -> None:
    texts: dict[str, Any] = {
        "serviceType": "\0",
        "model": "模型",
        "url": "\U0001f680",
        "verifiability": "",
        "additionalInfo": "é" * 2048,
    }
    world.register(**texts)
    assert serving.ask("getService", provider) == service_of(provider, world.evm.time, False, **texts)


def test_the_largest_stake(world: World, serving: Contract, provider: str) -> None:
    world.evm.set_balance(provider, 2**95 - 1)
    world.register(stake=2**95 - 1)
    serving.send("removeService", sender=provider)
    assert world.evm.balance(provider) == 2**95 - 1


def test_the_stake_is_no_part_of_the_signer(world: World, serving: Contract, provider: str) -> None:
    world.evm.set_balance(provider, 2**95)
    world.register(stake=2**95 - 1)
    service = serving.ask("getService", provider)
    assert (service["teeSignerAddress"], service["teeSignerAcknowledged"]) == (TEE.address, False)


def test_stakes_of_exactly_the_minimum(world: World, provider: str) -> None:
    assert world.register(stake=STAKE).named("ProviderStaked") == [{"provider": provider, "amount": 100 * COIN}]
