# shellcheck shell=bash
# What is there, and what it is: nothing here changes an object.
# Sourced by tour.sh.

discovery() {
    local said
    said=$(k version -o json)
    expect_like "the server's version" '"gitVersion": "v1\.[0-9]+\.[0-9]+\+atoll' "$said"
    said=$(k api-resources)
    expect_like "api-resources" '^deployments +deploy +apps/v1 +true +Deployment$' "$said"
    expect_like "api-resources" '^nodes +no +v1 +false +Node$' "$said"
    expect_like "api-resources of a group" '^deployments.apps$' \
        "$(k api-resources --api-group=apps --verbs=list,watch -o name)"
    expect_like "api-versions" '^discovery.k8s.io/v1$' "$(k api-versions)"
    expect "get --raw" "ok" "$(k get --raw /healthz)"
    until_part "the node" " Ready " k get node n1 --no-headers
    refused "a kind that isn't there" "the server doesn't have a resource type \"nothings\"" \
        k get nothings
    ok discovery
}

get() {
    local said pod
    pod=$(first_pod)
    said=$(k get deployment web -o wide)
    expect_like "get -o wide" '^NAME +READY +UP-TO-DATE +AVAILABLE +AGE +CONTAINERS +IMAGES +SELECTOR$' "$said"
    expect_like "get -o wide" '^web +3/3 +3 +3 +[0-9]+s +app +app=web$' "$said"
    expect_like "get pods -o wide" "^${pod#pod/} +1/1 +Running +0 +[0-9]+s +127\.0\.0\.1 +n1 " \
        "$(k get pods -o wide)"
    expect_like "get service" '^web +ClusterIP +[0-9.]+ +<none> +80/TCP +[0-9]+s$' "$(k get service)"
    expect_like "get -o yaml" '^  replicas: 3$' "$(k get deployment web -o yaml)"
    expect "get -o json" "web 3 page" "$(k get deployment web -o json | python3 -c '
import json, sys
it = json.load(sys.stdin)
volumes = it["spec"]["template"]["spec"]["volumes"]
print(it["metadata"]["name"], it["status"]["readyReplicas"], volumes[0]["configMap"]["name"])')"
    expect "get -o jsonpath" "hello, tour" "$(field configmap page .data.greeting)"
    expect "get -o custom-columns" $'NAME   WANTED\nweb    3' \
        "$(k get deployments -o custom-columns=NAME:.metadata.name,WANTED:.spec.replicas)"
    expect "get -o go-template" "Running Running Running " \
        "$(k get pods -o go-template='{{range .items}}{{.status.phase}} {{end}}')"
    expect "get, in two pages and more" 3 "$(k get pods --chunk-size=1 --no-headers | wc -l)"
    expect "get by a label" 3 "$(k get pods -l 'app in (web, other),!none' -o name | wc -l)"
    expect "get by a field" "$pod" "$(k get pods --field-selector "metadata.name=${pod#pod/}" -o name)"
    refused "get by a field that isn't served" "field label not supported: colour" \
        k get pods --field-selector colour=red
    expect_like "get --sort-by, everywhere" '^tour +web-' "$(k get pods -A --sort-by=.metadata.name)"
    said=$(k get all)
    for part in "pod/web-" "service/web" "deployment.apps/web" "replicaset.apps/web-"; do
        expect_part "get all" "$part" "$said"
    done
    expect "get what a file names" 4 "$(k get -f "$manifests/web.yaml" -o name | wc -l)"
    ok get
}

describe() {
    local said pod
    pod=$(first_pod)
    said=$(k describe deployment web)
    expect_part "describe deployment" \
        "3 desired | 3 updated | 3 total | 3 available | 0 unavailable" "$said"
    expect_like "describe deployment" '^  Available +True +MinimumReplicasAvailable$' "$said"
    expect_like "describe deployment" 'ScalingReplicaSet .* Scaled up replica set web-[a-z0-9]+ from 0 to 3$' "$said"
    said=$(k describe "$pod")
    expect_like "describe pod" '^Controlled By: +ReplicaSet/web-' "$said"
    expect_like "describe pod" "GREETING: +<set to the key 'greeting' of config map 'page'>" "$said"
    expect_part "describe pod" "/etc/page from page (rw)" "$said"
    expect_part "describe pod" "Successfully assigned tour/${pod#pod/} to n1" "$said"
    expect_part "describe pod" "Started container app" "$said"
    expect_like "describe service" '^Selector: +app=web$' "$(k describe service web)"
    said=$(k describe node n1)
    expect_part "describe node" "AgentReady" "$said"
    expect_part "describe node" "${pod#pod/}" "$said"
    expect_like "describe namespace" '^Status: +Active$' "$(k describe namespace tour)"
    ok describe
}

logs() {
    local said pod
    pod=$(first_pod)
    said=$(k logs "$pod")
    expect_like "logs" '^port [0-9]+, from the environment: hello, tour, from a file: hello, tour$' "$said"
    expect_like "logs --tail" '^tick [0-9]+$' "$(k logs "$pod" --tail=1)"
    expect "logs --tail, of all pods" 3 "$(k logs -l app=web --tail=1 | wc -l)"
    expect_like "logs of a deployment" '^tick [0-9]+$' "$(k logs deployment/web -c app --tail=1 2>/dev/null)"
    expect_like "logs --timestamps" '^20[0-9-]+T[0-9:.]+Z tick [0-9]+$' "$(k logs "$pod" --tail=1 --timestamps)"
    expect "logs --limit-bytes" "port" "$(k logs "$pod" --limit-bytes=4)"
    background follow logs -f "$pod" --tail=1
    until_written follow '^tick [0-9]*[05]$'
    kill "$pid"
    refused "logs of a container that isn't there" "container nothing is not valid for pod ${pod#pod/}" \
        k logs "$pod" -c nothing
    refused "logs of a life before the first" 'previous terminated container "app" in pod' \
        k logs "$pod" --previous
    refused "logs of a pod that isn't there" 'pods "nothing" not found' k logs nothing
    ok logs
}

explain() {
    local said
    said=$(k explain deployment.spec.strategy)
    expect_like "explain" '^KIND: +Deployment$' "$said"
    expect_like "explain" '^ +rollingUpdate' "$said"
    expect_like "explain --recursive" '^ +terminationGracePeriodSeconds' "$(k explain pods --recursive)"
    refused "explain what isn't there" 'field "nothing" does not exist' k explain pod.spec.nothing
    ok explain
}

auth() {
    expect "auth can-i" "yes" "$(k auth can-i create pods)"
    expect_like "auth can-i --list" '^deployments.apps ' "$(k auth can-i --list)"
    if since 27 "auth whoami"; then
        expect_like "auth whoami" '^Groups +\[.*system:authenticated.*\]$' "$(k auth whoami)"
    fi
    ok auth
}
