#!/usr/bin/env bash
# Runs every foreign client's tour, each against a fresh server of one node.
#
#   e2e/scripts/clients.sh atoll PATH      (or: etcd PATH, to check the tours themselves)
#
# Needs what e2e/scripts/tools.sh installs. Goes on after a failure, and names all of them.
set -uo pipefail

kind=$1
server=$2
here=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
tools=${ATOLL_TOOLS:-$HOME/.cache/atoll-tools}
scratch=$(mktemp -d)
pid=
failed=()

stop() {
    [[ -z $pid ]] || { kill "$pid" && wait "$pid"; } 2>/dev/null
    pid=
}
finish() {
    stop
    rm -rf "$scratch"
}
trap finish EXIT

free_port() {
    python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}

# Starts a server in a new directory; sets $port and $endpoint.
start() {
    local dir peer
    dir=$(mktemp -d -p "$scratch")
    port=$(free_port)
    peer=$(free_port)
    endpoint=http://127.0.0.1:$port
    log=$dir/log
    case $kind in
    atoll)
        "$server" start --dir "$dir/data" --listen-client "127.0.0.1:$port" \
            --listen-peer "127.0.0.1:$peer" >"$log" 2>&1 &
        ;;
    etcd)
        "$server" --data-dir "$dir/data" --listen-client-urls "$endpoint" \
            --advertise-client-urls "$endpoint" --listen-peer-urls "http://127.0.0.1:$peer" \
            --log-level error >"$log" 2>&1 &
        ;;
    *)
        echo "clients: no such server: $kind" >&2
        exit 2
        ;;
    esac
    pid=$!
    local tries=0
    until curl --silent --fail --max-time 2 "$endpoint/health" >/dev/null; do
        tries=$((tries + 1))
        if ((tries > 600)) || ! kill -0 "$pid" 2>/dev/null; then
            echo "clients: the server doesn't serve; it said:" >&2
            tail -40 "$log" >&2
            exit 1
        fi
        sleep 0.05
    done
}

# tour NAME COMMAND...: with a server of its own.
tour() {
    local name=$1 begin=$SECONDS
    shift
    start
    echo "== $name"
    if (cd "$here" && "$@"); then
        echo "== $name: passed in $((SECONDS - begin)) s"
    else
        failed+=("$name")
        echo "== $name: FAILED; the server said:"
        tail -20 "$log"
    fi
    stop
}

hello() { [[ $(cd go && go run ./hello "$endpoint") == "/example = hello world" ]]; }
go_tour() { (cd go && go run ./tour "$endpoint"); }
python_tour() { "$tools/python/bin/python" python/tour.py 127.0.0.1 "$port"; }
etcdctl() { ./etcdctl.sh "$1" "$endpoint"; }

tour "Go, hello" hello
tour "Go, client v3.6" go_tour
tour "Python, aetcd" python_tour
tour "etcdctl 3.4" etcdctl "$tools/etcd-deb/usr/bin/etcdctl"
tour "etcdctl 3.5" etcdctl "$tools/etcd-3.5/etcdctl"
tour "etcdctl 3.7" etcdctl "$tools/etcd-go/etcdctl"

if ((${#failed[@]})); then
    printf 'clients: failed: %s\n' "${failed[@]}"
    exit 1
fi
echo "clients: all passed"
