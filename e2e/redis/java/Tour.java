import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Set;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import redis.clients.jedis.DefaultJedisClientConfig;
import redis.clients.jedis.HostAndPort;
import redis.clients.jedis.Jedis;
import redis.clients.jedis.JedisPubSub;
import redis.clients.jedis.RedisClusterClient;
import redis.clients.jedis.RedisProtocol;
import redis.clients.jedis.Response;
import redis.clients.jedis.StreamEntryID;
import redis.clients.jedis.commands.JedisCommands;
import redis.clients.jedis.exceptions.JedisDataException;
import redis.clients.jedis.params.ScanParams;
import redis.clients.jedis.params.SetParams;
import redis.clients.jedis.params.XReadGroupParams;
import redis.clients.jedis.resps.Tuple;

/**
 * A tour of the Redis port through Jedis, with a check behind every step.
 *
 * <pre>java -cp 'JARS/*' Tour.java 127.0.0.1 6379 7379</pre>
 *
 * The second port is that of the cluster listener, for RedisClusterClient. Keys that one command
 * or one transaction touches share a hash tag, as on every Redis Cluster.
 */
public class Tour {
    static final int STEP_WAIT_S = 20;

    static void must(Object want, Object got) {
        if (!Objects.equals(want, got)) {
            throw new AssertionError("expected " + want + ", got " + got);
        }
    }

    static void strings(JedisCommands r) {
        must("OK", r.set("java:message", "hello"));
        must("hello", r.get("java:message"));
        must(null, r.set("java:message", "again", SetParams.setParams().nx()));
        must(null, r.get("java:nothing"));
        must(7L, r.incrBy("java:n", 7));
        must(7.5, r.incrByFloat("java:n", 0.5));
        must("OK", r.mset("{java}a", "1", "{java}b", "2"));
        must(java.util.Arrays.asList("1", null, "2"), r.mget("{java}a", "{java}x", "{java}b"));
    }

    static void collections(JedisCommands r) {
        must(2L, r.hset("java:h", Map.of("a", "1", "b", "2")));
        must(Map.of("a", "1", "b", "2"), r.hgetAll("java:h"));
        must(3L, r.rpush("java:l", "a", "b", "c"));
        must(List.of("b", "c"), r.lrange("java:l", 1, -1));
        must(1L, r.sadd("java:s", "x", "x"));
        must(Set.of("x"), r.smembers("java:s"));
        must(2L, r.zadd("java:z", Map.of("a", 1.0, "b", 2.5)));
        must(List.of(new Tuple("a", 1.0), new Tuple("b", 2.5)),
            r.zrangeWithScores("java:z", 0, -1));
        must(2.5, r.zscore("java:z", "b"));
        try {
            r.lpush("java:h", "x");
            throw new AssertionError("a list in a hash");
        } catch (JedisDataException error) {
            must(true, error.getMessage().startsWith("WRONGTYPE"));
        }
    }

    static void expiry(JedisCommands r) {
        must("OK", r.set("java:e", "x", SetParams.setParams().ex(60)));
        must(true, r.ttl("java:e") > 50 && r.ttl("java:e") <= 60);
        must(1L, r.expire("java:e", -1));
        must(false, r.exists("java:e"));
    }

    static void pipelines(Jedis r) {
        var pipeline = r.pipelined();
        var read = new java.util.ArrayList<Response<String>>();
        for (int n = 0; n < 500; n++) {
            pipeline.set("java:p" + n, "" + n);
            read.add(pipeline.get("java:p" + n));
        }
        pipeline.sync();
        for (int n = 0; n < 500; n++) {
            must("" + n, read.get(n).get());
        }
        var transaction = r.multi();
        var counted = transaction.incr("{java}tx");
        transaction.sadd("{java}txs", "x");
        must(2, transaction.exec().size());
        must(1L, counted.get());
    }

    static void watch(Jedis r, Jedis other) {
        must("OK", r.watch("{java}tx"));
        must("OK", other.set("{java}tx", "changed"));
        var transaction = r.multi();
        transaction.set("{java}tx", "lost");
        must(null, transaction.exec());
        must("changed", r.get("{java}tx"));
    }

    static void scan(Jedis r) {
        var want = new HashSet<String>();
        for (int n = 0; n < 200; n++) {
            want.add("java:scan:" + n);
            r.set("java:scan:" + n, "x");
        }
        var found = new HashSet<String>();
        String cursor = ScanParams.SCAN_POINTER_START;
        do {
            var some = r.scan(cursor, new ScanParams().match("java:scan:*").count(40));
            found.addAll(some.getResult());
            cursor = some.getCursor();
        } while (!cursor.equals(ScanParams.SCAN_POINTER_START));
        must(want, found);
    }

    static void blocking(JedisCommands r, JedisCommands other) {
        var later = CompletableFuture.delayedExecutor(100, TimeUnit.MILLISECONDS);
        var pushed = CompletableFuture.supplyAsync(() -> other.rpush("java:block", "late"), later);
        must(List.of("java:block", "late"), r.blpop(STEP_WAIT_S, "java:block"));
        must(1L, pushed.join());
    }

    static void streams(JedisCommands r) {
        var id = r.xadd("java:x", StreamEntryID.NEW_ENTRY, Map.of("n", "1"));
        must("OK", r.xgroupCreate("java:x", "group", new StreamEntryID(0, 0), false));
        var read = r.xreadGroup("group", "me", new XReadGroupParams(),
            Map.of("java:x", StreamEntryID.XREADGROUP_UNDELIVERED_ENTRY));
        must(Map.of("n", "1"), read.get(0).getValue().get(0).getFields());
        must(1L, r.xack("java:x", "group", id));
    }

    static void pubsub(Jedis r, Jedis other) throws Exception {
        var subscribed = new CompletableFuture<Void>();
        var heard = new CompletableFuture<String>();
        var listener = new JedisPubSub() {
            @Override
            public void onSubscribe(String channel, int count) {
                subscribed.complete(null);
            }

            @Override
            public void onMessage(String channel, String message) {
                heard.complete(message);
                unsubscribe();
            }
        };
        var listens = CompletableFuture.runAsync(() -> other.subscribe(listener, "java:news"));
        subscribed.get(STEP_WAIT_S, TimeUnit.SECONDS);
        must(1L, r.publish("java:news", "extra"));
        must("extra", heard.get(STEP_WAIT_S, TimeUnit.SECONDS));
        listens.get(STEP_WAIT_S, TimeUnit.SECONDS);
    }

    static void clusterPipelines(RedisClusterClient r) {
        var read = new java.util.ArrayList<Response<String>>();
        try (var pipeline = r.pipelined()) {
            for (int n = 0; n < 500; n++) {
                pipeline.set("java:p" + n, "" + n);
                read.add(pipeline.get("java:p" + n));
            }
            pipeline.sync();
        }
        for (int n = 0; n < 500; n++) {
            must("" + n, read.get(n).get());
        }
    }

    public static void main(String[] arguments) throws Exception {
        var address = new HostAndPort(arguments[0], Integer.parseInt(arguments[1]));
        for (var protocol : List.of(RedisProtocol.RESP2, RedisProtocol.RESP3)) {
            var config = DefaultJedisClientConfig.builder()
                .protocol(protocol)
                .socketTimeoutMillis(STEP_WAIT_S * 1000)
                .build();
            try (var r = new Jedis(address, config); var other = new Jedis(address, config)) {
                must("OK", r.flushAll());
                strings(r);
                collections(r);
                expiry(r);
                pipelines(r);
                watch(r, other);
                scan(r);
                blocking(r, other);
                streams(r);
                pubsub(r, other);
            }
        }
        var nodes = Set.of(new HostAndPort(arguments[0], Integer.parseInt(arguments[2])));
        for (var protocol : List.of(RedisProtocol.RESP2, RedisProtocol.RESP3)) {
            var config = DefaultJedisClientConfig.builder()
                .protocol(protocol)
                .socketTimeoutMillis(STEP_WAIT_S * 1000)
                .build();
            try (var r = RedisClusterClient.builder().nodes(nodes).clientConfig(config).build()) {
                must("OK", r.flushAll());
                strings(r);
                collections(r);
                expiry(r);
                clusterPipelines(r);
                blocking(r, r);
                streams(r);
            }
        }
        System.out.println("Jedis: all steps passed, plain and cluster, RESP2 and RESP3");
        // A listener that never ended must not keep the program.
        System.exit(0);
    }
}
