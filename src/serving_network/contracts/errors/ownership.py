# SPDX-License-Identifier: Apache-2.0
"""Errors of ownership and of the beacon. The checks of owners revert with plain messages, which clients match."""

from typing import ClassVar

from serving_network.contracts.errors.base import ChecksumAddress, DeclaredError


class NotAFrontOfThisBeacon(DeclaredError):
    """The beacon attaches its own fronts only."""

    wire = ("NotAFrontOfThisBeacon(address front)",)
    front: ChecksumAddress
    problem = "{front} is not a front of this beacon."
    remedy = "serving deploy show"


class OwnershipError(DeclaredError):
    """A plain message that has its own class. `text` is the message as the contract sends it."""

    text: ClassVar[str] = ""


class CallerNotOwner(OwnershipError):
    """Only the owner may do this."""

    text = "Ownable: caller is not the owner"
    problem = "Only the contract's owner may do this, and the key in use is not the owner's."
    remedy = "serving setting show"


class NewOwnerIsZero(OwnershipError):
    """The zero address cannot own a contract."""

    text = "Ownable: new owner is the zero address"
    problem = "The zero address cannot own a contract."
    remedy = "Pass the new owner's address."


class ImplementationNotContract(OwnershipError):
    """The beacon refuses an implementation without code."""

    text = "UpgradeableBeacon: implementation is not a contract"
    problem = "The implementation has no code on this chain."
    remedy = "Deploy the implementation first: serving deploy --help"


class CallerNotOfferedOwner(OwnershipError):
    """Only the one to whom ownership was offered may accept it."""

    text = "Ownable2Step: caller is not the new owner"
    problem = "Ownership was not offered to the key in use."
    remedy = "Ask the current owner to offer it to this key's address first."
