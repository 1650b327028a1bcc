//! Programs in sandboxes. They need root, and are passed over without.

use std::{ffi::OsString, os::unix::fs::symlink, path::Path, sync::mpsc};

use rustix::thread::UnshareFlags;

use super::*;
use crate::workload::{
    exec,
    sandbox::{CAPABILITIES, MountSpec, SandboxSpec, USUAL},
};

/// Whether sandboxes can be made here; tells where they are not.
fn can_make() -> bool {
    let is_root = rustix::process::geteuid().is_root();
    if !is_root {
        eprintln!("passed over: sandboxes need root");
    }
    is_root
}

/// A sandbox on what this machine has in `/usr`, as if that was an image, with a layer of its own
/// above.
fn sandboxed(place: &Place, script: &str) -> Spec {
    let layer = place.temporary.path().join("layer");
    fs::create_dir_all(layer.join("etc")).unwrap();
    fs::write(layer.join("etc/passwd"), "web:x:101:102::/srv:\n").unwrap();
    fs::write(layer.join("marked"), "of the image\n").unwrap();
    let folder = place.temporary.path().join("sandbox");
    let mut spec = place.shell(script);
    spec.cwd = "/".into();
    spec.sandbox = Some(SandboxSpec::new(vec!["/usr".into(), layer], folder));
    spec
}

/// The set of the usual capabilities as the kernel shows it.
fn usual() -> String {
    let number = |name| {
        CAPABILITIES
            .iter()
            .position(|known| *known == name)
            .unwrap()
    };
    let bits = USUAL
        .iter()
        .fold(0_u64, |bits, name| bits | 1 << number(*name));
    format!("{bits:016x}")
}

fn sandbox(spec: &mut Spec) -> &mut SandboxSpec {
    spec.sandbox.as_mut().unwrap()
}

/// What a script prints in a sandbox.
fn printed(change: impl FnOnce(&Place, &mut Spec), script: &str) -> String {
    let place = Place::new();
    let mut spec = sandboxed(&place, script);
    change(&place, &mut spec);
    place.start(&spec);
    let exited = place.exited();
    let text = place.log();
    assert_eq!(exited.code, 0, "{} {text}", exited.message);
    text
}

/// A script that is run beside the first program.
fn beside(script: &str) -> exec::Program {
    exec::Program {
        argv: ["sh", "-c", script].map(str::to_owned).to_vec(),
        stdout: true,
        ..exec::Program::default()
    }
}

/// What such a script prints.
async fn printed_beside(place: &Place, script: &str) -> String {
    let mut session = exec::start(&place.dir, beside(script)).await.unwrap();
    let mut output = session.stdout.take().unwrap();
    let (mut text, mut buffer) = (Vec::new(), [0; 512]);
    while let Ok(count @ 1..) = output.read(&mut buffer).await {
        text.extend_from_slice(&buffer[..count]);
    }
    String::from_utf8(text).unwrap()
}

#[test]
fn a_program_sees_its_image_and_nothing_of_the_machine() {
    if !can_make() {
        return;
    }
    let text = printed(
        |_, spec| sandbox(spec).host_name = "web-0".to_owned(),
        "echo pid $$; cat /marked; hostname; ls -d /home /root /tmp /etc/hostname /work 2>&1 | grep -c 'No such'
         ls /proc | grep -c '^[0-9]'; id -u; pwd; ls /dev | tr '\\n' ' '",
    );
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[..4], ["pid 1", "of the image", "web-0", "5"]);
    let processes: u32 = lines[4].parse().unwrap();
    assert!(processes <= 4, "{text}");
    assert_eq!(lines[5..7], ["0", "/"]);
    assert!(lines[7].starts_with("fd full mqueue null ptmx pts random shm"));
}

#[test]
fn what_is_changed_stays_in_the_workload_s_folder() {
    if !can_make() {
        return;
    }
    let place = Place::new();
    let spec = sandboxed(
        &place,
        "echo changed > /marked; rm /etc/passwd; echo new > /new",
    );
    place.start(&spec);
    assert_eq!(place.exited().code, 0);
    let at = |path: &str| place.temporary.path().join(path);
    assert_eq!(
        fs::read_to_string(at("layer/marked")).unwrap(),
        "of the image\n"
    );
    assert!(at("layer/etc/passwd").exists());
    assert_eq!(
        fs::read_to_string(at("sandbox/upper/new")).unwrap(),
        "new\n"
    );
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
    assert!(!mounts.contains(&*place.temporary.path().to_string_lossy()));
}

#[test]
fn volumes_are_where_they_are_asked_for_and_links_don_t_lead_out() {
    if !can_make() {
        return;
    }
    let text = printed(
        |place, spec| {
            let at = |path: &str| place.temporary.path().join(path);
            for folder in ["data/inner", "elsewhere"] {
                fs::create_dir_all(at(folder)).unwrap();
            }
            fs::write(at("data/inner/file"), "data\n").unwrap();
            fs::write(at("config"), "config\n").unwrap();
            // An image that would have its volume mounted over the machine's files.
            symlink(at("elsewhere"), at("layer/trap")).unwrap();
            let mount = |source: &str, sub_path: Option<&str>, target: &str, read_only| MountSpec {
                source: at(source),
                sub_path: sub_path.map(Into::into),
                target: target.into(),
                read_only,
            };
            sandbox(spec).mounts = vec![
                mount("data", None, "/deep/er/data", false),
                mount("data", Some("inner"), "/inner", true),
                mount("data", Some("made/here"), "/made", false),
                mount("config", None, "/etc/app.conf", true),
            ];
            fs::create_dir_all(at("layer").join(at("elsewhere").strip_prefix("/").unwrap()))
                .unwrap();
            sandbox(spec)
                .mounts
                .push(mount("data", None, "/trap/here", false));
        },
        "exec 2>/dev/null; cat /deep/er/data/inner/file /etc/app.conf; echo x > /inner/y || echo refused
         echo 1 > /made/x; cat /deep/er/data/made/here/x; ls /trap/here | tr '\\n' ' '; echo",
    );
    assert_eq!(text, "data\nconfig\nrefused\n1\ninner made \n");
}

#[test]
fn a_sub_path_that_leads_out_is_refused() {
    if !can_make() {
        return;
    }
    let place = Place::new();
    let mut spec = sandboxed(&place, "true");
    let data = place.temporary.path().join("data");
    fs::create_dir_all(&data).unwrap();
    symlink("/etc", data.join("link")).unwrap();
    for sub_path in ["link", "link/new", "../data", "/etc"] {
        sandbox(&mut spec).mounts = vec![MountSpec {
            source: data.clone(),
            sub_path: Some(sub_path.into()),
            target: "/x".into(),
            read_only: false,
        }];
        let place = Place::new();
        let State::Exited(exited) = place.start(&spec) else {
            panic!("{sub_path} was mounted");
        };
        assert_eq!((exited.code, exited.started_ms), (126, None), "{sub_path}");
        assert!(
            exited.message.contains("can't be mounted"),
            "{}",
            exited.message
        );
    }
    assert!(!Path::new("/etc/new").exists());
}

#[test]
fn root_inside_is_not_the_machine_s_root() {
    if !can_make() {
        return;
    }
    let text = printed(
        |_, _| {},
        "exec 2>/dev/null; grep CapBnd /proc/self/status; mount -t tmpfs x /tmp || mkdir /t && mount -t tmpfs x /t || echo no mount
         echo 1 > /proc/sys/kernel/panic || echo no sysctl
         head -c 1 /proc/kcore | wc -c; mknod /null c 1 3 || echo no mknod
         ls /sys/firmware | wc -l; hostname x || echo no hostname",
    );
    let bounding = format!("CapBnd:\t{}", usual());
    assert_eq!(
        text.lines().collect::<Vec<_>>(),
        [
            &*bounding,
            "no mount",
            "no sysctl",
            "0",
            "no mknod",
            "0",
            "no hostname"
        ]
    );
}

#[test]
fn it_runs_as_whom_the_image_or_the_spec_says() {
    if !can_make() {
        return;
    }
    let script = "id -u; id -g; echo $HOME";
    let text = printed(|_, spec| sandbox(spec).user = "web".to_owned(), script);
    assert_eq!(text, "101\n102\n/srv\n");
    let text = printed(|_, spec| spec.user = Some(7), script);
    assert_eq!(text, "7\n0\n/\n");
    let place = Place::new();
    let mut spec = sandboxed(&place, "true");
    sandbox(&mut spec).not_root = true;
    let State::Exited(exited) = place.start(&spec) else {
        panic!("it was started as root");
    };
    assert!(
        exited.message.contains("runAsNonRoot"),
        "{}",
        exited.message
    );
}

#[test]
fn other_users_get_about_whatever_the_mask_of_the_node_is() {
    if !can_make() {
        return;
    }
    let place = Place::new();
    let mut spec = sandboxed(&place, "cat /marked && echo x > /dev/shm/x && umask");
    spec.user = Some(7);
    let own = launcher();
    let masked = ["-c", "umask 077; exec \"$@\"", "sh"].map(OsString::from);
    let program = std::env::current_exe().unwrap();
    let launcher = Launcher {
        program: "/bin/sh".into(),
        arguments: masked
            .into_iter()
            .chain([program.into()])
            .chain(own.arguments)
            .collect(),
    };
    start(&launcher, &place.dir, &spec).unwrap();
    let exited = place.exited();
    assert_eq!(place.log(), "of the image\n0022\n", "{}", exited.message);
}

#[test]
fn a_root_that_is_read_only_can_t_be_changed_but_for_volumes() {
    if !can_make() {
        return;
    }
    let text = printed(
        |place, spec| {
            sandbox(spec).read_only = true;
            let data = place.temporary.path().join("data");
            fs::create_dir_all(&data).unwrap();
            sandbox(spec).mounts = vec![MountSpec {
                source: data,
                sub_path: None,
                target: "/data".into(),
                read_only: false,
            }];
        },
        "exec 2>/dev/null; echo x > /x || echo refused; echo 1 > /data/x && cat /data/x; echo > /dev/null",
    );
    assert_eq!(text, "refused\n1\n");
}

#[tokio::test]
async fn programs_beside_it_are_in_the_same_sandbox() {
    if !can_make() {
        return;
    }
    let place = Place::new();
    let spec = sandboxed(&place, "echo here > /made; sleep 1000");
    place.start(&spec);
    let script = "until [ -s /made ]; do :; done; cat /made; cat /proc/1/cmdline | tr '\\0' ' '; \
                  grep CapBnd /proc/self/status | cut -f 2; ls /home 2>/dev/null";
    let text = printed_beside(&place, script).await;
    assert!(text.starts_with("here\n"), "{text}");
    assert!(text.contains("sleep 1000"), "{text}");
    assert!(text.ends_with(&format!("{}\n", usual())), "{text}");
    // All ends with the first one, what has left its session included.
    let script = "setsid sleep 1000 & echo $!";
    let session = exec::start(&place.dir, beside(script)).await.unwrap();
    assert_eq!(
        session.wait().await,
        exec::End::Exited {
            code: 0,
            signal: None
        }
    );
    crate::workload::kill(&place.dir).unwrap();
    assert_eq!(place.exited().code, 137);
}

/// A network namespace, for as long as this is there.
struct Network {
    file: PathBuf,
    _ends: mpsc::Sender<()>,
}

impl Network {
    fn new() -> Network {
        let (tell, told) = mpsc::channel();
        let (ends, end) = mpsc::channel();
        std::thread::spawn(move || {
            #[allow(unsafe_code, reason = "it is unsafe for file tables only")]
            // SAFETY: descriptors are not among what is no longer shared.
            unsafe {
                rustix::thread::unshare_unsafe(UnshareFlags::NEWNET).unwrap();
            }
            tell.send(rustix::thread::gettid().as_raw_nonzero())
                .unwrap();
            // The other end never speaks; it goes.
            end.recv().unwrap_err();
        });
        let (process, thread) = (std::process::id(), told.recv().unwrap());
        Network {
            file: format!("/proc/{process}/task/{thread}/ns/net").into(),
            _ends: ends,
        }
    }
}

#[tokio::test]
async fn all_programs_of_a_pod_are_in_its_network() {
    if !can_make() {
        return;
    }
    let network = Network::new();
    let place = Place::new();
    let script = "readlink /proc/self/ns/net; ls /sys/class/net; echo; sleep 1000";
    let mut spec = sandboxed(&place, script);
    sandbox(&mut spec).network = Some(network.file.clone());
    place.start(&spec);
    let wanted = fs::read_link(&network.file).unwrap();
    let wanted = format!("{}\nlo\n", wanted.display());
    assert_ne!(
        fs::read_link("/proc/self/ns/net").unwrap(),
        fs::read_link(&network.file).unwrap()
    );
    let text = printed_beside(&place, "readlink /proc/self/ns/net; ls /sys/class/net").await;
    assert_eq!(text, wanted);
    let log = until("it has said all", || {
        Some(place.log()).filter(|log| log.ends_with("\n\n"))
    });
    assert_eq!(log, format!("{wanted}\n"));
    crate::workload::kill(&place.dir).unwrap();
    assert_eq!(place.exited().code, 137);
}

#[test]
fn a_program_without_its_network_is_not_started() {
    if !can_make() {
        return;
    }
    let place = Place::new();
    let mut spec = sandboxed(&place, "true");
    sandbox(&mut spec).network = Some(place.temporary.path().join("gone"));
    let State::Exited(exited) = place.start(&spec) else {
        panic!("it was started in another network");
    };
    assert!(
        exited
            .message
            .contains("the network of its pod is not there"),
        "{}",
        exited.message
    );
}
