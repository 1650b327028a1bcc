// A tour of the Redis port through node-redis, and a shorter one through ioredis, with a check
// behind every step.
//
//     node tour.mjs 127.0.0.1 6379 FOLDER
//
// FOLDER is where `npm ci` put the clients. Keys that one command or one transaction touches
// share a hash tag, as on every Redis Cluster. The same steps through createCluster and
// Redis.Cluster belong at the end, once a cluster listener is there to be asked for its nodes.

import { strict as assert } from "node:assert";
import { createRequire } from "node:module";
import path from "node:path";

const [host, port, folder] = process.argv.slice(2);
const need = createRequire(path.resolve(folder, "package.json"));
const { createClient, WatchError } = need("redis");
const Redis = need("ioredis");

const STEP_WAIT_MS = 20_000;

// A step that never answers is a failure too.
setTimeout(() => {
  console.error("no end in sight");
  process.exit(1);
}, 5 * STEP_WAIT_MS).unref();

const plain = (value) => JSON.parse(JSON.stringify(value));
const later = (ms) => new Promise((done) => setTimeout(done, ms));

async function nodeRedis(RESP) {
  const connect = () =>
    createClient({ RESP, socket: { host, port: Number(port), reconnectStrategy: false } })
      .on("error", (error) => console.error(error))
      .connect();
  const [r, other] = [await connect(), await connect()];
  assert.equal(await r.flushAll(), "OK");

  assert.equal(await r.set("js:message", "hello"), "OK");
  assert.equal(await r.get("js:message"), "hello");
  assert.equal(await r.get("js:nothing"), null);
  assert.equal(await r.incrBy("js:n", 7), 7);
  assert.deepEqual(await r.mGet(["js:message", "js:nothing", "js:n"]), ["hello", null, "7"]);

  assert.equal(await r.hSet("js:h", { a: "1", b: "2" }), 2);
  assert.deepEqual(plain(await r.hGetAll("js:h")), { a: "1", b: "2" });
  assert.equal(await r.rPush("js:l", ["a", "b", "c"]), 3);
  assert.deepEqual(await r.lRange("js:l", 1, -1), ["b", "c"]);
  assert.equal(await r.sAdd("js:s", ["x", "x"]), 1);
  assert.deepEqual([...(await r.sMembers("js:s"))], ["x"]);
  const members = [
    { value: "a", score: 1 },
    { value: "b", score: 2.5 },
  ];
  assert.equal(await r.zAdd("js:z", members), 2);
  assert.deepEqual(plain(await r.zRangeWithScores("js:z", 0, -1)), members);
  await assert.rejects(r.lPush("js:h", "x"), /WRONGTYPE/);

  assert.equal(await r.set("js:e", "x", { EX: 60 }), "OK");
  const left = await r.ttl("js:e");
  assert.ok(left > 50 && left <= 60, `${left}`);
  assert.equal(Number(await r.expire("js:e", -1)), 1);
  assert.equal(await r.exists("js:e"), 0);

  // Commands of one tick are one pipeline.
  const both = Array.from({ length: 500 }, (_, n) => [
    r.set(`js:p${n}`, `${n}`),
    r.get(`js:p${n}`),
  ]);
  for (const [n, [set, get]] of both.entries()) {
    assert.equal(await set, "OK");
    assert.equal(await get, `${n}`);
  }
  assert.deepEqual(plain(await r.multi().incr("{js}tx").sAdd("{js}txs", "x").exec()), [1, 1]);
  await r.watch("{js}tx");
  await other.set("{js}tx", "changed");
  await assert.rejects(r.multi().set("{js}tx", "lost").exec(), WatchError);
  assert.equal(await r.get("{js}tx"), "changed");

  const found = new Set();
  for await (const keys of r.scanIterator({ MATCH: "js:p*", COUNT: 40 })) {
    for (const key of keys) found.add(key);
  }
  assert.equal(found.size, 500);

  const popped = other.blPop("js:block", STEP_WAIT_MS / 1000);
  await later(100);
  assert.equal(await r.rPush("js:block", "late"), 1);
  assert.deepEqual(plain(await popped), { key: "js:block", element: "late" });

  const id = await r.xAdd("js:x", "*", { n: "1" });
  assert.equal(await r.xGroupCreate("js:x", "group", "0"), "OK");
  const read = await r.xReadGroup("group", "me", { key: "js:x", id: ">" });
  const entries = Array.isArray(read) ? read[0].messages : Object.values(read)[0];
  assert.deepEqual(plain(entries[0].message), { n: "1" });
  assert.equal(await r.xAck("js:x", "group", id), 1);

  let subscribed;
  const heard = new Promise((tell) => {
    subscribed = other.subscribe("js:news", tell);
  });
  await subscribed;
  assert.equal(await r.publish("js:news", "extra"), 1);
  assert.equal(await heard, "extra");

  r.destroy();
  other.destroy();
}

async function ioredis() {
  const r = new Redis({ host, port: Number(port), retryStrategy: null });
  assert.equal(await r.set("{io}message", "hello"), "OK");
  const said = await r.pipeline().get("{io}message").del("{io}message").exec();
  assert.deepEqual(said, [
    [null, "hello"],
    [null, 1],
  ]);
  const executed = await r.multi().incr("{io}n").incr("{io}n").exec();
  assert.deepEqual(executed, [
    [null, 1],
    [null, 2],
  ]);
  assert.equal(await r.zadd("{io}z", 1.5, "a"), 1);
  assert.deepEqual(await r.zrange("{io}z", 0, -1, "WITHSCORES"), ["a", "1.5"]);
  r.disconnect();
}

await nodeRedis(2);
await nodeRedis(3);
await ioredis();
console.log("node-redis and ioredis: all steps passed, with RESP2 and RESP3");
