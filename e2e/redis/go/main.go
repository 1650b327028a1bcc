// Program redis is a tour of the Redis port through go-redis, with a check behind every step.
//
//	go run . 127.0.0.1:6379 127.0.0.1:7379
//
// The second address is that of the cluster listener, for redis.NewClusterClient. Keys that one
// command or one transaction touches share a hash tag, as on every Redis Cluster.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"reflect"
	"strconv"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

const stepWait = 20 * time.Second

// must ends the program when a step said something else than it should.
func must[T any](want T) func(got T, err error) {
	return func(got T, err error) {
		if err != nil || !reflect.DeepEqual(got, want) {
			panic(fmt.Sprintf("expected %#v, got %#v and %v", want, got, err))
		}
	}
}

func strings(ctx context.Context, r redis.UniversalClient) {
	must("OK")(r.Set(ctx, "go:message", "hello", 0).Result())
	must("hello")(r.Get(ctx, "go:message").Result())
	if err := r.Get(ctx, "go:nothing").Err(); !errors.Is(err, redis.Nil) {
		panic(err)
	}
	must(int64(7))(r.IncrBy(ctx, "go:n", 7).Result())
	must(7.5)(r.IncrByFloat(ctx, "go:n", 0.5).Result())
	must("OK")(r.MSet(ctx, "{go}a", "1", "{go}b", "2").Result())
	must([]any{"1", nil, "2"})(r.MGet(ctx, "{go}a", "{go}x", "{go}b").Result())
}

func collections(ctx context.Context, r redis.UniversalClient) {
	must(int64(2))(r.HSet(ctx, "go:h", "a", 1, "b", 2).Result())
	must(map[string]string{"a": "1", "b": "2"})(r.HGetAll(ctx, "go:h").Result())
	must(int64(3))(r.RPush(ctx, "go:l", "a", "b", "c").Result())
	must([]string{"b", "c"})(r.LRange(ctx, "go:l", 1, -1).Result())
	must(int64(1))(r.SAdd(ctx, "go:s", "x", "x").Result())
	must(true)(r.SIsMember(ctx, "go:s", "x").Result())
	members := []redis.Z{{Score: 1, Member: "a"}, {Score: 2.5, Member: "b"}}
	must(int64(2))(r.ZAdd(ctx, "go:z", members...).Result())
	must(members)(r.ZRangeWithScores(ctx, "go:z", 0, -1).Result())
}

func expiry(ctx context.Context, r redis.UniversalClient) {
	must("OK")(r.Set(ctx, "go:e", "x", time.Minute).Result())
	left, err := r.TTL(ctx, "go:e").Result()
	if err != nil || left <= 50*time.Second || left > time.Minute {
		panic(fmt.Sprint(left, err))
	}
	must(true)(r.Expire(ctx, "go:e", -time.Second).Result())
	must(int64(0))(r.Exists(ctx, "go:e").Result())
}

func pipelines(ctx context.Context, r redis.UniversalClient) {
	said, err := r.Pipelined(ctx, func(pipe redis.Pipeliner) error {
		for n := range 500 {
			key := "go:p" + strconv.Itoa(n)
			pipe.Set(ctx, key, n, 0)
			pipe.Get(ctx, key)
		}
		return nil
	})
	if err != nil {
		panic(err)
	}
	for n := range 500 {
		must(strconv.Itoa(n))(said[2*n+1].(*redis.StringCmd).Result())
	}
	said, err = r.TxPipelined(ctx, func(pipe redis.Pipeliner) error {
		pipe.Incr(ctx, "{go}tx")
		pipe.SAdd(ctx, "{go}txs", "x")
		return nil
	})
	if err != nil || len(said) != 2 {
		panic(fmt.Sprint(said, err))
	}
	err = r.Watch(ctx, func(tx *redis.Tx) error {
		must("OK")(r.Set(ctx, "{go}tx", "changed", 0).Result())
		_, err := tx.TxPipelined(ctx, func(pipe redis.Pipeliner) error {
			pipe.Set(ctx, "{go}tx", "lost", 0)
			return nil
		})
		return err
	}, "{go}tx")
	if !errors.Is(err, redis.TxFailedErr) {
		panic(fmt.Sprint("WATCH saw nothing: ", err))
	}
}

func scan(ctx context.Context, r redis.UniversalClient) {
	for n := range 200 {
		must("OK")(r.Set(ctx, "go:scan:"+strconv.Itoa(n), n, 0).Result())
	}
	var mutex sync.Mutex
	found := map[string]bool{}
	look := func(ctx context.Context, node redis.Cmdable) error {
		keys := node.Scan(ctx, 0, "go:scan:*", 40).Iterator()
		for keys.Next(ctx) {
			mutex.Lock()
			found[keys.Val()] = true
			mutex.Unlock()
		}
		return keys.Err()
	}
	var err error
	if cluster, ok := r.(*redis.ClusterClient); ok {
		err = cluster.ForEachMaster(ctx, func(ctx context.Context, node *redis.Client) error {
			return look(ctx, node)
		})
	} else {
		err = look(ctx, r)
	}
	if err != nil || len(found) != 200 {
		panic(fmt.Sprint(len(found), err))
	}
}

func blocking(ctx context.Context, r redis.UniversalClient) {
	pushed := make(chan error)
	go func() {
		time.Sleep(100 * time.Millisecond)
		pushed <- r.RPush(ctx, "go:block", "late").Err()
	}()
	must([]string{"go:block", "late"})(r.BLPop(ctx, stepWait, "go:block").Result())
	if err := <-pushed; err != nil {
		panic(err)
	}
}

func streams(ctx context.Context, r redis.UniversalClient) {
	id, err := r.XAdd(ctx, &redis.XAddArgs{Stream: "go:x", Values: []string{"n", "1"}}).Result()
	if err != nil {
		panic(err)
	}
	must("OK")(r.XGroupCreate(ctx, "go:x", "group", "0").Result())
	read := &redis.XReadGroupArgs{Group: "group", Consumer: "me", Streams: []string{"go:x", ">"}}
	got, err := r.XReadGroup(ctx, read).Result()
	if err != nil || len(got) != 1 || got[0].Messages[0].Values["n"] != "1" {
		panic(fmt.Sprint(got, err))
	}
	must(int64(1))(r.XAck(ctx, "go:x", "group", id).Result())
}

func pubsub(ctx context.Context, r redis.UniversalClient) {
	listener := r.Subscribe(ctx, "go:news")
	defer listener.Close()
	if _, err := listener.ReceiveTimeout(ctx, stepWait); err != nil {
		panic(err)
	}
	must(int64(1))(r.Publish(ctx, "go:news", "extra").Result())
	message, err := listener.ReceiveMessage(ctx)
	if err != nil || message.Payload != "extra" {
		panic(fmt.Sprint(message, err))
	}
}

func main() {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	for _, protocol := range []int{2, 3} {
		plain := redis.NewClient(&redis.Options{Addr: os.Args[1], Protocol: protocol})
		cluster := redis.NewClusterClient(&redis.ClusterOptions{
			Addrs: []string{os.Args[2]}, Protocol: protocol,
		})
		for _, r := range []redis.UniversalClient{plain, cluster} {
			must("OK")(r.FlushAll(ctx).Result())
			steps := []func(context.Context, redis.UniversalClient){
				strings, collections, expiry, pipelines, scan, blocking, streams, pubsub,
			}
			for _, step := range steps {
				step(ctx, r)
			}
			if err := r.Close(); err != nil {
				panic(err)
			}
		}
	}
	fmt.Printf("go-redis %s: all steps passed, plain and cluster, RESP2 and RESP3\n", redis.Version())
}
