# SPDX-License-Identifier: Apache-2.0
# pragma version 0.4.3
# pragma evm-version cancun
"""
@title The shipped contracts as a deployment leaves them
@notice Front, beacon and implementation, byte for byte, the front attached; the contract that uses this owns the
        beacon. And a service of either kind with its ledger, owner and one confirmed provider.
"""

from . import cheats

BEACON: constant(Bytes[4096]) = x"00{UpgradeableBeacon}"
FRONT: constant(Bytes[4096]) = x"00{BeaconProxy}"

LOCK: constant(uint256) = 86400
PENALTY: constant(uint256) = 30
STAKE: constant(uint256) = 100 * 10**18
SIGNER: constant(address) = 0x3000000000000000000000000000000000000001


struct Params:
    serviceType: String[1]
    url: String[1]
    model: String[1]
    verifiability: String[1]
    inputPrice: uint256
    outputPrice: uint256
    additionalInfo: String[1]
    teeSignerAddress: address


struct Quota:
    cpuCount: uint256
    nodeMemory: uint256
    gpuCount: uint256
    nodeStorage: uint256
    gpuType: String[1]


interface Beacon:
    def attach(front: address): nonpayable


interface Owned:
    def acknowledgeTEESignerByOwner(provider: address, expected: address): nonpayable


@internal
def _front(implementation: address) -> (address, address):
    """
    @dev A front of a new beacon, which holds the implementation in its own slot; and that beacon, which is the only one
         whose calls the front does not pass on.
    """
    beacon: address = raw_create(slice(BEACON, 1, len(BEACON) - 1), implementation)
    front: address = raw_create(slice(FRONT, 1, len(FRONT) - 1), beacon, b"")
    extcall Beacon(beacon).attach(front)
    return front, beacon


@internal
def _initialize(front: address, ledger: address, owner: address):
    """
    @dev Both services know one `initialize`, each its own.
    """
    done: bool = raw_call(
        front,
        abi_encode(LOCK, ledger, owner, method_id=method_id("initialize(uint256,address,address)")),
        revert_on_failure=False,
    )
    if not done:
        raw_call(
            front,
            abi_encode(
                LOCK, ledger, owner, PENALTY, method_id=method_id("initialize(uint256,address,address,uint256)")
            ),
        )


@internal
def _offer(front: address, provider: address, coins: uint256, signer: address):
    """
    @dev The provider registers with these coins, in whichever way the service knows.
    """
    cheats._deal(provider, coins)
    cheats._prank(provider)
    done: bool = raw_call(front, self._inference_offer(signer), value=coins, revert_on_failure=False)
    if not done:
        cheats._prank(provider)
        raw_call(front, self._fine_tuning_offer(signer), value=coins)


@internal
def _register(front: address, provider: address):
    """
    @dev The same with the least stake; and the owner, who is the caller, confirms the signer.
    """
    self._offer(front, provider, STAKE, SIGNER)
    extcall Owned(front).acknowledgeTEESignerByOwner(provider, SIGNER)


@internal
@pure
def _inference_offer(signer: address) -> Bytes[1024]:
    params: Params = Params(
        serviceType="",
        url="",
        model="",
        verifiability="",
        inputPrice=0,
        outputPrice=0,
        additionalInfo="",
        teeSignerAddress=signer,
    )
    return abi_encode(
        params,
        method_id=method_id(
            "addOrUpdateService((string,string,string,string,uint256,uint256,string,address))"
        ),
    )


@internal
@pure
def _fine_tuning_offer(signer: address) -> Bytes[1024]:
    quota: Quota = Quota(cpuCount=0, nodeMemory=0, gpuCount=0, nodeStorage=0, gpuType="")
    models: DynArray[String[1], 1] = []
    return abi_encode(
        "",
        quota,
        convert(0, uint256),
        False,
        models,
        signer,
        method_id=method_id(
            "addOrUpdateService(string,(uint256,uint256,uint256,uint256,string),uint256,bool,string[],address)"
        ),
    )
