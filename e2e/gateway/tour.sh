#!/usr/bin/env bash
# What foreign testers of HTTP make of the gateway, against a node of its own.
#
#   e2e/gateway/tour.sh ATOLL CORPUS H2SPEC
#
# CORPUS: the folder with gunicorn's requests; H2SPEC: the program (see ../scripts/tools.sh).
set -euo pipefail

atoll=$(realpath "$1")
corpus=$(realpath "$2")
h2spec=$(realpath "$3")
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=../kubectl/node.sh
source "$here/../kubectl/node.sh"

web=127.0.0.1:$(free_port)
proxied=127.0.0.1:$(free_port)
tls_port=$(free_port)
endpoint=127.0.0.1:$(free_port)
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 \
    -subj /CN=localhost -addext subjectAltName=DNS:localhost,IP:127.0.0.1 \
    -keyout "$scratch/key.pem" -out "$scratch/cert.pem" 2>/dev/null
cat >"$scratch/gateway.toml" <<END
# Who says half a request is not waited for for long.
[listeners.web]
address = "$web"
protocol = "http"
limits = { head_ms = 1000, body_idle_ms = 1000, keep_alive_ms = 1000 }

[listeners.proxied]
address = "$proxied"
protocol = "http"
proxy_protocol = true
limits = { head_ms = 1000, body_idle_ms = 1000, keep_alive_ms = 1000 }

[listeners.tls]
address = "127.0.0.1:$tls_port"
protocol = "http"
tls = { certificates = [{ cert = "cert.pem", key = "key.pem" }] }

# Connections are used again, and gone soon after the last request.
[backends.endpoint]
endpoints = [{ address = "$endpoint" }]
timeouts = { pool_idle_ms = 500 }

[[routes]]
backend = "endpoint"
END
export ATOLL_GATEWAY_FILE=$scratch/gateway.toml
start_node gateway
timeout 300 python3 -B "$here/smuggling.py" "$web" "$proxied" "$endpoint" "$corpus" ||
    fail "the gateway and the corpus"

# h2spec wants something behind the gateway that answers.
python3 -B "$here/backend.py" "$endpoint" &
started+=("$!")
until_true "an answer over TLS" curl --silent --fail --insecure --output "$scratch/answer" \
    "https://127.0.0.1:$tls_port/"
# Strict: what the standard only recommends as well. A case that was left out would be one that
# nobody looked at.
timeout 300 "$h2spec" --tls --insecure --strict --timeout 5 --port "$tls_port" \
    >"$scratch/h2spec.log" 2>&1 || true
grep -q '^146 tests, 146 passed, 0 skipped, 0 failed$' "$scratch/h2spec.log" ||
    fail "h2spec: $(sed -n '/^Failures/,$p' "$scratch/h2spec.log")"
tail -n 1 "$scratch/h2spec.log"
