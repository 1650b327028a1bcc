#!/usr/bin/env bash
# Runs Redis's own Tcl tests against one node, as an external server.
#
#   e2e/redis/tcl/run.sh atoll PATH            compare with redis-passes.txt, but for
#                                              expected-failures.txt
#   e2e/redis/tcl/run.sh atoll PATH --print    print everything that fails, and why
#   e2e/redis/tcl/run.sh redis PATH --record   write redis-passes.txt anew
#
# The node has one partition, or PARTITIONS=1024: then what fails besides is expected where
# expected-failures-1024.txt has it.
# UNITS="unit/scan unit/sort" runs these alone. ENCODINGS=1 also checks what OBJECT ENCODING says;
# that is a measurement, since encodings are nobody's promise, and the lists are without it.
# LOGS=FOLDER keeps what was said.
# Needs what `e2e/scripts/tools.sh redis-deb redis-suite` installs.
#
# Debian's redis-server 7.0.15 passes 1741 tests in this mode, with ENCODINGS=1 as well:
#   e2e/redis/tcl/run.sh redis ~/.cache/atoll-tools/bin/redis-server --record
set -uo pipefail

kind=$1
server=$(realpath "$2")
what=${3:---compare}
what=${what#--}
partitions=${PARTITIONS:-1}
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
tools=${ATOLL_TOOLS:-$HOME/.cache/atoll-tools}
export PATH=$tools/bin:$PATH
scratch=$(mktemp -d)
logs=${LOGS:-$scratch/logs}
lists=(--expected "$here/expected-failures.txt")
if ((partitions > 1)); then lists+=(--expected "$here/expected-failures-1024.txt"); fi
pids=()
# A unit that gets no further for so long is ended; so is one that takes so long in all. Machines
# that do other things as well are slow.
stalled_s=120
unit_s=400

# What makes sense for a server that somebody else started, and whose files are its own affair.
# Two lanes, of about the same length, each with a server of its own: most tests wait for their
# answer before they ask again.
lane_a=(
    unit/hyperloglog unit/dump unit/geo unit/keyspace unit/protocol unit/info-command
    unit/type/string unit/type/incr unit/type/set unit/type/hash unit/sort unit/other
    unit/scripting unit/introspection-2 unit/pause unit/violations unit/quit
)
lane_b=(
    unit/type/list-3 unit/type/list unit/type/stream unit/type/zset unit/type/stream-cgroups
    unit/scan unit/expire unit/multi unit/pubsub unit/slowlog unit/functions unit/introspection
    unit/bitops unit/bitfield unit/lazyfree unit/tracking unit/latency-monitor
)

# Neither server is asked: 40 s of Tcl's own work, and 15 s of waiting for a field of INFO.
skipped=(
    "Fuzzing dense/sparse encoding: Redis should always detect errors"
    "MIGRATE cached connections are released after some time"
)

finish() {
    local pid
    for pid in "${pids[@]}"; do kill "$pid" && wait "$pid"; done 2>/dev/null
    rm -rf "$scratch"
}
trap finish EXIT

free_port() {
    python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}

# start NAME: a server; sets $port.
start() {
    local dir=$scratch/$1
    mkdir -p "$dir"
    port=$(free_port)
    case $kind in
    atoll)
        # As Redis below, which writes no file in this mode: most tests are one write after another.
        # What a script that runs for long keeps waiting depends on the number of shards, which is
        # not to be the machine's.
        "$server" start --dir "$dir/data" --kv-partitions "$partitions" --kv-shards 2 \
            --kv-durability none \
            --listen-redis "127.0.0.1:$port" --listen-redis-cluster "127.0.0.1:$(free_port)" \
            --listen-kubernetes "127.0.0.1:$(free_port)" \
            --listen-client "127.0.0.1:$(free_port)" --listen-peer "127.0.0.1:$(free_port)" \
            >"$logs/$1.log" 2>&1 &
        ;;
    redis)
        "$server" --port "$port" --dir "$dir" --save '' >"$logs/$1.log" 2>&1 &
        ;;
    *)
        echo "tcl: no such server: $kind" >&2
        exit 2
        ;;
    esac
    pids+=($!)
    local tries=0
    until [[ $("$tools/bin/redis-cli" -p "$port" ping 2>&1) == PONG ]]; do
        tries=$((tries + 1))
        if ((tries > 600)) || ! kill -0 "${pids[-1]}" 2>/dev/null; then
            echo "tcl: the server doesn't serve; it said:" >&2
            tail -40 "$logs/$1.log" >&2
            exit 1
        fi
        sleep 0.05
    done
}

# lane NAME PORT BASEPORT UNIT ...: each unit as a run of its own, so that one that aborts takes
# no other with it.
lane() {
    local name=$1 port=$2 base=$3 unit begin options
    shift 3
    cp -r "$tools/redis-suite/." "$scratch/suite-$name"
    cd "$scratch/suite-$name" || return 1
    # The start of every block of tests flushes functions and sets options. A server without
    # these loses the tests of them, not all of the block.
    sed -i -E \
        -e 's/^    r function flush$/    catch {r function flush}/' \
        -e 's/^( +)(r config set \$param \$val)$/\1catch {\2}/' \
        -e 's/^( +)(dict set saved_config .*)$/\1catch {\2}/' tests/support/server.tcl
    options=(
        --host 127.0.0.1 --port "$port" --baseport "$base" --timeout "$stalled_s"
        # An error in one test is that test's, and time is not measured on a shared machine.
        --durable --no-latency --dont-clean --ignore-digest
        --tags "-slow -large-memory -needs:repl -needs:debug"
    )
    [[ -n ${ENCODINGS:-} ]] || options+=(--ignore-encoding)
    for unit in "$@"; do
        printf '%s\n' "${skipped[@]}" >skipped
        if [[ $kind == atoll ]]; then
            python3 "$here/compare.py" not-run "${lists[@]}" "$unit" >>skipped || return 1
            if grep -qxF '*' skipped; then continue; fi
        fi
        begin=$SECONDS
        TERM=dumb timeout --kill-after 5 "$unit_s" tclsh8.6 tests/test_helper.tcl \
            --single "$unit" --skipfile skipped "${options[@]}" >"$logs/${unit//\//_}.tcl" 2>&1
        printf '%s: %d passed, %d failed, %d s\n' "$unit" \
            "$(grep -ac '^\[ok\]' "$logs/${unit//\//_}.tcl")" \
            "$(grep -ac '^\[err\]' "$logs/${unit//\//_}.tcl")" $((SECONDS - begin))
    done
}

only() {
    local unit
    for unit in "$@"; do
        [[ -n ${UNITS:-} && " ${UNITS:-} " != *" $unit "* ]] || echo "$unit"
    done
}

mkdir -p "$logs"
logs=$(realpath "$logs")
start a
port_a=$port
start b
port_b=$port
mapfile -t units_a < <(only "${lane_a[@]}")
mapfile -t units_b < <(only "${lane_b[@]}")
lane a "$port_a" 21100 "${units_a[@]}" &
lanes=($!)
lane b "$port_b" 25100 "${units_b[@]}" &
lanes+=($!)
wait "${lanes[@]}"

units=("${units_a[@]}" "${units_b[@]}")
# Some tests give a server so many milliseconds, or take one connection's order for another's. A
# unit that fails where it should not is run once more, by itself, on a server of its own; what
# fails twice has failed.
if [[ $what == compare ]]; then
    mapfile -t again < <(
        python3 "$here/compare.py" failed --logs "$logs" "${lists[@]}" "${units[@]}"
    )
    if ((${#again[@]} > 0)); then
        echo "tcl: once more, by themselves: ${again[*]}"
        for unit in "${again[@]}"; do
            mv "$logs/${unit//\//_}.tcl" "$logs/${unit//\//_}.first.tcl"
        done
        start again
        lane again "$port" 29100 "${again[@]}"
    fi
fi
python3 "$here/compare.py" "$what" --logs "$logs" "${lists[@]}" "${units[@]}"
