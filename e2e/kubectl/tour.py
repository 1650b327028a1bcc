"""A tour of the Kubernetes API through its Python client, with a check behind every step.

python tour.py KUBECONFIG MANIFEST        the manifest: objects in a namespace called tour
"""

import json
import sys
import time

import yaml
from kubernetes import client, config, dynamic, utils, watch
from kubernetes.client.exceptions import ApiException

NAMESPACE = "tour"
STEP_WAIT_S = 30


def until(what, check):
    """Waits for a condition; its first true value."""
    end = time.monotonic() + STEP_WAIT_S
    while time.monotonic() < end:
        found = check()
        if found:
            return found
        time.sleep(0.05)
    raise AssertionError(f"{what}: not within {STEP_WAIT_S} s")


def refused(status, reason, call, *args, **kwargs):
    """The call must fail so; what the server says about it."""
    try:
        call(*args, **kwargs)
    except ApiException as error:
        said = json.loads(error.body)
        assert (error.status, said["code"], said["reason"]) == (status, status, reason), said
        assert said["kind"] == "Status" and said["status"] == "Failure", said
        return said
    raise AssertionError(f"{call} {args}: was allowed")


def web_pods(core):
    return core.list_namespaced_pod(NAMESPACE, label_selector="app=web").items


def is_rolled_out(apps, replicas):
    deployment = apps.read_namespaced_deployment("web", NAMESPACE)
    status = deployment.status
    return (
        status.observed_generation == deployment.metadata.generation
        and status.replicas == status.updated_replicas == status.available_replicas == replicas
        and deployment
    )


def discovery(api):
    version = client.VersionApi(api).get_code()
    assert "+atoll" in version.git_version, version
    groups = {group.name for group in client.ApisApi(api).get_api_versions().groups}
    assert {"apps", "discovery.k8s.io"} <= groups, groups
    resources = {it.name: it for it in client.AppsV1Api(api).get_api_resources().resources}
    assert resources["deployments"].kind == "Deployment", resources
    nodes = client.CoreV1Api(api).list_node().items
    assert [node.metadata.name for node in nodes] == ["n1"], nodes


def create(api, manifest):
    """Makes what the file says, once as a dry run, and waits for it."""
    core, apps = client.CoreV1Api(api), client.AppsV1Api(api)
    space = core.create_namespace(manifest["Namespace"])
    assert space.metadata.name == NAMESPACE and space.metadata.uid, space
    core.create_namespaced_config_map(NAMESPACE, manifest["ConfigMap"])
    apps.create_namespaced_deployment(NAMESPACE, manifest["Deployment"], dry_run="All")
    refused(404, "NotFound", apps.read_namespaced_deployment, "web", NAMESPACE)
    # The client's own way to make objects of documents.
    utils.create_from_dict(api, manifest["Deployment"])
    utils.create_from_dict(api, manifest["Service"])
    deployment = until("three pods", lambda: is_rolled_out(apps, 3))
    assert deployment.spec.strategy.rolling_update.max_surge == "25%", deployment.spec.strategy
    assert {it.type: it.status for it in deployment.status.conditions}["Available"] == "True"
    for pod in web_pods(core):
        assert pod.status.phase == "Running" and pod.spec.node_name == "n1", pod
        assert pod.metadata.owner_references[0].kind == "ReplicaSet", pod.metadata
    services = core.list_service_for_all_namespaces(field_selector="metadata.name=web").items
    assert [it.spec.ports[0].target_port for it in services] == [8080], services


def pages(core):
    seen, token = [], None
    while True:
        page = core.list_namespaced_pod(NAMESPACE, limit=2, _continue=token)
        assert len(page.items) <= 2, page
        seen += [pod.metadata.name for pod in page.items]
        token = page.metadata._continue
        if not token:
            break
    assert sorted(set(seen)) == seen == [pod.metadata.name for pod in web_pods(core)], seen


def logs(core):
    name = web_pods(core)[0].metadata.name
    said = core.read_namespaced_pod_log(name, NAMESPACE)
    assert "from the environment: hello, tour, from a file: hello, tour" in said, said
    said = core.read_namespaced_pod_log(name, NAMESPACE, tail_lines=1, timestamps=True)
    assert said.count("\n") == 1 and "Z tick " in said, said
    follow = watch.Watch()
    ticks = []
    for line in follow.stream(core.read_namespaced_pod_log, name, NAMESPACE, tail_lines=1):
        ticks.append(line)
        if len(ticks) == 3:
            follow.stop()
    assert all(line.startswith("tick ") for line in ticks), ticks
    refused(404, "NotFound", core.read_namespaced_pod_log, "nothing", NAMESPACE)
    refused(400, "BadRequest", core.read_namespaced_pod_log, name, NAMESPACE, container="nothing")


def patch(api):
    core, apps = client.CoreV1Api(api), client.AppsV1Api(api)
    # The client sends an object as a strategic merge patch, and a list as a JSON patch.
    changed = {"name": "app", "env": [{"name": "EXTRA", "value": "1"}]}
    body = {"spec": {"template": {"spec": {"containers": [changed]}}}}
    deployment = apps.patch_namespaced_deployment("web", NAMESPACE, body)
    (container,) = deployment.spec.template.spec.containers
    assert {it.name for it in container.env} == {"EXTRA", "GREETING"}, container.env
    body = [{"op": "replace", "path": "/spec/replicas", "value": 2}]
    assert apps.patch_namespaced_deployment("web", NAMESPACE, body).spec.replicas == 2
    until("two pods", lambda: is_rolled_out(apps, 2))
    scale = apps.patch_namespaced_deployment_scale("web", NAMESPACE, {"spec": {"replicas": 1}})
    assert scale.spec.replicas == 1, scale
    until("one pod", lambda: is_rolled_out(apps, 1) and len(web_pods(core)) == 1)


def conflicts(core):
    body = client.V1ConfigMap(metadata=client.V1ObjectMeta(name="page"), data={"a": "b"})
    said = refused(409, "AlreadyExists", core.create_namespaced_config_map, NAMESPACE, body)
    assert said["message"] == 'configmaps "page" already exists', said
    assert said["details"] == {"name": "page", "kind": "configmaps"}, said
    old = core.read_namespaced_config_map("page", NAMESPACE)
    core.patch_namespaced_config_map("page", NAMESPACE, {"data": {"more": "1"}})
    old.data["greeting"] = "lost"
    said = refused(409, "Conflict", core.replace_namespaced_config_map, "page", NAMESPACE, old)
    assert "the object has been modified" in said["message"], said
    old.metadata.resource_version = None
    new = core.replace_namespaced_config_map("page", NAMESPACE, old)
    assert new.data == {"greeting": "lost"}, new

    said = refused(404, "NotFound", core.read_namespaced_config_map, "nothing", NAMESPACE)
    assert said["message"] == 'configmaps "nothing" not found', said
    body = client.V1ConfigMap(metadata=client.V1ObjectMeta(name="Not A Name"))
    said = refused(422, "Invalid", core.create_namespaced_config_map, NAMESPACE, body)
    assert [it["field"] for it in said["details"]["causes"]] == ["metadata.name"], said


def server_side_apply(core):
    def apply(manager, value, **kwargs):
        body = {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "shared"},
            "data": {"a": value},
        }
        return core.patch_namespaced_config_map(
            "shared",
            NAMESPACE,
            body,
            field_manager=manager,
            _content_type="application/apply-patch+yaml",
            **kwargs,
        )

    assert apply("one", "1").data == {"a": "1"}
    said = refused(409, "Conflict", apply, "two", "2")
    assert [it["reason"] for it in said["details"]["causes"]] == ["FieldManagerConflict"], said
    made = apply("two", "2", force=True)
    managers = {it.manager for it in made.metadata.managed_fields}
    assert made.data == {"a": "2"} and managers == {"two"}, made


def watch_pods(core):
    """Sees a pod come, run and go, and goes on from where a list was made."""
    begin = core.list_namespaced_pod(NAMESPACE, label_selector="watched").metadata.resource_version
    command = "trap 'exit 0' TERM; while true; do sleep 0.05; done"
    body = client.V1Pod(
        metadata=client.V1ObjectMeta(name="short", labels={"watched": "yes"}),
        spec=client.V1PodSpec(
            containers=[client.V1Container(name="c", command=["sh", "-c", command])]
        ),
    )
    core.create_namespaced_pod(NAMESPACE, body)
    seen = []
    events = watch.Watch()
    for event in events.stream(
        core.list_namespaced_pod,
        NAMESPACE,
        label_selector="watched",
        resource_version=begin,
        timeout_seconds=STEP_WAIT_S,
    ):
        pod = event["object"]
        seen.append((event["type"], pod.status.phase))
        assert pod.metadata.name == "short", pod
        is_running = event["type"] == "MODIFIED" and pod.status.phase == "Running"
        if is_running and not pod.metadata.deletion_timestamp:
            core.delete_namespaced_pod("short", NAMESPACE)
        if event["type"] == "DELETED":
            events.stop()
    assert seen[0] == ("ADDED", "Pending") and ("MODIFIED", "Running") in seen, seen
    assert seen[-1][0] == "DELETED", seen
    # A watch that nothing happens in ends when it was asked to.
    quiet = watch.Watch().stream(
        core.list_namespaced_pod, NAMESPACE, label_selector="nobody", timeout_seconds=1
    )
    assert list(quiet) == []


def dynamic_client(api):
    made = dynamic.DynamicClient(api)
    deployments = made.resources.get(api_version="apps/v1", kind="Deployment")
    assert deployments.get(name="web", namespace=NAMESPACE).spec.replicas == 1
    maps = made.resources.get(api_version="v1", kind="ConfigMap")
    body = {"metadata": {"name": "loose"}, "data": {"a": "1"}}
    body |= {"apiVersion": "v1", "kind": "ConfigMap"}
    assert maps.create(body=body, namespace=NAMESPACE).data.a == "1"
    body["data"]["a"] = "2"
    content = "application/merge-patch+json"
    assert maps.patch(body=body, namespace=NAMESPACE, content_type=content).data.a == "2"
    applied = made.server_side_apply(
        maps, body=body, name="loose", namespace=NAMESPACE, field_manager="tour"
    )
    assert applied.data.to_dict() == {"a": "2"}, applied
    unknown = body | {"metadata": {"name": "x"}, "nope": 1}
    strictly = [("fieldValidation", "Strict")]
    said = refused(400, "BadRequest", maps.create, unknown, NAMESPACE, query_params=strictly)
    assert 'unknown field "nope"' in said["message"], said
    names = [it.metadata.name for it in maps.get(namespace=NAMESPACE).items]
    assert {"loose", "page", "shared"} <= set(names), names
    maps.delete(name="loose", namespace=NAMESPACE)
    refused(404, "NotFound", maps.get, name="loose", namespace=NAMESPACE)
    try:
        made.resources.get(api_version="v1", kind="Nothing")
    except dynamic.exceptions.ResourceNotFoundError:
        pass
    else:
        raise AssertionError("a kind that isn't there was found")


def access(api):
    review = client.V1SelfSubjectAccessReview(
        spec=client.V1SelfSubjectAccessReviewSpec(
            resource_attributes=client.V1ResourceAttributes(
                verb="create", resource="pods", namespace=NAMESPACE
            )
        )
    )
    made = client.AuthorizationV1Api(api).create_self_subject_access_review(review)
    assert made.status.allowed, made


def delete(api):
    core, apps = client.CoreV1Api(api), client.AppsV1Api(api)
    status = apps.delete_namespaced_deployment(
        "web", NAMESPACE, body=client.V1DeleteOptions(propagation_policy="Background")
    )
    assert (status["status"], status["details"]["name"]) == ("Success", "web"), status
    until("its pods are gone", lambda: not web_pods(core))
    refused(404, "NotFound", apps.delete_namespaced_deployment, "web", NAMESPACE)
    core.delete_namespace(NAMESPACE)

    def is_gone():
        return all(it.metadata.name != NAMESPACE for it in core.list_namespace().items)

    until("the namespace is gone", is_gone)
    assert not core.list_namespaced_config_map(NAMESPACE).items


def main(kubeconfig, manifest):
    config.load_kube_config(kubeconfig)
    with open(manifest, encoding="utf-8") as file:
        objects = {it["kind"]: it for it in yaml.safe_load_all(file)}
    with client.ApiClient() as api:
        core = client.CoreV1Api(api)
        until("a node", lambda: core.list_node().items)
        steps = [
            (discovery, api),
            (create, api, objects),
            (pages, core),
            (logs, core),
            (patch, api),
            (conflicts, core),
            (server_side_apply, core),
            (watch_pods, core),
            (dynamic_client, api),
            (access, api),
            (delete, api),
        ]
        for step, *args in steps:
            step(*args)
            print(f"ok  {step.__name__}")


if __name__ == "__main__":
    main(*sys.argv[1:])
