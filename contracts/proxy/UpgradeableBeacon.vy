# pragma version 0.4.3
# pragma evm-version cancun
"""
@title The beacon of a front
@notice Says which implementation the fronts that look to it shall run. Its owner, the upgrade owner, replaces that
        implementation for all of them at once.
@dev A front asks at every call, unless it is attached: then it holds the implementation in a slot that this
     contract alone can write, and `upgradeTo` rewrites that slot in the same transaction. At most one front is
     attached at a time, and only one whose code is exactly that of a front of this beacon, so that no other
     contract is ever called from here.
     How money is lost here: the owner can put any code behind the fronts, and so take everything they hold.
     How the owner prevents it: by being a multisig; by offering ownership instead of transferring it. A former
     implementation comes back with one more `upgradeTo`.
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


# The front before gave up its own slot, and asks again. Zero: none is attached any more.
event FrontAttached:
    front: indexed(address)


# The code of a front is PUSH20, its beacon, and this: contracts/proxy/BeaconProxy.evm, assembled.
FRONT_CODE_SIZE: constant(uint256) = 165
FRONT_CODE_HEAD: constant(Bytes[1]) = x"73"
FRONT_CODE_TAIL: constant(Bytes[FRONT_CODE_SIZE - 21]) = (
    x"803314607f575f5f365f7f360894a13ba1a3210667c828492db98dca3e2076cc3735a920a3ca505d382bbc548060625750635c60da1b5f5260205f6004601c885afa601f3d1116156077575f515b365f5f375af43d5f5f3e6073573d5ffd5b3d5ff35b3d5f5f3e3d5ffd5b5f357f360894a13ba1a3210667c828492db98dca3e2076cc3735a920a3ca505d382bbc5500"
)

# @notice What the fronts run.
implementation: public(address)

# @notice The front that holds the implementation in a slot of its own; zero when there is none.
front: public(address)


@deploy
def __init__(implementation_: address):
    """
    @notice The creator becomes the upgrade owner.
    @param implementation_ The first implementation; a contract.
    """
    ownable._transfer_ownership(msg.sender)
    self._set_implementation(implementation_)


@external
def upgradeTo(newImplementation: address):
    """
    @notice Replace the implementation of every front of this beacon, the attached one included. Warning: the new
            code finds the storage that the old one left.
    @param newImplementation A contract.
    """
    ownable._check_owner()
    self._set_implementation(newImplementation)
    log Upgraded(implementation=newImplementation)
    if self.front != empty(address):
        self._write(self.front, newImplementation)


@external
def attach(front: address):
    """
    @notice Give a front the implementation in a slot of its own: 4,900 gas less for each of its calls. The
            front that was attached before asks again.
    @param front A front of this beacon, made by BeaconProxy; zero attaches none.
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
