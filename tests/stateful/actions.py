"""What people do to the network: one method an action, on the contracts and the model at once.

Amounts are named by what they are close to ("all", "min - 1"), because limits are where mistakes are. Nothing here
draws anything; the machine does.
"""

# ruff: noqa: ARG005, since the functions of a table take the same arguments
from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from tests.stateful.model import MAX_AVAILABLE, MAX_BALANCE, MAX_NONCE, MAX_STAKE, Mood, Result, unpack_row
from tests.stateful.signing import FINE_TUNING as FINE_TUNING_NAME
from tests.stateful.signing import INFERENCE as INFERENCE_NAME
from tests.stateful.signing import batch_hash, digest, malleated, settlement_hash, verifier_hash
from tests.stateful.world import FINE_TUNING, INFERENCE, LEDGER, OTHER_INFERENCE, SERVICES, World
from tests.unit.contract import COIN

Pair = tuple[str, str, str]

# How an amount stands to `whole` (what there is) and `least` (the minimum that applies).
AMOUNTS: dict[str, Callable[[int, int], int]] = {
    "nothing": lambda whole, least: 0,
    "1 wei": lambda whole, least: 1,
    "least - 1": lambda whole, least: least - 1,
    "least": lambda whole, least: least,
    "5 least": lambda whole, least: 5 * least,
    "third": lambda whole, least: whole // 3,
    "all but least": lambda whole, least: max(whole - least, 0),
    "all but least + 1": lambda whole, least: max(whole - least + 1, 0),
    "all": lambda whole, least: whole,
    "all + 1": lambda whole, least: whole + 1,
    "balance limit": lambda whole, least: MAX_BALANCE,
    "balance limit + 1": lambda whole, least: MAX_BALANCE + 1,
    "ledger limit": lambda whole, least: MAX_AVAILABLE,
    "to ledger limit": lambda whole, least: max(MAX_AVAILABLE - whole, 0),
    "past ledger limit": lambda whole, least: max(MAX_AVAILABLE - whole + 1, 0),
    "stake limit + 1": lambda whole, least: MAX_STAKE + 1,
}
NONCES: dict[str, Callable[[int], int]] = {
    "next": lambda nonce: nonce + 1,
    "much later": lambda nonce: nonce + 2**40,
    "same": lambda nonce: nonce,
    "first": lambda nonce: 1,
    "zero": lambda nonce: 0,
    "limit": lambda nonce: MAX_NONCE,
    "past limit": lambda nonce: MAX_NONCE + 1,
    "past limit, low bits later": lambda nonce: MAX_NONCE + 2 + nonce,
}
FORGERIES: dict[str, Callable[[bytes], bytes]] = {
    "none": lambda signature: signature,
    "malleated": malleated,
    "short": lambda signature: signature[:64],
    "long": lambda signature: signature + b"\0",
    "empty": lambda signature: b"",
    "v of 0 or 1": lambda signature: signature[:64] + bytes([signature[64] - 27]),
    "recovers to zero": lambda signature: bytes(64) + b"\x1b",
}
TEXTS = ["", "a note", "4096 characters", "4097 characters"]


def text(said: str) -> str:
    """The text that is meant: "257 characters" are that many."""
    count, _, unit = said.partition(" ")
    return "x" * int(count) if unit == "characters" else said


@dataclass(frozen=True)
class Row:
    """One settlement to be made up: the fee against the balance, the nonce against the last one, and what is wrong.

    People are numbered as the world lists them. None means what is right: the provider's registered signer, the sender
    as provider, the contract that is called.
    """

    user: int
    fee: str = "third"
    nonce: str = "next"
    forgery: str = "none"
    signer: int | None = None
    provider: int | None = None
    contract: str | None = None


class Actions:
    """The world, and what has to be remembered about it to judge what comes next."""

    world: World

    def __init__(self) -> None:
        self.seen: Counter[str] = Counter()
        """How often each function succeeded, each event was emitted, each error and each status came up."""

    def begin(self, world: World) -> None:
        """Start again from the moment after deployment."""
        self.world = world
        world.reset()
        self.stakes: dict[tuple[str, str], int] = {}
        self.forced: dict[str, int] = {}
        self.accepted: set[tuple[Pair, int]] = set()
        self.may_lose: dict[Pair, int] = {}
        self.settled: list[tuple[str, str, tuple[Any, ...]]] = []
        self.sound = True

    def do(self, where: str, name: str, *args: Any, sender: str, value: int = 0) -> Result:
        """A transaction; remembers stakes, and whose balances it may lower."""
        self._expect_losses(where, name, args, sender)
        for puppet, mood in self.world.model.moods.items():
            if mood.to:
                self._expect_losses(self.world.name_of(mood.to), mood.name, mood.args, puppet)
        self.sound = False
        result = self.world.do(where, name, *args, sender=sender, value=value)
        self.sound = True
        self.seen[result.refused[0] if result.refused else f"{name} succeeds"] += 1
        for address, event, said in result.events:
            self.seen[event] += 1
            if event == "ProviderStaked":
                self.stakes[self.world.name_of(address), said["provider"]] = said["amount"]
            elif event == "ProviderStakeReturned":
                del self.stakes[self.world.name_of(address), said["provider"]]
        return result

    # Users

    def open_ledger(self, user: str, amount: str, info: str) -> None:
        self.do(LEDGER, "addLedger", text(info), sender=user, value=self._deposit(user, amount))

    def deposit(self, payer: str, recipient: str, amount: str) -> None:
        value = self._deposit(recipient, amount)
        if payer == recipient:
            self.do(LEDGER, "depositFund", sender=payer, value=value)
        else:
            self.do(LEDGER, "depositFundFor", recipient, sender=payer, value=value)

    def describe(self, user: str, info: str) -> None:
        self.do(LEDGER, "updateAdditionalInfo", text(info), sender=user)

    def refund(self, user: str, amount: str) -> None:
        least = self.world.ledger().min_account
        self.do(LEDGER, "refund", AMOUNTS[amount](self._available(user), least), sender=user)

    def refund_all(self, user: str) -> None:
        self.do(LEDGER, "refundAll", sender=user)

    def delete_ledger(self, user: str) -> None:
        self.do(LEDGER, "deleteLedger", sender=user)

    def transfer(self, user: str, provider: str, service: str, amount: str) -> None:
        least = self.world.ledger().min_transfer
        wei = AMOUNTS[amount](self._available(user), least)
        self.do(LEDGER, "transferFund", provider, service, wei, sender=user)

    def transfer_what_waits(self, user: str, provider: str, service: str, more: int) -> None:
        """As much as is asked back, and a little more or less: the border between keeping and moving coins."""
        account = self.world.service(service).existing(user, provider)
        wei = max((account.pending if account else 0) + more, 0)
        self.do(LEDGER, "transferFund", provider, service, wei, sender=user)

    def retrieve(self, user: str, providers: Sequence[str], service: str) -> None:
        self.do(LEDGER, "retrieveFund", list(providers), service, sender=user)

    def split_refunds(self, user: str, provider: str, service: str, times: int) -> None:
        """Keep half of the newest refund and ask it back again: one more refund each time, until the queue is full."""
        for _ in range(times):
            account = self.world.service(service).existing(user, provider)
            if account is None or not account.refunds:
                return
            self.do(LEDGER, "transferFund", provider, service, account.refunds[-1].amount // 2, sender=user)
            self.do(LEDGER, "retrieveFund", [provider], service, sender=user)
            self.wait(1)

    def acknowledge(self, user: str, provider: str, service: str, *, accept: bool) -> None:
        self.do(service, "acknowledgeTEESigner", provider, accept, sender=user)

    def revoke_tokens(self, user: str, provider: str, service: str, tokens: list[int]) -> None:
        if len(tokens) == 1:
            self.do(service, "revokeToken", provider, tokens[0], sender=user)
        elif tokens:
            self.do(service, "revokeTokens", provider, tokens, sender=user)
        else:
            self.do(service, "revokeAllTokens", provider, sender=user)

    # Providers

    def register(self, provider: str, service: str, signer: str, stake: str, variant: int) -> None:
        """Register or update; variants 0 to 5 differ in one field each, the last ones are refused."""
        found = self.world.service(service)
        value = AMOUNTS[stake](2**99, found.min_stake)
        if provider in found.offers and variant % 2 == 0:
            value = 0
        url, model, info, price = f"https://{variant % 3}", f"model {variant // 3}", TEXTS[variant % 2], variant
        if service == FINE_TUNING:
            quota = {"cpuCount": 1, "nodeMemory": 2, "gpuCount": 3, "nodeStorage": 4, "gpuType": model}
            terms: tuple[Any, ...] = (url, quota, price, variant == 1, [model] * (variant % 3), signer)
        else:
            terms = (
                {
                    "serviceType": "chatbot",
                    "url": url,
                    "model": model,
                    "verifiability": "TeeML",
                    "inputPrice": price,
                    "outputPrice": 2**104 - 1 + (variant == 6),
                    "additionalInfo": text(TEXTS[3]) if variant == 7 else info,
                    "teeSignerAddress": signer,
                },
            )
        self.do(service, "addOrUpdateService", *terms, sender=provider, value=value)

    def remove_service(self, provider: str, service: str) -> None:
        self.do(service, "removeService", sender=provider)

    def settle(self, service: str, sender: str, rows: Sequence[Row]) -> None:
        """Entries that follow each other as if all before them succeeded, each signed and perhaps spoilt."""
        ahead: dict[str, int] = {}
        entries = []
        for row in rows:
            entry = self._fee(service, sender, row, ahead) | {
                "provider": self._other(self.world.providers, row.provider, sender)
            }
            entry["signature"] = self._sign_settlement(service, sender, entry, row)
            entries.append(entry)
        preview = self.world.preview(service, entries, sender) if entries else None
        result = self.do(service, "settleFeesWithTEE", entries, sender=sender)
        if result.refused is None:
            self.settled.append((service, sender, (entries,)))
            unsettled = [
                said["unsettledAmount"]
                for address, event, said in result.events
                if event == "TEESettlementResult" and address == self.world.addresses[service]
            ][: len(entries)]
            failed = [
                (entry["user"], status) for entry, status in zip(entries, result.value, strict=True) if status > 1
            ]
            partly = [
                (entry["user"], amount)
                for entry, status, amount in zip(entries, result.value, unsettled, strict=True)
                if status == 1
            ]
            assert preview == (failed, partly), "the preview differs from the settlement"
            self._accept(service, sender, entries, result.value)

    def settle_batch(self, service: str, sender: str, rows: Sequence[Row]) -> None:
        """The same under one signature; how the first row is signed and spoilt goes for all."""
        ahead: dict[str, int] = {}
        entries = [self._fee(service, sender, row, ahead) for row in rows]
        packed = [
            {
                "userAndFee": int(entry["user"], 16) << 96 | min(entry["totalFee"], 2**96 - 1),
                "nonce": entry["nonce"],
                "requestsHash": entry["requestsHash"],
            }
            for entry in entries
        ]
        signer, signature = "", b""
        if rows:
            signer = self._signer(rows[0], service, sender)
            contract = self.world.addresses[service]
            signature = self._sign(
                signer,
                digest(INFERENCE_NAME, contract, batch_hash(sender, packed)),
                rows[0].forgery,
                (contract, sender, tuple(tuple(sorted(row.items())) for row in packed)),
            )
        result = self.do(service, "settleBatchWithTEE", packed, signature, sender=sender)
        if result.refused is None:
            self.settled.append((service, sender, (packed, signature)))
            self._accept(service, sender, packed, result.value)

    def replay(self, which: int, service: str | None) -> None:
        """Send once more, word for word, what was settled before, perhaps to another contract."""
        if self.settled:
            where, sender, args = self.settled[which % len(self.settled)]
            kinds = {FINE_TUNING: "settleFees"}
            name = kinds.get(where, "settleFeesWithTEE" if len(args) == 1 else "settleBatchWithTEE")
            if service in (INFERENCE, OTHER_INFERENCE) and where != FINE_TUNING:
                where = service
            result = self.do(where, name, *args, sender=sender)
            if result.refused is None:
                self._accept(where, sender, args[0], result.value)

    def deliver(self, provider: str, user: str, name: str, root: str) -> None:
        self.do(FINE_TUNING, "addDeliverable", user, text(name), text(root).encode(), sender=provider)

    def deliver_and_abandon(self, provider: str, user: str, count: int) -> None:
        """Work given up again and again, until the ring is full."""
        for number in range(count):
            name = f"abandoned {number} at {self.world.evm.time}"
            self.do(FINE_TUNING, "addDeliverable", user, name, b"root", sender=provider)
            self.do(FINE_TUNING, "abandonDeliverable", user, name, sender=provider)

    def accept_deliverable(self, user: str, provider: str, name: str) -> None:
        self.do(FINE_TUNING, "acknowledgeDeliverable", provider, text(name), sender=user)

    def abandon(self, provider: str, user: str, name: str) -> None:
        self.do(FINE_TUNING, "abandonDeliverable", user, text(name), sender=provider)

    def settle_task(self, sender: str, row: Row, name: str, secret_text: str, root_text: str) -> None:
        name, secret, root = text(name), text(secret_text).encode(), text(root_text).encode()
        fee = self._fee(FINE_TUNING, sender, row, {})
        task = {
            "id": name,
            "encryptedSecret": secret,
            "modelRootHash": root,
            "nonce": fee["nonce"],
            "taskFee": fee["totalFee"],
            "user": fee["user"],
        }
        contract = self.world.addresses[FINE_TUNING]
        task["signature"] = self._sign(
            self._signer(row, FINE_TUNING, sender),
            digest(FINE_TUNING_NAME, contract, verifier_hash(task)),
            row.forgery,
            (contract, name, secret, root, task["nonce"], task["taskFee"], task["user"]),
        )
        result = self.do(FINE_TUNING, "settleFees", task, sender=sender)
        if result.refused is None:
            self.settled.append((FINE_TUNING, sender, (task,)))
            self._accept(FINE_TUNING, sender, task, None)

    def agree(self, user: str, provider: str, where: str) -> None:
        """Whatever is missing between the two: registration, the owner's confirmation, an account with money in it."""
        service = self.world.service(where)
        signer = next(iter(self.world.tee_signers))
        if provider not in service.offers:
            self.register(provider, where, signer, "least", 1)
        offer = service.offers.get(provider)
        if offer is not None and not offer.confirmed:
            self.confirm(service.owner, provider, where, None)
        self.deposit(user, user, "5 least")
        self.transfer(user, provider, where, "5 least")

    def waiting_refunds(self) -> list[tuple[str, str, str]]:
        """User, provider and service of every account with a refund that waits."""
        return [
            (user, provider, where)
            for where in SERVICES
            for user, provider in self.world.service(where).all
            if self.world.service(where).accounts[user, provider].refunds
        ]

    def waiting_deliverables(self) -> list[tuple[int, str, str, str]]:
        """Number of the user, provider, id and root hash of everything that is delivered and not settled."""
        return [
            (self.world.users.index(user), provider, one.id, one.root.decode())
            for user, provider in self.world.service(FINE_TUNING).all
            for one in self.world.service(FINE_TUNING).accounts[user, provider].deliverables
            if not one.settled
        ]

    # Owners, the chain, and those with no business here

    def confirm(self, sender: str, provider: str, service: str, expected: str | None) -> None:
        more = () if expected is None else (expected,)
        self.do(service, "acknowledgeTEESignerByOwner", provider, *more, sender=sender)

    def withdraw_confirmation(self, sender: str, provider: str, service: str) -> None:
        self.do(service, "revokeTEESignerAcknowledgement", provider, sender=sender)

    def set_lock_time(self, sender: str, service: str, seconds: int) -> None:
        self.do(service, "updateLockTime", seconds, sender=sender)

    def set_penalty(self, sender: str, percentage: int) -> None:
        self.do(FINE_TUNING, "updatePenaltyPercentage", percentage, sender=sender)

    def recommend(self, sender: str, kind: str, version: str) -> None:
        self.do(LEDGER, "setRecommendedService", kind, version, sender=sender)

    def hand_over(self, where: str, sender: str, step: str, to: str) -> None:
        arguments = () if step == "acceptOwnership" else (to,)
        self.do(where, step, *arguments, sender=sender)

    def intrude(self, sender: str, service: str, name: str, user: str, provider: str) -> None:
        """Somebody calls what only the ledger or a service may call."""
        arguments: dict[str, tuple[str, tuple[Any, ...]]] = {
            "addAccount": (service, (user, provider, "")),
            "depositFund": (service, (user, provider, 1)),
            "deleteAccount": (service, (user, provider)),
            "processRefund": (service, (user, provider)),
            "requestRefundAll": (service, (user, provider)),
            "spendFund": (LEDGER, (user, 1)),
        }
        where, args = arguments[name]
        self.do(where, name, *args, sender=sender)

    def upgrade(self, where: str, which: int) -> None:
        self.world.upgrade(where, which)

    def force_coins(self, where: str, amount: int) -> None:
        self.world.force_coins(where, amount)
        self.forced[where] = self.forced.get(where, 0) + amount

    def wait(self, seconds: int) -> None:
        self.world.wait(seconds)

    def set_mood(self, puppet: str, mood: Mood | None) -> None:
        self.world.set_mood(puppet, mood)

    def mood_to_settle_again(self, puppet: str, which: int) -> Mood | None:
        """To send, from within a payout, what was settled before."""
        mine = [(where, args) for where, sender, args in self.settled if sender == puppet and where != FINE_TUNING]
        if not mine:
            return None
        where, args = mine[which % len(mine)]
        name = "settleFeesWithTEE" if len(args) == 1 else "settleBatchWithTEE"
        return Mood(to=self.world.addresses[where], name=name, args=args)

    # How entries are made

    def _fee(self, service: str, provider: str, row: Row, ahead: dict[str, int]) -> dict[str, Any]:
        user = self.world.users[row.user]
        account = self.world.service(service).accounts.get((user, provider))
        balance, nonce = (account.balance, account.nonce) if account else (COIN, 0)
        nonce = NONCES[row.nonce](ahead.get(user, nonce))
        ahead[user] = nonce
        fee = AMOUNTS[row.fee](balance, COIN)
        return {"user": user, "totalFee": fee, "nonce": nonce, "requestsHash": bytes([nonce % 256]) * 32}

    def _sign_settlement(self, service: str, sender: str, entry: dict[str, Any], row: Row) -> bytes:
        contract = self.world.addresses[row.contract or service]
        signer = self._signer(row, service, sender)
        message = (contract, entry["provider"], entry["user"], entry["totalFee"], entry["nonce"], entry["requestsHash"])
        return self._sign(signer, digest(INFERENCE_NAME, contract, settlement_hash(entry)), row.forgery, message)

    def _sign(self, signer: str, digest_: bytes, forgery: str, message: Any) -> bytes:
        signature = self.world.tee_signers[signer].sign(digest_)
        self.world.model.signed[signature] = (signer, message)
        return FORGERIES[forgery](signature)

    def _signer(self, row: Row, service: str, provider: str) -> str:
        """Who signs: as the row says, or whom the provider has registered."""
        offer = self.world.service(service).offers.get(provider)
        if offer is not None and offer.signer in self.world.tee_signers:
            registered = offer.signer
        else:
            registered = next(iter(self.world.tee_signers))
        return self._other(list(self.world.tee_signers), row.signer, registered)

    @staticmethod
    def _other(people: Sequence[str], number: int | None, usual: str) -> str:
        return usual if number is None else people[number]

    # What has to be remembered

    def _accept(self, where: str, provider: str, settled: Any, answer: Any) -> None:
        """Remember which nonces were accepted; fails when one is for the second time.

        `settled` is what was sent: entries, compact rows or one task. `answer` is what the contract returned for it.
        """
        if where == FINE_TUNING:
            settled, answer = [settled], [0]
        elif settled and "user" not in settled[0]:
            answer = [answer[at // 64] >> 4 * (at % 64) & 15 for at in range(len(settled))]
        for one, status in zip(settled, answer, strict=True):
            self.seen[f"status {status}"] += 1
            user = one["user"] if "user" in one else unpack_row(one["userAndFee"])[0]
            if status < 2:
                accepted = (where, user, provider), one["nonce"]
                assert accepted not in self.accepted, "a nonce was accepted twice"
                self.accepted.add(accepted)

    def _expect_losses(self, where: str, name: str, args: tuple[Any, ...], sender: str) -> None:
        """Whose balances a call may lower, and by how much: what is signed by a signer whom user and owner confirmed,
        and what a user takes home."""
        if name == "retrieveFund" and args[1] in self.world.addresses:
            for provider in args[0]:
                self.may_lose[args[1], sender, provider] = MAX_AVAILABLE
        elif name in ("settleFeesWithTEE", "settleBatchWithTEE", "settleFees"):
            for user, fee, message, signature in self._claims(where, name, args, sender):
                service = self.world.service(where)
                account, offer = service.existing(user, sender), service.offers.get(sender)
                if not (account and account.acknowledged and offer and offer.confirmed):
                    continue
                if self.world.model.signed_by(offer.signer, message, signature):
                    key = where, user, sender
                    self.may_lose[key] = self.may_lose.get(key, 0) + fee

    def _claims(self, where: str, name: str, args: tuple[Any, ...], sender: str) -> list[tuple[str, int, Any, bytes]]:
        contract = self.world.addresses[where]
        if name == "settleFees":
            task = args[0]
            parts = ("id", "encryptedSecret", "modelRootHash", "nonce", "taskFee", "user")
            return [(task["user"], task["taskFee"], (contract, *(task[part] for part in parts)), task["signature"])]
        if name == "settleFeesWithTEE":
            return [
                (
                    entry["user"],
                    entry["totalFee"],
                    (contract, sender, *(entry[part] for part in ("user", "totalFee", "nonce", "requestsHash"))),
                    entry["signature"],
                )
                for entry in args[0]
            ]
        rows, signature = args
        message = (contract, sender, tuple(tuple(sorted(row.items())) for row in rows))
        unpacked = [unpack_row(row["userAndFee"]) for row in rows]
        return [(user, fee, message, signature) for user, fee in unpacked]

    def _deposit(self, user: str, amount: str) -> int:
        return AMOUNTS[amount](self._available(user), self.world.ledger().min_account)

    def _available(self, user: str) -> int:
        ledger = self.world.ledger().users.get(user)
        return ledger.available if ledger else 0
