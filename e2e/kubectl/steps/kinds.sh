# shellcheck shell=bash
# Kinds beside Deployments, sessions with pods, and what is measured. Sourced by tour.sh.

kinds() {
    k apply -f "$manifests/kinds.yaml" >/dev/null
    stateful
    daemons
    jobs
    secrets
    expect "a ReplicationController" "replicationcontroller/old scaled" "$(k scale rc old --replicas=2)"
    until_says "its pods" 2 field rc old .status.readyReplicas
    k delete serviceaccount default >/dev/null
    until_says "each namespace has a ServiceAccount" serviceaccount/default k get sa default -o name
    k delete -f "$manifests/kinds.yaml" --wait=false >/dev/null
    until_says "all are gone" "" k get sts,ds,jobs,cronjobs,rc -o name
    until_says "their pods, too" "" k get pods -l 'app in (db,watcher,old)' -o name
    ok kinds
}

lives() { k exec "$1" -- sh -c 'wc -l < data/lives' | tr -d ' '; }

stateful() {
    k rollout status statefulset/db --timeout=30s >/dev/null
    expect "pods by ordinal" "pod/db-0 pod/db-1" "$(k get pods -l app=db -o name | paste -sd ' ')"
    expect "a first life" 1 "$(lives db-0)"
    k delete pod db-0 --wait=false >/dev/null
    until_says "it comes back to its files" 2 lives db-0
    k set env statefulset/db LEVEL=2 >/dev/null
    k rollout status statefulset/db --timeout=30s >/dev/null
    expect "an update" "2" "$(k exec db-1 -- sh -c 'echo $LEVEL')"
    expect_like "rollout history" '^2 ' "$(k rollout history statefulset/db)"
    k rollout undo statefulset/db >/dev/null 2>&1
    k rollout status statefulset/db --timeout=30s >/dev/null
    expect "undo" "1" "$(k exec db-1 -- sh -c 'echo $LEVEL')"
    k scale statefulset db --replicas=1 >/dev/null
    until_says "the last one goes" "pod/db-0" k get pods -l app=db -o name
    until_says "its status" 1 field statefulset db .status.readyReplicas
    expect_like "get" '^db +1/1 ' "$(k get sts db)"
}

daemons() {
    until_says "a pod on each node" 1 field daemonset watcher .status.numberReady
    k rollout restart daemonset/watcher >/dev/null
    k rollout status daemonset/watcher --timeout=30s >/dev/null
    expect_like "get" '^watcher +1 +1 +1 +1 +1 ' "$(k get ds watcher)"
}

jobs() {
    expect "wait" "job.batch/sums condition met" "$(k wait --for=condition=complete job/sums --timeout=30s)"
    expect "what it did" "index 0 index 1 index 2" \
        "$(k logs -l job-name=sums --tail=-1 | sort | paste -sd ' ')"
    expect "its status" "0-2" "$(field job sums .status.completedIndexes)"
    if since 21 "batch/v1 CronJobs"; then
        k create job --from=cronjob/hourly now >/dev/null
        k wait --for=condition=complete job/now --timeout=30s >/dev/null
        expect "a CronJob's job" "by the clock" "$(k logs job/now)"
        k delete job now >/dev/null
    fi
    k create job bad --image=host -- sh -c 'exit 3' >/dev/null
    until_says "one that fails" 1 field job bad .status.failed
    k delete job bad >/dev/null
}

secrets() {
    expect "a secret" "hush" "$(field secret login .data.word | base64 -d)"
    expect_like "get" '^login +Opaque +1 ' "$(k get secret login)"
    expect_like "describe" '^word: +4 bytes$' "$(k describe secret login)"
    expect "create secret" "secret/pair created" "$(k create secret generic pair --from-literal=a=1 --from-literal=b=2)"
    k delete secret pair >/dev/null
}

sessions() {
    local pod port said
    pod=$(first_pod)
    expect "exec" "good.day, tour" "$(k exec "$pod" -- cat etc/page/greeting)"
    expect "exec with input" "ABC" "$(printf abc | k exec -i "$pod" -- tr a-z A-Z)"
    said=0
    k exec "$pod" -- sh -c 'exit 7' 2>/dev/null || said=$?
    expect "its exit code" 7 "$said"
    refused "exec of nothing" "no-such-program" k exec "$pod" -- no-such-program
    expect "much output" 3000000 "$(k exec "$pod" -- head -c 3000000 /dev/zero | wc -c)"
    head -c 2000000 /dev/urandom >"$scratch/sent"
    expect "much input" "$(sha256sum <"$scratch/sent")" \
        "$(k exec -i "$pod" -- sha256sum <"$scratch/sent")"
    mkdir -p "$scratch/out"
    (cd "$scratch" && k cp sent "${pod#pod/}:copied" && k cp "${pod#pod/}:copied" out/back >/dev/null)
    expect "cp there and back" "$(sha256sum <"$scratch/sent")" "$(sha256sum <"$scratch/out/back")"
    if command -v script >/dev/null; then
        expect_part "exec with a terminal" "/dev/pts/" \
            "$(HOME=$scratch script -qec "$kubectl exec -it $pod -- tty" /dev/null </dev/null)"
    fi
    background attached attach "$pod"
    until_written attached tick

    k apply -f "$manifests/listens.yaml" >/dev/null
    k wait --for=condition=Ready pod/listens --timeout=30s >/dev/null
    port=$(free_port)
    background forwarded port-forward pod/listens "$port:7777"
    until_written forwarded "Forwarding from 127.0.0.1:$port"
    for said in 1 2 3; do
        expect "port-forward $said" "you said $said" \
            "$(python3 -c 'import socket,sys
s = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
s.sendall(sys.argv[2].encode() + b"\n")
print(s.makefile().readline(), end="")' "$port" "$said")"
    done
    k delete -f "$manifests/listens.yaml" --wait=false >/dev/null
    ok sessions
}

budgets() {
    local pod
    expect "a budget" "poddisruptionbudget.policy/web created" \
        "$(k create -f - <<<'{"apiVersion":"policy/v1","kind":"PodDisruptionBudget","metadata":{"name":"web"},"spec":{"minAvailable":3,"selector":{"matchLabels":{"app":"web"}}}}')"
    until_says "what it allows" 0 field pdb web .status.disruptionsAllowed
    pod=$(first_pod)
    refused "an eviction" "Cannot evict pod as it would violate the pod's disruption budget" \
        k create --raw "/api/v1/namespaces/tour/pods/${pod#pod/}/eviction" -f - \
        <<<"{\"apiVersion\":\"policy/v1\",\"kind\":\"Eviction\",\"metadata\":{\"name\":\"${pod#pod/}\"}}"
    expect_like "get" '^web +3 +N/A +0 ' "$(k get pdb web)"
    k delete pdb web >/dev/null
    ok budgets
}

measured() { k top pods -l app=web --no-headers 2>/dev/null | grep -qE '^web-[a-z0-9-]+ +[0-9]+m +[0-9]+Mi'; }
measures() {
    until_true "top pods" measured
    expect_like "top nodes" '^n1 +[0-9]+m +[0-9]+% +[0-9]+Mi +[0-9]+%' "$(k top nodes --no-headers)"
    k create -f - >/dev/null <<'END'
{"apiVersion":"autoscaling/v2","kind":"HorizontalPodAutoscaler","metadata":{"name":"web"},
 "spec":{"scaleTargetRef":{"apiVersion":"apps/v1","kind":"Deployment","name":"web"},
  "minReplicas":4,"maxReplicas":5,"metrics":[{"type":"Resource","resource":{"name":"cpu","target":{"type":"AverageValue","averageValue":"2"}}}]}}
END
    until_says "an autoscaler keeps to its least" 4 field deployment web .spec.replicas
    k delete hpa web >/dev/null
    k scale deployment web --replicas=3 >/dev/null
    rolled_out web
    older_versions
    ok measures
}

# An older version of a kind is another look at the same objects.
older_versions() {
    local share=--cpu-percent=80
    ((minor < 34)) || share=--cpu=80%
    expect "autoscale" "horizontalpodautoscaler.autoscaling/web autoscaled" \
        "$(k autoscale deployment web --min=3 --max=5 "$share")"
    expect "its metric" 80 "$(field hpa web '.spec.metrics[0].resource.target.averageUtilization')"
    expect "its share in v1" "autoscaling/v1 80" \
        "$(k get horizontalpodautoscalers.v1.autoscaling web -o 'jsonpath={.apiVersion} {.spec.targetCPUUtilizationPercentage}')"
    background older get horizontalpodautoscalers.v1.autoscaling web --watch -o 'jsonpath={.spec.targetCPUUtilizationPercentage}/{.kind} '
    until_written older "^80/HorizontalPodAutoscaler "
    k patch horizontalpodautoscalers.v1.autoscaling web --type=merge -p '{"spec":{"targetCPUUtilizationPercentage":60}}' >/dev/null
    until_written older " 60/HorizontalPodAutoscaler "
    expect "a patch in v1" "60 Utilization" \
        "$(k get horizontalpodautoscalers.v2.autoscaling web -o 'jsonpath={.spec.metrics[0].resource.target.averageUtilization} {.spec.metrics[0].resource.target.type}')"
    k apply --server-side --field-manager=older -f - >/dev/null <<'END'
{"apiVersion":"autoscaling/v1","kind":"HorizontalPodAutoscaler","metadata":{"name":"shop"},
 "spec":{"scaleTargetRef":{"apiVersion":"apps/v1","kind":"Deployment","name":"none"},"maxReplicas":4,"targetCPUUtilizationPercentage":50}}
END
    expect "an apply in v1" 50 "$(field hpa shop '.spec.metrics[0].resource.target.averageUtilization')"
    expect_like "explain" 'targetCPUUtilizationPercentage' "$(k explain hpa.spec --api-version=autoscaling/v1)"
    expect_like "get" '^web +Deployment/web ' "$(k get horizontalpodautoscalers.v1.autoscaling web)"
    k delete hpa web shop >/dev/null
    expect "create cronjob" "cronjob.batch/nightly created" \
        "$(k create cronjob nightly --image=host --schedule='0 3 * * *' -- true)"
    expect "in v1beta1" "batch/v1beta1 0 3 * * *" \
        "$(k get cronjobs.v1beta1.batch nightly -o 'jsonpath={.apiVersion} {.spec.schedule}')"
    k delete cronjobs.v1beta1.batch nightly >/dev/null
    k scale deployment web --replicas=3 >/dev/null
    rolled_out web
}

# With the helm that comes beside kubectl, if there is one.
releases() {
    local helm=${kubectl%/*}/helm chart=$scratch/chart
    [[ -x $helm ]] || { echo "skip releases: there is no helm beside this kubectl"; return; }
    h() { HOME=$scratch timeout 60 "$helm" -n tour "$@"; }
    mkdir -p "$chart/templates"
    printf 'apiVersion: v2\nname: shop\nversion: 0.1.0\n' >"$chart/Chart.yaml"
    printf 'replicas: 1\n' >"$chart/values.yaml"
    cat >"$chart/templates/shop.yaml" <<'END'
apiVersion: apps/v1
kind: Deployment
metadata: {name: {{ .Release.Name }}}
spec:
  replicas: {{ .Values.replicas }}
  selector: {matchLabels: {app: {{ .Release.Name }}}}
  template:
    metadata: {labels: {app: {{ .Release.Name }}}}
    spec:
      terminationGracePeriodSeconds: 1
      containers: [{name: app, command: [sh, -c, "while :; do sleep 0.2; done"]}]
END
    h install shop "$chart" --wait --timeout 40s >/dev/null
    expect "install" 1 "$(field deployment shop .status.readyReplicas)"
    h upgrade shop "$chart" --set replicas=2 --wait --timeout 40s >/dev/null
    expect "upgrade" 2 "$(field deployment shop .status.readyReplicas)"
    expect_like "history" '^2 .*deployed' "$(h history shop)"
    h rollback shop 1 --wait --timeout 40s >/dev/null
    expect "rollback" 1 "$(field deployment shop .spec.replicas)"
    h uninstall shop --wait --timeout 40s >/dev/null
    refused "it is gone" "not found" k get deployment shop
    ok releases
}
