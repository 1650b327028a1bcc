//! What a container's program is run as: its limits, its user, what it can reach.

use std::path::{Path, PathBuf};

use atoll_world::{
    process, tree,
    workload::{CgroupSpec, Cgroups, LandlockSpec, RlimitSpec, Spec, sandbox::SandboxSpec},
};
use serde_json::Value;

use super::places::Places;
use crate::{
    core::{
        agent::{AttemptId, environment::ContainerRun},
        image, object,
        quantity::{self, Quantity},
    },
    driver::agent::volumes,
};

/// So many processes a container may have that does not say.
const PIDS_MAX: u64 = 4_096;
/// Folders that every program may write to.
const SHARED: [&str; 4] = ["/tmp", "/var/tmp", "/dev/shm", "/run/lock"];
/// Where programs are looked for if this process does not say.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The spec of an attempt: in a sandbox, or as a program of the machine.
///
/// # Errors
/// Its folders can't be made.
pub(super) fn of(
    places: &Places,
    cgroups: &Cgroups,
    id: &AttemptId,
    pod: &Value,
    run: &ContainerRun,
    sandbox: Option<SandboxSpec>,
) -> Result<Spec, String> {
    let container = volumes::container(pod, &id.container);
    let mut spec = match sandbox {
        Some(sandbox) => in_sandbox(sandbox, pod, run),
        None => on_machine(places, id, pod, run)?,
    };
    spec.cgroup = Some(CgroupSpec {
        cgroups: cgroups.clone(),
        name: format!("{}/{}-{}", id.uid, id.container, id.number),
        cpu_milli: amount(container, "limits", "cpu", Quantity::milli),
        cpu_request_milli: amount(container, "requests", "cpu", Quantity::milli),
        memory_bytes: amount(container, "limits", "memory", Quantity::value),
        pids_max: Some(PIDS_MAX),
    });
    spec.rlimits = vec![RlimitSpec {
        resource: "core".to_owned(),
        soft: Some(0),
        hard: Some(0),
    }];
    let number = |field: &str| {
        let own = &container["securityContext"][field];
        let whole = &pod["spec"]["securityContext"][field];
        let number = own.as_u64().or_else(|| whole.as_u64());
        number.and_then(|number| u32::try_from(number).ok())
    };
    spec.user = number("runAsUser");
    spec.group = number("runAsGroup");
    spec.oom_score_adj = Some(oom_score_adj(pod));
    spec.stdin = container["stdin"] == true;
    spec.stdin_once = container["stdinOnce"] == true;
    spec.tty = container["tty"] == true;
    let may_gain = &container["securityContext"]["allowPrivilegeEscalation"];
    spec.no_new_privs = match image::of_container(container) {
        // As Kubernetes has it: what is inside can gain no more than the sandbox permits.
        Some(_) => *may_gain == false,
        None => *may_gain != true,
    };
    Ok(spec)
}

/// What runs on the machine sees its files, but for the node's.
fn on_machine(
    places: &Places,
    id: &AttemptId,
    pod: &Value,
    run: &ContainerRun,
) -> Result<Spec, String> {
    let container = volumes::container(pod, &id.container);
    let work = places.work(&id.uid, &id.container);
    tree::make_folder(&work, 0o755).map_err(|error| error.to_string())?;
    let mut spec = Spec::new(run.argv.clone(), cwd(&work, run.cwd.as_deref()));
    spec.env = environment(pod, &work, run);
    // The node's own is narrower than what programs expect.
    spec.umask = process::mask_before();
    spec.landlock = Some(LandlockSpec {
        denied: vec![places.node().to_path_buf()],
        foreign: foreign(pod, container),
        writable: writable(places, id, pod, container, &work),
        readable: vec![places.pod(&id.uid)],
    });
    Ok(spec)
}

/// What runs apart from the machine sees nothing of it: its folder, its environment and its user
/// are its image's.
fn in_sandbox(sandbox: SandboxSpec, pod: &Value, run: &ContainerRun) -> Spec {
    let cwd = Path::new("/").join(run.cwd.as_deref().unwrap_or_default());
    let mut spec = Spec::new(run.argv.clone(), cwd);
    spec.env = run.env.clone().into_iter().collect();
    for (name, value) in [("PATH", PATH), ("HOSTNAME", &sandbox.host_name)] {
        if !run.env.contains_key(name) {
            spec.env.push((name.to_owned(), value.to_owned()));
        }
    }
    let context = &pod["spec"]["securityContext"];
    let groups = context["supplementalGroups"]
        .as_array()
        .into_iter()
        .flatten();
    let groups = groups
        .chain([&context["fsGroup"]])
        .filter_map(Value::as_u64);
    spec.groups = groups
        .filter_map(|group| u32::try_from(group).ok())
        .collect();
    spec.sandbox = Some(sandbox);
    spec
}

/// How readily the kernel ends it when memory runs out: before the node, whose own number it
/// would have otherwise, and first of all where nothing was asked for.
fn oom_score_adj(pod: &Value) -> i32 {
    const ASKED: i32 = 500;
    const NOTHING_ASKED: i32 = 1_000;
    let asks = |container: &Value| {
        let resources = &container["resources"];
        ["requests", "limits"].iter().any(|which| {
            let amounts = resources[which].as_object();
            amounts.is_some_and(|amounts| !amounts.is_empty())
        })
    };
    match object::items(&pod["spec"]["containers"]).any(asks) {
        true => ASKED,
        false => NOTHING_ASKED,
    }
}

fn cwd(work: &Path, wanted: Option<&str>) -> PathBuf {
    match wanted {
        // What is mounted is linked below the folder of the container, if it is there.
        Some(wanted) => {
            let linked = work.join(wanted.trim_start_matches('/'));
            match tree::lies(&linked) {
                tree::Lies::Folder => linked,
                _ => PathBuf::from(wanted),
            }
        }
        None => work.to_path_buf(),
    }
}

/// The pod's environment, and what every program expects, where that says nothing.
fn environment(pod: &Value, work: &Path, run: &ContainerRun) -> Vec<(String, String)> {
    let host = pod["spec"]["hostname"].as_str();
    let host = host.unwrap_or_else(|| object::name(pod));
    let own = [
        (
            "PATH",
            process::variable("PATH").unwrap_or_else(|| PATH.to_owned()),
        ),
        ("HOME", work.display().to_string()),
        ("HOSTNAME", host.to_owned()),
    ];
    let mut env: Vec<(String, String)> = run.env.clone().into_iter().collect();
    for (name, value) in own {
        if !run.env.contains_key(name) {
            env.push((name.to_owned(), value));
        }
    }
    env
}

fn writable(
    places: &Places,
    id: &AttemptId,
    pod: &Value,
    container: &Value,
    work: &Path,
) -> Vec<PathBuf> {
    let mut writable: Vec<PathBuf> = SHARED.iter().map(PathBuf::from).collect();
    writable.push(work.to_path_buf());
    for mount in object::items(&container["volumeMounts"]) {
        let name = mount["name"].as_str().unwrap_or_default();
        if mount["readOnly"] != true
            && !is_foreign(pod, name)
            && let Some(path) = volumes::place(places, &id.uid, pod, name)
        {
            writable.push(path);
        }
    }
    writable
}

/// What a container may change of the machine's own files, wherever links in it lead, but for the
/// node's folder.
fn foreign(pod: &Value, container: &Value) -> Vec<PathBuf> {
    let mounts = object::items(&container["volumeMounts"]).filter(|it| it["readOnly"] != true);
    let names = mounts.map(|mount| mount["name"].as_str().unwrap_or_default());
    let paths = names.filter_map(|name| host_path(pod, name).map(PathBuf::from));
    paths.collect()
}

fn is_foreign(pod: &Value, volume: &str) -> bool {
    host_path(pod, volume).is_some()
}

fn host_path<'a>(pod: &'a Value, volume: &str) -> Option<&'a str> {
    let mut volumes = object::items(&pod["spec"]["volumes"]);
    let found = volumes.find(|it| it["name"] == volume)?;
    found["hostPath"]["path"].as_str()
}

fn amount(
    container: &Value,
    which: &str,
    what: &str,
    unit: impl Fn(Quantity) -> i64,
) -> Option<u64> {
    let amount = quantity::of(&container["resources"][which][what])?;
    u64::try_from(unit(amount))
        .ok()
        .filter(|amount| *amount > 0)
}

/// The number of a signal; SIGTERM for one that is not known.
pub(crate) fn signal(name: &str) -> i32 {
    const SIGNALS: [(&str, i32); 9] = [
        ("SIGHUP", 1),
        ("SIGINT", 2),
        ("SIGQUIT", 3),
        ("SIGKILL", 9),
        ("SIGUSR1", 10),
        ("SIGUSR2", 12),
        ("SIGTERM", 15),
        ("SIGCONT", 18),
        ("SIGWINCH", 28),
    ];
    let found = SIGNALS.iter().find(|(known, _)| *known == name);
    found.map_or(15, |(_, number)| *number)
}
