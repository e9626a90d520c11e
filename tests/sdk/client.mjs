// What users of the published clients do, unmodified, with a network and its gateway:
//   node client.mjs NETWORK    where NETWORK is the JSON that run.py makes
import assert from "node:assert/strict";
import { execFile, spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { JsonRpcProvider, Wallet } from "ethers";
import OpenAI, { AuthenticationError, NotFoundError } from "openai";

// Its ES modules do not load in node.
const { createZGComputeNetworkBroker } = createRequire(import.meta.url)("@0gfoundation/0g-compute-ts-sdk");
const CLI = join(import.meta.dirname, "node_modules/@0gfoundation/0g-compute-ts-sdk/cli.commonjs/cli/index.js");

const network = JSON.parse(process.argv[2]);
const { url, model, provider, api_key: apiKey } = network.gateway;
const contracts = [network.contracts.ledger, network.contracts["inference-v1.0"], network.contracts["fine-tuning-v1.1"]];
const keyOf = (address) => network.accounts.find((account) => account.address === address).private_key;
const key = keyOf(network.gateway.user);
const messages = [{ role: "user", content: "Who are you?" }];
const scratch = mkdtempSync(join(tmpdir(), "sdk-"));
const steps = [];

function step(name, work) {
  steps.push([name, work]);
}

const openai = new OpenAI({ baseURL: `${url}/v1`, apiKey, maxRetries: 0 });
const wallet = new Wallet(key, new JsonRpcProvider(network.url, undefined, { cacheTimeout: -1 }));
let broker;

step("openai: a chat", async () => {
  const { data, response } = await openai.chat.completions.create({ model, messages }).withResponse();
  assert.match(data.choices[0].message.content, /stand-in/);
  assert.match(response.headers.get("ZG-Res-Key"), /^[0-9a-f-]{36}$/);
});

step("openai: a stream, with its usage", async () => {
  const stream = await openai.chat.completions.create({
    model,
    messages,
    stream: true,
    stream_options: { include_usage: true },
  });
  let text = "";
  let usage;
  for await (const chunk of stream) {
    text += chunk.choices[0]?.delta.content ?? "";
    usage = chunk.usage ?? usage;
  }
  assert.match(text, /stand-in/);
  assert.ok(usage.completion_tokens > 0);
});

step("openai: models, and errors that it shows", async () => {
  assert.equal((await openai.models.list()).data[0].id, model);
  const other = openai.chat.completions.create({ model: "another", messages });
  await assert.rejects(other, (error) => error instanceof NotFoundError && error.message.includes("another"));
  const stranger = new OpenAI({ baseURL: `${url}/v1`, apiKey: "app-sk-x", maxRetries: 0 });
  await assert.rejects(stranger.chat.completions.create({ model, messages }), AuthenticationError);
});

step("0G SDK: headers, a paid chat, its signature", async () => {
  broker = await createZGComputeNetworkBroker(wallet, ...contracts);
  const metadata = await broker.inference.getServiceMetadata(provider);
  assert.deepEqual(metadata, { endpoint: `${url}/v1/proxy`, model });
  const headers = await broker.inference.getRequestHeaders(provider, messages[0].content);
  const answer = await fetch(`${metadata.endpoint}/chat/completions`, {
    method: "POST",
    headers: { "Content-Type": "application/json", ...headers },
    body: JSON.stringify({ model, messages }),
  });
  assert.equal(answer.status, 200);
  const { usage } = await answer.json();
  const chatId = answer.headers.get("ZG-Res-Key");
  assert.equal(await broker.inference.processResponse(provider, chatId, JSON.stringify(usage)), true);
});

step("0G SDK: an API key for OpenAI clients", async () => {
  const { rawToken } = await broker.inference.requestProcessor.createApiKey(provider, { tokenId: 3 });
  const client = new OpenAI({ baseURL: `${url}/v1/proxy`, apiKey: rawToken, maxRetries: 0 });
  assert.ok((await client.chat.completions.create({ model, messages })).usage.total_tokens > 0);
});

step("0G SDK: the report of the TEE, whose signer and compose file match", async () => {
  const found = await broker.inference.verifyService(provider, scratch);
  assert.equal(found.success, true);
  assert.equal(found.signerVerification.allMatch, true);
  assert.equal(found.signerVerification.contractAddress, network.gateway.signer);
  assert.equal(found.composeVerification.passed, true);
});

// The command line of someone with a private key, in a home of their own.
function home(privateKey) {
  const directory = mkdtempSync(join(scratch, "home-"));
  mkdirSync(join(directory, ".0g-compute-cli"));
  const configuration = { privateKey, rpcEndpoint: network.url };
  writeFileSync(join(directory, ".0g-compute-cli", "config.json"), JSON.stringify(configuration));
  return {
    timeout: 60_000,
    cwd: directory,
    env: {
      ...process.env,
      HOME: directory,
      LEDGER_CA: contracts[0],
      INFERENCE_CA: contracts[1],
      FINE_TUNING_CA: contracts[2],
    },
  };
}

step("0G command line: models, a key, the report", async () => {
  const options = home(key);
  const cli = (...words) =>
    promisify(execFile)("node", [CLI, "inference", ...words, "--provider", provider, "--rpc", network.url], options);
  assert.match((await cli("get-models")).stdout, new RegExp(model));
  assert.match((await cli("get-secret", "--token-id", "4", "--duration", "0")).stdout, /app-sk-/);
  await cli("download-report", "--output", join(scratch, "report.json"));
  assert.ok(JSON.parse(readFileSync(join(scratch, "report.json"), "utf8")).report_data);
});

step("0G command line: the provider's logs", async () => {
  const options = home(keyOf(provider));
  const cli = (...words) => promisify(execFile)("node", [CLI, "inference", ...words, "--rpc", network.url], options);
  assert.match((await cli("list-logs")).stdout, /gateway\.log/);
  const shown = (await cli("view-log", "--component", "broker", "--filename", "gateway.log")).stdout;
  assert.match(shown, /chat\/completions/);
  assert.doesNotMatch(shown, /app-sk-/);
});

step("0G command line: serve, a local endpoint", async () => {
  const port = await freePort();
  const words = ["inference", "serve", "--provider", provider, "--rpc", network.url, "--port", `${port}`];
  const contract = ["--ledger-ca", contracts[0], "--inference-ca", contracts[1], "--host", "127.0.0.1"];
  const server = spawn("node", [CLI, ...words, ...contract], { ...home(key), timeout: 120_000 });
  let printed = "";
  server.stdout.on("data", (data) => (printed += data));
  server.stderr.on("data", (data) => (printed += data));
  try {
    const local = new OpenAI({ baseURL: `http://127.0.0.1:${port}/v1`, apiKey: "none", maxRetries: 60 });
    const answer = await local.chat.completions.create({ model, messages });
    assert.match(answer.choices[0].message.content, /stand-in/);
    const stream = await local.chat.completions.create({ model, messages, stream: true });
    let text = "";
    for await (const chunk of stream) text += chunk.choices[0]?.delta.content ?? "";
    assert.match(text, /stand-in/);
  } catch (error) {
    console.log(printed);
    throw error;
  } finally {
    server.kill();
  }
});

function freePort() {
  return new Promise((resolve) => {
    const probe = createServer().listen(0, "127.0.0.1", () => {
      const { port } = probe.address();
      probe.close(() => resolve(port));
    });
  });
}

let failed = 0;
for (const [name, work] of steps) {
  try {
    await work();
    console.log(`ok    ${name}`);
  } catch (error) {
    failed += 1;
    console.log(`FAIL  ${name}\n`, error);
  }
}
process.exit(failed === 0 ? 0 : 1);
