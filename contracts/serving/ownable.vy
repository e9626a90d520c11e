# pragma version 0.4.3
# pragma evm-version cancun
"""
@title The owner of a contract
@notice One address that may do what the contract reserves for its owner. Ownership moves in one step
        (`transferOwnership`, as the live network has it) or in two (`offerOwnership`, `acceptOwnership`), where the
        new owner proves that it can send transactions before the old one lets go.
@dev A module without a constructor: nobody owns the contract until it calls `_transfer_ownership`, which an
     implementation behind a front does when it is initialised and any other contract in its constructor.
     How money is lost here: an owner who moves ownership in one step to an address that nobody holds, or who
     renounces it, leaves the contract without an owner for ever.
     How the owner prevents it: by offering instead; an offer binds nobody until it is accepted, and offering the
     zero address withdraws it.
"""

event OwnershipTransferred:
    previousOwner: indexed(address)
    newOwner: indexed(address)


event OwnershipTransferStarted:
    previousOwner: indexed(address)
    newOwner: indexed(address)


# @notice The owner; zero before initialisation and after renunciation.
owner: public(address)

# @notice Whom ownership is offered to; zero when no offer is open.
pendingOwner: public(address)


@external
def transferOwnership(newOwner: address):
    """
    @notice Give the ownership away at once. An open offer ends. Warning: there is no way back.
    @param newOwner The new owner; not the zero address.
    """
    self._check_owner()
    assert newOwner != empty(address), "Ownable: new owner is the zero address"
    self._transfer_ownership(newOwner)


@external
def renounceOwnership():
    """
    @notice Leave the contract without an owner, for ever. An open offer ends.
    """
    self._check_owner()
    self._transfer_ownership(empty(address))


@external
def offerOwnership(newOwner: address):
    """
    @notice Offer the ownership; it moves when `newOwner` accepts. A later offer replaces this one.
    @param newOwner Who may accept; the zero address withdraws an open offer.
    """
    self._check_owner()
    self.pendingOwner = newOwner
    log OwnershipTransferStarted(previousOwner=self.owner, newOwner=newOwner)


@external
def acceptOwnership():
    """
    @notice Become the owner, by the address that ownership is offered to.
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
