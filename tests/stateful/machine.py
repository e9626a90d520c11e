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
from tests.stateful.actions import AMOUNTS, FORGERIES, NONCES, TEXTS, Actions, Row
from tests.stateful.model import HOUR, MAX_REFUNDS, WEEK, ZERO, Mood
from tests.stateful.world import FINE_TUNING, INFERENCE, LEDGER, OTHER_INFERENCE, SERVICES, World

USER = st.integers(0, 2)
PROVIDER = st.integers(0, 1)
SERVICE = st.sampled_from(SERVICES)
INFERENCES = st.sampled_from([INFERENCE, OTHER_INFERENCE])
CONTRACT = st.sampled_from([LEDGER, *SERVICES])
AMOUNT = st.sampled_from(list(AMOUNTS))
SMALL = st.sampled_from(["least", "5 least", "third", "all"])
NAME = st.sampled_from(["first", "second", "third", "256 characters"])
ODD_NAME = st.sampled_from(["first", "second", "", "256 characters", "257 characters"])
ROOT = st.sampled_from(["root", "", "1024 characters", "1025 characters"])
SECONDS = st.sampled_from([1, HOUR - 1, HOUR, 86_399, 86_400, WEEK])
TOKENS = st.lists(st.sampled_from([0, 199, 200, 255]), max_size=3)


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
    contract=mostly(None, SERVICES),
)
ROWS = st.lists(ROW, max_size=4)


class ServingMachine(RuleBasedStateMachine):
    """Sequences of actions on a network of three users, two providers and four contracts.

    The third user and the second provider are contracts that refuse coins or call back.
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

    # Who

    def user(self, number: int) -> str:
        return self.world.users[number]

    def provider(self, number: int) -> str:
        return self.world.providers[number]

    def owner_of(self, where: str, *, honest: bool) -> str:
        return self.world.model.contracts[self.world.addresses[where]].owner if honest else self.world.stranger

    # What happens

    @initialize(opened=st.booleans(), served=st.booleans(), funded=st.booleans())
    def people_are_already_here(self, *, opened: bool, served: bool, funded: bool) -> None:
        signer = next(iter(self.world.tee_signers))
        for service in SERVICES if served else ():
            for provider in self.world.providers:
                self.acts.register(provider, service, signer, "least", 0)
                self.acts.confirm(self.world.owner, provider, service, signer)
        for user in self.world.users if opened else ():
            self.acts.open_ledger(user, "5 least", "")
            for service in SERVICES if funded else ():
                for provider in self.world.providers:
                    self.acts.transfer(user, provider, service, "least")

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

    @rule(user=USER, provider=st.sampled_from([ZERO, "themselves"]), service=st.sampled_from([*SERVICES, "nothing-v0"]))
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

    @rule(user=USER, service=st.sampled_from([*SERVICES, "nothing-v0"]), count=st.sampled_from([20, 21]))
    def retrieve_from_many(self, user: int, service: str, count: int) -> None:
        self.acts.retrieve(self.user(user), [self.provider(0)] * count, service)

    @rule(user=USER, provider=PROVIDER, service=SERVICE, accept=st.booleans())
    def acknowledge(self, user: int, provider: int, service: str, accept: bool) -> None:
        self.acts.acknowledge(self.user(user), self.provider(provider), service, accept=accept)

    @rule(user=USER, provider=PROVIDER, service=INFERENCES, tokens=TOKENS)
    def revoke_tokens(self, user: int, provider: int, service: str, tokens: list[int]) -> None:
        self.acts.revoke_tokens(self.user(user), self.provider(provider), service, tokens)

    @rule(provider=PROVIDER, service=SERVICE, signer=st.integers(0, 3), stake=AMOUNT, variant=st.integers(0, 7))
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

    @rule(provider=PROVIDER, service=INFERENCES, rows=ROWS)
    def settle(self, provider: int, service: str, rows: list[Row]) -> None:
        self.acts.settle(service, self.provider(provider), rows)

    @rule(provider=PROVIDER, service=INFERENCES, user=USER, fee=SMALL)
    def settle_honestly(self, provider: int, service: str, user: int, fee: str) -> None:
        self.acts.settle(service, self.provider(provider), [Row(user, fee)])

    @rule(user=USER, provider=PROVIDER, service=INFERENCES, fees=st.lists(SMALL, max_size=3))
    def agree_and_settle(self, user: int, provider: int, service: str, fees: list[str]) -> None:
        self.acts.agree(self.user(user), self.provider(provider), service)
        self.acts.settle_batch(service, self.provider(provider), [Row(user, fee) for fee in fees])
        self.acts.settle(service, self.provider(provider), [Row(user, fee) for fee in fees])

    @rule(user=USER, provider=PROVIDER, fee=SMALL, accepted=st.booleans(), secret=st.booleans(), twice=st.booleans())
    def agree_and_work(self, user: int, provider: int, fee: str, accepted: bool, secret: bool, twice: bool) -> None:
        name = f"task at {self.world.evm.time}"
        self.acts.agree(self.user(user), self.provider(provider), FINE_TUNING)
        self.acts.deliver(self.provider(provider), self.user(user), name, "root")
        if accepted:
            self.acts.accept_deliverable(self.user(user), self.provider(provider), name)
        for _ in range(2 if twice else 1):
            self.acts.settle_task(self.provider(provider), Row(user, fee), name, "secret" if secret else "", "root")
        self.acts.accept_deliverable(self.user(user), self.provider(provider), name)

    @rule(provider=PROVIDER, service=INFERENCES, rows=ROWS)
    def settle_batch(self, provider: int, service: str, rows: list[Row]) -> None:
        self.acts.settle_batch(service, self.provider(provider), rows)

    @rule(provider=PROVIDER, service=INFERENCES, count=st.sampled_from([50, 51]))
    def settle_many(self, provider: int, service: str, count: int) -> None:
        self.acts.settle(service, self.provider(provider), [Row(0, "1 wei")] * count)

    @rule(which=st.integers(0, 63), service=SERVICE)
    def replay(self, which: int, service: str) -> None:
        self.acts.replay(which, service)

    @rule(provider=PROVIDER, user=USER, name=NAME, root=ROOT)
    def deliver(self, provider: int, user: int, name: str, root: str) -> None:
        self.acts.deliver(self.provider(provider), self.user(user), name, root)

    @rule(provider=PROVIDER, user=USER, name=ODD_NAME, root=ROOT)
    def deliver_oddly(self, provider: int, user: int, name: str, root: str) -> None:
        self.acts.deliver(self.provider(provider), self.user(user), name, root)

    @precondition(lambda self: self.acts.world.service(FINE_TUNING).all)
    @rule(which=st.integers(0, 5), count=st.sampled_from([1, 20, 21]))
    def deliver_and_abandon(self, which: int, count: int) -> None:
        accounts = self.world.service(FINE_TUNING).all
        user, provider = accounts[which % len(accounts)]
        self.acts.deliver_and_abandon(provider, user, count)

    @rule(user=USER, provider=PROVIDER, name=NAME)
    def accept_deliverable(self, user: int, provider: int, name: str) -> None:
        self.acts.accept_deliverable(self.user(user), self.provider(provider), name)

    @rule(user=USER, provider=PROVIDER, name=ODD_NAME)
    def abandon(self, user: int, provider: int, name: str) -> None:
        self.acts.abandon(self.provider(provider), self.user(user), name)

    @rule(
        provider=PROVIDER,
        row=ROW,
        name=ODD_NAME,
        root=ROOT,
        secret=st.sampled_from(["", "secret", "1024 characters", "1025 characters"]),
    )
    def settle_task(self, provider: int, row: Row, name: str, root: str, secret: str) -> None:
        self.acts.settle_task(self.provider(provider), row, name, secret, root)

    @precondition(lambda self: self.acts.waiting_deliverables())
    @rule(which=st.integers(0, 5), fee=SMALL, accepted=st.booleans())
    def settle_task_honestly(self, which: int, fee: str, accepted: bool) -> None:
        waiting = self.acts.waiting_deliverables()
        user, provider, name, root = waiting[which % len(waiting)]
        if accepted:
            self.acts.accept_deliverable(self.user(user), provider, name)
        self.acts.settle_task(provider, Row(user, fee), name, "secret" if accepted else "", root)

    @rule(
        service=SERVICE, honest=mostly(True, [False]), seconds=st.sampled_from([HOUR - 1, HOUR, 86_400, WEEK, WEEK + 1])
    )
    def set_lock_time(self, service: str, honest: bool, seconds: int) -> None:
        self.acts.set_lock_time(self.owner_of(service, honest=honest), service, seconds)

    @rule(honest=mostly(True, [False]), percentage=st.sampled_from([0, 1, 30, 33, 100, 101]))
    def set_penalty(self, honest: bool, percentage: int) -> None:
        self.acts.set_penalty(self.owner_of(FINE_TUNING, honest=honest), percentage)

    @rule(honest=mostly(True, [False]), name=st.sampled_from([*SERVICES, "inference-v3.0"]))
    def recommend(self, honest: bool, name: str) -> None:
        self.acts.recommend(self.owner_of(LEDGER, honest=honest), *name.rsplit("-", 1))

    @rule(
        where=CONTRACT,
        honest=mostly(True, [False]),
        to=st.sampled_from(["owner", "stranger", "nobody"]),
        step=st.sampled_from(["offerOwnership", "acceptOwnership", "transferOwnership"]),
    )
    def hand_over(self, where: str, honest: bool, to: str, step: str) -> None:
        new = {"owner": self.world.owner, "stranger": self.world.users[0], "nobody": ZERO}[to]
        sender = new if step == "acceptOwnership" and new != ZERO else self.owner_of(where, honest=honest)
        self.acts.hand_over(where, sender, step, new)

    @rule(
        service=SERVICE,
        user=USER,
        provider=PROVIDER,
        name=st.sampled_from(
            ["addAccount", "depositFund", "deleteAccount", "processRefund", "requestRefundAll", "spendFund"]
        ),
    )
    def intrude(self, service: str, user: int, provider: int, name: str) -> None:
        self.acts.intrude(self.world.owner, service, name, self.user(user), self.provider(provider))

    @rule(where=CONTRACT, which=st.integers(0, 1))
    def upgrade(self, where: str, which: int) -> None:
        self.acts.upgrade(where, which)

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
    )
    def user_will_call_back(self, name: str, service: str) -> None:
        provider = self.world.providers[0]
        arguments: dict[str, tuple[Any, ...]] = {
            "transferFund": (provider, service, 0),
            "retrieveFund": ([provider], service),
            "addLedger": ("",),
        }
        mood = Mood(to=self.world.addresses[LEDGER], name=name, args=arguments.get(name, ()))
        self.acts.set_mood(self.world.users[2], mood)

    @rule(
        name=st.sampled_from(["removeService", "refundAll", "settle again"]), service=SERVICE, which=st.integers(0, 9)
    )
    def provider_will_call_back(self, name: str, service: str, which: int) -> None:
        mood: Mood | None = Mood(to=self.world.addresses[LEDGER if name == "refundAll" else service], name=name)
        if name == "settle again":
            mood = self.acts.mood_to_settle_again(self.world.providers[1], which)
        self.acts.set_mood(self.world.providers[1], mood)

    # What must hold

    @invariant()
    def contracts_and_model_agree(self) -> None:
        self.acts.sound = False
        self.world.compare()
        self.acts.sound = True

    @invariant()
    def every_coin_is_accounted_for(self) -> None:
        listed = {service: self.world.accounts(service) for service in SERVICES}
        for ledger in self.world.ledgers():
            there = sum(
                one["balance"] for listing in listed.values() for one in listing if one["user"] == ledger["user"]
            )
            assert ledger["totalBalance"] == ledger["availableBalance"] + there
        available = sum(ledger["availableBalance"] for ledger in self.world.ledgers())
        assert self.world.coins(LEDGER) - self.acts.forced.get(LEDGER, 0) == available
        for service, listing in listed.items():
            held = sum(one["balance"] for one in listing)
            held += sum(stake for (where, _), stake in self.acts.stakes.items() if where == service)
            assert self.world.coins(service) - self.acts.forced.get(service, 0) == held

    @invariant()
    def refunds_add_up(self) -> None:
        for service in SERVICES:
            for one in self.world.accounts(service):
                ages = [refund["createdAt"] for refund in one["refunds"]]
                assert one["pendingRefund"] == sum(refund["amount"] for refund in one["refunds"]) <= one["balance"]
                assert len(ages) == one["validRefundsLength"] <= MAX_REFUNDS
                assert ages == sorted(ages)
                assert all(refund["amount"] > 0 for refund in one["refunds"])

    @invariant()
    def nonces_only_grow(self) -> None:
        for service in SERVICES:
            for one in self.world.accounts(service):
                key = service, one["user"], one["provider"]
                assert one["nonce"] >= self.nonces.get(key, 0)
                self.nonces[key] = one["nonce"]

    @invariant()
    def balances_fall_only_by_settlement_or_retrieval(self) -> None:
        now = {
            (service, one["user"], one["provider"]): one["balance"]
            for service in SERVICES
            for one in self.world.accounts(service)
        }
        for key, before in self.balances.items():
            lost = before - now.get(key, 0)
            assert lost <= self.acts.may_lose.get(key, 0), f"{key} lost {lost} wei"
        self.balances = now
        self.acts.may_lose.clear()

    def teardown(self) -> None:
        """Whatever has happened: everybody gets all coins out that are theirs, and nothing is left behind."""
        if self.acts.sound:
            everybody_leaves(self.acts)


def everybody_leaves(acts: Actions) -> None:
    """Users refund, retrieve, wait, retrieve and refund; providers take their stakes.

    Wallets that are contracts take coins again: nothing but an own wallet that refuses them may stop somebody.
    """
    world = acts.world
    for puppet in world.puppets():
        acts.set_mood(puppet, None)
    for _ in range(3):
        for ledger in world.ledgers():
            acts.refund_all(ledger["user"])  # first, since a full ledger takes nothing back from the services
        for ledger in world.ledgers():
            for service in SERVICES:
                acts.retrieve(ledger["user"], world.providers, service)
        acts.wait(WEEK)
    for where, provider in list(acts.stakes):
        acts.remove_service(provider, where)
    world.compare()
    assert world.ledgers() == []
    for where in (LEDGER, *SERVICES):
        assert world.coins(where) == acts.forced.get(where, 0), f"coins stayed behind in {where}"
        if where != LEDGER:
            assert world.accounts(where) == []


@cache
def world(evm: Callable[[], Evm]) -> World:
    """One deployment for all sequences of a process."""
    return World(evm())
