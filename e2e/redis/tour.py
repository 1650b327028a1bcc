"""A tour of the Redis port through redis-py, with a check behind every step.

    python tour.py 127.0.0.1 6379 7379

The second port is that of the cluster listener: the same steps go through redis.RedisCluster
there. Keys that one command or one transaction touches share a hash tag, as on every Redis
Cluster.
"""

import sys
import threading
import time

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

STEP_WAIT_S = 20


def hello(host, port):
    """What everybody tries first."""
    r = redis.Redis(host, port)
    r.set("message", "hello world")
    assert r.get("message") == b"hello world"


def strings(r):
    assert r.set("py:s", "1", nx=True) is True
    assert r.set("py:s", "2", nx=True) is None
    assert r.incrby("py:s", 41) == 42 and r.incrbyfloat("py:s", 0.5) == 42.5
    assert r.append("py:s", "!") == 5 and r.getrange("py:s", 0, 1) == "42"
    assert r.set("py:s", "new", get=True) == "42.5!"
    assert r.getdel("py:s") == "new" and r.get("py:s") is None
    assert r.setbit("py:bits", 7, 1) == 0 and r.bitcount("py:bits") == 1
    assert r.mset({"{py}a": 1, "{py}b": 2}) and r.mget("{py}a", "{py}b", "{py}c") == ["1", "2", None]


def hashes(r):
    assert r.hset("py:h", mapping={"a": 1, "b": 2}) == 2
    assert r.hgetall("py:h") == {"a": "1", "b": "2"}
    assert r.hincrby("py:h", "a", 9) == 10 and r.hmget("py:h", "a", "c") == ["10", None]
    assert r.hdel("py:h", "a") == 1 and r.hlen("py:h") == 1
    assert dict(r.hscan_iter("py:h")) == {"b": "2"}


def lists(r):
    assert r.rpush("py:l", *"abc") == 3 and r.lpush("py:l", "z") == 4
    assert r.lrange("py:l", 0, -1) == list("zabc")
    assert r.lpop("py:l", 2) == ["z", "a"] and r.linsert("py:l", "before", "c", "x") == 3
    assert r.lpos("py:l", "c") == 2 and r.llen("py:l") == 3


def sets(r):
    assert r.sadd("{py}s1", *"abc") == 3 and r.sadd("{py}s2", *"bcd") == 3
    assert r.sinter("{py}s1", "{py}s2") == {"b", "c"}
    assert r.sdiffstore("{py}s3", "{py}s1", "{py}s2") == 1 and r.smembers("{py}s3") == {"a"}
    assert r.spop("{py}s3") == "a" and not r.exists("{py}s3")


def sorted_sets(r):
    assert r.zadd("py:z", {"a": 1, "b": 2.5, "c": 3}) == 3
    assert r.zrange("py:z", 0, -1, withscores=True) in (
        [("a", 1.0), ("b", 2.5), ("c", 3.0)],
        [["a", 1.0], ["b", 2.5], ["c", 3.0]],
    )
    assert r.zincrby("py:z", 4, "a") == 5.0 and r.zrevrank("py:z", "a") == 0
    assert r.zrangebyscore("py:z", "(2.5", "+inf") == ["c", "a"]
    assert r.zscore("py:z", "nobody") is None and r.zcount("py:z", 0, 3) == 2


def expiry(r):
    assert r.set("py:e", 1, ex=100) and 90 < r.ttl("py:e") <= 100
    assert r.persist("py:e") and r.ttl("py:e") == -1
    assert r.pexpire("py:e", 30)
    until = time.monotonic() + STEP_WAIT_S
    while r.exists("py:e"):
        assert time.monotonic() < until, "it doesn't expire"
    assert r.ttl("py:e") == -2


def pipelines(r):
    with r.pipeline(transaction=False) as pipe:
        for n in range(500):
            pipe.set(f"py:p{n}", n)
            pipe.get(f"py:p{n}")
        assert pipe.execute() == [x for n in range(500) for x in (True, str(n))]
    with r.pipeline(transaction=True) as pipe:
        pipe.set("{py}m", 1).incr("{py}m").sadd("{py}set", "x")
        # The cluster client leaves the status of a transaction's SET as it is.
        assert pipe.execute() in ([True, 2, 1], ["OK", 2, 1])
    with r.pipeline(transaction=True) as pipe:
        pipe.watch("{py}m")
        r.set("{py}m", "changed")
        pipe.multi()
        pipe.set("{py}m", "lost")
        try:
            pipe.execute()
            raise AssertionError("WATCH saw nothing")
        except redis.WatchError:
            pass
    assert r.get("{py}m") == "changed"


def scans(r):
    for n in range(300):
        r.set(f"py:scan:{n}", n)
    found = set(r.scan_iter(match="py:scan:*", count=50))
    assert found == {f"py:scan:{n}" for n in range(300)}, len(found)
    assert r.delete(*found) == 300
    assert r.dbsize() > 0 and r.type("py:h") == "hash"


def errors(r):
    for wrong, said in (
        (lambda: r.lpush("py:h", 1), "WRONGTYPE"),
        (lambda: r.incr("{py}m"), "not an integer"),
        (lambda: r.execute_command("GET"), "wrong number of arguments"),
        (lambda: r.execute_command("NOSUCH"), "unknown command"),
    ):
        try:
            wrong()
        except redis.ResponseError as error:
            assert said in str(error), error
        else:
            raise AssertionError(f"no error that says {said}")


def blocking(r, other):
    timer = threading.Timer(0.1, lambda: other.rpush("py:block", "late"))
    timer.start()
    assert r.blpop("py:block", timeout=STEP_WAIT_S) in (("py:block", "late"), ["py:block", "late"])
    timer.join()
    assert r.blpop("py:block", timeout=0.05) is None


def streams(r):
    first = r.xadd("py:x", {"n": 1})
    second = r.xadd("py:x", {"n": 2})
    assert [entry for entry, _ in r.xrange("py:x")] == [first, second]
    assert r.xgroup_create("py:x", "group", id="0")
    read = r.xreadgroup("group", "reader", {"py:x": ">"}, count=1)
    entries = read["py:x"] if isinstance(read, dict) else read[0][1]
    flat = entries[0] if isinstance(entries[0], list) else entries
    assert flat == [(first, {"n": "1"})], read
    assert r.xack("py:x", "group", first) == 1 and r.xlen("py:x") == 2
    assert r.xpending("py:x", "group")["pending"] == 0


def pubsub(r, other):
    with other.pubsub(ignore_subscribe_messages=False) as listener:
        listener.subscribe("py:news")
        listener.psubscribe("py:*")
        kinds = [listener.get_message(timeout=STEP_WAIT_S)["type"] for _ in range(2)]
        assert kinds == ["subscribe", "psubscribe"], kinds
        assert r.publish("py:news", "extra") == 2
        heard = [listener.get_message(timeout=STEP_WAIT_S) for _ in range(2)]
        assert {one["type"] for one in heard} == {"message", "pmessage"}, heard
        assert all(one["data"] == "extra" for one in heard), heard


def cluster(host, port):
    """The same steps, with each key at its owner."""
    for protocol in (2, 3):
        connect = lambda: redis.RedisCluster(
            host, port, protocol=protocol, decode_responses=True, socket_timeout=STEP_WAIT_S,
        )
        r, other = connect(), connect()
        assert len(r.get_primaries()) >= 1
        r.flushall()
        for step in (
            strings, hashes, lists, sets, sorted_sets, expiry, pipelines, scans, streams,
        ):
            step(r)
        blocking(r, other)
        assert r.cluster_keyslot("{py}x") == r.keyslot("{py}x")
        assert r.cluster_countkeysinslot(r.keyslot("py:l")) == 1
        assert r.cluster_get_keys_in_slot(r.keyslot("py:l"), 5) == ["py:l"]
        assert r.cluster_info()["cluster_state"] == "ok"
        # Every owner is asked, and the sum is right.
        assert r.dbsize() == len(r.keys()) == len(set(r.scan_iter()))
        try:
            r.execute_command("MGET", "a", "b", target_nodes=r.get_random_node())
            raise AssertionError("keys of two slots in one command")
        except redis.exceptions.ClusterCrossSlotError:
            pass
        r.close()
        other.close()


def main(host, port, cluster_port):
    hello(host, port)
    for protocol in (2, 3):
        # An answer that doesn't come is a failure at once.
        connect = lambda: redis.Redis(
            host, port, protocol=protocol, decode_responses=True,
            socket_timeout=STEP_WAIT_S, retry=Retry(NoBackoff(), 0),
        )
        r, other = connect(), connect()
        r.flushall()
        for step in (
            strings, hashes, lists, sets, sorted_sets, expiry, pipelines, scans, errors, streams,
        ):
            step(r)
        blocking(r, other)
        pubsub(r, other)
        r.close()
        other.close()
    cluster(host, cluster_port)
    print(f"redis-py {redis.__version__}: all steps passed, plain and cluster, RESP2 and RESP3")


main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
