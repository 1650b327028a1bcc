//! The new process between fork and exec: a list of steps, all of whose means were made before.

use std::{
    ffi::CString,
    fs::{File, OpenOptions},
    io::{self, PipeWriter},
    os::{fd::OwnedFd, unix::ffi::OsStrExt},
    path::PathBuf,
    sync::Arc,
};

use landlock::RulesetCreated;
use rustix::{
    event::{PollFd, PollFlags},
    fs::{Gid, Mode, OFlags, Uid},
    io::Errno,
    process::{PidfdFlags, Signal},
    time::Timespec,
};

use super::{CODE_NOT_RUN, Refusal, Surroundings};
use crate::workload::{
    access,
    cgroup::Group,
    limits::{self, Limit},
    sandbox::{Inside, Kept, Stage},
    spec::Spec,
    state::{Enforced, Force},
};

/// A number that stands for "no change" in the kernel.
const NO_ID: u32 = u32::MAX;

/// What the new process does before exec that can fail and must not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Session = 1,
    Limits,
    Sandbox,
    User,
    Cwd,
    Parent,
    Privileges,
    Terminal,
}

impl Step {
    const ALL: [Step; 8] = [
        Step::Session,
        Step::Limits,
        Step::Sandbox,
        Step::User,
        Step::Cwd,
        Step::Parent,
        Step::Privileges,
        Step::Terminal,
    ];

    pub(super) fn verb(self) -> &'static str {
        match self {
            Step::Session => "begin a session",
            Step::Limits => "set limits",
            Step::Sandbox => "join its sandbox",
            Step::User => "set user",
            Step::Cwd => "change directory",
            Step::Parent => "follow its shim",
            Step::Privileges => "give up privileges",
            Step::Terminal => "take its terminal",
        }
    }
}

/// What the new process tells, each with one further byte.
mod report {
    /// A step failed: which.
    pub(super) const FAILED: u8 = b'F';
    /// A step into a new sandbox failed: which.
    pub(super) const INSIDE: u8 = b'S';
    /// A control group could not be joined: which.
    pub(super) const GROUP: u8 = b'G';
    /// Landlock's rules: how far they are in force.
    pub(super) const LANDLOCK: u8 = b'L';
    /// The limit of memory of a single process: whether it is set.
    pub(super) const MEMORY: u8 = b'M';
    /// The limit of processes of its user: whether it is set.
    pub(super) const PROCESSES: u8 = b'P';
    /// The order in which processes are ended when memory runs out could not be set.
    pub(super) const OOM: u8 = b'O';
}

/// What a new process could not do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Failed {
    At(Step),
    /// In its new sandbox, as [`part_name`](crate::workload::sandbox::part_name) knows it.
    Inside(u8),
}

/// Which step has failed, if one has; and whether the process is in all groups.
pub(super) fn read_reports(
    told: &[u8],
    group: &Group,
    enforced: &mut Enforced,
) -> (Option<Failed>, bool) {
    let (mut failed, mut has_joined) = (None, true);
    for told in told.chunks_exact(2) {
        let (kind, value) = (told[0], told[1]);
        match kind {
            report::FAILED => {
                let step = Step::ALL.into_iter().find(|step| *step as u8 == value);
                failed = failed.or(step.map(Failed::At));
            }
            report::INSIDE => failed = Some(Failed::Inside(value)),
            report::GROUP => {
                let why = Errno::from_raw_os_error(i32::from(value));
                group.leave_unjoined(why, enforced);
                has_joined = false;
            }
            report::LANDLOCK => {
                enforced.landlock = match value {
                    0 => Force::Full,
                    1 => Force::Partly,
                    _ => Force::None,
                };
            }
            report::MEMORY if value == 1 => {
                enforced.memory = Force::Partly;
                let note = "memory is limited for each process, not for all together";
                enforced.notes.push(note.to_owned());
            }
            report::PROCESSES if value == 1 => {
                enforced.pids = Force::Partly;
                let note = "processes are limited for all of the user's together";
                enforced.notes.push(note.to_owned());
            }
            report::OOM => {
                let note = "oom_score_adj can't be set";
                enforced.notes.push(note.to_owned());
            }
            _ => {}
        }
    }
    if matches!(enforced.landlock, Force::Partly | Force::None) {
        let note = "the kernel does not know all of Landlock";
        enforced.notes.push(note.to_owned());
    }
    (failed, has_joined)
}

#[derive(Debug)]
pub(super) struct Owner {
    pub(super) user: Uid,
    pub(super) group: Gid,
    groups: Vec<Gid>,
}

/// Where the new process runs.
enum Sandbox {
    /// On the machine.
    None,
    New(Box<Stage>),
    /// In one that is there, with what may be done in it.
    Joined(Arc<Inside>, Kept),
}

fn sandbox(spec: &Spec, around: &Surroundings) -> Result<Sandbox, Refusal> {
    let refuse = |why: String| Refusal::new(CODE_NOT_RUN, why);
    match (&spec.sandbox, &around.inside) {
        (None, _) => Ok(Sandbox::None),
        (Some(sandbox), None) => {
            let stage = Stage::new(sandbox, &spec.cwd).map_err(refuse)?;
            Ok(Sandbox::New(Box::new(stage)))
        }
        (Some(sandbox), Some(inside)) => {
            let kept = Kept::of(sandbox).map_err(refuse)?;
            Ok(Sandbox::Joined(inside.clone(), kept))
        }
    }
}

/// All that the new process needs, made before it is.
pub(super) struct Setup {
    report: PipeWriter,
    join: Vec<File>,
    oom_score_adj: Option<String>,
    limits: Vec<Limit>,
    memory: Option<Limit>,
    processes: Option<Limit>,
    mark: Limit,
    pub(super) terminal: Option<OwnedFd>,
    umask: Option<Mode>,
    pub(super) owner: Option<Owner>,
    cwd: CString,
    /// Can be read from once the shim has ended.
    shim: OwnedFd,
    sandbox: Sandbox,
    no_new_privs: bool,
    landlock: Option<RulesetCreated>,
}

impl Setup {
    pub(super) fn new(
        spec: &Spec,
        around: &Surroundings,
        report: PipeWriter,
        enforced: &mut Enforced,
    ) -> Result<Setup, Refusal> {
        let landlock = match &spec.landlock {
            Some(rules) => access::prepare(rules, &mut enforced.notes)
                .map_err(|why| {
                    enforced.landlock = Force::None;
                    enforced.notes.push(format!("Landlock: {why}"));
                })
                .ok(),
            None => None,
        };
        let memory_bytes = spec.cgroup.as_ref().and_then(|cgroup| cgroup.memory_bytes);
        let cwd = CString::new(spec.cwd.as_os_str().as_bytes())
            .map_err(|_| Refusal::new(CODE_NOT_RUN, "cwd holds a NUL byte"))?;
        let limits = limits::of_spec(&spec.rlimits);
        Ok(Setup {
            report,
            join: open_all(&around.group, enforced),
            oom_score_adj: spec.oom_score_adj.map(|score| score.to_string()),
            limits: limits.map_err(|why| Refusal::new(CODE_NOT_RUN, why))?,
            memory: memory_bytes
                .filter(|_| matches!(enforced.memory, Force::None | Force::Partly))
                .map(limits::of_memory),
            processes: around.processes,
            mark: limits::of_mark(around.mark),
            terminal: None,
            umask: spec.umask.map(|mask| Mode::from_raw_mode(mask & 0o777)),
            owner: owner(spec)?,
            cwd,
            shim: rustix::process::pidfd_open(rustix::process::getpid(), PidfdFlags::empty())
                .map_err(|errno| Refusal::of("the shim can't be followed")(errno.into()))?,
            sandbox: sandbox(spec, around)?,
            no_new_privs: spec.no_new_privs || spec.landlock.is_some(),
            landlock,
        })
    }

    fn tell(&self, kind: u8, value: u8) {
        let _ = rustix::io::write(&self.report, &[kind, value]);
    }

    pub(super) fn apply(&mut self) -> io::Result<()> {
        self.step(Step::Session, |_| rustix::process::setsid().map(drop))?;
        self.step(Step::Terminal, Setup::take_terminal)?;
        self.join_groups();
        self.step(Step::Limits, Setup::set_limits)?;
        self.step(Step::Sandbox, Setup::enter_sandbox)?;
        if let Some(mask) = self.umask {
            rustix::process::umask(mask);
        }
        self.step(Step::User, Setup::become_owner)?;
        self.step(Step::Cwd, |setup| {
            rustix::process::chdir(setup.cwd.as_c_str())
        })?;
        self.step(Step::Parent, Setup::follow_shim)?;
        self.step(Step::Privileges, Setup::give_up_privileges)?;
        if let Some(rules) = self.landlock.take() {
            let value = match access::restrict(rules) {
                Force::Full => 0,
                Force::Partly => 1,
                _ => 2,
            };
            self.tell(report::LANDLOCK, value);
        }
        Ok(())
    }

    fn step(
        &mut self,
        step: Step,
        run: impl Fn(&mut Setup) -> Result<(), Errno>,
    ) -> io::Result<()> {
        run(self).map_err(|errno| {
            self.tell(report::FAILED, step as u8);
            errno.into()
        })
    }

    fn join_groups(&self) {
        for file in &self.join {
            if let Err(errno) = rustix::io::write(file, b"0") {
                let value = u8::try_from(errno.raw_os_error()).unwrap_or(0);
                self.tell(report::GROUP, value);
            }
        }
        if let Some(score) = &self.oom_score_adj {
            let path = "/proc/self/oom_score_adj";
            let opened = rustix::fs::open(path, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty());
            if opened
                .and_then(|file| rustix::io::write(file, score.as_bytes()))
                .is_err()
            {
                self.tell(report::OOM, 0);
            }
        }
    }

    fn take_terminal(&mut self) -> Result<(), Errno> {
        match &self.terminal {
            Some(terminal) => rustix::process::ioctl_tiocsctty(terminal),
            None => Ok(()),
        }
    }

    fn set_limits(&mut self) -> Result<(), Errno> {
        // The mark is no right of anyone's: without it, only less can be found again.
        let _ = rustix::process::setrlimit(self.mark.0, self.mark.1);
        if let Some((resource, limit)) = self.memory {
            let set = rustix::process::setrlimit(resource, limit).is_ok();
            self.tell(report::MEMORY, u8::from(set));
        }
        if let Some((resource, limit)) = self.processes {
            let set = rustix::process::setrlimit(resource, limit).is_ok();
            self.tell(report::PROCESSES, u8::from(set));
        }
        self.limits
            .iter()
            .try_for_each(|(resource, limit)| rustix::process::setrlimit(*resource, *limit))
    }

    fn enter_sandbox(&mut self) -> Result<(), Errno> {
        match &mut self.sandbox {
            Sandbox::None => Ok(()),
            Sandbox::New(stage) => stage.enter().map_err(|(part, errno)| {
                let _ = rustix::io::write(&self.report, &[report::INSIDE, part]);
                errno
            }),
            Sandbox::Joined(inside, kept) => {
                inside.join()?;
                kept.give_up()
            }
        }
    }

    fn become_owner(&mut self) -> Result<(), Errno> {
        let Some(owner) = &self.owner else {
            return Ok(());
        };
        // These change the calling thread, and the new process has no other.
        rustix::thread::set_thread_groups(&owner.groups)?;
        rustix::thread::set_thread_res_gid(owner.group, owner.group, owner.group)?;
        rustix::thread::set_thread_res_uid(owner.user, owner.user, owner.user)
    }

    /// If the shim is killed, the program is too: nobody would take note of it any more.
    fn follow_shim(&mut self) -> Result<(), Errno> {
        rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
        // It may be gone already. Who its parent is can't be asked from another namespace.
        let mut ends = [PollFd::new(&self.shim, PollFlags::IN)];
        match rustix::event::poll(&mut ends, Some(&Timespec::default()))? {
            0 => Ok(()),
            _ => Err(Errno::SRCH),
        }
    }

    fn give_up_privileges(&mut self) -> Result<(), Errno> {
        if self.no_new_privs {
            rustix::thread::set_no_new_privs(true)?;
        }
        Ok(())
    }
}

fn open_all(group: &Group, enforced: &mut Enforced) -> Vec<File> {
    let open = |path: PathBuf| match OpenOptions::new().write(true).open(&path) {
        Ok(file) => Some(file),
        Err(error) => {
            let note = format!("{} can't be opened: {error}", path.display());
            enforced.notes.push(note);
            None
        }
    };
    group.join_files().into_iter().filter_map(open).collect()
}

/// Whose the new process is to be, if not ours.
fn owner(spec: &Spec) -> Result<Option<Owner>, Refusal> {
    let (own_user, own_group) = (rustix::process::geteuid(), rustix::process::getegid());
    let ids = [spec.user, spec.group].into_iter().flatten();
    if ids.chain(spec.groups.iter().copied()).any(|id| id == NO_ID) {
        let message = format!("there is no user or group {NO_ID}");
        return Err(Refusal::new(CODE_NOT_RUN, message));
    }
    let user = spec.user.map_or(own_user, Uid::from_raw);
    let group = spec.group.or(spec.user).map_or(own_group, Gid::from_raw);
    if spec.user.is_none() && spec.group.is_none()
        || !own_user.is_root() && (user, group) == (own_user, own_group)
    {
        return Ok(None);
    }
    let further = spec.groups.iter().map(|id| Gid::from_raw(*id));
    Ok(Some(Owner {
        user,
        group,
        groups: further.collect(),
    }))
}
