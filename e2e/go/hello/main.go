// The shortest program that a reader of etcd's documentation writes: put, get, print.
package main

import (
	"context"
	"fmt"
	"log"
	"os"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

func main() {
	endpoint := "http://127.0.0.1:2379"
	if len(os.Args) > 1 {
		endpoint = os.Args[1]
	}
	client, err := clientv3.New(clientv3.Config{
		Endpoints:   []string{endpoint},
		DialTimeout: 5 * time.Second,
	})
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()

	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if _, err := client.Put(ctx, "/example", "hello world"); err != nil {
		log.Fatal(err)
	}
	answer, err := client.Get(ctx, "/example")
	if err != nil {
		log.Fatal(err)
	}
	for _, kv := range answer.Kvs {
		fmt.Printf("%s = %s\n", kv.Key, kv.Value)
	}
}
