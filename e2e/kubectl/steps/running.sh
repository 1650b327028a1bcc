# shellcheck shell=bash
# What comes of what was written: pods that run, are replaced, moved and ended.
# Sourced by tour.sh.

scale() {
    expect "scale" "deployment.apps/web scaled" "$(k scale deployment web --replicas=4 --current-replicas=2)"
    rolled_out web
    expect "as many pods" 4 "$(pod_names | wc -l)"
    refused "scale from what isn't so" "Expected replicas to be 9, was 4" \
        k scale deployment web --replicas=1 --current-replicas=9
    k scale deployment web --replicas=2 >/dev/null
    until_says "status.replicas" 2 field deployment web .status.replicas
    if since 24 "patch --subresource"; then
        expect "patch --subresource" "scale.autoscaling/web patched" \
            "$(k patch deployment web --subresource=scale --type=merge -p '{"spec":{"replicas":5}}')"
        until_says "status.replicas" 5 field deployment web .status.replicas
    fi
    k scale deployment web --replicas=3 >/dev/null
    rolled_out web
    until_says "status.replicas" 3 field deployment web .status.replicas
    ok scale
}

pod_uids() { k get pods -l app=web -o 'jsonpath={range .items[*]}{.metadata.uid}{"\n"}{end}'; }
# Whether none of these pods, as pod_uids names them, is there.
none_of() { ! grep -qxF -f <(printf '%s\n' "$1") <<<"$(pod_uids)"; }

rollout() {
    local before said
    expect "set env" "deployment.apps/web env updated" "$(k set env deployment/web COLOUR=green)"
    rolled_out web
    expect_like "set env --list" '^COLOUR=green$' "$(k set env deployment/web --list)"
    expect "rollout history" "1 2 3" "$(k rollout history deployment/web | awk '/^[0-9]/ {print $1}' | paste -sd ' ')"
    expect_like "rollout history --revision" 'COLOUR:\s+green' "$(k rollout history deployment/web --revision=3)"
    k rollout undo deployment/web >/dev/null 2>&1
    rolled_out web
    expect "rollout undo" "EXTRA GREETING" "$(field deployment web '.spec.template.spec.containers[0].env[*].name')"
    k rollout undo deployment/web --to-revision=1 >/dev/null 2>&1
    rolled_out web
    expect "rollout undo --to-revision" "GREETING" \
        "$(field deployment web '.spec.template.spec.containers[0].env[*].name')"
    refused "rollout undo to what isn't there" "unable to find specified revision 99 in history" \
        k rollout undo deployment/web --to-revision=99
    expect "an old revision's pods are gone" 3 "$(pod_names | wc -l)"

    before=$(field deployment web .status.observedGeneration)
    k rollout pause deployment/web >/dev/null
    k set env deployment/web COLOUR=blue >/dev/null
    until_says "a paused deployment is looked at" $((before + 2)) field deployment web .status.observedGeneration
    expect "a paused deployment" "" "$(field deployment web .status.updatedReplicas)"
    refused "rollout undo of a paused deployment" "paused deployment" k rollout undo deployment/web
    k rollout resume deployment/web >/dev/null
    rolled_out web

    before=$(pod_uids)
    expect "rollout restart" "deployment.apps/web restarted" "$(k rollout restart deployment/web)"
    rolled_out web
    until_true "old pods are gone" none_of "$before"

    # One that can't be rolled out: what was there goes on.
    k set image deployment/web app=127.0.0.1:9/not/here:1 >/dev/null
    until_part "an image that isn't here" "ImagePull" k get pods -l app=web
    refused "rollout status --timeout" "timed out waiting for the condition" \
        k rollout status deployment/web --timeout=1s
    expect_like "available all the while" '^web +3/3 +1 +3 ' "$(k get deployment web)"
    k rollout undo deployment/web >/dev/null 2>&1
    rolled_out web
    said=$(k describe deployment web)
    expect_like "what it has been through" '^NewReplicaSet: +web-[a-z0-9]+ \(3/3 replicas created\)$' "$said"
    ok rollout
}

nodes() {
    local said before pod
    k cordon n1 >/dev/null
    expect_like "cordon" '^n1 +Ready,SchedulingDisabled ' "$(k get nodes)"
    before=$(pod_uids)
    pod=$(first_pod)
    said=$(k drain n1 --timeout=30s 2>&1)
    expect_like "drain" "^$pod evicted$" "$said"
    expect_like "drain" '^node/n1 (drained|evicted)$' "$said"
    until_true "drained pods are gone" none_of "$before"
    until_says "nothing runs" "" k get pods --field-selector status.phase=Running -o name
    until_part "why not" "0/1 nodes are available: 1 node(s) were unschedulable" \
        k get events --field-selector reason=FailedScheduling
    expect "uncordon" "node/n1 uncordoned" "$(k uncordon n1)"
    rolled_out web
    ok nodes
}

ends() {
    local said
    k apply -f "$manifests/pods.yaml" >/dev/null
    expect "wait" "pod/two condition met" "$(k wait --for=condition=Ready pod/two --timeout=30s)"
    until_part "a crash loop" "CrashLoopBackOff" k get pod crash
    until_part "a pod that ends" "Completed" k get pod done
    until_part "a pod that fails" " Error " k get pod fails
    until_part "an image that isn't here" "ErrImagePull" k get events --field-selector involvedObject.name=no-image
    until_part "an image that isn't here, later" "ImagePullBackOff" k get pod no-image
    until_part "a ConfigMap that isn't here" "CreateContainerConfigError" k get pod no-config
    until_part "a pod that fits nowhere" "Insufficient cpu" k describe pod too-big
    expect_like "get" '^too-big +0/1 +Pending +0 ' "$(k get pods)"
    expect "how it ended" 4 "$(field pod fails '.status.containerStatuses[0].state.terminated.exitCode')"
    expect "phases" "Failed Pending Succeeded" \
        "$(for pod in fails too-big done; do field pod $pod .status.phase; echo; done | sort | paste -sd ' ')"
    if since 23 "wait --for=jsonpath"; then
        expect "wait --for=jsonpath" "pod/done condition met" \
            "$(k wait --for=jsonpath='{.status.phase}'=Succeeded pod/done --timeout=30s)"
    fi
    refused "wait for what doesn't come" "timed out waiting for the condition" \
        k wait --for=condition=Ready pod/too-big --timeout=1s

    expect "logs --previous" "a short life" "$(k logs crash --previous)"
    expect "logs of one that has ended" $'one\nthree\ntwo' "$(k logs done | sort)"
    expect "logs of one of two" "right" "$(k logs two -c right)"
    expect "logs of an init container" "prepared" "$(k logs two -c first)"
    expect "logs of all" $'left\nprepared\nright' "$(k logs two --all-containers | sort)"
    refused "logs of one that waits" 'container "c" in pod "no-image" is waiting to start' k logs no-image
    refused "logs of one that is nowhere" "does not have a host assigned" k logs too-big

    said=$(k get events --field-selector involvedObject.name=crash,reason=BackOff)
    expect_like "events" '^[0-9]+s +Warning +BackOff +pod/crash +Back-off restarting failed container c in pod crash' "$said"
    expect_part "events of an image" 'Failed to pull image "127.0.0.1:9/not/here:1"' "$(k describe pod no-image)"
    if since 23 "the command events"; then
        expect_like "events --for" 'Warning +FailedScheduling +Pod/too-big +0/1 nodes are available' \
            "$(k events --for=pod/too-big)"
    fi
    k delete -f "$manifests/pods.yaml" --grace-period=1 >/dev/null
    expect "they are gone" "" "$(k get pods -l 'app!=web' -o name)"
    ok ends
}

watch() {
    local some of
    background watch get pods -l watched -w --output-watch-events
    some=$pid
    # Of one that shows all, nobody asks what was chosen before.
    background watch-all get pods -w --output-watch-events
    k apply -f - >/dev/null <<'END'
apiVersion: v1
kind: Pod
metadata: {name: short, labels: {watched: "yes"}}
spec:
  containers: [{name: c, command: [sh, -c, "trap 'exit 0' TERM; while true; do sleep 0.05; done"]}]
END
    for of in watch watch-all; do
        until_written "$of" '^ADDED  *short  *'
        until_written "$of" '^MODIFIED  *short  *1/1  *Running '
    done
    k delete pod short >/dev/null
    for of in watch watch-all; do
        until_written "$of" '^DELETED  *short  *'
        expect_part "a pod that goes" "Terminating" "$(cat "$scratch/$of")"
        expect "it comes once" 1 "$(grep -c '^ADDED  *short ' "$scratch/$of")"
    done
    kill "$some" "$pid"
    ok watch
}

delete() {
    local pod pods uid
    pod=$(first_pod)
    uid=$(field pod "${pod#pod/}" .metadata.uid)
    expect_part "delete a pod" "\"${pod#pod/}\" deleted" "$(k delete "$pod")"
    rolled_out web
    expect "another one takes its place" 3 "$(pod_names | wc -l)"
    none_of "$uid" || fail "a deleted pod is there"

    expect_part "delete a deployment" 'deployment.apps "web" deleted' "$(k delete deployment web)"
    until_says "its pods go" "" pod_names
    expect "its sets are gone" "" "$(k get replicasets -o name)"
    until_true "its processes are gone" no_pod_processes

    k apply -f "$manifests/web.yaml" >/dev/null
    rolled_out web
    pods=$(pod_names)
    k delete deployment web --cascade=orphan >/dev/null 2>&1
    refused "the deployment is gone" 'deployments.apps "web" not found' k get deployment web
    expect "its pods stay" "$pods" "$(pod_names)"
    k apply -f "$manifests/web.yaml" >/dev/null
    rolled_out web
    expect "orphans are adopted" "$pods" "$(pod_names)"
    expect "with their set" 1 "$(k get replicasets -o name | wc -l)"

    [[ -n $(pod_processes) ]] || fail "pods without processes"
    expect_part "delete a namespace" 'namespace "tour" deleted' "$(k delete namespace tour --timeout=30s)"
    refused "it is gone" 'namespaces "tour" not found' k get namespace tour
    expect "all is gone" "" \
        "$(k get pods,deployments,replicasets,services,endpointslices,configmaps,events -n tour -o name)"
    until_true "all processes are gone" no_pod_processes
    ok delete
}
