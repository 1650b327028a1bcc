#!/usr/bin/env bash
# The tour of the Kubernetes API through its Python client, against a node of its own.
#
#   e2e/kubectl/python.sh PYTHON ATOLL        PYTHON: one that has requirements.txt's packages
set -euo pipefail

python=$1
atoll=$(realpath "$2")
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=node.sh
source "$here/node.sh"

start_node tour
HOME=$scratch timeout 300 "$python" "$here/tour.py" "$KUBECONFIG" "$here/manifests/web.yaml" ||
    fail "the tour failed"
until_true "all processes are gone" no_pod_processes
