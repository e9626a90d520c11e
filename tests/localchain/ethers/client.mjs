// What a user of ethers.js does with a node, against the one whose addresses are given:
//   node client.mjs HTTP_URL WS_URL CONTRACT.json
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import {
  ContractFactory,
  HDNodeWallet,
  JsonRpcProvider,
  Mnemonic,
  NonceManager,
  WebSocketProvider,
  isCallException,
  parseEther,
  verifyMessage,
  verifyTypedData,
} from "ethers";

const [httpUrl, wsUrl, contractFile] = process.argv.slice(2);
const { abi, bytecode } = JSON.parse(readFileSync(contractFile, "utf8"));
const phrase = Mnemonic.fromPhrase("test test test test test test test test test test test junk");
const steps = [];

function step(name, work) {
  steps.push([name, work]);
}

const http = new JsonRpcProvider(httpUrl, undefined, { polling: true, pollingInterval: 50, cacheTimeout: -1 });
const ws = new WebSocketProvider(wsUrl);
const user = HDNodeWallet.fromMnemonic(phrase, "m/44'/60'/0'/0/4").connect(http);
let counter;

step("network, accounts and fees", async () => {
  assert.equal((await http.getNetwork()).chainId, 31337n);
  const accounts = await http.listAccounts();
  assert.equal(accounts.length, 10);
  assert.equal(accounts[4].address, user.address);
  const fees = await http.getFeeData();
  assert.ok(fees.maxFeePerGas > fees.maxPriorityFeePerGas);
});

step("a transfer, signed here", async () => {
  const target = "0x7777777777777777777777777777777777777777";
  const sent = await user.sendTransaction({ to: target, value: parseEther("1.5") });
  const receipt = await sent.wait();
  assert.equal(receipt.status, 1);
  assert.equal(receipt.gasUsed, 21000n);
  assert.equal(await http.getBalance(target), parseEther("1.5"));
  assert.equal((await http.getTransaction(sent.hash)).blockHash, receipt.blockHash);
  const block = await http.getBlock(receipt.blockNumber, true);
  assert.equal(block.prefetchedTransactions[0].hash, sent.hash);
});

step("legacy and access-list transactions", async () => {
  for (const type of [0, 1]) {
    const receipt = await (await user.sendTransaction({ to: user.address, type })).wait();
    assert.equal(receipt.type, type);
  }
});

step("a transfer and signatures by an account of the node", async () => {
  const signer = await http.getSigner(5);
  assert.equal((await (await signer.sendTransaction({ to: user.address, value: 1n })).wait()).status, 1);
  assert.equal(verifyMessage("hello", await signer.signMessage("hello")), signer.address);
  const domain = { name: "test", chainId: 31337 };
  const types = { Letter: [{ name: "text", type: "string" }] };
  const signature = await signer.signTypedData(domain, types, { text: "hello" });
  assert.equal(verifyTypedData(domain, types, { text: "hello" }, signature), signer.address);
});

step("a contract: deploy, change, read, read the past", async () => {
  counter = await new ContractFactory(abi, bytecode, user).deploy();
  await counter.waitForDeployment();
  const before = await http.getBlockNumber();
  for (const number of [5n, 6n]) {
    const receipt = await (await counter.change(number)).wait();
    assert.equal(counter.interface.parseLog(receipt.logs[0]).args.number, number);
  }
  assert.equal(await counter.number(), 6n);
  assert.equal(await counter.number({ blockTag: before + 1 }), 5n);
  const events = await counter.queryFilter(counter.filters.Changed(user.address), before);
  assert.deepEqual(events.map((event) => event.args.number), [5n, 6n]);
});

step("errors, decoded", async () => {
  for (const attempt of [counter.change.staticCall, counter.change.estimateGas, counter.change]) {
    await assert.rejects(attempt(101n), (error) => {
      assert.ok(isCallException(error));
      const revert = error.revert ?? counter.interface.parseError(error.data);
      assert.equal(revert.name, "TooLarge");
      assert.deepEqual([...revert.args], [101n, 100n]);
      return true;
    });
  }
  await assert.rejects(counter.change.staticCall(1n, { value: 1n }), (error) => error.reason === "keep your coins");
  const failed = await counter.change(101n, { gasLimit: 100000n });
  await assert.rejects(failed.wait(), (error) => error.receipt.status === 0);
  await assert.rejects(
    user.sendTransaction({ to: user.address, value: parseEther("99999999") }),
    (error) => error.code === "INSUFFICIENT_FUNDS",
  );
  await assert.rejects(
    user.sendTransaction({ to: user.address, nonce: 0 }),
    (error) => error.code === "NONCE_EXPIRED",
  );
});

step("many at once", async () => {
  const manager = new NonceManager(user);
  const sent = await Promise.all(Array.from({ length: 20 }, () => manager.sendTransaction({ to: user.address })));
  const receipts = await Promise.all(sent.map((one) => one.wait()));
  assert.equal(new Set(receipts.map((receipt) => receipt.blockNumber)).size, 20);
});

step("listening over a WebSocket", async () => {
  const listener = counter.connect(ws);
  const heard = new Promise((resolve) => listener.once("Changed", (who, number) => resolve([who, number])));
  const head = new Promise((resolve) => ws.once("block", resolve));
  await listener.listenerCount();
  await ws.send("eth_chainId", []);
  await new Promise((resolve) => setTimeout(resolve, 200));
  const receipt = await (await counter.change(7n)).wait();
  assert.deepEqual(await heard, [user.address, 7n]);
  assert.equal(await head, receipt.blockNumber);
});

step("listening by polling", async () => {
  const heard = new Promise((resolve) => counter.once("Changed", (who, number) => resolve(number)));
  await new Promise((resolve) => setTimeout(resolve, 300));
  await (await counter.change(8n)).wait();
  assert.equal(await heard, 8n);
});

step("time travel and going back", async () => {
  const snapshot = await http.send("evm_snapshot", []);
  const before = (await http.getBlock("latest")).timestamp;
  await http.send("evm_increaseTime", [86400]);
  await http.send("evm_mine", []);
  assert.ok((await http.getBlock("latest")).timestamp >= before + 86400);
  await (await counter.change(9n)).wait();
  assert.equal(await http.send("evm_revert", [snapshot]), true);
  assert.equal(await counter.number(), 8n);
});

let failures = 0;
for (const [name, work] of steps) {
  try {
    await work();
    console.log(`ok      ${name}`);
  } catch (error) {
    failures += 1;
    console.log(`FAILED  ${name}\n${error.stack}`);
  }
}
await ws.destroy();
http.destroy();
process.exit(failures ? 1 : 0);
