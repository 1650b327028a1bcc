#!/usr/bin/env bash
# Files that Debian's redis-server saves, imported by `atoll redis import` and compared.
#
#   e2e/redis/import.sh BIN ATOLL HOST PORT     BIN: the folder that tools.sh put Redis into
set -euo pipefail

bin=$1
atoll=$2
to=$3:$4
ours=("$bin/redis-cli" -h "$3" -p "$4")
scratch=$(mktemp -d)
pid=

fail() {
    printf 'import: %s\n' "$*" >&2
    exit 1
}
finish() {
    [[ -z $pid ]] || { kill "$pid" && wait "$pid"; } 2>/dev/null || true
    rm -rf "$scratch"
}
trap finish EXIT

port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
theirs=("$bin/redis-cli" -p "$port")
"$bin/redis-server" --port "$port" --bind 127.0.0.1 --dir "$scratch" --save '' \
    --maxmemory-policy allkeys-lfu --proto-max-bulk-len 512mb >"$scratch/log" 2>&1 &
pid=$!
tries=0
until [[ $("${theirs[@]}" ping 2>&1) == PONG ]]; do
    tries=$((tries + 1))
    ((tries < 200)) || fail "redis-server doesn't serve: $(tail -5 "$scratch/log")"
    sleep 0.05
done

# redis SCRIPT: a script for the redis-server that must answer OK.
redis() {
    local said
    said=$("${theirs[@]}" "${@:2}" eval "$1 return 'OK'" 0)
    [[ $said == OK ]] || fail "redis-server: $said"
}

# save: what is there, as a file in $scratch/dump.rdb.
save() { [[ $("${theirs[@]}" save) == OK ]] || fail "SAVE"; }

# both SORT COMMAND...: the same answer from both servers; SORT is sort or cat.
both() {
    local order=$1 want got
    shift
    want=$("${theirs[@]}" "$@" | $order | sha256sum)
    got=$("${ours[@]}" "$@" | $order | sha256sum)
    [[ $want == "$got" ]] || fail "$*: the answers differ"
}

# import WANT [OPTION ...]: what the import says about the keys.
import() {
    local want=$1 said
    shift
    said=$("$atoll" redis import "$scratch/dump.rdb" --redis "$to" "$@" 2>&1) || true
    [[ ${said%%$'\n'*} == *": $want" ]] || fail "expected '$want', got: $said"
}

"${ours[@]}" flushall >/dev/null

# Small values of every type, each in a form for few and in one for many, in two databases.
redis "
for i = 1, 300 do
    redis.call('set', 'text:' .. i, string.rep('v' .. i, i % 50))
    redis.call('set', 'number:' .. i, i * i * i - 1000)
end
redis.call('set', 'binary', '\\0\\1\\255\\r\\n')
redis.call('set', 'ends', 'later', 'pxat', 4102444800000)
for _, name in ipairs({'few', 'many'}) do
    for i = 1, name == 'few' and 5 or 700 do
        redis.call('rpush', 'list:' .. name, i, 'item ' .. i)
        redis.call('sadd', 'numbers:' .. name, i * 70000)
        redis.call('sadd', 'words:' .. name, 'member ' .. i)
        redis.call('hset', 'hash:' .. name, 'field ' .. i, i, i, 'value ' .. i)
        redis.call('zadd', 'sorted:' .. name, i / 8, 'member ' .. i)
        redis.call('xadd', 'stream:' .. name, i .. '-1', 'f', i, 'g', 'value')
    end
    redis.call('zadd', 'sorted:' .. name, '-inf', 'first', 'inf', 'last')
    redis.call('pfadd', 'count:' .. name, 1, 2, 3, name)
    redis.call('xdel', 'stream:' .. name, '2-1')
    redis.call('xgroup', 'create', 'stream:' .. name, 'group', '1-1')
    redis.call('xreadgroup', 'group', 'group', 'ann', 'count', 2, 'streams', 'stream:' .. name, '>')
end
"
redis "redis.call('set', 'other', 'database')" -n 3
save
import "617 keys imported, 0 skipped as expired, 0 already there, 0 failed"
import "0 keys imported, 0 skipped as expired, 617 already there, 0 failed"
import "617 keys imported, 0 skipped as expired, 0 already there, 0 failed" --replace
both cat dbsize
both cat -n 3 get other
both cat pexpiretime ends
both cat get binary
for i in 1 49 50 300; do
    both cat get "text:$i"
    both cat get "number:$i"
done
for name in few many; do
    both cat lrange "list:$name" 0 -1
    both sort smembers "numbers:$name"
    both sort smembers "words:$name"
    both sort hgetall "hash:$name"
    both cat zrange "sorted:$name" 0 -1 withscores
    both cat xrange "stream:$name" - +
    both cat xpending "stream:$name" group
    both cat pfcount "count:$name"
done

# What ended after it was saved is left out, and what is damaged is refused.
"${theirs[@]}" flushall >/dev/null
"${theirs[@]}" set brief x px 300 >/dev/null
"${theirs[@]}" set stays x >/dev/null
save
sleep 0.4
import "1 keys imported, 1 skipped as expired, 0 already there, 0 failed"
truncate -s -3 "$scratch/dump.rdb"
import "0 keys imported, 1 skipped as expired, 1 already there, 0 failed"

# Values that no request can hold.
"${theirs[@]}" flushall >/dev/null
redis "
local long = string.rep('0123456789', 100)
for i = 1, 8000 do
    redis.call('rpush', 'large:list', long .. i)
    redis.call('sadd', 'large:set', long .. i)
    redis.call('hset', 'large:hash', i, long .. i)
    redis.call('zadd', 'large:sorted', i / 4, long .. i)
    redis.call('append', 'large:text', long .. i)
    redis.call('xadd', 'large:stream', i .. '-1', 'field', long .. i)
end
redis.call('pexpireat', 'large:set', 4102444800000)
"
"${theirs[@]}" config set rdbcompression no >/dev/null
save
import "5 keys imported, 0 skipped as expired, 0 already there, 1 failed"
import "0 keys imported, 0 skipped as expired, 5 already there, 1 failed"
import "5 keys imported, 0 skipped as expired, 0 already there, 1 failed" --replace
both cat exists large:list large:set large:hash large:sorted large:text
both cat pexpiretime large:set
both cat llen large:list
both cat scard large:set
both cat hlen large:hash
both cat strlen large:text
for at in 0 1 3999 -1; do
    both cat lindex large:list $at
    both cat zrange large:sorted $at $at withscores
    both cat hget large:hash $((at * at + 1))
    both cat getrange large:text $((at * 1000)) $((at * 1000 + 2000))
done

echo "import: files of redis-server $("${theirs[@]}" info server | sed -n 's/^redis_version:\([0-9.]*\).*/\1/p') came over as they were"
