//! Starting a workload's program, in the shim: finding it, and preparing its process between
//! fork and exec.
//!
//! Between the two, the new process does only what its [`Setup`] holds ready, and tells through
//! a pipe, which exec closes, what it could not do. An error ends the start with the exit code
//! that shells have for it and the text that Kubernetes' runtimes have.

mod setup;
mod streams;

use std::{
    fs,
    io::{self, Read},
    os::unix::{fs::PermissionsExt, process::CommandExt},
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
};

use super::{
    cgroup::Group,
    limits::Limit,
    proc::Identity,
    sandbox::{Apart, Inside, part_name},
    spec::Spec,
    state::Enforced,
};
use setup::{Failed, Setup, Step, read_reports};
pub(super) use streams::{InputEnd, Streams};

/// Where programs are looked for if the environment doesn't say.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// The kind of terminal that everyone knows (as containerd has it).
const TERM: &str = "xterm";
/// There is no such program.
pub(super) const CODE_NOT_FOUND: i32 = 127;
/// It is there, but can't be run.
pub(super) const CODE_NOT_RUN: i32 = 126;

/// What all programs of a workload have in common beside its spec.
#[derive(Clone, Debug)]
pub(super) struct Surroundings {
    pub(super) group: Group,
    /// See [`super::members`].
    pub(super) mark: u64,
    /// How many processes there may be, where no group limits it.
    pub(super) processes: Option<Limit>,
    /// The sandbox that its program is in, once it is there.
    pub(super) inside: Option<Arc<Inside>>,
}

/// A running program.
#[derive(Debug)]
pub(super) struct Launched {
    pub(super) main: Identity,
    /// It is in all groups of the workload.
    pub(super) has_joined: bool,
    /// The sandbox that was made for it.
    pub(super) inside: Option<Inside>,
}

/// Why it does not run.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) code: i32,
    pub(super) message: String,
}

impl Refusal {
    pub(super) fn new(code: i32, message: impl Into<String>) -> Self {
        Refusal {
            code,
            message: message.into(),
        }
    }

    fn of(what: &str) -> impl Fn(io::Error) -> Refusal + '_ {
        move |error| Refusal::new(CODE_NOT_RUN, format!("{what}: {}", text(&error)))
    }
}

/// Starts the program of a spec in its group. It is killed when the calling thread ends.
pub(super) fn launch(
    spec: &Spec,
    around: &Surroundings,
    streams: Streams,
    enforced: &mut Enforced,
) -> Result<Launched, Refusal> {
    let program = find(spec)?;
    let (mut reports, report) = io::pipe().map_err(Refusal::of("no pipe"))?;
    let mut setup = Setup::new(spec, around, report, enforced)?;
    if let Some(owner) = &setup.owner {
        for stream in streams.all() {
            let owned = rustix::fs::fchown(stream, Some(owner.user), Some(owner.group));
            owned.map_err(|errno| Refusal::of("cannot set user")(errno.into()))?;
        }
    }
    let mut command = Command::new(&program);
    if let [name, arguments @ ..] = spec.argv.as_slice() {
        command.arg0(name).args(arguments);
    }
    command
        .env_clear()
        .envs(terminal_kind(spec))
        .envs(spec.env.iter().map(|(name, value)| (name, value)))
        .stdin(streams::stdio(streams.stdin))
        .stdout(streams::stdio(streams.stdout))
        .stderr(streams::stdio(streams.stderr));
    setup.terminal = streams.terminal;
    #[allow(
        unsafe_code,
        reason = "nothing else runs code in a new process before exec"
    )]
    // SAFETY: all that is needed was made before, so the new process calls the kernel and nothing
    // else: it takes no lock, which a thread might hold that is not there any more, and no memory.
    unsafe {
        command.pre_exec(move || setup.apply());
    }
    let apart = apart(spec, around).map_err(Refusal::of("cannot make namespaces"))?;
    let spawned = command.spawn();
    drop(apart);
    // With the command, our copies of the program's ends of the pipes are closed.
    drop(command);
    let mut told = Vec::new();
    let _ = reports.read_to_end(&mut told);
    let (failed, has_joined) = read_reports(&told, &around.group, enforced);
    let child = spawned.map_err(|error| refusal(spec, failed, &error))?;
    // Even if it ended at once, it is there until its end is taken note of.
    let main = Identity::of(child.id())
        .ok_or_else(|| Refusal::new(CODE_NOT_RUN, "the new process can't be seen in /proc"))?;
    let is_first = spec.sandbox.is_some() && around.inside.is_none();
    Ok(Launched {
        main,
        has_joined,
        inside: is_first.then(|| Inside::of(main.pid)).flatten(),
    })
}

/// In which process namespace the next process begins, if not in this one's.
fn apart(spec: &Spec, around: &Surroundings) -> io::Result<Option<Apart>> {
    match (&spec.sandbox, &around.inside) {
        (None, _) => Ok(None),
        (Some(_), None) => Apart::anew().map(Some),
        (Some(_), Some(inside)) => Apart::beside(inside).map(Some),
    }
}

/// What a program expects to be told of its terminal; the spec may say otherwise.
fn terminal_kind(spec: &Spec) -> Option<(&'static str, &'static str)> {
    spec.tty.then_some(("TERM", TERM))
}

fn refusal(spec: &Spec, failed: Option<Failed>, error: &io::Error) -> Refusal {
    let name = spec.argv.first().map_or("", String::as_str);
    let code = match error.kind() {
        io::ErrorKind::NotFound if failed.is_none() => CODE_NOT_FOUND,
        _ => CODE_NOT_RUN,
    };
    let error = text(error);
    let message = match failed {
        Some(Failed::At(Step::Cwd)) => format!("chdir to cwd ({:?}) failed: {error}", spec.cwd),
        Some(Failed::At(step)) => format!("cannot {}: {error}", step.verb()),
        Some(Failed::Inside(part)) => {
            format!("cannot {}: {error}", part_name(part, spec.sandbox.as_ref()))
        }
        None if code == CODE_NOT_FOUND && !name.contains('/') => not_in_path(name),
        None => format!("exec {name:?}: {error}"),
    };
    Refusal::new(code, message)
}

/// The system's own words, without a number.
fn text(error: &io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or_default();
    let mut letters = text.chars();
    let first = letters.next().map(|letter| letter.to_ascii_lowercase());
    first.into_iter().chain(letters).collect()
}

/// Looks for the program as a shell would, with the `PATH` of the program's own environment.
fn find(spec: &Spec) -> Result<PathBuf, Refusal> {
    let name = spec.argv.first().map_or("", String::as_str);
    if spec.sandbox.is_some() {
        // Only inside it can be told what there is.
        return Ok(PathBuf::from(name));
    }
    if name.contains('/') {
        let path = spec.cwd.join(name);
        return match fs::metadata(&path) {
            Ok(found) if found.is_dir() => Err("is a directory".to_owned()),
            Ok(found) if found.permissions().mode() & 0o111 == 0 => {
                Err("permission denied".to_owned())
            }
            Ok(_) => return Ok(path),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let message = format!("exec: {name:?}: stat {name}: {}", text(&error));
                return Err(Refusal::new(CODE_NOT_FOUND, message));
            }
            Err(error) => Err(text(&error)),
        }
        .map_err(|why| Refusal::new(CODE_NOT_RUN, format!("exec: {name:?}: {why}")));
    }
    let places = spec.env("PATH").unwrap_or(DEFAULT_PATH).split(':');
    let mut candidates = places.map(|place| spec.cwd.join(place).join(name));
    candidates
        .find(|path| can_run(path))
        .ok_or_else(|| Refusal::new(CODE_NOT_FOUND, not_in_path(name)))
}

fn not_in_path(name: &str) -> String {
    format!("exec: {name:?}: executable file not found in $PATH")
}

fn can_run(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(program: &str, path: &str) -> Spec {
        let mut spec = Spec::new(vec![program.to_owned()], PathBuf::from("/usr"));
        spec.env.push(("PATH".to_owned(), path.to_owned()));
        spec
    }

    #[test]
    fn programs_are_found_as_shells_find_them() {
        assert_eq!(
            find(&spec("sh", "/nowhere:/bin")).unwrap(),
            Path::new("/bin/sh")
        );
        assert_eq!(find(&spec("sh", "bin")).unwrap(), Path::new("/usr/bin/sh"));
        assert_eq!(find(&spec("bin/sh", "")).unwrap(), Path::new("/usr/bin/sh"));
        let cases = [
            (
                "sh",
                "/nowhere",
                127,
                "exec: \"sh\": executable file not found in $PATH",
            ),
            (
                "/no/sh",
                "",
                127,
                "exec: \"/no/sh\": stat /no/sh: no such file or directory",
            ),
            (
                "/etc/passwd",
                "",
                126,
                "exec: \"/etc/passwd\": permission denied",
            ),
            ("/etc", "", 126, "exec: \"/etc\": is a directory"),
        ];
        for (program, path, code, message) in cases {
            let refusal = find(&spec(program, path)).unwrap_err();
            assert_eq!(refusal, Refusal::new(code, message));
        }
    }
}
