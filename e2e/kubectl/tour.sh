#!/usr/bin/env bash
# A tour of the Kubernetes API through kubectl, with a check behind every step.
#
#   e2e/kubectl/tour.sh KUBECTL ATOLL        starts a node of its own, and ends it
#
# Works with kubectl 1.20 to 1.37; what a version can't do is said and left out. It runs pods, so
# it needs a machine where `atoll start` may do that.
set -euo pipefail

# Pods with addresses of their own take a bridge and routes: in a network that is the tour's alone.
if [[ $(id -u) == 0 && -z ${TOUR_IS_APART:-} ]]; then
    TOUR_IS_APART=1 exec unshare --net --mount -- "$0" "$@"
fi

kubectl=$(realpath "$1")
atoll=$(realpath "$2")
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
manifests=$here/manifests
tools=${ATOLL_TOOLS:-$HOME/.cache/atoll-tools}
# shellcheck source=node.sh
source "$here/node.sh"
unset KUBECTL_EXTERNAL_DIFF KUBE_EDITOR EDITOR
export TERM=dumb

# What kubectl remembers of servers is in its home.
k() { HOME=$scratch timeout 60 "$kubectl" "$@"; }
show_state() { k get pods,deployments,replicasets -A -o wide || true; }
ok() { printf 'ok  %s\n' "$*"; }

# expect WHAT WANTED GOT
expect() { [[ $2 == "$3" ]] || fail "$1: wanted $(printf %q "$2"), got $(printf %q "$3")"; }
# expect_part WHAT PART GOT
expect_part() { [[ $3 == *"$2"* ]] || fail "$1: wanted something with $(printf %q "$2"), got $3"; }
# expect_like WHAT PATTERN GOT: a line that an extended regular expression describes.
expect_like() { grep -qE -- "$2" <<<"$3" || fail "$1: wanted a line like $2, got $3"; }

# refused WHAT PART COMMAND...: the command must fail, and say this.
refused() {
    local what=$1 part=$2 said
    shift 2
    if said=$("$@" 2>&1); then fail "$what: was allowed: $said"; fi
    expect_part "$what" "$part" "$said"
}

# since MINOR WHAT: whether kubectl is so new; if not, says what is left out.
since() {
    ((minor >= $1)) && return
    printf 'skip %s: kubectl has it since 1.%d, and this is 1.%d\n' "$2" "$1" "$minor"
    return 1
}

says() { [[ $("${@:2}" 2>&1) == "$1" ]]; }
says_part() { [[ $("${@:2}" 2>&1) == *"$1"* ]]; }
# until_says WHAT TEXT COMMAND...: until this is all that the command says; until_part: until it
# is a part of it.
until_says() { until_true "$1: $2" says "${@:2}"; }
until_part() { until_true "$1: $2" says_part "${@:2}"; }

# background NAME COMMAND...: its output goes to $scratch/NAME, its id to $pid.
background() {
    local name=$1
    shift
    HOME=$scratch "$kubectl" "$@" >"$scratch/$name" 2>&1 </dev/null &
    pid=$!
    started+=("$pid")
}
# until_written NAME TEXT: until a background command has written it.
until_written() { until_true "$1 writes $2" grep -qs -- "$2" "$scratch/$1"; }

field() { k get "$1" "$2" -o "jsonpath={$3}"; }
pod_names() { k get pods -l app=web -o name; }
first_pod() { k get pods -l app=web -o 'jsonpath=pod/{.items[0].metadata.name}'; }
rolled_out() {
    expect_part "rollout status of $1" "successfully rolled out" \
        "$(k rollout status "deployment/$1" --timeout=30s)"
}

for part in reading writing running kinds images; do
    # shellcheck source=/dev/null
    source "$here/steps/$part.sh"
done

[[ -z ${TOUR_IS_APART:-} ]] || python3 "$here/loopback.py"
start_node tour
minor=$(k version --client -o json | sed -n 's/.*"minor": "\([0-9]*\).*/\1/p')
discovery
apply
get
describe
logs
patch
scale
rollout
labels
nodes
kinds
sessions
budgets
measures
releases
images
ends
watch
server_side
refusals
explain
auth
delete
printf 'kubectl 1.%d: all steps passed\n' "$minor"
