#!/usr/bin/env bash
# Shows every file of the corpora to the parser that it was found for.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
exec cargo test --locked --lib --bins -- corp
