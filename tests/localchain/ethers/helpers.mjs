// hardhat-network-helpers and viem's test client, against the node at CHAIN_URL:
//   CHAIN_URL=http://127.0.0.1:8545 node helpers.mjs
import assert from "node:assert/strict";
import helpers from "@nomicfoundation/hardhat-network-helpers";
import { createTestClient, http, publicActions, walletActions } from "viem";
import { foundry } from "viem/chains";

const STRANGER = "0x7777777777777777777777777777777777777777";
const WORD = `0x${"05".padStart(64, "0")}`;
const CODE = "0x5f545060205ff3";

async function throughHelpers() {
  const { mine, mineUpTo, time, ...set } = helpers;
  const snapshot = await set.takeSnapshot();
  const before = await time.latestBlock();
  await mine(3);
  assert.equal(await time.latestBlock(), before + 3);
  await mineUpTo(before + 10);
  assert.equal(await time.latestBlock(), before + 10);
  const moment = (await time.latest()) + 1000;
  await time.increaseTo(moment);
  assert.equal(await time.latest(), moment);
  await time.increase(60);
  assert.ok((await time.latest()) >= moment + 60);
  await time.setNextBlockTimestamp(moment + 5000);
  await mine();
  assert.equal(await time.latest(), moment + 5000);
  await set.setBalance(STRANGER, 10n ** 18n);
  await set.setCode(STRANGER, CODE);
  await set.setStorageAt(STRANGER, 0, 5);
  assert.equal(await set.getStorageAt(STRANGER, 0), WORD);
  await set.setNonce(STRANGER, 7);
  await set.impersonateAccount(STRANGER);
  await set.stopImpersonatingAccount(STRANGER);
  await set.setCoinbase(STRANGER);
  await set.setNextBlockBaseFeePerGas(10n ** 9n);
  await set.setPrevRandao(5);
  await set.setBlockGasLimit(20_000_000);
  await mine();
  await snapshot.restore();
  assert.equal(await time.latestBlock(), before);
}

async function throughViem(mode) {
  const client = createTestClient({ chain: foundry, mode, transport: http(process.env.CHAIN_URL) })
    .extend(publicActions)
    .extend(walletActions);
  const id = await client.snapshot();
  const before = await client.getBlockNumber({ cacheTime: 0 });
  await client.mine({ blocks: 2, interval: 12 });
  assert.equal(await client.getBlockNumber({ cacheTime: 0 }), before + 2n);
  await client.setBalance({ address: STRANGER, value: 10n ** 18n });
  await client.setNonce({ address: STRANGER, nonce: 7 });
  await client.setStorageAt({ address: STRANGER, index: 0, value: WORD });
  assert.equal(await client.getStorageAt({ address: STRANGER, slot: "0x0" }), WORD);
  await client.impersonateAccount({ address: STRANGER });
  const hash = await client.sendTransaction({ account: STRANGER, to: STRANGER, value: 1n });
  assert.equal((await client.waitForTransactionReceipt({ hash })).status, "success");
  await client.stopImpersonatingAccount({ address: STRANGER });
  await client.setCode({ address: STRANGER, bytecode: CODE });
  assert.equal(await client.getCode({ address: STRANGER }), CODE);
  const { accessList } = await client.createAccessList({ to: STRANGER });
  assert.deepEqual(accessList, [{ address: STRANGER, storageKeys: [`0x${"0".repeat(64)}`] }]);
  await client.increaseTime({ seconds: 60 });
  await client.setNextBlockTimestamp({ timestamp: (await client.getBlock()).timestamp + 1000n });
  await client.setNextBlockBaseFeePerGas({ baseFeePerGas: 10n ** 9n });
  await client.setBlockGasLimit({ gasLimit: 20_000_000n });
  await client.setCoinbase({ address: STRANGER });
  await client.setAutomine(false);
  assert.equal(await client.getAutomine(), false);
  const [sender] = await client.getAddresses();
  const waiting = await client.sendTransaction({ account: sender, to: STRANGER, gas: 60_000n });
  assert.deepEqual(await client.getTxpoolStatus(), { pending: 1, queued: 0 });
  await client.dropTransaction({ hash: waiting });
  assert.deepEqual(await client.getTxpoolStatus(), { pending: 0, queued: 0 });
  await client.setAutomine(true);
  if (mode === "hardhat") {
    await client.setIntervalMining({ interval: 1 });
    await client.setIntervalMining({ interval: 0 });
  }
  await client.revert({ id });
  assert.equal(await client.getBlockNumber({ cacheTime: 0 }), before);
}

await throughHelpers();
for (const mode of ["hardhat", "anvil"]) await throughViem(mode);
console.log("ok: hardhat-network-helpers, and viem's test client as for Hardhat and anvil");
