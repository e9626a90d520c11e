# SPDX-License-Identifier: Apache-2.0
"""registerService"""

import pytest

from tests.evm import Evm
from tests.unit.contract import Contract, behind_front, error, event
from tests.unit.ledger.world import RETURN_BOMB, Service, World, compiled, create_mock

NOBODY = "0x" + 40 * "0"


def answering(
    world: World,
    *,
    erc165: int = 1,
    nothing: int = 0,
    serving: int = 1,
    short: bool = False,
    failing: bool = False,
    waste: int = 0,
) -> str:
    """A contract that answers what it is asked about its interfaces so."""
    return create_mock(world.evm, "Answers", erc165, nothing, serving, short, failing, waste, sender=world.owner)[0]


def test_adds_a_service(ledger: Contract, world: World, owner: str) -> None:
    service = world.service(registered=False)
    done = ledger.send("registerService", "others", "v1", service.address, "what it is", sender=owner)
    assert done.result is None
    assert done.events == [event("ServiceRegistered", serviceAddress=service.address, serviceName="others-v1")]
    assert ledger.ask("getServiceInfo", service.address) == {
        "serviceAddress": service.address,
        "serviceContract": service.address,
        "serviceType": "others",
        "version": "v1",
        "fullName": "others-v1",
        "description": "what it is",
        "isRecommended": False,
        "registeredAt": world.evm.time,
    }


def test_refuses_no_address_first(ledger: Contract, owner: str) -> None:
    assert ledger.refused("registerService", "", "", NOBODY, "x" * 1025, sender=owner) == error(
        "InvalidServiceAddress", serviceAddress=NOBODY
    )


def test_refuses_no_type_second(ledger: Contract, owner: str, user: str) -> None:
    assert ledger.refused("registerService", "", "", user, "", sender=owner) == error("ServiceTypeRequired")


def test_refuses_no_version_third(ledger: Contract, owner: str, service: Service) -> None:
    assert ledger.refused("registerService", "others", "", service.address, "", sender=owner) == error(
        "VersionRequired"
    )


@pytest.mark.parametrize(
    ("lengths", "length", "limit"),
    [
        ((65, 1, 0), 65, 64),
        ((96, 1, 0), 96, 64),
        ((1, 65, 0), 65, 64),
        ((1, 96, 0), 96, 64),
        ((1, 1, 1025), 1025, 1024),
        ((1, 1, 1280), 1280, 1024),
    ],
)
def test_refuses_long_texts(
    ledger: Contract, owner: str, user: str, lengths: tuple[int, int, int], length: int, limit: int
) -> None:
    kind, version, description = ("x" * size for size in lengths)
    assert ledger.refused("registerService", kind, version, user, description, sender=owner) == error(
        "TextTooLong", length=length, max=limit
    )


def test_takes_the_longest_texts(ledger: Contract, world: World, owner: str) -> None:
    kind, version, description = "t" * 64, "v" * 64, "".join(chr(33 + i % 90) for i in range(1024))
    address = answering(world)
    done = ledger.send("registerService", kind, version, address, description, sender=owner)
    assert done.events == [event("ServiceRegistered", serviceAddress=address, serviceName=f"{kind}-{version}")]
    found = ledger.ask("getServiceInfo", address)
    assert (found["serviceType"], found["version"], found["description"]) == (kind, version, description)
    assert ledger.ask("getServiceAddressByName", f"{kind}-{version}") == address


@pytest.mark.parametrize("description", ["", "\x00", "\xef", "ends in zeros\0\0"])
def test_keeps_odd_descriptions(ledger: Contract, world: World, owner: str, description: str) -> None:
    address = answering(world)
    ledger.send("registerService", "t", "v", address, description, sender=owner)
    assert ledger.ask("getServiceInfo", address)["description"] == description


def test_refuses_the_same_address_again_fourth(ledger: Contract, owner: str, service: Service) -> None:
    assert ledger.refused("registerService", "others", "v1", service.address, "", sender=owner) == error(
        "ServiceAlreadyRegistered", serviceAddress=service.address
    )


def test_refuses_the_same_name_again_fifth(ledger: Contract, owner: str, user: str, service: Service) -> None:
    assert service.name == "others-v1"
    assert ledger.refused("registerService", "others", "v1", user, "", sender=owner) == error(
        "ServiceNameExists", serviceName="others-v1"
    )


def test_the_name_counts_and_not_how_it_is_made(ledger: Contract, world: World, owner: str, user: str) -> None:
    ledger.send("registerService", "a-b", "c", answering(world), "", sender=owner)
    assert ledger.refused("registerService", "a", "b-c", user, "", sender=owner) == error(
        "ServiceNameExists", serviceName="a-b-c"
    )


def test_refuses_an_address_without_code_sixth(ledger: Contract, owner: str, user: str) -> None:
    assert ledger.refused("registerService", "t", "v", user, "", sender=owner) == error(
        "ServiceMustImplementIServing", serviceAddress=user
    )


@pytest.mark.parametrize(
    "answers",
    [
        {"erc165": 0},
        {"erc165": 2},
        {"erc165": 2**256 - 1},
        {"nothing": 1},
        {"nothing": 2},
        {"serving": 0},
        {"serving": 2},
        {"short": True},
        {"failing": True},
        {"waste": 40_000},
    ],
    ids=str,
)
def test_refuses_what_does_not_say_that_it_serves(
    ledger: Contract, world: World, owner: str, answers: dict[str, int | bool]
) -> None:
    address = answering(world, **answers)  # type: ignore[arg-type]
    assert ledger.refused("registerService", "t", "v", address, "", sender=owner) == error(
        "ServiceMustImplementIServing", serviceAddress=address
    )
    assert ledger.refused("getRecommendedService", "t", sender=owner) == error("NoRecommendedService", serviceType="t")
    assert ledger.ask("getServiceAddressByName", "t-v") == NOBODY


def test_an_answer_may_cost_nearly_thirty_thousand_gas(ledger: Contract, world: World, owner: str) -> None:
    ledger.send("registerService", "t", "v", answering(world, waste=27_000), "", sender=owner)


def test_refuses_a_contract_that_answers_with_a_bomb(ledger: Contract, world: World, owner: str) -> None:
    bomb = world.evm.account("bomb")
    world.evm.set_code(bomb, RETURN_BOMB)
    assert ledger.refused("registerService", "t", "v", bomb, "", sender=owner) == error(
        "ServiceMustImplementIServing", serviceAddress=bomb
    )


def test_refuses_the_ledger_itself(ledger: Contract, owner: str) -> None:
    assert ledger.refused("registerService", "t", "v", ledger.address, "", sender=owner) == error(
        "ServiceMustImplementIServing", serviceAddress=ledger.address
    )


def test_takes_a_contract_that_is_not_initialised_yet(ledger: Contract, world: World, owner: str) -> None:
    front = behind_front(world.evm, "FineTuningServing", 100 * 10**18, owner=owner)
    assert not front.ask("initialized")
    ledger.send("registerService", "fine-tuning", "v1.1", front.address, "", sender=owner)
    assert ledger.ask("getServiceAddressByName", "fine-tuning-v1.1") == front.address


def test_the_five_hundred_first_is_refused_last(crowd: World) -> None:
    ledger = crowd.ledger
    address = crowd.evm.account("one more")
    refused = error("ServiceMustImplementIServing", serviceAddress=address)
    assert ledger.refused("registerService", "t", "v", address, "", sender=crowd.owner) == refused
    crowd.evm.set_code(address, crowd.evm.code(answering(crowd)))
    assert ledger.refused("registerService", "t", "v", address, "", sender=crowd.owner) == error(
        "ServiceRegistryLimitReached", limit=500
    )


def test_only_the_owner(ledger: Contract, user: str) -> None:
    assert ledger.refused("registerService", "", "", NOBODY, "", sender=user) == error(
        "Error", message="Ownable: caller is not the owner"
    )


def test_which_book_is_used_is_decided_once(ledger: Contract, world: World, user: str, provider: str) -> None:
    """A service that learns to keep a book later is still counted in the ledger's."""
    service = world.service()
    world.open(user)
    ledger.send("transferFund", provider, service.name, 4 * 10**18, sender=user)
    interface, _ = compiled("Service")
    native = create_mock(world.evm, "Service", ledger.address, True, sender=world.owner)[0]
    world.evm.set_code(service.address, world.evm.code(native))
    assert world.evm.view(
        service.address, interface.encode("supportsInterface", bytes.fromhex("1ffc15d2")), sender=user
    ).output == (1).to_bytes(32, "big")
    assert world.total(user) == 10 * 10**18
    service.send("settle", user, provider, 10**18, sender=provider)
    assert world.total(user) == 10 * 10**18
    service.send("report", user, 10**18, sender=provider)
    assert world.total(user) == 9 * 10**18


def test_a_bare_evm_has_no_services() -> None:
    evm = Evm()
    owner = evm.account("owner")
    ledger = behind_front(evm, "LedgerManager", 1, 1, owner=owner, initialize=(owner,))
    assert ledger.ask("getAllActiveServices") == []
    assert ledger.ask("getActiveServices", 0, 0) == ([], 0)
