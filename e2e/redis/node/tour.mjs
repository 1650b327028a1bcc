// A tour of the Redis port through node-redis, and a shorter one through ioredis, with a check
// behind every step.
//
//     node tour.mjs 127.0.0.1 6379 7379 FOLDER
//
// The second port is that of the cluster listener, for createCluster and Redis.Cluster; FOLDER
// is where `npm ci` put the clients. Keys that one command or one transaction touches share a
// hash tag, as on every Redis Cluster.

import { strict as assert } from "node:assert";
import { createRequire } from "node:module";
import path from "node:path";

const [host, port, clusterPort, folder] = process.argv.slice(2);
const need = createRequire(path.resolve(folder, "package.json"));
const { createClient, createCluster, WatchError } = need("redis");
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

async function nodeRedisCluster(RESP) {
  const r = await createCluster({
    RESP,
    rootNodes: [{ url: `redis://${host}:${clusterPort}` }],
    useReplicas: true,
    defaults: { socket: { reconnectStrategy: false } },
  })
    .on("error", (error) => console.error(error))
    .connect();
  assert.equal(r.slots.length, 16384);
  for (const master of r.masters) {
    assert.equal(await (await r.nodeClient(master)).flushAll(), "OK");
  }
  for (let n = 0; n < 100; n++) {
    assert.equal(await r.set(`jsc:${n}`, `${n}`), "OK");
  }
  const all = await Promise.all(Array.from({ length: 100 }, (_, n) => r.get(`jsc:${n}`)));
  assert.deepEqual(all, Array.from({ length: 100 }, (_, n) => `${n}`));
  assert.deepEqual(plain(await r.multi().incr("{jsc}tx").sAdd("{jsc}s", "x").exec()), [1, 1]);
  assert.deepEqual(await r.mGet(["{jsc}tx", "{jsc}nothing"]), ["1", null]);
  assert.equal(await r.hSet("jsc:h", { a: "1", b: "2" }), 2);
  assert.deepEqual(plain(await r.hGetAll("jsc:h")), { a: "1", b: "2" });
  await assert.rejects(r.sInter(["jsc:1", "jsc:2"]), /CROSSSLOT/);
  const found = new Set();
  for (const master of r.masters) {
    const client = await r.nodeClient(master);
    for await (const keys of client.scanIterator({ MATCH: "jsc:?", COUNT: 40 })) {
      for (const key of keys) found.add(key);
    }
  }
  // Ten, and the hash.
  assert.equal(found.size, 11);
  r.destroy();
}

async function ioredisCluster() {
  const r = new Redis.Cluster([{ host, port: Number(clusterPort) }], { scaleReads: "all" });
  for (let n = 0; n < 100; n++) {
    assert.equal(await r.set(`ioc:${n}`, `${n}`), "OK");
    assert.equal(await r.get(`ioc:${n}`), `${n}`);
  }
  const executed = await r.multi().set("{ioc}n", 1).incr("{ioc}n").exec();
  assert.deepEqual(executed, [
    [null, "OK"],
    [null, 2],
  ]);
  assert.equal(await r.cluster("KEYSLOT", "foo"), 12182);
  const info = await r.cluster("INFO");
  assert.match(info, /cluster_state:ok/);
  let keys = 0;
  for (const master of r.nodes("master")) keys += await master.dbsize();
  assert.ok(keys >= 101, `${keys}`);
  r.disconnect();
}

await nodeRedis(2);
await nodeRedis(3);
await ioredis();
await nodeRedisCluster(2);
await nodeRedisCluster(3);
await ioredisCluster();
console.log("node-redis and ioredis: all steps passed, plain and cluster, RESP2 and RESP3");
