// A tour of the API through etcd's own Go client, with a check behind every step.
//
//	go run ./tour http://127.0.0.1:2379
//
// It wants a fresh server: it looks at revisions, and it switches authentication on and off.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/concurrency"
	"go.uber.org/zap"
)

// No step may take longer, on a slow and busy machine.
const stepWait = 20 * time.Second

type tour struct {
	endpoint string
	client   *clientv3.Client
}

func main() {
	if len(os.Args) != 2 {
		log.Fatal("usage: tour ENDPOINT")
	}
	t := &tour{endpoint: os.Args[1]}
	client, err := t.connect("", "")
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
	t.client = client

	steps := []struct {
		name string
		run  func(context.Context) error
	}{
		{"kv", t.kv},
		{"txn", t.txn},
		{"watch", t.watch},
		{"compaction", t.compaction},
		{"lease", t.lease},
		{"lock", t.lock},
		{"stm", t.stm},
		{"election", t.election},
		{"cluster", t.cluster},
		{"maintenance", t.maintenance},
		{"snapshot", t.snapshot},
		{"auth", t.auth},
	}
	for _, step := range steps {
		ctx, cancel := context.WithTimeout(context.Background(), stepWait)
		err := step.run(ctx)
		cancel()
		if err != nil {
			log.Fatalf("%s: %v", step.name, err)
		}
		fmt.Printf("ok  %s\n", step.name)
	}
}

func (t *tour) connect(user, password string) (*clientv3.Client, error) {
	return clientv3.New(clientv3.Config{
		Endpoints:   []string{t.endpoint},
		DialTimeout: 5 * time.Second,
		Username:    user,
		Password:    password,
		// Refusals are part of the tour; the client would warn of each.
		Logger: zap.NewNop(),
	})
}

func check(holds bool, format string, arguments ...any) error {
	if holds {
		return nil
	}
	return fmt.Errorf(format, arguments...)
}

func (t *tour) kv(ctx context.Context) error {
	first, err := t.client.Put(ctx, "tour/kv/a", "1")
	if err != nil {
		return err
	}
	second, err := t.client.Put(ctx, "tour/kv/a", "2", clientv3.WithPrevKV())
	if err != nil {
		return err
	}
	if _, err := t.client.Put(ctx, "tour/kv/b", "3"); err != nil {
		return err
	}
	all, err := t.client.Get(ctx, "tour/kv/", clientv3.WithPrefix(),
		clientv3.WithSort(clientv3.SortByKey, clientv3.SortDescend))
	if err != nil {
		return err
	}
	old, err := t.client.Get(ctx, "tour/kv/a", clientv3.WithRev(first.Header.Revision))
	if err != nil {
		return err
	}
	stale, err := t.client.Get(ctx, "tour/kv/", clientv3.WithPrefix(), clientv3.WithSerializable(),
		clientv3.WithCountOnly())
	if err != nil {
		return err
	}
	gone, err := t.client.Delete(ctx, "tour/kv/", clientv3.WithPrefix(), clientv3.WithPrevKV())
	if err != nil {
		return err
	}
	_, empty := t.client.Put(ctx, "", "x")
	return errors.Join(
		check(second.Header.Revision == first.Header.Revision+1, "a put raises the revision by one"),
		check(string(second.PrevKv.Value) == "1", "previous value is %q", second.PrevKv.Value),
		check(len(all.Kvs) == 2 && string(all.Kvs[0].Key) == "tour/kv/b", "sorted range: %v", all.Kvs),
		check(all.Kvs[1].Version == 2 && all.Kvs[1].CreateRevision == first.Header.Revision,
			"version and create revision: %v", all.Kvs[1]),
		check(string(old.Kvs[0].Value) == "1", "an old revision holds %q", old.Kvs[0].Value),
		check(stale.Count == 2 && len(stale.Kvs) == 0, "count only: %d", stale.Count),
		check(gone.Deleted == 2 && len(gone.PrevKvs) == 2, "deleted %d", gone.Deleted),
		check(errors.Is(empty, rpctypes.ErrEmptyKey), "an empty key: %v", empty),
	)
}

func (t *tour) txn(ctx context.Context) error {
	create := func() (*clientv3.TxnResponse, error) {
		return t.client.Txn(ctx).
			If(clientv3.Compare(clientv3.CreateRevision("tour/txn"), "=", 0)).
			Then(clientv3.OpPut("tour/txn", "made")).
			Else(clientv3.OpGet("tour/txn"),
				clientv3.OpTxn(
					[]clientv3.Cmp{clientv3.Compare(clientv3.Value("tour/txn"), "=", "made")},
					[]clientv3.Op{clientv3.OpPut("tour/txn", "seen")}, nil)).
			Commit()
	}
	first, err := create()
	if err != nil {
		return err
	}
	second, err := create()
	if err != nil {
		return err
	}
	last, err := t.client.Get(ctx, "tour/txn")
	if err != nil {
		return err
	}
	_, twice := t.client.Txn(ctx).
		Then(clientv3.OpPut("tour/txn", "1"), clientv3.OpPut("tour/txn", "2")).Commit()
	if !first.Succeeded || second.Succeeded || len(second.Responses) != 2 {
		return fmt.Errorf("first %v, second %v", first, second)
	}
	return errors.Join(
		check(string(second.Responses[0].GetResponseRange().Kvs[0].Value) == "made", "%v", second),
		check(string(last.Kvs[0].Value) == "seen", "the nested transaction left %q", last.Kvs[0].Value),
		check(errors.Is(twice, rpctypes.ErrDuplicateKey), "two puts of one key: %v", twice),
	)
}

func (t *tour) watch(ctx context.Context) error {
	put, err := t.client.Put(ctx, "tour/watch/a", "1")
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	events := t.client.Watch(ctx, "tour/watch/", clientv3.WithPrefix(), clientv3.WithPrevKV(),
		clientv3.WithRev(put.Header.Revision))
	if _, err := t.client.Put(ctx, "tour/watch/a", "2"); err != nil {
		return err
	}
	if _, err := t.client.Delete(ctx, "tour/watch/a"); err != nil {
		return err
	}
	var seen []*clientv3.Event
	for len(seen) < 3 {
		answer, open := <-events
		if !open {
			return fmt.Errorf("the watch ended after %d events", len(seen))
		}
		if err := answer.Err(); err != nil {
			return err
		}
		seen = append(seen, answer.Events...)
	}
	return errors.Join(
		check(len(seen) == 3, "%d events", len(seen)),
		check(seen[0].IsCreate() && seen[1].IsModify(), "kinds: %v", seen),
		check(string(seen[1].PrevKv.Value) == "1", "previous value %q", seen[1].PrevKv.Value),
		check(seen[2].Type == clientv3.EventTypeDelete && string(seen[2].PrevKv.Value) == "2", "%v", seen[2]),
	)
}

func (t *tour) compaction(ctx context.Context) error {
	old, err := t.client.Put(ctx, "tour/compact", "1")
	if err != nil {
		return err
	}
	fresh, err := t.client.Put(ctx, "tour/compact", "2")
	if err != nil {
		return err
	}
	if _, err := t.client.Compact(ctx, fresh.Header.Revision, clientv3.WithCompactPhysical()); err != nil {
		return err
	}
	_, gone := t.client.Get(ctx, "tour/compact", clientv3.WithRev(old.Header.Revision))
	_, future := t.client.Get(ctx, "tour/compact", clientv3.WithRev(fresh.Header.Revision+1000))
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	late := <-t.client.Watch(ctx, "tour/compact", clientv3.WithRev(old.Header.Revision))
	return errors.Join(
		check(errors.Is(gone, rpctypes.ErrCompacted), "a compacted revision: %v", gone),
		check(errors.Is(future, rpctypes.ErrFutureRev), "a future revision: %v", future),
		check(errors.Is(late.Err(), rpctypes.ErrCompacted) && late.CompactRevision == fresh.Header.Revision,
			"a watch of a compacted revision: %v at %d", late.Err(), late.CompactRevision),
	)
}

func (t *tour) lease(ctx context.Context) error {
	short, err := t.client.Grant(ctx, 2)
	if err != nil {
		return err
	}
	kept, err := t.client.Grant(ctx, 60)
	if err != nil {
		return err
	}
	watched, cancel := context.WithCancel(ctx)
	defer cancel()
	events := t.client.Watch(watched, "tour/lease/short", clientv3.WithFilterPut())
	if _, err := t.client.Put(ctx, "tour/lease/short", "x", clientv3.WithLease(short.ID)); err != nil {
		return err
	}
	if _, err := t.client.Put(ctx, "tour/lease/kept", "x", clientv3.WithLease(kept.ID)); err != nil {
		return err
	}
	alive, err := t.client.KeepAliveOnce(ctx, kept.ID)
	if err != nil {
		return err
	}
	left, err := t.client.TimeToLive(ctx, kept.ID, clientv3.WithAttachedKeys())
	if err != nil {
		return err
	}
	all, err := t.client.Leases(ctx)
	if err != nil {
		return err
	}
	expired, open := <-events
	if !open || len(expired.Events) != 1 {
		return fmt.Errorf("no event when a lease ended: %v", expired)
	}
	if _, err := t.client.Revoke(ctx, kept.ID); err != nil {
		return err
	}
	gone, err := t.client.Get(ctx, "tour/lease/", clientv3.WithPrefix())
	if err != nil {
		return err
	}
	_, missing := t.client.Revoke(ctx, kept.ID)
	return errors.Join(
		check(alive.TTL == 60, "kept alive for %d", alive.TTL),
		check(left.GrantedTTL == 60 && len(left.Keys) == 1, "time to live: %v", left),
		check(len(all.Leases) == 2, "leases: %v", all.Leases),
		check(gone.Count == 0, "%d keys outlive their lease", gone.Count),
		check(errors.Is(missing, rpctypes.ErrLeaseNotFound), "revoked twice: %v", missing),
	)
}

func (t *tour) lock(ctx context.Context) error {
	holder, err := concurrency.NewSession(t.client, concurrency.WithTTL(10))
	if err != nil {
		return err
	}
	defer holder.Close()
	waiter, err := concurrency.NewSession(t.client, concurrency.WithTTL(10))
	if err != nil {
		return err
	}
	defer waiter.Close()
	held := concurrency.NewMutex(holder, "tour/lock")
	wanted := concurrency.NewMutex(waiter, "tour/lock")
	if err := held.Lock(ctx); err != nil {
		return err
	}
	if err := wanted.TryLock(ctx); !errors.Is(err, concurrency.ErrLocked) {
		return fmt.Errorf("a held lock was given away: %v", err)
	}
	locked := make(chan error, 1)
	go func() { locked <- wanted.Lock(ctx) }()
	if err := held.Unlock(ctx); err != nil {
		return err
	}
	if err := <-locked; err != nil {
		return err
	}
	return wanted.Unlock(ctx)
}

func (t *tour) stm(ctx context.Context) error {
	if _, err := t.client.Put(ctx, "tour/stm", "a"); err != nil {
		return err
	}
	_, err := concurrency.NewSTM(t.client, func(stm concurrency.STM) error {
		stm.Put("tour/stm", stm.Get("tour/stm")+"b")
		return nil
	}, concurrency.WithAbortContext(ctx))
	if err != nil {
		return err
	}
	answer, err := t.client.Get(ctx, "tour/stm")
	if err != nil {
		return err
	}
	return check(string(answer.Kvs[0].Value) == "ab", "left %q", answer.Kvs[0].Value)
}

func (t *tour) election(ctx context.Context) error {
	session, err := concurrency.NewSession(t.client, concurrency.WithTTL(10))
	if err != nil {
		return err
	}
	defer session.Close()
	election := concurrency.NewElection(session, "tour/election")
	if err := election.Campaign(ctx, "first"); err != nil {
		return err
	}
	if err := election.Proclaim(ctx, "again"); err != nil {
		return err
	}
	leader, err := election.Leader(ctx)
	if err != nil {
		return err
	}
	if err := election.Resign(ctx); err != nil {
		return err
	}
	_, nobody := election.Leader(ctx)
	return errors.Join(
		check(string(leader.Kvs[0].Value) == "again", "leader says %q", leader.Kvs[0].Value),
		check(errors.Is(nobody, concurrency.ErrElectionNoLeader), "after resigning: %v", nobody),
	)
}

func (t *tour) cluster(ctx context.Context) error {
	members, err := t.client.MemberList(ctx)
	if err != nil {
		return err
	}
	if len(members.Members) == 0 {
		return errors.New("no members")
	}
	for _, member := range members.Members {
		if member.ID == 0 || member.Name == "" || len(member.ClientURLs) == 0 {
			return fmt.Errorf("member without identity: %v", member)
		}
	}
	_, unknown := t.client.MemberRemove(ctx, 12345)
	return check(errors.Is(unknown, rpctypes.ErrMemberNotFound), "removing nobody: %v", unknown)
}

func (t *tour) maintenance(ctx context.Context) error {
	status, err := t.client.Status(ctx, t.endpoint)
	if err != nil {
		return err
	}
	if _, err := t.client.Defragment(ctx, t.endpoint); err != nil {
		return err
	}
	first, err := t.client.HashKV(ctx, t.endpoint, 0)
	if err != nil {
		return err
	}
	second, err := t.client.HashKV(ctx, t.endpoint, 0)
	if err != nil {
		return err
	}
	alarms, err := t.client.AlarmList(ctx)
	if err != nil {
		return err
	}
	return errors.Join(
		check(status.Version != "" && status.Leader != 0 && status.DbSize > 0, "status: %v", status),
		check(first.Hash == second.Hash, "two hashes of the same: %d, %d", first.Hash, second.Hash),
		check(len(alarms.Alarms) == 0, "alarms: %v", alarms.Alarms),
	)
}

func (t *tour) snapshot(ctx context.Context) error {
	stream, err := t.client.Snapshot(ctx)
	if err != nil {
		return err
	}
	defer stream.Close()
	size, err := io.Copy(io.Discard, stream)
	if err != nil {
		return err
	}
	return check(size > 0, "an empty snapshot")
}

func (t *tour) auth(ctx context.Context) error {
	c := t.client
	steps := []func() error{
		func() error { _, err := c.RoleAdd(ctx, "root"); return err },
		func() error { _, err := c.UserAdd(ctx, "root", "secret"); return err },
		func() error { _, err := c.UserGrantRole(ctx, "root", "root"); return err },
		func() error { _, err := c.RoleAdd(ctx, "reader"); return err },
		func() error {
			_, err := c.RoleGrantPermission(ctx, "reader", "tour/open/", clientv3.GetPrefixRangeEnd("tour/open/"),
				clientv3.PermissionType(clientv3.PermRead))
			return err
		},
		func() error { _, err := c.UserAdd(ctx, "ann", "pass"); return err },
		func() error { _, err := c.UserGrantRole(ctx, "ann", "reader"); return err },
		func() error { _, err := c.AuthEnable(ctx); return err },
	}
	for _, step := range steps {
		if err := step(); err != nil {
			return err
		}
	}
	root, err := t.connect("root", "secret")
	if err != nil {
		return err
	}
	defer root.Close()
	// Whatever is found below, the server is left open again.
	found := t.rights(ctx, root)
	_, err = root.AuthDisable(ctx)
	return errors.Join(found, err)
}

func (t *tour) rights(ctx context.Context, root *clientv3.Client) error {
	ann, err := t.connect("ann", "pass")
	if err != nil {
		return err
	}
	defer ann.Close()
	if _, err := root.Put(ctx, "tour/open/a", "1"); err != nil {
		return err
	}
	allowed, err := ann.Get(ctx, "tour/open/a")
	if err != nil {
		return err
	}
	_, write := ann.Put(ctx, "tour/open/a", "2")
	_, read := ann.Get(ctx, "tour/kv/a")
	_, admin := ann.UserAdd(ctx, "eve", "x")
	_, anonymous := t.client.Get(ctx, "tour/open/a")
	_, wrong := t.connect("ann", "guess")
	role, err := root.RoleGet(ctx, "reader")
	if err != nil {
		return err
	}
	return errors.Join(
		check(allowed.Count == 1, "a reader reads nothing"),
		check(errors.Is(write, rpctypes.ErrPermissionDenied), "a reader writes: %v", write),
		check(errors.Is(read, rpctypes.ErrPermissionDenied), "outside the range: %v", read),
		check(errors.Is(admin, rpctypes.ErrPermissionDenied), "a reader makes users: %v", admin),
		check(errors.Is(anonymous, rpctypes.ErrUserEmpty), "nobody reads: %v", anonymous),
		check(errors.Is(wrong, rpctypes.ErrAuthFailed), "a wrong password: %v", wrong),
		check(len(role.Perm) == 1, "permissions: %v", role.Perm),
	)
}
