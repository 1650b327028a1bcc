# shellcheck shell=bash
# One node of Atoll for a tour, and its end: to be sourced, with $atoll set to the program.
#
# start_node sets $scratch, a folder that is the tour's own, and exports KUBECONFIG. Pods outlive
# the node that started them, so finish_node, which is to run however the tour ends, ends those
# that are left, too.

scratch=$(mktemp -d)
node=
started=()

fail() {
    {
        printf '%s: %s\n' "${0##*/}" "$*"
        # What a tour wants to show besides.
        [[ $(type -t show_state) != function ]] || show_state
        [[ ! -f $scratch/node.log ]] || { echo "the node said:"; tail -20 "$scratch/node.log"; }
    } >&2
    exit 1
}

free_port() {
    python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}

# until_true WHAT COMMAND...: until the command succeeds, within half a minute.
until_true() {
    local what=$1 end=$((SECONDS + 30))
    shift
    until "$@"; do
        ((SECONDS < end)) || fail "$what: not within 30 s"
        sleep 0.05
    done
}

# The ids of the processes of pods: each has its home in the node's folder, or is started with it.
pod_processes() {
    local pattern=$scratch/pattern
    printf '%s' "$scratch/node/pods/" >"$pattern"
    grep -lsaF -f "$pattern" /proc/[0-9]*/{environ,cmdline} | cut -d/ -f3 | sort -u || true
}
no_pod_processes() { [[ -z $(pod_processes) ]]; }

write_kubeconfig() {
    kill -0 "$node" 2>/dev/null || fail "the node has ended"
    "$atoll" kubeconfig --dir "$scratch/node" --namespace "$1" --out "$KUBECONFIG" 2>/dev/null
}

# start_node NAMESPACE: which has its configuration begin in that namespace.
start_node() {
    local listener listeners=()
    for listener in client peer redis redis-cluster kubernetes; do
        listeners+=("--listen-$listener" "127.0.0.1:$(free_port)")
    done
    "$atoll" start --dir "$scratch/node" --node-name n1 "${listeners[@]}" \
        >"$scratch/node.log" 2>&1 &
    node=$!
    export KUBECONFIG=$scratch/kubeconfig
    until_true "a configuration for clients" write_kubeconfig "$1"
}

# Whether a child of this shell has ended, whoever has waited for it.
has_ended() { ! kill -0 "$1" 2>/dev/null; }

finish_node() {
    local pid end=$((SECONDS + 10))
    for pid in "${started[@]}" $node; do kill "$pid" 2>/dev/null || true; done
    if [[ -n $node ]]; then
        until has_ended "$node" || ((SECONDS > end)); do sleep 0.05; done
        kill -9 "$node" 2>/dev/null || true
        until no_pod_processes || ((SECONDS > end)); do
            for pid in $(pod_processes); do kill -9 "$pid" 2>/dev/null || true; done
            sleep 0.05
        done
    fi
    # Networks of pods that are left.
    umount "$scratch"/node/pods/*/network/namespace 2>/dev/null || true
    rm -rf "$scratch"
}
trap finish_node EXIT
