//! Containers of images: what they see in place of the machine ([`atoll_world::workload::sandbox`]).
//!
//! | path, below the pod's folder | holds |
//! |---|---|
//! | `sandbox/NAME/` | what the container has changed of its image; anew at each attempt |
//! | `etc/NAME/` | its `hosts`, `hostname` and `resolv.conf` |
//! | `stop-signals/NAME` | what its image would be asked to end by |

use std::{
    net::{IpAddr, Ipv4Addr},
    path::{Path, PathBuf},
};

use atoll_world::{
    layer, machine, tree,
    workload::sandbox::{CAPABILITIES, MountSpec, SandboxSpec, USUAL},
};
use serde_json::Value;

use super::{network, places::Places};
use crate::{
    core::{agent::AttemptId, dns::resolv_conf, image::Keyring, object, pod_network},
    driver::{
        agent::{process::exits::LAST_WORDS, volumes},
        images::Image,
    },
};

/// Kubernetes' place for a container's last words.
const LAST_WORDS_PATH: &str = "/dev/termination-log";
/// A container is stopped by it if nobody says otherwise.
const STOP_SIGNAL: &str = "SIGTERM";
/// The longest host name that the kernel takes, in bytes.
const HOST_NAME_BYTES_MAX: usize = 63;
/// What every pod with a network of its own knows of hosts.
const OWN_HOSTS: &str = "127.0.0.1\tlocalhost\n";
/// No more of the machine's own list of hosts is handed on.
const HOSTS_BYTES_MAX: u64 = 64 * 1024;

/// How names are resolved in containers.
#[derive(Clone, Debug)]
pub(crate) struct Resolver {
    /// The cluster's zone.
    pub(crate) zone: String,
    /// The cluster's name server; none if it can't be asked on the usual port.
    pub(crate) server: Option<IpAddr>,
}

/// What a pod may show to registries: its `imagePullSecrets`, as far as they are there.
pub(super) fn keyring(
    pod: &Value,
    lookup: &(dyn Fn(&str, &str) -> Option<std::sync::Arc<Value>> + Send + Sync),
) -> Keyring {
    let mut keyring = Keyring::default();
    for named in object::items(&pod["spec"]["imagePullSecrets"]) {
        let name = named["name"].as_str().unwrap_or_default();
        let Some(secret) = lookup("Secret", name) else {
            continue;
        };
        for key in [".dockerconfigjson", ".dockercfg"] {
            if let Some(bytes) = volumes::bytes(&secret, key)
                && let Err(error) = keyring.add(&bytes)
            {
                tracing::debug!(secret = name, %error, "a pull secret is passed over");
            }
        }
    }
    keyring
}

/// What a container's image would be asked to end by, as it was when it was started.
pub(super) fn stop_signal(places: &Places, id: &AttemptId) -> String {
    let read = tree::read_file(&places.stop_signal(id), 64).ok().flatten();
    let read = read.and_then(|bytes| String::from_utf8(bytes).ok());
    read.unwrap_or_else(|| STOP_SIGNAL.to_owned())
}

/// What a container sees. Its folders and files are made anew.
///
/// # Errors
/// They can't be made, or what it mounts is not there.
pub(super) fn of(
    places: &Places,
    resolver: &Resolver,
    id: &AttemptId,
    pod: &Value,
    image: &Image,
) -> Result<SandboxSpec, String> {
    let container = volumes::container(pod, &id.container);
    let folder = places.sandbox(id);
    layer::remove(&folder).map_err(|error| error.to_string())?;
    write(&places.stop_signal(id), image.config.stop_signal.as_bytes())?;
    let mut sandbox = SandboxSpec::new(image.layers.clone(), folder);
    sandbox.host_name = host_name(pod);
    let address = match pod_network::has_own(pod) {
        // Without it the container would be in the machine's network.
        true => Some(network::address(places, &id.uid).ok_or("the pod has no network yet")?),
        false => None,
    };
    sandbox.network = address.map(|_| places.namespace(&id.uid));
    sandbox.mounts = own_files(places, resolver, id, pod, address)?;
    let volumes = volumes::mounts(places, &id.uid, pod, container)?;
    sandbox.mounts.extend(volumes);
    sandbox.user = image.config.user.clone();
    let security = |field: &str| match &container["securityContext"][field] {
        Value::Null => &pod["spec"]["securityContext"][field],
        own => own,
    };
    sandbox.read_only = security("readOnlyRootFilesystem") == true;
    sandbox.not_root = security("runAsNonRoot") == true;
    sandbox.is_privileged = security("privileged") == true;
    sandbox.capabilities = capabilities(security("capabilities"), sandbox.is_privileged);
    Ok(sandbox)
}

/// What a container may do beside a plain user.
fn capabilities(asked: &Value, is_privileged: bool) -> Vec<String> {
    let all = || CAPABILITIES.map(str::to_owned).to_vec();
    if is_privileged {
        return all();
    }
    let named = |field: &str| {
        let names = asked[field].as_array().into_iter().flatten();
        let names = names.filter_map(Value::as_str);
        let names = names.map(|name| name.strip_prefix("CAP_").unwrap_or(name).to_owned());
        names.collect::<Vec<String>>()
    };
    let is_all = |names: &[String]| names.iter().any(|name| name == "ALL");
    let (added, dropped) = (named("add"), named("drop"));
    let mut kept = match (is_all(&added), is_all(&dropped)) {
        (true, _) => all(),
        (false, true) => Vec::new(),
        (false, false) => USUAL.map(str::to_owned).to_vec(),
    };
    kept.retain(|name| !dropped.contains(name));
    kept.extend(added.into_iter().filter(|name| name != "ALL"));
    kept
}

fn host_name(pod: &Value) -> String {
    let said = pod["spec"]["hostname"].as_str();
    let mut name = said.unwrap_or_else(|| object::name(pod)).to_owned();
    // Resolver of objects are ASCII.
    name.truncate(HOST_NAME_BYTES_MAX);
    name.trim_end_matches(['-', '.']).to_owned()
}

/// The files of a container that are not its image's, and its last words.
fn own_files(
    places: &Places,
    resolver: &Resolver,
    id: &AttemptId,
    pod: &Value,
    address: Option<Ipv4Addr>,
) -> Result<Vec<MountSpec>, String> {
    let container = volumes::container(pod, &id.container);
    let etc = places.etc(id);
    let resolv = resolv_conf(
        pod,
        &resolver.zone,
        resolver.server,
        &machine::resolv_conf(),
    );
    let host_name = host_name(pod);
    let files = [
        ("hostname", format!("{host_name}\n")),
        ("hosts", hosts(pod, address, &host_name)),
        ("resolv.conf", resolv),
    ];
    let mut mounts = Vec::new();
    for (name, text) in files {
        write(&etc.join(name), text.as_bytes())?;
        mounts.push(mount(etc.join(name), Path::new("/etc").join(name)));
    }
    let words = places.work(&id.uid, &id.container).join(LAST_WORDS);
    write(&words, b"")?;
    let at = container["terminationMessagePath"].as_str();
    let at = at
        .filter(|path| !path.is_empty())
        .unwrap_or(LAST_WORDS_PATH);
    mounts.push(mount(words, PathBuf::from(at)));
    Ok(mounts)
}

fn mount(source: PathBuf, target: PathBuf) -> MountSpec {
    MountSpec {
        source,
        sub_path: None,
        target,
        read_only: false,
    }
}

/// What is to be known of hosts without asking: the machine's own list where its network is the
/// pod's, and what the pod adds.
fn hosts(pod: &Value, address: Option<Ipv4Addr>, host_name: &str) -> String {
    let mut text = match address {
        Some(_) => OWN_HOSTS.to_owned(),
        None => {
            let own = tree::read_file(Path::new("/etc/hosts"), HOSTS_BYTES_MAX);
            let own = own.ok().flatten().unwrap_or_default();
            String::from_utf8_lossy(&own).into_owned()
        }
    };
    if !text.ends_with('\n') {
        text.push('\n');
    }
    let address = address.unwrap_or(Ipv4Addr::LOCALHOST);
    text.push_str(&format!("{address}\t{host_name}\n"));
    for alias in object::items(&pod["spec"]["hostAliases"]) {
        let names = alias["hostnames"].as_array().into_iter().flatten();
        let names: Vec<&str> = names.filter_map(Value::as_str).collect();
        if let Some(ip) = alias["ip"].as_str() {
            text.push_str(&format!("{ip}\t{}\n", names.join(" ")));
        }
    }
    text
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), String> {
    let folder = path
        .parent()
        .map_or(Ok(()), |folder| tree::make_folder(folder, 0o755));
    let written = folder.and_then(|()| tree::write_file(path, bytes, 0o644));
    written.map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn capabilities_are_added_and_dropped() {
        let has = |asked: Value, name: &str| {
            let kept = capabilities(&asked, false);
            kept.iter().any(|kept| kept == name)
        };
        assert!(has(json!(null), "CHOWN") && !has(json!(null), "NET_RAW"));
        assert!(has(json!({"add": ["CAP_NET_RAW"]}), "NET_RAW"));
        assert!(has(json!({"add": ["ALL"], "drop": ["CHOWN"]}), "SYS_ADMIN"));
        assert!(!has(json!({"add": ["ALL"], "drop": ["CHOWN"]}), "CHOWN"));
        let bind = json!({"drop": ["ALL"], "add": ["NET_BIND_SERVICE"]});
        assert_eq!(capabilities(&bind, false), ["NET_BIND_SERVICE"]);
        assert_eq!(capabilities(&bind, true).len(), CAPABILITIES.len());
    }

    #[test]
    fn names_of_hosts_are_what_the_kernel_takes() {
        let pod = json!({"metadata": {"name": format!("{}-x", "a".repeat(62))}, "spec": {}});
        assert_eq!(host_name(&pod), "a".repeat(62));
        let pod = json!({"metadata": {"name": "web-0"}, "spec": {
            "hostname": "db", "hostAliases": [{"ip": "10.0.0.1", "hostnames": ["x", "y"]}],
        }});
        assert_eq!(host_name(&pod), "db");
        let shared = hosts(&pod, None, "db");
        assert!(shared.ends_with("\n127.0.0.1\tdb\n10.0.0.1\tx y\n"));
        let own = hosts(&pod, Some(Ipv4Addr::new(10, 244, 0, 2)), "db");
        let wanted = "127.0.0.1\tlocalhost\n10.244.0.2\tdb\n10.0.0.1\tx y\n";
        assert_eq!(own, wanted);
    }
}
