# SPDX-License-Identifier: Apache-2.0
"""The state machine: draws what happens next, and states after every step what must hold.

`invariants` of this directory's README are the methods marked so; each reads the contracts, not the model.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from functools import cache
from typing import Any, ClassVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tests.evm import Evm
from tests.stateful.actions import (
    AMOUNTS,
    FORGERIES,
    INFERENCE_TERMS,
    NONCES,
    ODDITIES,
    TEXTS,
    Actions,
    Row,
)
from tests.stateful.foreign import HONEST, MANNERS
from tests.stateful.model import HOUR, MAX_AVAILABLE, MAX_REFUNDS, WEEK, ZERO, Mood
from tests.stateful.world import (
    ALL_SERVICES,
    BEACONS,
    FINE_TUNINGS,
    FOREIGN_WITH_BOOK,
    FOREIGN_WITHOUT_BOOK,
    FOREIGNERS,
    INFERENCES,
    LEDGER,
    RICH,
    World,
)

USER = st.integers(0, 2)
PROVIDER = st.integers(0, 2)
SERVICE = st.sampled_from(ALL_SERVICES)
INFERENCE = st.sampled_from(INFERENCES)
TUNING = st.sampled_from(FINE_TUNINGS)
FOREIGN = st.sampled_from(FOREIGNERS)
CONTRACT = st.sampled_from([LEDGER, *ALL_SERVICES])
AMOUNT = st.sampled_from(list(AMOUNTS))
SMALL = st.sampled_from(["least", "5 least", "third", "all"])
NAME = st.sampled_from(["first", "second", "third", "256 characters"])
ODD_NAME = st.sampled_from(["first", "second", "", "256 characters", "257 characters"])
ROOT = st.sampled_from(["root", "", "1024 characters", "1025 characters"])
SECONDS = st.sampled_from([1, HOUR - 1, HOUR, 86_399, 86_400, WEEK])
TOKENS = st.lists(st.sampled_from([0, 199, 200, 255]), max_size=3)
MISCHIEF = [
    "settle",
    "deliver",
    "leave",
    "lock longer",
    "upgrade",
    "give",
    "take away confirmations",
    "ask for another",
    "renounce",
]


def mostly(usual: Any, others: Any) -> Any:
    """`usual` in three cases of four, else one of `others`."""
    return st.one_of(st.just(usual), st.just(usual), st.just(usual), st.sampled_from(list(others)))


ROW = st.builds(
    Row,
    user=USER,
    fee=AMOUNT,
    nonce=mostly("next", NONCES),
    forgery=mostly("none", FORGERIES),
    signer=mostly(None, range(3)),
    provider=mostly(None, range(2)),
    contract=mostly(None, ALL_SERVICES),
)
ROWS = st.lists(ROW, max_size=4)


class ServingMachine(RuleBasedStateMachine):
    """Sequences of actions on a network of three users, three providers, five contracts and two foreign ones.

    The third user and the second provider are contracts that refuse coins or call back. The third provider is the
    second user.
    """

    evm: Callable[[], Evm] = Evm
    seen: ClassVar[Counter[str]] = Counter()

    def __init__(self) -> None:
        super().__init__()
        self.acts = Actions()
        self.acts.seen = self.seen
        self.acts.begin(world(self.evm))
        self.world = self.acts.world
        self.nonces: dict[tuple[str, str, str], int] = {}
        self.balances: dict[tuple[str, str, str], int] = {}
        self.available: dict[str, int] = {}
        self.looked: dict[str, int] = {}

    # Who

    def user(self, number: int) -> str:
        return self.world.users[number]

    def provider(self, number: int) -> str:
        return self.providers[number]

    @property
    def providers(self) -> list[str]:
        return [*self.world.providers, self.world.users[1]]

    def owner_of(self, where: str, *, honest: bool) -> str:
        return self.acts.owner_of(where) if honest else self.world.stranger

    # What happens

    @initialize(
        opened=st.booleans(),
        served=st.booleans(),
        funded=st.booleans(),
        foreign=st.booleans(),
        crowded=st.sampled_from([False] * 31 + [True]),
    )
    def people_are_already_here(
        self, *, opened: bool, served: bool, funded: bool, foreign: bool, crowded: bool
    ) -> None:
        signer = next(iter(self.world.tee_signers))
        for service in ALL_SERVICES if served else ():
            for provider in self.world.providers:
                self.acts.register(provider, service, signer, "least", 0)
                self.acts.confirm(self.world.owner, provider, service, signer)
        for name in FOREIGNERS if foreign else ():
            self.acts.register_service(self.world.owner, name, "nothing")
        for user in self.world.users if opened else ():
            self.acts.open_ledger(user, "5 least", "")
            for service in ALL_SERVICES if funded else ():
                for provider in self.world.providers:
                    self.acts.transfer(user, provider, service, "least")
        if crowded:
            self.acts.open_many(self.world.users[0], ALL_SERVICES[0], 51)

    @rule(user=USER, amount=AMOUNT, info=st.sampled_from(TEXTS))
    def open_ledger(self, user: int, amount: str, info: str) -> None:
        self.acts.open_ledger(self.user(user), amount, info)

    @rule(payer=USER, recipient=USER, amount=AMOUNT)
    def deposit(self, payer: int, recipient: int, amount: str) -> None:
        self.acts.deposit(self.user(payer), self.user(recipient), amount)

    @rule(user=USER, info=st.sampled_from(TEXTS))
    def describe(self, user: int, info: str) -> None:
        self.acts.describe(self.user(user), info)

    @rule(user=USER, amount=AMOUNT)
    def refund(self, user: int, amount: str) -> None:
        self.acts.refund(self.user(user), amount)

    @rule(user=USER)
    def refund_all(self, user: int) -> None:
        self.acts.refund_all(self.user(user))

    @rule(user=USER)
    def delete_ledger(self, user: int) -> None:
        self.acts.delete_ledger(self.user(user))

    @rule(user=USER, provider=PROVIDER, service=SERVICE, amount=AMOUNT)
    def transfer(self, user: int, provider: int, service: str, amount: str) -> None:
        self.acts.transfer(self.user(user), self.provider(provider), service, amount)

    @rule(user=USER, provider=PROVIDER, service=SERVICE, amount=SMALL)
    def transfer_some(self, user: int, provider: int, service: str, amount: str) -> None:
        self.acts.transfer(self.user(user), self.provider(provider), service, amount)

    @rule(
        user=USER,
        provider=st.sampled_from([ZERO, "themselves"]),
        service=st.sampled_from([*ALL_SERVICES, "nothing-v0"]),
    )
    def transfer_astray(self, user: int, provider: str, service: str) -> None:
        to = self.user(user) if provider == "themselves" else provider
        self.acts.transfer(self.user(user), to, service, "least")

    @rule(user=USER, provider=PROVIDER, service=SERVICE, more=st.sampled_from([-1, 0, 1]))
    def transfer_what_waits(self, user: int, provider: int, service: str, more: int) -> None:
        self.acts.transfer_what_waits(self.user(user), self.provider(provider), service, more)

    @rule(user=USER, providers=st.lists(PROVIDER, max_size=3), service=SERVICE)
    def retrieve(self, user: int, providers: list[int], service: str) -> None:
        self.acts.retrieve(self.user(user), [self.provider(number) for number in providers], service)

    @rule(user=USER, service=SERVICE, seconds=SECONDS)
    def retrieve_and_wait(self, user: int, service: str, seconds: int) -> None:
        self.acts.retrieve(self.user(user), self.world.providers, service)
        self.acts.wait(seconds)

    @precondition(lambda self: self.acts.waiting_refunds())
    @rule(which=st.integers(0, 5), times=st.sampled_from([1, 2, 6]))
    def split_refunds(self, which: int, times: int) -> None:
        waiting = self.acts.waiting_refunds()
        self.acts.split_refunds(*waiting[which % len(waiting)], times)

    @rule(user=USER, service=st.sampled_from([*ALL_SERVICES, "nothing-v0"]), count=st.sampled_from([20, 21]))
    def retrieve_from_many(self, user: int, service: str, count: int) -> None:
        self.acts.retrieve(self.user(user), [self.provider(0)] * count, service)

    @rule(user=USER, provider=PROVIDER, service=SERVICE, accept=st.booleans())
    def acknowledge(self, user: int, provider: int, service: str, accept: bool) -> None:
        self.acts.acknowledge(self.user(user), self.provider(provider), service, accept=accept)

    @rule(user=USER, provider=PROVIDER, service=INFERENCE, tokens=TOKENS)
    def revoke_tokens(self, user: int, provider: int, service: str, tokens: list[int]) -> None:
        self.acts.revoke_tokens(self.user(user), self.provider(provider), service, tokens)

    @rule(
        provider=PROVIDER,
        service=SERVICE,
        signer=st.integers(0, 3),
        stake=AMOUNT,
        variant=st.integers(0, len(INFERENCE_TERMS) - 1),
    )
    def register(self, provider: int, service: str, signer: int, stake: str, variant: int) -> None:
        signers = [*self.world.tee_signers, ZERO]
        self.acts.register(self.provider(provider), service, signers[signer], stake, variant)

    @rule(provider=PROVIDER, service=SERVICE)
    def remove_service(self, provider: int, service: str) -> None:
        self.acts.remove_service(self.provider(provider), service)

    @rule(provider=PROVIDER, service=SERVICE, honest=mostly(True, [False]), signer=st.integers(0, 3))
    def confirm(self, provider: int, service: str, honest: bool, signer: int) -> None:
        expected = [*self.world.tee_signers, None][signer]
        self.acts.confirm(self.owner_of(service, honest=honest), self.provider(provider), service, expected)

    @rule(provider=PROVIDER, service=SERVICE, honest=mostly(True, [False]))
    def withdraw_confirmation(self, provider: int, service: str, honest: bool) -> None:
        self.acts.withdraw_confirmation(self.owner_of(service, honest=honest), self.provider(provider), service)

    @rule(provider=PROVIDER, service=INFERENCE, rows=ROWS)
    def settle(self, provider: int, service: str, rows: list[Row]) -> None:
        self.acts.settle(service, self.provider(provider), rows)

    @rule(provider=PROVIDER, service=INFERENCE, user=USER, fee=SMALL)
    def settle_honestly(self, provider: int, service: str, user: int, fee: str) -> None:
        self.acts.settle(service, self.provider(provider), [Row(user, fee)])

    @rule(user=USER, provider=PROVIDER, service=INFERENCE, fees=st.lists(SMALL, max_size=3))
    def agree_and_settle(self, user: int, provider: int, service: str, fees: list[str]) -> None:
        self.acts.agree(self.user(user), self.provider(provider), service)
        self.acts.settle_batch(service, self.provider(provider), [Row(user, fee) for fee in fees])
        self.acts.settle(service, self.provider(provider), [Row(user, fee) for fee in fees])

    @rule(
        where=TUNING,
        user=USER,
        provider=PROVIDER,
        fee=SMALL,
        accepted=st.booleans(),
        secret=st.booleans(),
        twice=st.booleans(),
    )
    def agree_and_work(
        self, where: str, user: int, provider: int, fee: str, accepted: bool, secret: bool, twice: bool
    ) -> None:
        name = f"task at {self.world.evm.time}"
        self.acts.agree(self.user(user), self.provider(provider), where)
        self.acts.deliver(where, self.provider(provider), self.user(user), name, "root")
        if accepted:
            self.acts.accept_deliverable(where, self.user(user), self.provider(provider), name)
        for _ in range(2 if twice else 1):
            told = "secret" if secret else ""
            self.acts.settle_task(where, self.provider(provider), Row(user, fee), name, told, "root")
        self.acts.accept_deliverable(where, self.user(user), self.provider(provider), name)

    @rule(
        where=TUNING,
        user=USER,
        provider=PROVIDER,
        fee=SMALL,
        between=st.sampled_from(["nothing", "nothing", "acknowledge", "transfer", "accept"]),
    )
    def agree_and_penalise_twice(self, where: str, user: int, provider: int, fee: str, between: str) -> None:
        self.acts.agree(self.user(user), self.provider(provider), where)
        self.acts.penalise_twice(where, self.provider(provider), Row(user, fee), between)

    @rule(provider=PROVIDER, service=INFERENCE, rows=ROWS)
    def settle_batch(self, provider: int, service: str, rows: list[Row]) -> None:
        self.acts.settle_batch(service, self.provider(provider), rows)

    @rule(provider=PROVIDER, service=INFERENCE, count=st.sampled_from([50, 51]))
    def settle_many(self, provider: int, service: str, count: int) -> None:
        self.acts.settle(service, self.provider(provider), [Row(0, "1 wei")] * count)

    @rule(provider=PROVIDER, service=INFERENCE, count=st.sampled_from([5, 6, 7, 64, 65, 200, 201]))
    def settle_many_rows(self, provider: int, service: str, count: int) -> None:
        rows = [Row(at % 3, "1 wei", "next" if at % 7 else "same") for at in range(count)]
        self.acts.settle_batch(service, self.provider(provider), rows)

    @rule(which=st.integers(0, 63), service=SERVICE, by_another=mostly(False, [True]))
    def replay(self, which: int, service: str, by_another: bool) -> None:
        self.acts.replay(which, service, self.provider(which % 3) if by_another else None)

    @rule(where=TUNING, provider=PROVIDER, user=USER, name=NAME, root=ROOT)
    def deliver(self, where: str, provider: int, user: int, name: str, root: str) -> None:
        self.acts.deliver(where, self.provider(provider), self.user(user), name, root)

    @rule(where=TUNING, provider=PROVIDER, user=USER, name=ODD_NAME, root=ROOT)
    def deliver_oddly(self, where: str, provider: int, user: int, name: str, root: str) -> None:
        self.acts.deliver(where, self.provider(provider), self.user(user), name, root)

    @precondition(lambda self: any(self.acts.world.service(where).all for where in FINE_TUNINGS))
    @rule(which=st.integers(0, 5), count=st.sampled_from([1, 2, 21]), accepted=st.booleans())
    def deliver_much(self, which: int, count: int, accepted: bool) -> None:
        accounts = [(where, *pair) for where in FINE_TUNINGS for pair in self.world.service(where).all]
        where, user, provider = accounts[which % len(accounts)]
        flood = self.acts.deliver_and_accept if accepted else self.acts.deliver_and_abandon
        flood(where, provider, user, count)

    @rule(where=TUNING, user=USER, provider=PROVIDER, name=NAME)
    def accept_deliverable(self, where: str, user: int, provider: int, name: str) -> None:
        self.acts.accept_deliverable(where, self.user(user), self.provider(provider), name)

    @rule(where=TUNING, user=USER, provider=PROVIDER, name=ODD_NAME)
    def abandon(self, where: str, user: int, provider: int, name: str) -> None:
        self.acts.abandon(where, self.provider(provider), self.user(user), name)

    @rule(
        where=TUNING,
        provider=PROVIDER,
        row=ROW,
        name=ODD_NAME,
        root=ROOT,
        secret=st.sampled_from(["", "secret", "1024 characters", "1025 characters"]),
    )
    def settle_task(self, where: str, provider: int, row: Row, name: str, root: str, secret: str) -> None:
        self.acts.settle_task(where, self.provider(provider), row, name, secret, root)

    @precondition(lambda self: self.acts.waiting_deliverables())
    @rule(which=st.integers(0, 5), fee=SMALL, accepted=st.booleans(), forgery=mostly("none", FORGERIES))
    def settle_task_honestly(self, which: int, fee: str, accepted: bool, forgery: str) -> None:
        waiting = self.acts.waiting_deliverables()
        where, user, provider, name, root = waiting[which % len(waiting)]
        if accepted:
            self.acts.accept_deliverable(where, self.user(user), provider, name)
        row = Row(user, fee, forgery=forgery)
        self.acts.settle_task(where, provider, row, name, "secret" if accepted else "", root)

    @rule(user=USER, service=SERVICE, others=st.lists(st.sampled_from(MISCHIEF), max_size=3))
    def ask_back_wait_and_take_home(self, user: int, service: str, others: list[str]) -> None:
        """Whatever others do meanwhile."""
        victim = self.user(user)
        providers, asked = self.acts.ask_back(victim, service)
        for mischief in others:
            self.meanwhile(mischief, user, service)
        self.acts.take_home(victim, service, providers, asked)

    def meanwhile(self, mischief: str, user: int, service: str) -> None:
        """Something that is not the user's doing."""
        victim, world = self.user(user), self.world
        if mischief == "settle" and service in INFERENCES:
            for provider in world.providers:
                self.acts.settle(service, provider, [Row(user, "third"), Row(user, "all + 1", forgery="malleated")])
                self.acts.settle_batch(service, provider, [Row(user, "third")])
        elif mischief in ("settle", "deliver") and service in FINE_TUNINGS:
            for provider in world.providers:
                self.acts.penalise_twice(service, provider, Row(user, "all"), "nothing")
        elif mischief == "leave":
            for provider in world.providers:
                self.acts.remove_service(provider, service)
        elif mischief == "lock longer":
            self.acts.set_lock_time(self.owner_of(service, honest=True), service, WEEK)
        elif mischief == "upgrade":
            for where in (LEDGER, service):
                self.acts.upgrade(self.owner_of(BEACONS[where], honest=True), where, 1)
        elif mischief == "give":
            self.acts.do(LEDGER, "depositFundFor", victim, sender=world.stranger, value=1)
        elif mischief == "take away confirmations":
            for provider in world.providers:
                self.acts.withdraw_confirmation(self.owner_of(service, honest=True), provider, service)
        elif mischief == "ask for another":
            for other in world.users:
                if other != victim:
                    self.acts.retrieve(other, world.providers, service)
        elif mischief == "renounce":
            self.acts.hand_over(service, self.owner_of(service, honest=True), "renounceOwnership", ZERO)

    @rule(user=USER, provider=PROVIDER, name=FOREIGN, amount=SMALL)
    def use_foreign(self, user: int, provider: int, name: str, amount: str) -> None:
        self.acts.use_foreign(self.user(user), self.provider(provider), name, amount)

    @rule(name=FOREIGN, manner=st.sampled_from([*MANNERS, HONEST]), user=USER, victim=USER, provider=PROVIDER)
    def misbehave(self, name: str, manner: int, user: int, victim: int, provider: int) -> None:
        """A foreign service that behaves in some way, and a user who finds that out."""
        if name not in self.world.ledger().services:
            self.acts.register_service(self.acts.owner_of(LEDGER), name, "nothing")
        self.acts.deposit(self.user(user), self.user(user), "5 least")
        self.acts.transfer(self.user(user), self.provider(provider), name, "least")
        self.acts.behave(name, manner, self.user(victim), "third")
        self.acts.use_foreign(self.user(user), self.provider(provider), name, "least")
        self.acts.refund_all(self.user(user))
        self.acts.delete_ledger(self.user(user))

    @rule(name=FOREIGN, user=USER, provider=PROVIDER, amount=st.sampled_from(["third", "all", "all + 1"]))
    def spend(self, name: str, user: int, provider: int, amount: str) -> None:
        self.acts.spend(name, self.user(user), self.provider(provider), amount)

    @rule(name=FOREIGN, oddity=st.sampled_from(list(ODDITIES)), honest=mostly(True, [False]), silent=st.booleans())
    def register_service(self, name: str, oddity: str, honest: bool, silent: bool) -> None:
        if silent:
            self.acts.behave(name, 2, ZERO, "nothing")
        self.acts.register_service(self.owner_of(LEDGER, honest=honest), name, oddity)

    @rule(
        where=CONTRACT,
        listing=st.sampled_from(["all", "user", "provider", "services"]),
        offset=st.sampled_from([0, 1, 2, 50, 2**256 - 1]),
        limit=st.sampled_from([0, 1, 2, 50, 51, 2**256 - 1]),
    )
    def turn_pages(self, where: str, listing: str, offset: int, limit: int) -> None:
        who: tuple[str, ...] = ()
        if where == LEDGER:
            name = "getActiveServices" if listing == "services" else "getAllLedgers"
        elif listing == "services":
            name = "getServices" if where in FINE_TUNINGS else "getAllServices"
        elif listing == "all":
            name = "getAllAccounts"
        else:
            who = (self.world.users[0] if listing == "user" else self.world.providers[0],)
            name = f"getAccountsBy{listing.title()}"
        self.acts.look(where, name, *who, offset, limit)

    @rule(where=SERVICE, provider=st.sampled_from([0, 2]), count=st.sampled_from([0, 1, 50, 51, 500, 501]))
    def ask_for_many(self, where: str, provider: int, count: int) -> None:
        users = (self.world.users * count)[: min(count, 51) if where in FINE_TUNINGS else count]
        self.acts.look(where, "getBatchAccountsByUsers", users, sender=self.provider(provider))

    @rule(where=CONTRACT)
    def ask_everything(self, where: str) -> None:
        self.acts.sound = False
        self.world.compare_views([where])
        self.acts.sound = True

    @rule(
        service=SERVICE, honest=mostly(True, [False]), seconds=st.sampled_from([HOUR - 1, HOUR, 86_400, WEEK, WEEK + 1])
    )
    def set_lock_time(self, service: str, honest: bool, seconds: int) -> None:
        self.acts.set_lock_time(self.owner_of(service, honest=honest), service, seconds)

    @rule(where=TUNING, honest=mostly(True, [False]), percentage=st.sampled_from([0, 1, 30, 33, 100, 101]))
    def set_penalty(self, where: str, honest: bool, percentage: int) -> None:
        self.acts.set_penalty(self.owner_of(where, honest=honest), where, percentage)

    @rule(
        honest=mostly(True, [False]),
        name=st.sampled_from(
            [*(name.rsplit("-", 1) for name in (*ALL_SERVICES, "inference-v3.0")), ["fine", "tuning-v1.1"]]
        ),
    )
    def recommend(self, honest: bool, name: list[str]) -> None:
        self.acts.recommend(self.owner_of(LEDGER, honest=honest), *name)

    @rule(
        where=st.sampled_from([LEDGER, *ALL_SERVICES, *BEACONS.values()]),
        honest=mostly(True, [False]),
        to=st.sampled_from(["owner", "stranger", "nobody"]),
        step=mostly("offerOwnership", ["acceptOwnership", "acceptOwnership", "transferOwnership", "renounceOwnership"]),
    )
    def hand_over(self, where: str, honest: bool, to: str, step: str) -> None:
        new = {"owner": self.world.owner, "stranger": self.world.users[0], "nobody": ZERO}[to]
        self.acts.hand_over(where, self.owner_of(where, honest=honest), step, new)
        if step == "offerOwnership" and new != ZERO:
            self.acts.hand_over(where, new, "acceptOwnership", new)

    @rule(
        who=st.integers(0, 3),
        service=SERVICE,
        user=USER,
        provider=PROVIDER,
        name=st.sampled_from(
            [
                "addAccount",
                "depositFund",
                "deleteAccount",
                "processRefund",
                "requestRefundAll",
                "spendFund",
                "initialize",
                "a plain transfer",
            ]
        ),
    )
    def intrude(self, who: int, service: str, user: int, provider: int, name: str) -> None:
        sender = [self.world.owner, self.user(user), self.provider(provider), self.world.stranger][who]
        self.acts.intrude(sender, service, name, self.user(user), self.provider(provider))

    @rule(user=USER, name=st.sampled_from(["initialize", "a plain transfer"]))
    def intrude_ledger(self, user: int, name: str) -> None:
        self.acts.intrude_ledger(self.user(user), name)

    @rule(payer=USER)
    def deposit_for_nobody(self, payer: int) -> None:
        self.acts.do(LEDGER, "depositFundFor", ZERO, sender=self.user(payer), value=1)

    @rule(where=CONTRACT, which=mostly(0, [1, 1, 1, 2]), honest=mostly(True, [False]))
    def upgrade(self, where: str, which: int, honest: bool) -> None:
        self.acts.upgrade(self.owner_of(BEACONS[where], honest=honest), where, which)

    @rule(where=CONTRACT, amount=st.sampled_from([1, 10**18]))
    def force_coins(self, where: str, amount: int) -> None:
        self.acts.force_coins(where, amount)

    @rule(seconds=SECONDS)
    def wait(self, seconds: int) -> None:
        self.acts.wait(seconds)

    @rule(who=st.integers(0, 1), refuses=st.booleans())
    def turn_coins_away_or_not(self, who: int, refuses: bool) -> None:
        self.acts.set_mood(self.world.puppets()[who], Mood(refuses=True) if refuses else None)

    @rule(
        name=st.sampled_from(["refundAll", "deleteLedger", "transferFund", "retrieveFund", "addLedger"]),
        service=SERVICE,
        at_once=st.booleans(),
    )
    def user_will_call_back(self, name: str, service: str, at_once: bool) -> None:
        provider = self.world.providers[0]
        arguments: dict[str, tuple[Any, ...]] = {
            "transferFund": (provider, service, 0),
            "retrieveFund": ([provider], service),
            "addLedger": ("",),
        }
        user, mood = self.world.users[2], Mood(to=self.world.addresses[LEDGER], name=name, args=arguments.get(name, ()))
        if at_once:
            self.acts.deposit(user, user, "5 least")
        self.acts.set_mood(user, mood)
        if at_once:
            self.acts.refund_all(user)

    @rule(
        name=st.sampled_from(["removeService", "refundAll", "settle again", "settle again"]),
        service=SERVICE,
        which=st.integers(0, 9),
        at_once=st.booleans(),
    )
    def provider_will_call_back(self, name: str, service: str, which: int, at_once: bool) -> None:
        provider = self.world.providers[1]
        if at_once:
            self.acts.agree(self.world.users[0], provider, service)
        mood: Mood | None = Mood(to=self.world.addresses[LEDGER if name == "refundAll" else service], name=name)
        if name == "settle again":
            mood = self.acts.mood_to_settle_again(provider, which)
        self.acts.set_mood(provider, mood)
        if at_once and service in INFERENCES:
            self.acts.settle(service, provider, [Row(0, "third")])
        elif at_once:
            self.acts.penalise_twice(service, provider, Row(0, "third"), "nothing")

    # What must hold

    def news(self, reader: str) -> bool:
        """Whether a transaction has succeeded since this reader last asked."""
        before = self.looked.get(reader)
        self.looked[reader] = self.world.changes
        return before != self.world.changes

    @invariant()
    def contracts_and_model_agree(self) -> None:
        self.acts.sound = False
        self.world.compare()
        self.acts.sound = True

    @invariant()
    def every_coin_is_accounted_for(self) -> None:
        if not self.news("every_coin_is_accounted_for"):
            return
        listed = {service: self.world.accounts(service) for service in ALL_SERVICES}
        for ledger in self.world.ledgers():
            there = sum(
                one["balance"] for listing in listed.values() for one in listing if one["user"] == ledger["user"]
            )
            there += self.acts.elsewhere.get((ledger["user"], FOREIGN_WITHOUT_BOOK), 0)
            said = self.world.look(FOREIGN_WITH_BOOK, "lockedBalance", ledger["user"]).value or 0
            there += said if said <= MAX_AVAILABLE and (ledger["user"], FOREIGN_WITH_BOOK) in self.acts.elsewhere else 0
            assert ledger["totalBalance"] == ledger["availableBalance"] + there
        available = sum(ledger["availableBalance"] for ledger in self.world.ledgers())
        assert self.world.coins(LEDGER) - self.acts.forced.get(LEDGER, 0) == available
        for service, listing in listed.items():
            held = sum(one["balance"] for one in listing)
            held += sum(stake for (where, _), stake in self.acts.stakes.items() if where == service)
            assert self.world.coins(service) - self.acts.forced.get(service, 0) == held

    @invariant()
    def refunds_add_up(self) -> None:
        if not self.news("refunds_add_up"):
            return
        for service in ALL_SERVICES:
            for one in self.world.accounts(service):
                ages = [refund["createdAt"] for refund in one["refunds"]]
                assert one["pendingRefund"] == sum(refund["amount"] for refund in one["refunds"]) <= one["balance"]
                assert len(ages) == one["validRefundsLength"] <= MAX_REFUNDS
                assert ages == sorted(ages)
                assert all(refund["amount"] > 0 for refund in one["refunds"])

    @invariant()
    def nonces_only_grow(self) -> None:
        if not self.news("nonces_only_grow"):
            return
        for service in ALL_SERVICES:
            for one in self.world.accounts(service):
                key = service, one["user"], one["provider"]
                assert one["nonce"] >= self.nonces.get(key, 0)
                self.nonces[key] = one["nonce"]

    @invariant()
    def balances_fall_only_by_settlement_or_retrieval(self) -> None:
        may_lose, self.acts.may_lose = self.acts.may_lose, {}
        if not self.news("balances_fall_only_by_settlement_or_retrieval"):
            return
        now = {
            (service, one["user"], one["provider"]): one["balance"]
            for service in ALL_SERVICES
            for one in self.world.accounts(service)
        }
        for key, before in self.balances.items():
            lost = before - now.get(key, 0)
            assert lost <= may_lose.get(key, 0), f"{key} lost {lost} wei"
        self.balances = now

    @invariant()
    def only_users_themselves_take_from_what_is_available(self) -> None:
        acted, self.acts.acted = self.acts.acted, set()
        if not self.news("only_users_themselves_take_from_what_is_available"):
            return
        now = {one["user"]: one["availableBalance"] for one in self.world.ledgers()}
        for user, before in self.available.items():
            assert now.get(user, 0) >= before or user in acted, f"somebody took from {user}"
        self.available = now

    @invariant()
    def nobody_earns_more_than_was_signed(self) -> None:
        if not self.news("nobody_earns_more_than_was_signed"):
            return
        acts = self.acts
        for person in self.world.people:
            spent, returned = acts.went_out.get(person, 0), acts.came_in.get(person, 0)
            earned = self.world.evm.balance(person) - RICH + spent - returned
            assert 0 <= earned <= acts.signed_away.get(person, 0), f"{person} earned {earned} wei"

    def teardown(self) -> None:
        """Whatever has happened: everybody gets all coins out that are theirs, and nothing is left behind."""
        if self.acts.sound:
            self.acts.sound = False
            self.world.compare_views([LEDGER, *ALL_SERVICES])
            everybody_leaves(self.acts)


def everybody_leaves(acts: Actions) -> None:
    """Users refund, retrieve, wait, retrieve and refund; providers take their stakes.

    Wallets that are contracts take coins again: nothing but an own wallet that refuses them may stop somebody. Foreign
    services behave: what is there is theirs to give.
    """
    world = acts.world
    for puppet in world.puppets():
        acts.set_mood(puppet, None)
    for name in FOREIGNERS:
        acts.behave(name, HONEST, ZERO, "nothing")
    names = [name for name in (*ALL_SERVICES, *FOREIGNERS) if name in world.ledger().services]
    for _ in range(3):
        for ledger in world.ledgers():
            acts.refund_all(ledger["user"])  # first, since a full ledger takes nothing back from the services
        for ledger in world.ledgers():
            for name in names:
                providers = world.ask(LEDGER, "getLedgerProviders", ledger["user"], name)
                for start in range(0, len(providers), 20):
                    acts.retrieve(ledger["user"], providers[start : start + 20], name)
        acts.wait(WEEK)
    for where, provider in list(acts.stakes):
        acts.remove_service(provider, where)
    world.compare()
    assert world.ledgers() == []
    for where in (LEDGER, *ALL_SERVICES):
        assert world.coins(where) == acts.forced.get(where, 0), f"coins stayed behind in {where}"
        if where != LEDGER:
            assert world.accounts(where) == []


@cache
def world(evm: Callable[[], Evm]) -> World:
    """One deployment for all sequences of a process."""
    return World(evm())
