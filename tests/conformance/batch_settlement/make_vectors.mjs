// Typed data of whole batches, made with ethers, which knows nothing of this repository:
//   npm install ethers@6.17.0 && node make_vectors.mjs > vectors.json
import { AbiCoder, SigningKey, TypedDataEncoder, Wallet, concat, getAddress, getBytes, hexlify, id, keccak256 } from "ethers";

const types = {
  TEESettlementBatch: [
    { name: "provider", type: "address" },
    { name: "settlements", type: "UserSettlement[]" },
  ],
  UserSettlement: [
    { name: "user", type: "address" },
    { name: "totalFee", type: "uint256" },
    { name: "nonce", type: "uint256" },
    { name: "requestsHash", type: "bytes32" },
  ],
};
const order = 0xfffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141n;
const key = id("throw-away key of the batch vectors");
const tee = new Wallet(key);
const provider = address("provider");
const encoder = TypedDataEncoder.from(types);

function address(name) {
  return getAddress("0x" + id(name).slice(26));
}

function rows(count, change = (row) => row) {
  return Array.from({ length: count }, (_, at) =>
    change(
      {
        user: address(`user ${at}`),
        totalFee: (4_000_000_000_012_345n + BigInt(at)).toString(),
        nonce: (17_637_984_000_000_001n + BigInt(at)).toString(),
        requestsHash: id(`requests ${at}`),
      },
      at,
    ),
  );
}

function calldata(settlements, signature) {
  const compact = settlements.map((row) => [
    (BigInt(row.user) << 96n) | BigInt(row.totalFee),
    row.nonce,
    row.requestsHash,
  ]);
  return (
    id("settleBatchWithTEE((uint256,uint256,bytes32)[],bytes)").slice(0, 10) +
    AbiCoder.defaultAbiCoder().encode(["tuple(uint256,uint256,bytes32)[]", "bytes"], [compact, signature]).slice(2)
  );
}

// The same signature in shapes that are not valid.
function malformed(signature) {
  const { r, s, v } = { r: signature.slice(0, 66), s: BigInt("0x" + signature.slice(66, 130)), v: signature.slice(130) };
  const mirrored = (order - s).toString(16).padStart(64, "0");
  return {
    malleable: r + mirrored + (v === "1b" ? "1c" : "1b"),
    short: signature.slice(0, -2),
    long: signature + "00",
    otherParity: signature.slice(0, -2) + (v === "1b" ? "1c" : "1b"),
    parityFromZero: signature.slice(0, -2) + (v === "1b" ? "00" : "01"),
    otherKey: new SigningKey(id("another throw-away key")).sign(id("anything")).serialized,
  };
}

async function vector(name, settlements, domain = {}) {
  const full = {
    name: "0G Inference Serving",
    version: "1",
    chainId: 31337,
    verifyingContract: "0x0165878A594ca255338adfa4d48449f69242Eb8F",
    ...domain,
  };
  const message = { provider, settlements };
  const signature = await tee.signTypedData(full, types, message);
  return {
    name,
    domain: full,
    message,
    domainSeparator: TypedDataEncoder.hashDomain(full),
    rowHashes: settlements.map((row) => TypedDataEncoder.hashStruct("UserSettlement", { UserSettlement: types.UserSettlement }, row)),
    structHash: encoder.hash(message),
    digest: TypedDataEncoder.hash(full, types, message),
    signature,
    calldata: calldata(settlements, signature),
    malformedSignatures: settlements.length === 2 ? malformed(signature) : {},
  };
}

const vectors = [
  await vector("one row", rows(1)),
  await vector("two rows", rows(2)),
  await vector("two rows on another chain", rows(2), { chainId: 16661 }),
  await vector("two rows for another contract", rows(2), { verifyingContract: address("contract") }),
  await vector("one user twice, the second fee zero", rows(2, (row, at) => ({ ...row, user: address("user 0"), totalFee: at ? "0" : row.totalFee }))),
  await vector("the largest fee and nonce of a row", rows(1, (row) => ({ ...row, totalFee: (2n ** 96n - 1n).toString(), nonce: (2n ** 256n - 1n).toString() }))),
  await vector("seven rows", rows(7)),
  await vector("two hundred rows", rows(200)),
];
for (const made of vectors) {
  if (keccak256(concat(["0x1901", made.domainSeparator, made.structHash])) !== made.digest) throw new Error(made.name);
  getBytes(made.signature);
}
const typeString = encoder.encodeType("TEESettlementBatch");
const result = {
  note: "Made by make_vectors.mjs with ethers 6.17.0. The key is a throw-away.",
  typeString,
  typeHash: id(typeString),
  rowTypeString: encoder.encodeType("UserSettlement"),
  rowTypeHash: id(encoder.encodeType("UserSettlement")),
  teeKey: hexlify(key),
  teeSigner: tee.address,
  vectors,
};
process.stdout.write(JSON.stringify(result, null, 1) + "\n");
