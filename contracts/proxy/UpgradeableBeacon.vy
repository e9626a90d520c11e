# SPDX-License-Identifier: Apache-2.0
# pragma version 0.4.3
# pragma evm-version cancun
"""
@title Beacon of fronts
@custom:contract-name UpgradeableBeacon
@license Apache-2.0
@author Serving Network maintainers
@notice Stores the implementation that its fronts run. Its owner, the upgrade owner, replaces the implementation of
        all fronts at once.
@dev A front asks its beacon on every call unless it is attached. An attached front stores the implementation in a
     slot that only this contract can write, and `upgradeTo` writes that slot in the same transaction. At most one
     front is attached, and only one whose code is exactly that of a front of this beacon, so that this contract calls
     no other contract.
@custom:risk The owner can set any code behind the fronts and thereby take everything they hold.
@custom:mitigation The owner is a multisig and offers ownership instead of transferring it. One more `upgradeTo`
        restores a former implementation.
"""

from ..serving import ownable

initializes: ownable
exports: (
    ownable.owner,
    ownable.pendingOwner,
    ownable.transferOwnership,
    ownable.renounceOwnership,
    ownable.offerOwnership,
    ownable.acceptOwnership,
)


event Upgraded:
    implementation: indexed(address)


# The previously attached front clears its slot and asks the beacon again. Zero: no front is attached.
event FrontAttached:
    front: indexed(address)


# The code of a front is PUSH20, its beacon's address, and this tail: the assembled contracts/proxy/BeaconProxy.evm.
FRONT_CODE_SIZE: constant(uint256) = 165
FRONT_CODE_HEAD: constant(Bytes[1]) = x"73"
FRONT_CODE_TAIL: constant(Bytes[FRONT_CODE_SIZE - 21]) = (
    x"803314607f575f5f365f7f360894a13ba1a3210667c828492db98dca3e2076cc3735a920a3ca505d382bbc548060625750635c60da1b5f5260205f6004601c885afa601f3d1116156077575f515b365f5f375af43d5f5f3e6073573d5ffd5b3d5ff35b3d5f5f3e3d5ffd5b5f357f360894a13ba1a3210667c828492db98dca3e2076cc3735a920a3ca505d382bbc5500"
)

# @notice The implementation that the fronts run.
implementation: public(address)

# @notice The front that has the implementation in its own slot; zero if there is none.
front: public(address)


@deploy
def __init__(implementation_: address):
    """
    @notice Makes the deployer the upgrade owner.
    @param implementation_ The first implementation; a contract.
    """
    ownable._transfer_ownership(msg.sender)
    self._set_implementation(implementation_)


@external
def upgradeTo(newImplementation: address):
    """
    @notice Replaces the implementation of every front of this beacon, including the attached one. Warning: the new
            code uses the storage that the old code wrote.
    @param newImplementation A contract.
    @dev Only the owner. Reverts unless `newImplementation` has code. Emits `Upgraded`.
    """
    ownable._check_owner()
    self._set_implementation(newImplementation)
    log Upgraded(implementation=newImplementation)
    if self.front != empty(address):
        self._write(self.front, newImplementation)


@external
def attach(front: address):
    """
    @notice Gives a front its own slot with the implementation, which saves 4,900 gas in each of its calls. The front
            that was attached before asks the beacon again.
    @param front A front of this beacon, created by BeaconProxy; zero detaches the current one.
    @dev Only the owner. Reverts with `NotAFrontOfThisBeacon`. Emits `FrontAttached`.
    """
    ownable._check_owner()
    previous: address = self.front
    if front != empty(address):
        self._check_front(front)
    self.front = front
    log FrontAttached(front=front)
    if previous != empty(address):
        self._write(previous, empty(address))
    if front != empty(address):
        self._write(front, self.implementation)


@internal
def _set_implementation(newImplementation: address):
    assert newImplementation.is_contract, "UpgradeableBeacon: implementation is not a contract"
    self.implementation = newImplementation


@internal
@view
def _check_front(front: address):
    code: Bytes[FRONT_CODE_SIZE] = concat(FRONT_CODE_HEAD, convert(self, bytes20), FRONT_CODE_TAIL)
    if front.codehash != keccak256(code):
        raw_revert(abi_encode(front, method_id=method_id("NotAFrontOfThisBeacon(address)")))


@internal
def _write(front: address, newImplementation: address):
    raw_call(front, abi_encode(newImplementation))
