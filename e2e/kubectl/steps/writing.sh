# shellcheck shell=bash
# Objects as they are written: patches, field ownership, and what is refused.
# Sourced by tour.sh.

apply() {
    expect "apply" \
        $'namespace/tour created\nconfigmap/page created\ndeployment.apps/web created\nservice/web created' \
        "$(k apply -f "$manifests/web.yaml")"
    rolled_out web
    expect "apply again" \
        $'namespace/tour unchanged\nconfigmap/page unchanged\ndeployment.apps/web unchanged\nservice/web unchanged' \
        "$(k apply -f "$manifests/web.yaml")"
    ok apply
}

patch() {
    local revision
    expect "a strategic patch" "deployment.apps/web patched" "$(k patch deployment web -p \
        '{"spec":{"template":{"spec":{"containers":[{"name":"app","env":[{"name":"EXTRA","value":"1"}]}]}}}}')"
    expect "a strategic patch merges lists" "EXTRA GREETING" \
        "$(field deployment web '.spec.template.spec.containers[0].env[*].name' )"
    expect "and containers" app "$(field deployment web '.spec.template.spec.containers[*].name')"
    rolled_out web
    k patch deployment web --type=merge -p '{"metadata":{"labels":{"tier":"front","app":null}}}' >/dev/null
    expect "a merge patch" '{"tier":"front"}' "$(field deployment web .metadata.labels)"
    expect "a patch that changes nothing" "deployment.apps/web patched (no change)" \
        "$(k patch deployment web --type=merge -p '{"metadata":{"labels":{"tier":"front"}}}')"
    k patch deployment web --type=json \
        -p '[{"op":"test","path":"/spec/replicas","value":3},{"op":"replace","path":"/spec/replicas","value":2}]' >/dev/null
    expect "a JSON patch" 2 "$(field deployment web .spec.replicas)"
    refused "a JSON patch whose test fails" "The request is invalid" \
        k patch deployment web --type=json -p '[{"op":"test","path":"/spec/replicas","value":3}]'
    revision=$(field configmap page .metadata.resourceVersion)
    expect "edit" "configmap/page edited" \
        "$(KUBE_EDITOR='sed -i s/hello/good.day/' k edit configmap page)"
    expect "what was edited" "good.day, tour" "$(field configmap page .data.greeting)"
    [[ $revision != "$(field configmap page .metadata.resourceVersion)" ]] || fail "edit: the same version"
    ok patch
}

labels() {
    expect "label" "service/web labeled" "$(k label service web colour=red)"
    refused "label again" "already has a value" k label service web colour=blue
    k label service web colour=blue --overwrite >/dev/null
    expect "get by the label" "service/web" "$(k get service -l colour=blue -o name)"
    k label service web colour- >/dev/null
    expect "without the label" "" "$(k get service -l colour -o name)"
    expect "annotate" "service/web annotated" "$(k annotate service web note='some text')"
    expect "annotation" "some text" "$(field service web .metadata.annotations.note)"
    refused "a label that is none" "Invalid value" k label service web 'two words=x'
    ok labels
}

# config VALUE: a ConfigMap, on standard output.
config() { printf 'apiVersion: v1\nkind: ConfigMap\nmetadata: {name: shared}\ndata: {a: "%s", b: "1"}\n' "$1"; }

server_side() {
    local said status=0
    expect "apply --server-side" "configmap/shared serverside-applied" \
        "$(config 1 | k apply --server-side --field-manager=one -f -)"
    said=$(config 2 | k apply --server-side --field-manager=two -f - 2>&1) && fail "a conflict: $said"
    expect_part "a conflict" 'conflict with "one"' "$said"
    expect_part "a conflict" ".data.a" "$said"
    config 2 | k apply --server-side --field-manager=two --force-conflicts -f - >/dev/null
    expect "--force-conflicts" 2 "$(field configmap shared .data.a)"
    # What one no longer says, and two doesn't own, goes; what both say stays.
    config 2 | sed 's/b: "1"/c: "1"/' | k apply --server-side --field-manager=one -f - >/dev/null
    config 2 | sed 's/, b: "1"//' | k apply --server-side --field-manager=two -f - >/dev/null
    expect "ownership" '{"a":"2","c":"1"}' "$(field configmap shared .data)"
    said=$(field configmap shared .metadata.resourceVersion)
    config 2 | sed 's/b: "1"/c: "1"/' | k apply --server-side --field-manager=one -f - >/dev/null
    expect "what changes nothing" "$said" "$(field configmap shared .metadata.resourceVersion)"

    expect "apply --dry-run=server" "configmap/shared configured (server dry run)" \
        "$(config 9 | k apply --dry-run=server -f - 2>/dev/null)"
    expect "nothing was written" 2 "$(field configmap shared .data.a)"
    expect "create --dry-run=server" "configmap/other created (server dry run)" \
        "$(k create configmap other --from-literal=a=b --dry-run=server)"
    refused "nothing was made" "not found" k get configmap other

    expect "diff of what is so" "" "$(config 2 | sed 's/, b: "1"//' | k diff -f - 2>&1)"
    said=$(config 7 | k diff -f -) || status=$?
    expect "diff" 1 "$status"
    expect_like "diff" '^-  a: "2"$' "$said"
    expect_like "diff" '^\+  a: "7"$' "$said"
    ok server_side
}

refusals() {
    local web=$manifests/web.yaml live=$scratch/live.yaml
    refused "an unknown field" 'unknown field "nope"' k apply -f - <<<'{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"x"},"nope":1}'
    if since 25 "--validate=warn"; then
        expect_part "an unknown field, with a warning" 'Warning: unknown field "nope"' \
            "$(k apply --validate=warn -f - 2>&1 <<<'{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"x"},"nope":1}')"
        k delete configmap x >/dev/null
    fi
    sed 's/replicas: 3/replicas: three/' "$web" >"$scratch/type.yaml"
    refused "a wrong type" "cannot unmarshal string into Go struct field DeploymentSpec.spec.replicas of type int32" \
        k apply --validate=false -f "$scratch/type.yaml"
    sed 's/replicas: 3/replicas: -3/' "$web" >"$scratch/range.yaml"
    refused "a wrong value" \
        'The Deployment "web" is invalid: spec.replicas: Invalid value: -3: must be greater than or equal to 0' \
        k apply -f "$scratch/range.yaml"
    sed 's/{app: web}/{app: other}/' "$web" >"$scratch/selector.yaml"
    refused "a field that stays" "field is immutable" k apply -f "$scratch/selector.yaml"
    refused "several at once" 'spec.restartPolicy: Unsupported value: "Sometimes"' \
        k create -f - <<<'{"apiVersion":"v1","kind":"Pod","metadata":{"name":"bad_name"},"spec":{"restartPolicy":"Sometimes","containers":[{"name":"c"}]}}'
    refused "no name" "a lowercase RFC 1123 subdomain must consist of" k create configmap UPPER
    refused "a pod's program" "pod updates may not change fields other than" \
        k patch "$(first_pod)" -p '{"spec":{"containers":[{"name":"app","command":["true"]}]}}'
    refused "not there" 'Error from server (NotFound): configmaps "nothing" not found' k get configmap nothing
    refused "to delete what isn't there" 'deployments.apps "nothing" not found' k delete deployment nothing
    refused "in a namespace that isn't there" 'namespaces "nowhere" not found' \
        k create configmap x -n nowhere
    refused "there already" 'configmaps "page" already exists' k create configmap page
    refused "a namespace that stays" "this namespace may not be deleted" k delete namespace default
    k get configmap page -o yaml >"$live"
    k label configmap page changed=since >/dev/null
    refused "an old version" 'Operation cannot be fulfilled on configmaps "page": the object has been modified' \
        k replace -f "$live"
    ok refusals
}
