# SPDX-License-Identifier: Apache-2.0
# pragma version 0.4.3
# pragma evm-version cancun
"""
@title Owner of a contract
@custom:contract-name ownable
@license Apache-2.0
@author Serving Network maintainers
@notice One address may call what the contract reserves for its owner. Ownership moves in one step
        (`transferOwnership`, as on the live network) or in two (`offerOwnership`, `acceptOwnership`). In two steps,
        the new owner proves that it can send transactions before the old one gives up ownership.
@dev The module has no constructor. The contract has no owner until it calls `_transfer_ownership`: an implementation
     behind a front in `initialize`, any other contract in its constructor.
@custom:risk Transferring ownership in one step to an address without a key, or renouncing it, leaves the contract
        without an owner permanently.
@custom:mitigation Offer ownership instead. An offer has no effect until it is accepted; offering it to the zero
        address withdraws it.
"""

event OwnershipTransferred:
    previousOwner: indexed(address)
    newOwner: indexed(address)


event OwnershipTransferStarted:
    previousOwner: indexed(address)
    newOwner: indexed(address)


# @notice The owner; zero before initialization and after renunciation.
owner: public(address)

# @notice The address to which ownership is offered; zero if there is no open offer.
pendingOwner: public(address)


@external
def transferOwnership(newOwner: address):
    """
    @notice Transfers ownership at once and withdraws an open offer. Warning: this cannot be undone.
    @param newOwner The new owner; not the zero address.
    @dev Only the owner. Emits `OwnershipTransferred`.
    """
    self._check_owner()
    assert newOwner != empty(address), "Ownable: new owner is the zero address"
    self._transfer_ownership(newOwner)


@external
def renounceOwnership():
    """
    @notice Leaves the contract without an owner permanently and withdraws an open offer.
    @dev Only the owner. Emits `OwnershipTransferred`.
    """
    self._check_owner()
    self._transfer_ownership(empty(address))


@external
def offerOwnership(newOwner: address):
    """
    @notice Offers ownership to `newOwner`, which becomes the owner by accepting. A later offer replaces this one.
    @param newOwner The address that may accept; the zero address withdraws an open offer.
    @dev Only the owner. Emits `OwnershipTransferStarted`.
    """
    self._check_owner()
    self.pendingOwner = newOwner
    log OwnershipTransferStarted(previousOwner=self.owner, newOwner=newOwner)


@external
def acceptOwnership():
    """
    @notice Makes the caller the owner. Only the address to which ownership is offered may call this.
    @dev Emits `OwnershipTransferred`.
    """
    assert msg.sender == self.pendingOwner, "Ownable2Step: caller is not the new owner"
    self._transfer_ownership(msg.sender)


@internal
@view
def _check_owner():
    assert msg.sender == self.owner, "Ownable: caller is not the owner"


@internal
def _transfer_ownership(newOwner: address):
    previousOwner: address = self.owner
    self.owner = newOwner
    self.pendingOwner = empty(address)
    log OwnershipTransferred(previousOwner=previousOwner, newOwner=newOwner)
