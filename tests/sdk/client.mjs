// What users of the published clients do, unmodified, with a network and its gateway:
//   node client.mjs NETWORK    where NETWORK is the JSON that `serving up --gateway --json` prints
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { JsonRpcProvider, Wallet } from "ethers";
import OpenAI, { AuthenticationError, NotFoundError } from "openai";

// Its ES modules do not load in node.
const { createZGComputeNetworkBroker } = createRequire(import.meta.url)("@0gfoundation/0g-compute-ts-sdk");
const CLI = "node_modules/@0gfoundation/0g-compute-ts-sdk/cli.commonjs/cli/index.js";

const network = JSON.parse(process.argv[2]);
const { url, model, provider, api_key: apiKey } = network.gateway;
const contracts = [network.contracts.ledger, network.contracts["inference-v1.0"], network.contracts["fine-tuning-v1.1"]];
const key = network.accounts.find((account) => account.address === network.gateway.user).private_key;
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

step("0G SDK: the report of the TEE, whose signer is the service's", async () => {
  const found = await broker.inference.verifyService(provider, scratch);
  assert.equal(found.success, true);
  assert.equal(found.signerVerification.allMatch, true);
});

step("0G command line: models, a key, the report", async () => {
  mkdirSync(join(scratch, ".0g-compute-cli"));
  const configuration = { privateKey: key, rpcEndpoint: network.url };
  writeFileSync(join(scratch, ".0g-compute-cli", "config.json"), JSON.stringify(configuration));
  const cli = (...words) =>
    promisify(execFile)("node", [CLI, "inference", ...words, "--provider", provider, "--rpc", network.url], {
      timeout: 60_000,
      env: {
        ...process.env,
        HOME: scratch,
        LEDGER_CA: contracts[0],
        INFERENCE_CA: contracts[1],
        FINE_TUNING_CA: contracts[2],
      },
    });
  assert.match((await cli("get-models")).stdout, new RegExp(model));
  assert.match((await cli("get-secret", "--token-id", "4", "--duration", "0")).stdout, /app-sk-/);
  await cli("download-report", "--output", join(scratch, "report.json"));
  assert.ok(JSON.parse(readFileSync(join(scratch, "report.json"), "utf8")).report_data);
});

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
