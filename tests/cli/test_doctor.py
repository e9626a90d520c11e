# SPDX-License-Identifier: Apache-2.0
"""`serving doctor` leads on: whatever state a network is in, its next step succeeds, until all is well."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from serving_network.cli.files.offer import EXAMPLES
from serving_network.contracts.models import FINE_TUNING, INFERENCE
from serving_network.errors import ServingError
from serving_network.messages.typed_data import UserSettlement
from serving_network.money import WEI_PER_COIN as COIN
from tests.cli.conftest import Terminal
from tests.clients.network_fixture import World
from tests.clients.test_provider import signed

pytestmark = pytest.mark.usefixtures("without_http")

MOST_STEPS = 12
SENDS_NOTHING = (("local", "fund"),)
KINDS = {"inference-v1.0": INFERENCE, "fine-tuning-v1.1": FINE_TUNING}


def empty(world: World, address: str, left: int = 0) -> None:
    world.chain.request("hardhat_setBalance", [address, hex(left)])


def charge(world: World) -> None:
    """Settle everything that the user has with the provider."""
    account = world.user.account(world.user.address, world.provider.address)
    if account is not None:
        row = signed(world, world.user.address, account.balance, account.nonce + 1)
        world.provider.settle([row])
        assert isinstance(row.settlement, UserSettlement)


def deliver(world: World) -> None:
    world.provider.add_deliverable(world.user.address, "task 1", b"root")


ACTS: dict[str, Callable[[World], object]] = {
    "register": lambda world: world.provider.register(world.offer()),
    "register without a TEE signer": lambda world: world.provider.register(world.offer(tee_signer="0x" + "00" * 20)),
    "register for fine-tuning": lambda world: world.provider.register(world.fine_tuning_offer()),
    "register the same signer": lambda world: world.other_provider.register(world.fine_tuning_offer()),
    "confirm": lambda world: world.owner.confirm(world.provider.address),
    "confirm for fine-tuning": lambda world: world.owner.confirm(world.provider.address, FINE_TUNING),
    "change the model": lambda world: world.provider.update(world.offer(model="model-2")),
    "revoke the confirmation": lambda world: world.owner.revoke(world.provider.address),
    "remove the service": lambda world: world.provider.remove(),
    "open a ledger": lambda world: world.user.open_ledger(3 * COIN),
    "deposit": lambda world: world.user.deposit(4 * COIN + 7),
    "fund": lambda world: world.user.fund(world.provider.address, 2 * COIN + 3),
    "fund for fine-tuning": lambda world: world.user.fund(world.provider.address, COIN, FINE_TUNING),
    "fund everything": lambda world: world.user.fund(world.provider.address, 3 * COIN),
    "request refunds": lambda world: world.user.retrieve(),
    "wait": lambda world: world.network.travel(86_400),
    "charge": charge,
    "deliver": deliver,
    "revoke the acknowledgement": lambda world: world.user.acknowledge(world.provider.address, acknowledged=False),
    "leave the user 1 wei": lambda world: empty(world, world.user.address, 1),
    "leave the user 3 coins": lambda world: empty(world, world.user.address, 3 * COIN),
    "leave the provider nothing": lambda world: empty(world, world.provider.address),
    "leave the provider 100 coins": lambda world: empty(world, world.provider.address, 100 * COIN),
    "leave the owner nothing": lambda world: empty(world, world.owner.address),
}
QUESTIONS = (
    ("user", "doctor", "--provider", "provider"),
    ("user", "doctor", "--provider", "provider", "--service", "fine-tuning"),
    ("user", "doctor"),
    ("provider", "doctor", "--provider", "provider"),
    ("provider", "doctor"),
    ("owner", "doctor"),
    ("stranger", "doctor", "--provider", "provider", "--user", "user"),
)


@settings(
    max_examples=10,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(acts=st.lists(st.sampled_from(sorted(ACTS)), max_size=8), question=st.sampled_from(QUESTIONS))
def test_in_every_state_the_next_steps_end_in_all_is_well(
    serving: Terminal, world: World, acts: list[str], question: tuple[str, ...]
) -> None:
    asker, *words = question
    with world.network.reset_afterwards():
        for act in acts:
            try:
                ACTS[act](world)
            except ServingError:
                continue
        for _ in range(MOST_STEPS):
            found = serving(*words, "--key", asker, "--json", code=None)
            assert found.code in (0, 9), found
            if found.code == 0:
                return
            follow(serving, asker, found.json["next_step"], world)
        pytest.fail(f"The doctor still names a next step: {found.json['next_step']}")


def follow(serving: Terminal, asker: str, next_step: str, world: World) -> None:
    """Run the command as the role that it names. Its offer file is the example, with the TEE signer filled in."""
    who, runs, command = next_step.rpartition(" runs: ")
    role = who.removeprefix("The ") if runs else asker
    # The TEE signer of the acts may be that of the other provider, too, which prevents a confirmation.
    signer = world.stranger.address
    program, *words = shlex.split(command.replace("0x...", signer))
    assert program == "serving", next_step
    if "offer.toml" in words:
        offer = serving.home / "offer.toml"
        example = EXAMPLES[KINDS[words[words.index("--service") + 1]]]
        offer.write_text(example.replace("0x...", signer))
        words[words.index("offer.toml")] = str(offer)
    sending = [] if tuple(words[:2]) in SENDS_NOTHING else ["--yes"]
    serving(*words, "--key", role, *sending)


def test_a_provider_needs_no_ledger(serving: Terminal, world: World) -> None:
    world.provider.register(world.offer())
    waiting = serving("doctor", "--key", "provider", code=9)
    assert "ledger     " not in waiting.out
    assert f"Next   The owner runs: serving signer confirm {world.provider.address} --expect" in waiting.out
    world.owner.confirm(world.provider.address)
    assert "All checks passed." in serving("doctor", "--key", "provider").out


def test_the_provider_sees_whether_its_tee_key_is_the_registered_one(serving: Terminal, world: World) -> None:
    world.provider.register(world.offer())
    world.owner.confirm(world.provider.address)
    other = "0x" + "5e" * 32
    wrong = serving("doctor", "--key", "provider", code=9, SERVING_TEE_KEY=other)
    assert "FAILS  TEE key" in wrong.out
    assert "5e5e5e" not in wrong.out
    right = serving("doctor", "--key", "provider", SERVING_TEE_KEY="0x" + (bytes(31) + b"\x07").hex())
    assert "ok     TEE key" in right.out


def test_the_owner_sees_who_waits(serving: Terminal, world: World) -> None:
    assert "All checks passed." in serving("doctor", "--key", "owner").out
    world.provider.register(world.offer())
    waiting = serving("doctor", "--key", "owner", code=9).out
    assert "0 of 1 provider confirmed" in waiting
    signer = world.tee_signer.address
    assert f"Next   serving signer confirm {world.provider.address} --expect {signer} --service" in waiting


def test_the_amounts_are_those_that_are_missing(serving: Terminal, world: World) -> None:
    world.provider.register(world.offer())
    world.owner.confirm(world.provider.address)
    world.user.open_ledger(3 * COIN)
    world.user.fund(world.provider.address, 3 * COIN - 250)
    charge(world)
    found = serving("doctor", "-p", "provider", "--json", code=9).json
    assert found["next_step"] == "serving ledger deposit '0.99999999999999975 coins'"
    assert next(one for one in found["checks"] if one["passed"] is False)["by"] == "user"


def test_a_network_without_providers_is_well(serving: Terminal, world: World) -> None:
    world.user.open_ledger(3 * COIN)
    assert "none has registered yet" in serving("doctor").out


def test_a_machine_without_a_key_is_led_to_one(serving: Terminal, tmp_path: Path) -> None:
    serving("key", "use", "--none")
    used = serving("doctor", "--json", code=9).json["next_step"]
    serving(*shlex.split(used)[1:])
    (tmp_path / "keys").unlink()
    serving("key", "use", "--none")
    assert serving("doctor", "--json", code=9).json["next_step"] == "serving key new main"
