# shellcheck shell=bash
# Containers of images, pulled from a registry on loopback or handed over as files. Sourced by
# tour.sh.

image() { timeout 60 "$atoll" image "$@" --dir "$scratch/node"; }

# runs_of NAME IMAGE: a pod of an image that nobody may fetch.
runs_of() {
    k run "$1" --image="$2" --image-pull-policy=Never >/dev/null
    k wait --for=condition=Ready "pod/$1" --timeout=30s >/dev/null
    expect "what $2 says" "hello from web in /work, process 1" "$(k logs "$1")"
}

images_of_files() {
    local folder=$scratch/files digest
    mkdir "$folder"
    digest=$(python3 "$here/image.py" "$busybox" "$folder/" tour/saved:1)
    expect_part "what is imported" "docker.io/tour/saved:1" "$(image import "$folder/saved.tar")"
    runs_of saved tour/saved:1
    image import "$folder/layout" --name example.invalid/tour/laid >"$scratch/laid"
    expect_part "a tag of a name" "example.invalid/tour/laid:1" "$(cat "$scratch/laid")"
    runs_of laid example.invalid/tour/laid:1
    expect_part "its digest" "example.invalid/tour/laid@$digest" \
        "$(field pod laid .status.containerStatuses[0].imageID)"
    gzip -c "$folder/saved.tar" | image import - --node n1 --name tour/piped:2 >/dev/null
    expect_part "from a pipe" tour/piped:2 "$(image list --output json)"
    until_part "the Node tells which it has" "docker.io/tour/piped:2" field node n1 .status.images
    refused "what is used" "a container on this node" image remove tour/saved:1
    k delete pod saved laid --wait=false >/dev/null
    until_part "its pod is gone" "removed tour/saved:1 on n1" image remove tour/saved:1
    k run gone --image=tour/saved:1 --image-pull-policy=Never >/dev/null
    until_says "what was removed" ErrImageNeverPull field pod gone \
        ".status.containerStatuses[0].state.waiting.reason"
    k delete pod gone --wait=false >/dev/null
    head -c 300000 "$folder/saved.tar" >"$folder/cut.tar"
    refused "half a file" "the archive can't be read" image import "$folder/cut.tar"
    refused "no archive" "n1 did not take it" image import "$busybox"
    refused "no layout" "no index.json" image import "$folder"
    refused "no such node" 'nodes "n9" not found' image import "$folder/saved.tar" --node n9
    expect "nothing of it stays" "" "$(ls "$scratch/node/images/partial")"
}

images() {
    local registry=$tools/images-deb/usr/bin/docker-registry busybox=$tools/images-deb/bin/busybox
    if [[ $(id -u) != 0 || ! -x $registry ]]; then
        printf 'skip images: they need root and the tool images-deb\n'
        return
    fi
    local port host_port digest
    port=$(free_port) host_port=$(free_port)
    cat >"$scratch/registry.yaml" <<YAML
version: 0.1
storage: {filesystem: {rootdirectory: $scratch/registry}}
http: {addr: "127.0.0.1:$port"}
YAML
    "$registry" serve "$scratch/registry.yaml" >"$scratch/registry.log" 2>&1 &
    started+=("$!")
    until_true "a registry" curl -sf -o "$scratch/v2" "http://127.0.0.1:$port/v2/"
    digest=$(python3 "$here/image.py" "$busybox" "127.0.0.1:$port" tour/box:1)
    sed "s/REGISTRY/127.0.0.1:$port/; s/HOST_PORT/$host_port/" "$manifests/images.yaml" |
        k apply -f - >/dev/null
    k wait --for=condition=Ready pod/box --timeout=30s >/dev/null
    expect "what the image says" "hello from web in /work, process 1" "$(k logs box)"
    expect_part "its digest" "127.0.0.1:$port/tour/box@$digest" \
        "$(field pod box .status.containerStatuses[0].imageID)"
    expect "nothing of the machine" "bin dev etc proc sys work" \
        "$(k exec box -- ls / | grep -vx 'data\|config' | paste -sd ' ')"
    expect "volumes where they are asked for" "from the cluster" "$(k exec box -- cat /config/text)"
    k exec box -- touch /data/made
    refused "what is read only" "Read-only" k exec box -- touch /config/new
    expect "its name" box "$(k exec box -- hostname)"
    expect_part "names of Services" "tour.svc.cluster.local" "$(k exec box -- cat /etc/resolv.conf)"
    expect "no capabilities" 0000000000000000 \
        "$(k exec box -- grep CapEff /proc/self/status | tr -dc '0-9a-f' | tail -c 16)"
    until_says "what the pod says goes before" "over mine" k logs other
    until_says "no such image" ErrImagePull field pod missing \
        ".status.containerStatuses[0].state.waiting.reason"
    until_says "no name of an image" InvalidImageName field pod misnamed \
        ".status.containerStatuses[0].state.waiting.reason"
    addresses "$host_port"
    k delete pod box other missing misnamed --wait=false >/dev/null
    until_says "it ends by the image's signal" "" k get pods -l app=images -o name
    k delete configmap images >/dev/null
    images_of_files
    ok images
}

# Two pods that listen on the same port of one machine, and what reaches them.
addresses() {
    local pods one other ip api forwarded
    k wait --for=condition=Available deployment/apart --timeout=30s >/dev/null
    read -r one other <<<"$(k get pods -l app=apart -o 'jsonpath={.items[*].metadata.name}')"
    ip=$(field pod "$other" .status.podIP)
    expect_like "an address of the network of pods" '^10\.244\.0\.[0-9]+$' "$ip"
    expect_part "the pod knows it" "$ip" "$(k exec "$other" -c box -- ip -4 addr show eth0)"
    expect "from pod to pod" "$other" "$(k exec "$one" -c box -- wget -qO- "http://$ip:8080/name")"
    expect "from the machine" "$other" "$(curl -s "http://$ip:8080/name")"
    pods=$(for _ in 1 2 3 4 5 6; do k exec "$one" -c box -- wget -qO- http://apart:8000/name; done)
    expect_part "to a Service by its name: one pod" "$one" "$pods"
    expect_part "to a Service by its name: the other one" "$other" "$pods"
    api=$(k config view -o 'jsonpath={.clusters[0].cluster.server}')
    refused "what listens on the machine's own loopback" "refused" \
        k exec "$one" -c box -- wget -qO- "http://10.244.0.1:${api##*:}/healthz"
    expect "between containers of a pod" "$one" \
        "$(k exec "$one" -c box -- wget -qO- http://127.0.0.1:8081/name)"
    refused "a pod's loopback from another one" "refused" \
        k exec "$one" -c box -- wget -qO- "http://$ip:8081/name"
    forwarded=$(free_port)
    background forward port-forward "pod/$one" "$forwarded:8081"
    until_written forward "Forwarding from"
    expect "a forwarded port of its loopback" "$one" "$(curl -s "http://127.0.0.1:$forwarded/name")"
    kill "$pid"
    until_says "a port of the machine" led curl -s "http://127.0.0.1:$1/name"
    k delete deployment/apart service/apart pod/led >/dev/null
    until_says "pods with addresses end" "" k get pods -l 'app in (apart,led)' -o name
    ok addresses
}
