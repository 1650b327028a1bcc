#!/usr/bin/env bash
# A tour of the API through etcd's own command line, with a check behind every step.
#
#   e2e/etcdctl.sh ETCDCTL ENDPOINT        against a fresh server
#
# Works with etcdctl 3.4 to 3.7; what a version doesn't know is said and left out.
set -euo pipefail

binary=$1
unset ETCDCTL_API
# Without the scheme: for some commands etcdctl 3.4 sends the endpoint as it was given as the
# request's :authority, and a URL is none (RFC 9113, section 8.3.1), so HTTP/2 resets the stream.
export ETCDCTL_ENDPOINTS=${2#http://}
scratch=$(mktemp -d)
started=()

finish() {
    local pid
    for pid in "${started[@]}"; do kill "$pid" 2>/dev/null || true; done
    rm -rf "$scratch"
}
trap finish EXIT

ctl() { timeout 20 "$binary" "$@"; }
fail() {
    printf 'etcdctl: %s\n' "$*" >&2
    exit 1
}
ok() { printf 'ok  %s\n' "$*"; }

# expect WHAT WANTED GOT
expect() { [[ $2 == "$3" ]] || fail "$1: wanted $(printf %q "$2"), got $(printf %q "$3")"; }
# expect_part WHAT PART GOT
expect_part() { [[ $3 == *"$2"* ]] || fail "$1: wanted something with $(printf %q "$2"), got $(printf %q "$3")"; }

# refused WHAT MESSAGE COMMAND...: the command must fail with this text of etcd's.
refused() {
    local what=$1 message=$2 said
    shift 2
    if said=$("$@" 2>&1); then fail "$what: was allowed"; fi
    expect_part "$what" "$message" "$said"
}

# wait_for FILE TEXT: until a background command has written it.
wait_for() {
    local tries=0
    until grep -q -- "$2" "$1" 2>/dev/null; do
        tries=$((tries + 1))
        ((tries <= 200)) || fail "no $2 in: $(cat "$1")"
        sleep 0.05
    done
}

# background NAME COMMAND...: its output goes to $scratch/NAME, its id to $pid.
background() {
    local name=$1
    shift
    "$binary" "$@" >"$scratch/$name" 2>&1 </dev/null &
    pid=$!
    started+=("$pid")
}

kv() {
    expect "put" "OK" "$(ctl put k/a 1)"
    expect "put with the previous value" $'OK\nk/a\n1' "$(ctl put k/a 2 --prev-kv)"
    ctl put k/b 3 >/dev/null
    expect "get" $'k/a\n2' "$(ctl get k/a)"
    expect "get a prefix, newest first" $'k/b\n3\nk/a\n2' \
        "$(ctl get k/ --prefix --order=DESCEND --sort-by=MODIFY)"
    expect "get keys only, limited" $'k/a' "$(ctl get k/ --prefix --keys-only --limit=1 | head -1)"
    expect "get a range" $'k/a\n2' "$(ctl get k/a k/b)"
    expect "get serializable" $'k/a\n2' "$(ctl get k/a --consistency=s)"
    expect_part "get as JSON" '"count":1' "$(ctl get k/a --write-out=json)"
    expect "del" "2" "$(ctl del k/ --prefix)"
    expect "get nothing" "" "$(ctl get k/ --prefix)"
    expect "get an old revision" $'k/a\n1' "$(ctl get k/a --rev=2)"
    refused "a future revision" "required revision is a future revision" ctl get k/a --rev=100000
    ok kv
}

txn() {
    ctl put t 1 >/dev/null
    expect_part "txn that succeeds" $'SUCCESS\n\nOK\n\nt\n2' \
        "$(printf 'value("t") = "1"\n\nput t 2\nget t\n\nput t 3\n\n' | ctl txn)"
    expect_part "txn that fails" $'FAILURE\n\nt\n2' \
        "$(printf 'version("t") = "7"\n\nput t 9\n\nget t\n\n' | ctl txn)"
    ok txn
}

watch() {
    ctl put w/0 0 >/dev/null
    background watch watch w/ --prefix --prev-kv --rev=1
    wait_for "$scratch/watch" '^w/0$'
    ctl put w/a 1 >/dev/null
    ctl del w/a >/dev/null
    wait_for "$scratch/watch" '^DELETE$'
    kill "$pid"
    expect "watch" $'PUT\nw/0\n0\nPUT\nw/a\n1\nDELETE\nw/a\n1\nw/a' "$(grep -v '^$' "$scratch/watch")"
    ok watch
}

lease() {
    local id
    id=$(ctl lease grant 60 | awk '{print $2}')
    ctl put l x --lease="$id" >/dev/null
    expect_part "lease timetolive" "granted with TTL(60s)" "$(ctl lease timetolive "$id" --keys)"
    expect_part "lease list" "$id" "$(ctl lease list)"
    expect_part "lease keep-alive" "keepalived with TTL(60)" "$(ctl lease keep-alive --once "$id")"
    expect "lease revoke" "lease $id revoked" "$(ctl lease revoke "$id")"
    expect "a key whose lease is gone" "" "$(ctl get l)"
    refused "a lease that isn't there" "requested lease not found" ctl lease revoke "$id"
    ok lease
}

lock() {
    background lock lock l1 --ttl=5
    wait_for "$scratch/lock" '^l1/'
    background second lock l1 --ttl=5
    local second=$pid
    expect "the command under the lock" "held" "$(ctl lock other --ttl=5 echo held)"
    [[ ! -s $scratch/second ]] || fail "a held lock was given away"
    kill -INT "${started[-2]}"
    wait_for "$scratch/second" '^l1/'
    kill -INT "$second"
    ok lock
}

elect() {
    background elect elect e1 first
    wait_for "$scratch/elect" '^first$'
    background listen elect --listen e1
    wait_for "$scratch/listen" '^first$'
    kill -INT "${started[-2]}" "${started[-1]}"
    ok elect
}

auth() {
    ctl role add root >/dev/null
    ctl user add root:secret >/dev/null
    ctl user grant-role root root >/dev/null
    ctl role add reader >/dev/null
    ctl role grant-permission reader read open/ --prefix >/dev/null
    expect_part "role get" "[open/, open0) (prefix open/)" "$(ctl role get reader)"
    ctl user add ann:pass >/dev/null
    ctl user grant-role ann reader >/dev/null
    expect "user list" $'ann\nroot' "$(ctl user list)"
    expect "auth enable" "Authentication Enabled" "$(ctl auth enable)"
    local root=(--user root:secret)
    refused "nobody" "user name is empty" ctl put open/a 1
    refused "a wrong password" "authentication failed, invalid user ID or password" \
        ctl get open/a --user ann:guess
    expect "root writes" "OK" "$(ctl put open/a 1 "${root[@]}")"
    expect "a reader reads" $'open/a\n1' "$(ctl get open/a --user ann:pass)"
    refused "a reader writes" "permission denied" ctl put open/a 2 --user ann:pass
    refused "a reader reads elsewhere" "permission denied" ctl get k/a --user ann:pass
    refused "a reader makes users" "permission denied" ctl user add eve:x --user ann:pass
    ctl user revoke-role ann reader "${root[@]}" >/dev/null
    refused "rights are gone" "permission denied" ctl get open/a --user ann:pass
    expect "auth disable" "Authentication Disabled" "$(ctl auth disable "${root[@]}")"
    ctl user delete ann >/dev/null
    ctl role delete reader >/dev/null
    refused "a user that isn't there" "user name not found" ctl user get ann
    ok auth
}

maintenance() {
    expect_part "endpoint health" "is healthy" "$(ctl endpoint health 2>&1)"
    expect_part "endpoint status" '"leader":' "$(ctl endpoint status --write-out=json)"
    expect_part "endpoint hashkv" '"hash":' "$(ctl endpoint hashkv --write-out=json)"
    expect_part "member list" "started" "$(ctl member list)"
    expect "alarm list" "" "$(ctl alarm list)"
    local revision
    revision=$(ctl get x --write-out=json | sed 's/.*"revision":\([0-9]*\).*/\1/')
    expect "compaction" "compacted revision $revision" "$(ctl compaction "$revision" --physical)"
    refused "a compacted revision" "required revision has been compacted" ctl get k/a --rev=2
    expect_part "defrag" "Finished defragmenting" "$(ctl defrag 2>&1)"
    ctl snapshot save "$scratch/copy.db" >/dev/null 2>&1 || fail "snapshot save"
    [[ -s $scratch/copy.db ]] || fail "an empty snapshot"
    ok maintenance
}

ctl version
kv
txn
watch
lease
lock
elect
auth
maintenance
