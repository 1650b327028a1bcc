// Program redis is a tour of the Redis port through go-redis, with a check behind every step.
//
//	go run . 127.0.0.1:6379
//
// Keys that one command or one transaction touches share a hash tag, as on every Redis Cluster.
// The same steps through redis.NewClusterClient belong at the end of main, once a cluster
// listener is there to be asked for its nodes.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"reflect"
	"strconv"
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

func strings(ctx context.Context, r *redis.Client) {
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

func collections(ctx context.Context, r *redis.Client) {
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

func expiry(ctx context.Context, r *redis.Client) {
	must("OK")(r.Set(ctx, "go:e", "x", time.Minute).Result())
	left, err := r.TTL(ctx, "go:e").Result()
	if err != nil || left <= 50*time.Second || left > time.Minute {
		panic(fmt.Sprint(left, err))
	}
	must(true)(r.Expire(ctx, "go:e", -time.Second).Result())
	must(int64(0))(r.Exists(ctx, "go:e").Result())
}

func pipelines(ctx context.Context, r *redis.Client) {
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

func scan(ctx context.Context, r *redis.Client) {
	for n := range 200 {
		must("OK")(r.Set(ctx, "go:scan:"+strconv.Itoa(n), n, 0).Result())
	}
	found := map[string]bool{}
	keys := r.Scan(ctx, 0, "go:scan:*", 40).Iterator()
	for keys.Next(ctx) {
		found[keys.Val()] = true
	}
	if keys.Err() != nil || len(found) != 200 {
		panic(fmt.Sprint(len(found), keys.Err()))
	}
}

func blocking(ctx context.Context, r *redis.Client) {
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

func streams(ctx context.Context, r *redis.Client) {
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

func pubsub(ctx context.Context, r *redis.Client) {
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
		r := redis.NewClient(&redis.Options{Addr: os.Args[1], Protocol: protocol})
		must("OK")(r.FlushAll(ctx).Result())
		steps := []func(context.Context, *redis.Client){
			strings, collections, expiry, pipelines, scan, blocking, streams, pubsub,
		}
		for _, step := range steps {
			step(ctx, r)
		}
		if err := r.Close(); err != nil {
			panic(err)
		}
	}
	fmt.Printf("go-redis %s: all steps passed, with RESP2 and RESP3\n", redis.Version())
}
