#!/usr/bin/env bash
# Pods of images on two machines reach each other by their own addresses.
#
#   e2e/kubectl/machines.sh KUBECTL ATOLL
#
# The machines are network namespaces with names of their own, joined by a bridge in a third one.
# It needs root, ip (iproute2) and the tool images-deb, and says so and passes without them.
set -euo pipefail

kubectl=$(realpath "$1")
atoll=$(realpath "$2")
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
tools=${ATOLL_TOOLS:-$HOME/.cache/atoll-tools}
busybox=$tools/images-deb/bin/busybox
if [[ $(id -u) != 0 || ! -x $busybox ]] || ! command -v ip >/dev/null; then
    printf 'skip machines: they need root, ip and the tool images-deb\n'
    exit
fi
# shellcheck source=node.sh
source "$here/node.sh"

# on NUMBER COMMAND...: on a machine.
on() {
    local machine=$1
    shift
    ip netns exec "atoll-$$-$machine" "$@"
}
k() { HOME=$scratch on 1 timeout 60 "$kubectl" "$@"; }
show_state() { k get pods,nodes -o wide || true; }
expect() { [[ $2 == "$3" ]] || fail "$1: wanted $(printf %q "$2"), got $(printf %q "$3")"; }

link_up() {
    local machine
    ip netns add "atoll-$$-switch"
    on switch ip link add bridge type bridge
    on switch ip link set bridge up
    for machine in 1 2; do
        ip netns add "atoll-$$-$machine"
        ip link add lan netns "atoll-$$-$machine" type veth \
            peer name "port$machine" netns "atoll-$$-switch"
        on switch ip link set "port$machine" master bridge up
        on "$machine" ip address add "10.99.0.$machine/24" dev lan
        on "$machine" ip link set lan up
        on "$machine" ip link set lo up
    done
}

finish_machines() {
    local machine
    finish_node
    for machine in 1 2 switch; do
        ip netns delete "atoll-$$-$machine" 2>/dev/null || true
    done
}
trap finish_machines EXIT

# start NUMBER ARGUMENT...: a node on a machine. Both are one machine if they have one name.
start() {
    local machine=$1
    shift
    # shellcheck disable=SC2016
    on "$machine" unshare --uts sh -c 'hostname "$1"; shift; exec "$@"' sh "machine-$machine" \
        "$atoll" start --dir "$scratch/node/pods/$machine" --node-name "n$machine" --insecure \
        --listen-client "10.99.0.$machine:2379" --listen-peer "10.99.0.$machine:2380" \
        --listen-kubernetes "10.99.0.$machine:6443" "$@" >>"$scratch/node.log" 2>&1 &
    started+=("$!")
    node=$!
}
kubeconfig() {
    on 1 "$atoll" kubeconfig --dir "$scratch/node/pods/1" --out "$KUBECONFIG" 2>/dev/null
}
are_ready() { [[ $(k get nodes --no-headers 2>/dev/null | grep -c ' Ready ') == 2 ]]; }
has_route() { on "$1" ip route show "$2" | grep -q "via $3 "; }

export KUBECONFIG=$scratch/kubeconfig
mkdir -p "$scratch/node/pods"
link_up
start 1
until_true "a configuration for clients" kubeconfig
token=$(on 1 "$atoll" --endpoint http://10.99.0.1:2379 token create | grep -o 'atoll1\.[^ ]*' | head -1)
start 2 --join 10.99.0.1:2380 --token "$token"
until_true "two nodes" are_ready
python3 "$here/image.py" "$busybox" "$scratch/" tour/box:1 >"$scratch/digest"
on 1 "$atoll" image import "$scratch/saved.tar" --dir "$scratch/node/pods/1" >"$scratch/imported"
for machine in 1 2; do
    k apply -f - >/dev/null <<YAML
apiVersion: v1
kind: Pod
metadata: {name: web-$machine, labels: {app: web}}
spec:
  nodeName: n$machine
  terminationGracePeriodSeconds: 0
  containers:
  - name: box
    image: tour/box:1
    workingDir: /www
    args: ["hostname > name; exec httpd -f -p 8080"]
    volumeMounts: [{name: www, mountPath: /www}]
  volumes: [{name: www, emptyDir: {}}]
YAML
done
k wait --for=condition=Ready pod/web-1 pod/web-2 --timeout=30s >/dev/null
ips=()
for machine in 1 2; do
    ips+=("$(k get pod "web-$machine" -o 'jsonpath={.status.podIP}')")
done
until_true "a route to the pods of the second machine" has_route 1 "${ips[1]%.*}.0/24" 10.99.0.2
until_true "a route to the pods of the first one" has_route 2 "${ips[0]%.*}.0/24" 10.99.0.1
name() { k exec "web-$1" -- wget -qO- "http://$2:8080/name"; }
expect "from the first machine's pod to the other one" web-2 "$(name 1 "${ips[1]}")"
expect "and back" web-1 "$(name 2 "${ips[0]}")"
expect "from a machine to the other one's pod" web-2 "$(on 1 curl -s "http://${ips[1]}:8080/name")"
k delete node n2 >/dev/null
until_true "the Node comes back" are_ready
range=$(k get node n2 -o 'jsonpath={.spec.podCIDR}')
expect "and asks for the range that its pods have" "${ips[1]%.*}.0/24" "$range"
k delete pod web-1 web-2 >/dev/null
printf 'pods of two machines: all steps passed\n'
