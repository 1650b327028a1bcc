#!/usr/bin/env bash
# Runs every foreign client's tour, each against a fresh server of one node.
#
#   e2e/scripts/clients.sh atoll PATH      (or: etcd PATH, or: redis PATH, to check the tours
#                                           themselves against the server that they are made for)
#
# Needs what e2e/scripts/tools.sh installs. Goes on after a failure, and names all of them.
set -uo pipefail

kind=$1
server=$2
here=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
tools=${ATOLL_TOOLS:-$HOME/.cache/atoll-tools}
scratch=$(mktemp -d)
pid=
cluster_pid=
failed=()

stop() {
    local one
    for one in $pid $cluster_pid; do
        { kill "$one" && wait "$one"; } 2>/dev/null
    done
    pid=
    cluster_pid=
}
finish() {
    stop
    rm -rf "$scratch"
}
trap finish EXIT

free_port() {
    python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}

# Whether the server says that it serves.
is_up() {
    if [[ $kind == redis ]]; then
        [[ $("$tools/bin/redis-cli" -p "$redis_port" ping 2>&1) == PONG ]] &&
            is_cluster_up
    else
        curl --silent --fail --max-time 2 "$endpoint/health" >/dev/null
    fi
}

# Whether a Redis of its own, which is a cluster, has all slots and says so.
is_cluster_up() {
    local cli=("$tools/bin/redis-cli" -p "$cluster_port")
    "${cli[@]}" cluster addslotsrange 0 16383 >/dev/null 2>&1
    [[ $("${cli[@]}" cluster info 2>&1) == *cluster_state:ok* ]]
}

# Starts a server in a new directory; sets $port and $endpoint, $redis_port and $cluster_port.
start() {
    local dir peer
    dir=$(mktemp -d -p "$scratch")
    port=$(free_port)
    redis_port=$(free_port)
    cluster_port=$(free_port)
    peer=$(free_port)
    endpoint=http://127.0.0.1:$port
    log=$dir/log
    case $kind in
    atoll)
        "$server" start --dir "$dir/data" --listen-client "127.0.0.1:$port" \
            --listen-redis "127.0.0.1:$redis_port" \
            --listen-redis-cluster "127.0.0.1:$cluster_port" \
            --listen-kubernetes "127.0.0.1:$(free_port)" \
            --listen-peer "127.0.0.1:$peer" >"$log" 2>&1 &
        ;;
    etcd)
        "$server" --data-dir "$dir/data" --listen-client-urls "$endpoint" \
            --advertise-client-urls "$endpoint" --listen-peer-urls "http://127.0.0.1:$peer" \
            --log-level error >"$log" 2>&1 &
        ;;
    redis)
        mkdir "$dir/cluster"
        "$server" --port "$cluster_port" --dir "$dir/cluster" --save '' --cluster-enabled yes \
            --cluster-port "$peer" --cluster-announce-ip 127.0.0.1 >"$log.cluster" 2>&1 &
        cluster_pid=$!
        "$server" --port "$redis_port" --dir "$dir" --save '' >"$log" 2>&1 &
        ;;
    *)
        echo "clients: no such server: $kind" >&2
        exit 2
        ;;
    esac
    pid=$!
    local tries=0
    until is_up; do
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
    start
    if ! alone "$@"; then
        echo "== the server said:"
        tail -20 "$log"
    fi
    stop
}

# alone NAME COMMAND...: a tour that starts its server itself.
alone() {
    local name=$1 begin=$SECONDS
    shift
    echo "== $name"
    if (cd "$here" && "$@"); then
        echo "== $name: passed in $((SECONDS - begin)) s"
    else
        failed+=("$name")
        echo "== $name: FAILED"
        return 1
    fi
}

hello() { [[ $(cd go && go run ./hello "$endpoint") == "/example = hello world" ]]; }
go_tour() { (cd go && go run ./tour "$endpoint"); }
python_tour() { "$tools/python/bin/python" python/tour.py 127.0.0.1 "$port"; }
etcdctl() { ./etcdctl.sh "$1" "$endpoint"; }

redis_cli() { redis/cli.sh "$tools/bin" 127.0.0.1 "$redis_port"; }
redis_import() { redis/import.sh "$tools/bin" "$server" 127.0.0.1 "$redis_port"; }
redis_python() { "$tools/redis-python/bin/python" redis/tour.py 127.0.0.1 "$redis_port" "$cluster_port"; }
redis_node() {
    node redis/node/tour.mjs 127.0.0.1 "$redis_port" "$cluster_port" "$tools/redis-node"
}
redis_go() { (cd redis/go && go run . "127.0.0.1:$redis_port" "127.0.0.1:$cluster_port"); }
redis_java() {
    java -cp "$tools/redis-java/*" redis/java/Tour.java 127.0.0.1 "$redis_port" "$cluster_port"
}

if [[ $kind != redis ]]; then
    tour "Go, hello" hello
    tour "Go, client v3.6" go_tour
    tour "Python, aetcd" python_tour
    tour "etcdctl 3.4" etcdctl "$tools/etcd-deb/usr/bin/etcdctl"
    tour "etcdctl 3.5" etcdctl "$tools/etcd-3.5/etcdctl"
    tour "etcdctl 3.7" etcdctl "$tools/etcd-go/etcdctl"
fi
# Plain clients and cluster clients, of a node that owns everything.
if [[ $kind != etcd ]]; then
    tour "redis-cli and redis-benchmark" redis_cli
    tour "Python, redis-py" redis_python
    tour "JavaScript, node-redis and ioredis" redis_node
    tour "Go, go-redis" redis_go
    tour "Java, Jedis" redis_java
fi

if [[ $kind == atoll ]]; then
    tour "Files of redis-server" redis_import
    # What runs pods has to look after more than a server.
    server=$(realpath "$server")
    alone "kubectl 1.20" kubectl/tour.sh "$tools/kubectl-deb/usr/bin/kubectl" "$server"
    alone "kubectl 1.37" kubectl/tour.sh "$tools/kubectl-1.37/kubectl" "$server"
    alone "Pods of two machines" kubectl/machines.sh "$tools/kubectl-1.37/kubectl" "$server"
    alone "Python, kubernetes" kubectl/python.sh "$tools/kubernetes-python/bin/python" "$server"
    alone "gunicorn's requests and h2spec" gateway/tour.sh "$server" "$tools/gunicorn-corpus" \
        "$tools/h2spec/h2spec"
fi

if ((${#failed[@]})); then
    printf 'clients: failed: %s\n' "${failed[@]}"
    exit 1
fi
echo "clients: all passed"
