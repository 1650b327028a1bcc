//! Volumes of pods whose programs are processes of the machine: folders, and links to them.
//!
//! Such programs see the machine's files, so nothing can be mounted for them at a path of their
//! choice. What a container mounts at `/data` is `data` below the folder where its program
//! starts.

use std::path::{Path, PathBuf};

use atoll_world::{
    tree::{self, Lies, TreeError},
    workload::sandbox::MountSpec,
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::Value;

use super::{process::Places, runtime::PrepareFailure};
use crate::{
    core::{image, object},
    driver::store::SHUT,
};

/// What files of ConfigMaps and Secrets may be done with, if nobody says.
const FILE_MODE: u32 = 0o644;
/// Finds an object of the pod's namespace by its kind and name.
type Lookup = dyn Fn(&str, &str) -> Option<std::sync::Arc<Value>> + Send + Sync;

/// A container of a pod, whichever list it is in; null if there is none.
pub(super) fn container<'a>(pod: &'a Value, name: &str) -> &'a Value {
    let found = object::containers(pod).find(|it| it["name"] == name);
    found.unwrap_or(&Value::Null)
}

/// Makes all volumes of a pod, and the links to them.
///
/// # Errors
/// One can't be made.
pub(super) fn make(places: &Places, pod: &Value, lookup: &Lookup) -> Result<(), PrepareFailure> {
    let uid = object::uid(pod);
    let_pass(pod, &places.pod(uid)).map_err(|error| failed(error.to_string()))?;
    for volume in object::items(&pod["spec"]["volumes"]) {
        let name = volume["name"].as_str().unwrap_or_default();
        let made = match claim(places, pod, volume) {
            Some(folder) => folder.and_then(|it| {
                let above = it.parent().map_or(Ok(()), |above| let_pass(pod, above));
                let made = above.and_then(|()| make_folder(pod, &it));
                made.map_err(|error| error.to_string())
            }),
            None => make_one(places, pod, volume, name, lookup),
        };
        made.map_err(|why| {
            failed(format!(
                "MountVolume.SetUp failed for volume {name:?} : {why}"
            ))
        })?;
    }
    for container in object::containers(pod) {
        // In a sandbox they are mounted.
        if image::of_container(container).is_none() {
            link(places, uid, pod, container).map_err(failed)?;
        }
    }
    Ok(())
}

/// Makes a folder that is nobody's but the node's user's; unless programs of the machine have to
/// get through it as other users. Into a sandbox what is below is mounted.
fn let_pass(pod: &Value, path: &Path) -> Result<(), TreeError> {
    let says = |of: &Value| !of["securityContext"]["runAsUser"].is_null();
    let is_other = |container: &Value| {
        image::of_container(container).is_none() && (says(container) || says(&pod["spec"]))
    };
    tree::make_folder(path, 0o700)?;
    match object::containers(pod).any(is_other) {
        true => tree::set_rights(path, 0o711),
        false => Ok(()),
    }
}

/// A folder for a pod to write to. Users of images are others than the node's.
fn make_folder(pod: &Value, path: &Path) -> Result<(), TreeError> {
    match image::is_in(pod) {
        true => tree::make_shared_folder(path),
        false => tree::make_folder(path, 0o755),
    }
}

fn failed(message: String) -> PrepareFailure {
    PrepareFailure {
        reason: "FailedMount",
        message,
    }
}

fn make_one(
    places: &Places,
    pod: &Value,
    volume: &Value,
    name: &str,
    lookup: &Lookup,
) -> Result<(), String> {
    let path = places.volume(object::uid(pod), name);
    let told = |error: TreeError| error.to_string();
    if volume.get("emptyDir").is_some() {
        return make_folder(pod, &path).map_err(told);
    }
    if let Some(host) = volume.get("hostPath") {
        return host_path(places, host);
    }
    if let Some(source) = volume.get("configMap") {
        tree::make_folder(&path, 0o755).map_err(told)?;
        let optional = source["optional"] == true;
        let name = source["name"].as_str().unwrap_or_default();
        return match lookup("ConfigMap", name) {
            Some(map) => write_all(&path, source, &map),
            None if optional => Ok(()),
            None => Err(format!("configmap {name:?} not found")),
        };
    }
    if let Some(source) = volume.get("secret") {
        tree::make_folder(&path, 0o755).map_err(told)?;
        let optional = source["optional"] == true;
        let name = source["secretName"].as_str().unwrap_or_default();
        return match lookup("Secret", name) {
            Some(secret) if secret["type"] == SHUT => {
                Err(format!("secret {name:?} can't be opened in this cluster"))
            }
            Some(secret) => write_all(&path, source, &secret),
            None if optional => Ok(()),
            None => Err(format!("secret {name:?} not found")),
        };
    }
    Err(
        "volumes of this kind are not served: emptyDir, hostPath, configMap, secret and the claims of StatefulSets are"
            .to_owned(),
    )
}

/// Where the folder of a claim lies, if a volume is one: it outlives its pod. Only StatefulSets
/// bring a pod back to the node where its folder is.
fn claim(places: &Places, pod: &Value, volume: &Value) -> Option<Result<PathBuf, String>> {
    let name = volume["persistentVolumeClaim"]["claimName"].as_str()?;
    let owner = object::controller(pod);
    Some(
        match owner.is_some_and(|owner| owner["kind"] == "StatefulSet") {
            true => below(&places.claims(object::namespace(pod)), name),
            false => Err(format!(
                "claim {name:?} is none of a StatefulSet's: only volumeClaimTemplates are served"
            )),
        },
    )
}

fn host_path(places: &Places, host: &Value) -> Result<(), String> {
    let path = Path::new(host["path"].as_str().unwrap_or_default());
    if tree::leads_into(path, places.node()) {
        // The authority's keys are there, and other pods' files.
        return Err(format!(
            "hostPath {} leads into the folder of the node",
            path.display()
        ));
    }
    let told = |error: TreeError| error.to_string();
    let lies = tree::lies(path);
    let shown = path.display();
    match (host["type"].as_str().unwrap_or_default(), lies) {
        ("DirectoryOrCreate", Lies::Nothing) => tree::make_folder(path, 0o755).map_err(told),
        ("FileOrCreate", Lies::Nothing) => tree::write_file(path, b"", 0o644).map_err(told),
        ("Directory" | "DirectoryOrCreate", Lies::Folder)
        | ("File" | "FileOrCreate", Lies::File)
        | ("" | "Socket" | "CharDevice" | "BlockDevice", Lies::Folder | Lies::File | Lies::Other) => {
            Ok(())
        }
        ("", Lies::Nothing) => Err(format!("hostPath {shown} is not there")),
        (kind, _) => Err(format!(
            "hostPath type check failed: {shown} is not a {kind}"
        )),
    }
}

/// Writes what an object holds, or the items that are named, as files.
fn write_all(folder: &Path, source: &Value, object: &Value) -> Result<(), String> {
    let default = mode(&source["defaultMode"], FILE_MODE);
    let items: Vec<(String, String, u32)> = match source["items"].as_array() {
        Some(items) => items
            .iter()
            .map(|item| {
                let text = |field: &str| item[field].as_str().unwrap_or_default().to_owned();
                (text("key"), text("path"), mode(&item["mode"], default))
            })
            .collect(),
        None => keys(object)
            .map(|key| (key.clone(), key.clone(), default))
            .collect(),
    };
    for (key, path, mode) in items {
        let Some(bytes) = bytes(object, &key) else {
            if source["optional"] == true {
                continue;
            }
            return Err(format!("references non-existent config key: {key}"));
        };
        let path = below(folder, &path)?;
        let written = match path.parent() {
            Some(parent) => tree::make_folder(parent, 0o755),
            None => Ok(()),
        };
        let written = written.and_then(|()| tree::write_file(&path, &bytes, mode));
        written.map_err(|error| error.to_string())?;
    }
    Ok(())
}

fn mode(value: &Value, default: u32) -> u32 {
    let given = value.as_u64().and_then(|mode| u32::try_from(mode).ok());
    given.unwrap_or(default) & 0o777
}

fn keys(object: &Value) -> impl Iterator<Item = &String> {
    let maps = ["data", "binaryData"].into_iter();
    maps.filter_map(|field| object[field].as_object())
        .flat_map(|map| map.keys())
}

/// What an object holds under a key. A Secret's `data` is base64, a ConfigMap's is text.
pub(super) fn bytes(object: &Value, key: &str) -> Option<Vec<u8>> {
    let decoded = |text: &Value| STANDARD.decode(text.as_str()?).ok();
    if object["kind"] == "Secret" {
        return decoded(&object["data"][key]);
    }
    match object["data"][key].as_str() {
        Some(text) => Some(text.as_bytes().to_vec()),
        None => decoded(&object["binaryData"][key]),
    }
}

/// A path inside a folder. It was checked when the pod was made; this is the place where it
/// would do harm.
fn below(folder: &Path, path: &str) -> Result<PathBuf, String> {
    let is_plain = |part: std::path::Component<'_>| matches!(part, std::path::Component::Normal(_));
    match !path.is_empty() && Path::new(path).components().all(is_plain) {
        true => Ok(folder.join(path)),
        false => Err(format!("path {path:?} leads out of its volume")),
    }
}

/// Where what is mounted under a name lies.
pub(super) fn place(places: &Places, uid: &str, pod: &Value, name: &str) -> Option<PathBuf> {
    let volume = object::items(&pod["spec"]["volumes"]).find(|volume| volume["name"] == name)?;
    if let Some(folder) = claim(places, pod, volume) {
        return folder.ok();
    }
    match volume["hostPath"]["path"].as_str() {
        Some(path) => Some(PathBuf::from(path)),
        None => Some(places.volume(uid, name)),
    }
}

/// What a container mounts in its sandbox.
///
/// # Errors
/// A volume is not there.
pub(super) fn mounts(
    places: &Places,
    uid: &str,
    pod: &Value,
    container: &Value,
) -> Result<Vec<MountSpec>, String> {
    let mounts = object::items(&container["volumeMounts"]).map(|mount| {
        let name = mount["name"].as_str().unwrap_or_default();
        let source = place(places, uid, pod, name);
        let sub_path = mount["subPath"].as_str().filter(|path| !path.is_empty());
        let target = mount["mountPath"].as_str().unwrap_or_default();
        Ok(MountSpec {
            source: source.ok_or_else(|| format!("volume {name:?} is not there"))?,
            sub_path: sub_path.map(PathBuf::from),
            target: Path::new("/").join(target),
            read_only: mount["readOnly"] == true || is_written_once(pod, name),
        })
    });
    mounts.collect()
}

/// Whether a volume holds what the cluster says and programs don't change.
fn is_written_once(pod: &Value, name: &str) -> bool {
    let mut volumes = object::items(&pod["spec"]["volumes"]);
    let volume = volumes.find(|volume| volume["name"] == name);
    volume.is_some_and(|it| it.get("configMap").is_some() || it.get("secret").is_some())
}

/// Makes the links of a container to what it mounts.
fn link(places: &Places, uid: &str, pod: &Value, container: &Value) -> Result<(), String> {
    let work = places.work(uid, container["name"].as_str().unwrap_or_default());
    let told = |error: TreeError| error.to_string();
    tree::make_folder(&work, 0o755).map_err(told)?;
    for mount in object::items(&container["volumeMounts"]) {
        let name = mount["name"].as_str().unwrap_or_default();
        let Some(mut target) = place(places, uid, pod, name) else {
            return Err(format!("volume {name:?} is not there"));
        };
        let sub_path = mount["subPath"].as_str().unwrap_or_default();
        if !sub_path.is_empty() {
            target = below(&target, sub_path)?;
            if tree::lies(&target) == Lies::Nothing {
                tree::make_folder(&target, 0o755).map_err(told)?;
            }
        }
        let at = mount["mountPath"].as_str().unwrap_or_default();
        let at = below(&work, at.trim_matches('/'))?;
        if let Some(parent) = at.parent() {
            tree::make_folder(parent, 0o755).map_err(told)?;
        }
        tree::link(&target, &at).map_err(told)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::json;

    use super::*;

    fn pod(path: &str) -> Value {
        json!({"metadata": {"uid": "u"}, "spec": {
            "volumes": [
                {"name": "empty", "emptyDir": {}},
                {"name": "map", "configMap": {"name": "m",
                    "items": [{"key": "k", "path": path, "mode": 0o600}]}},
                {"name": "secret", "secret": {"secretName": "s"}},
            ],
            "containers": [{"name": "app", "volumeMounts": [
                {"name": "empty", "mountPath": "/data"},
                {"name": "map", "mountPath": "/etc/app"},
                {"name": "secret", "mountPath": "/run/s"},
                {"name": "empty", "mountPath": "/sub", "subPath": "inner"},
            ]}],
        }})
    }

    fn lookup(kind: &str, name: &str) -> Option<Arc<Value>> {
        match (kind, name) {
            ("ConfigMap", "m") => Some(Arc::new(json!({"kind": "ConfigMap", "data": {"k": "v"}}))),
            ("Secret", "s") => Some(Arc::new(json!({"kind": "Secret", "data": {"p": "cHc="}}))),
            _ => None,
        }
    }

    #[test]
    fn what_is_mounted_is_found_below_the_folder_of_the_container() {
        let scratch = tempfile::tempdir().unwrap();
        let places = Places::new(scratch.path().to_path_buf());
        for _ in 0..2 {
            make(&places, &pod("deep/file"), &lookup).unwrap();
        }
        let work = places.work("u", "app");
        let read = |path: &str| tree::read_file(&work.join(path), 100).unwrap().unwrap();
        assert_eq!(read("etc/app/deep/file"), b"v");
        assert_eq!(read("run/s/p"), b"pw");
        tree::write_file(&work.join("sub/x"), b"1", 0o644).unwrap();
        assert_eq!(read("data/inner/x"), b"1");
    }

    #[test]
    fn a_claim_outlives_its_pod() {
        let scratch = tempfile::tempdir().unwrap();
        let places = Places::new(scratch.path().join("pods"));
        let pod = |uid: &str, kind: &str| {
            json!({"metadata": {"uid": uid, "namespace": "shop",
                "ownerReferences": [{"kind": kind, "controller": true}]},
            "spec": {
                "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "data-db-0"}}],
                "containers": [{"name": "app",
                    "volumeMounts": [{"name": "data", "mountPath": "/data"}]}],
            }})
        };
        make(&places, &pod("u1", "StatefulSet"), &lookup).unwrap();
        tree::write_file(&places.work("u1", "app").join("data/x"), b"1", 0o644).unwrap();
        tree::remove(&places.pod("u1")).unwrap();
        make(&places, &pod("u2", "StatefulSet"), &lookup).unwrap();
        let kept = tree::read_file(&places.work("u2", "app").join("data/x"), 9).unwrap();
        assert_eq!(kept.unwrap(), b"1");
        assert!(make(&places, &pod("u3", "ReplicaSet"), &lookup).is_err());
    }

    #[test]
    fn nothing_of_the_machine_leads_into_the_node_s_folder() {
        let scratch = tempfile::tempdir().unwrap();
        let node = scratch.path().join("node");
        tree::make_folder(&node.join("pki"), 0o700).unwrap();
        tree::make_folder(&scratch.path().join("other"), 0o755).unwrap();
        let link = scratch.path().join("link");
        tree::link(&node.join("pki"), &link).unwrap();
        let places = Places::new(node.join("pods"));
        let made = |path: &Path, kind: &str| {
            let pod = json!({"metadata": {"uid": "u"}, "spec": {
                "volumes": [{"name": "v", "hostPath": {"path": path, "type": kind}}],
            }});
            make(&places, &pod, &lookup)
        };
        made(&scratch.path().join("other"), "").unwrap();
        made(&scratch.path().join("new"), "DirectoryOrCreate").unwrap();
        for path in [
            node.clone(),
            node.join("pki"),
            link.clone(),
            link.join("authority.key"),
            scratch.path().join("other/../node/pki"),
        ] {
            for kind in ["", "DirectoryOrCreate", "FileOrCreate"] {
                assert!(made(&path, kind).is_err(), "{path:?} {kind}");
            }
        }
        assert!(made(&node.join("pki/new"), "FileOrCreate").is_err());
    }

    #[test]
    fn only_other_users_of_the_machine_get_through_the_folder_of_a_pod() {
        let scratch = tempfile::tempdir().unwrap();
        let places = Places::new(scratch.path().join("pods"));
        let rights = |path: &Path| tree::rights(path).unwrap();
        let made = |uid: &str, image: &str, context: Value| {
            let pod = json!({"metadata": {"uid": uid, "namespace": uid,
                "ownerReferences": [{"kind": "StatefulSet", "controller": true}]},
            "spec": {
                "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "data-db-0"}}],
                "containers": [{"name": "app", "image": image, "securityContext": context}],
            }});
            make(&places, &pod, &lookup).unwrap();
            (rights(&places.pod(uid)), rights(&places.claims(uid)))
        };
        assert_eq!(made("u1", "", json!({})), (0o700, 0o700));
        assert_eq!(made("u2", "web:1", json!({"runAsUser": 7})), (0o700, 0o700));
        assert_eq!(made("u3", "host", json!({"runAsUser": 7})), (0o711, 0o711));
        // What another one of the namespace writes to is still its own.
        assert_eq!(rights(&places.claims("u1").join("data-db-0")), 0o755);
    }

    #[test]
    fn nothing_leads_out_of_a_volume() {
        let scratch = tempfile::tempdir().unwrap();
        let places = Places::new(scratch.path().to_path_buf());
        for path in ["../x", "/x", "a/../../x", "", "."] {
            assert!(make(&places, &pod(path), &lookup).is_err(), "{path}");
        }
        let mut missing = pod("x");
        missing["spec"]["volumes"][1]["configMap"]["name"] = json!("other");
        let failure = make(&places, &missing, &lookup).unwrap_err();
        assert!(failure.message.contains("configmap \"other\" not found"));
    }
}
