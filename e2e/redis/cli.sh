#!/usr/bin/env bash
# Debian's redis-cli and redis-benchmark against a server of the Redis protocol.
#
#   e2e/redis/cli.sh BIN HOST PORT        BIN: the folder that tools.sh put them into
set -euo pipefail

bin=$1
cli=("$bin/redis-cli" -h "$2" -p "$3")

fail() {
    printf 'cli: %s\n' "$*" >&2
    exit 1
}

# same WANT ARGUMENT ...: what redis-cli prints
same() {
    local want=$1 got
    shift
    got=$("${cli[@]}" "$@" 2>&1) || fail "$*: redis-cli failed: $got"
    [[ $got == "$want" ]] || fail "$*: expected '$want', got '$got'"
}

for protocol in -2 -3; do
    same OK $protocol flushall
    same OK $protocol set message "hello world"
    same "hello world" $protocol get message
    same "" $protocol get nothing
    same 2 $protocol hset h a 1 b 2
    same $'1\n2' $protocol hmget h a b
    same 3 $protocol rpush l x y z
    same $'1) "x"\n2) "y"\n3) "z"' $protocol --no-raw lrange l 0 -1
    same $'(error) WRONGTYPE Operation against a key holding the wrong kind of value' \
        $protocol --no-raw incr l
    # Standard input is the last word.
    printf 'from a pipe' | "${cli[@]}" $protocol -x set piped >/dev/null
    same "from a pipe" $protocol get piped
done

# Mass insertion: raw requests in, and a count of the replies.
said=$(for n in {1..1000}; do printf 'SET mass:%d %d\r\n' "$n" "$n"; done | "${cli[@]}" --pipe 2>&1)
[[ $said == *"errors: 0, replies: 1000"* ]] || fail "--pipe: $said"
found=$("${cli[@]}" --scan --pattern 'mass:*' | sort -u | wc -l)
[[ $found == 1000 ]] || fail "--scan found $found keys of 1000"

for pipeline in 1 16; do
    said=$("$bin/redis-benchmark" -h "$2" -p "$3" -q -n 2000 -c 20 -P $pipeline -r 1000 \
        -t set,get,incr,lpush,rpop,sadd,hset,spop,zadd,lrange_100 2>&1 | tr '\r' '\n') ||
        fail "redis-benchmark: $said"
    [[ $said != *"Error from server"* ]] || fail "redis-benchmark: $said"
done

echo "redis-cli and redis-benchmark: all steps passed, with RESP2 and RESP3"
