//! Limits of single processes (setrlimit(2)): those asked for by name, and what stands in where
//! there are no control groups.

use rustix::process::{Resource, Rlimit};

use super::{proc, spec::RlimitSpec};

/// A limit ready to be set.
pub(super) type Limit = (Resource, Rlimit);

/// Above all that a process could use: its value only marks whose process it is. In
/// microseconds, a thousand years.
const MARK_BASE: u64 = 1 << 55;

/// The limits of a spec.
///
/// # Errors
/// The name that is none.
pub(super) fn of_spec(specs: &[RlimitSpec]) -> Result<Vec<Limit>, String> {
    let limit = |spec: &RlimitSpec| {
        let resource = resource(&spec.resource)
            .ok_or_else(|| format!("there is no limit {:?}", spec.resource))?;
        let limit = Rlimit {
            current: spec.soft,
            maximum: spec.hard,
        };
        Ok((resource, limit))
    };
    specs.iter().map(limit).collect()
}

/// Stands in for a limit of memory: what each process may have of its own that can be written.
/// (RLIMIT_AS would count what is only reserved, of which many runtimes take very much.)
pub(super) fn of_memory(bytes: u64) -> Limit {
    let both = Rlimit {
        current: Some(bytes),
        maximum: Some(bytes),
    };
    (Resource::Data, both)
}

/// Stands in for a limit of processes: so many more than the user has now. It does not hold for
/// one who may pass over it, such as root.
pub(super) fn of_processes(max: u64, user: u32) -> Option<Limit> {
    if user == 0 {
        return None;
    }
    let own = rustix::process::getrlimit(Resource::Nproc).maximum;
    let max = proc::tasks_of(user).saturating_add(max);
    let max = Some(own.map_or(max, |own| own.min(max)));
    let both = Rlimit {
        current: max,
        maximum: max,
    };
    Some((Resource::Nproc, both))
}

/// A mark as [`super::members`] tells, from anything that differs between workloads.
pub(super) fn mark(of: u64) -> u64 {
    MARK_BASE | (of % MARK_BASE)
}

pub(super) fn of_mark(mark: u64) -> Limit {
    let both = Rlimit {
        current: Some(mark),
        maximum: Some(mark),
    };
    (Resource::Rttime, both)
}

fn resource(name: &str) -> Option<Resource> {
    Some(match name {
        "as" => Resource::As,
        "core" => Resource::Core,
        "cpu" => Resource::Cpu,
        "data" => Resource::Data,
        "fsize" => Resource::Fsize,
        "locks" => Resource::Locks,
        "memlock" => Resource::Memlock,
        "msgqueue" => Resource::Msgqueue,
        "nice" => Resource::Nice,
        "nofile" => Resource::Nofile,
        "nproc" => Resource::Nproc,
        "rss" => Resource::Rss,
        "rtprio" => Resource::Rtprio,
        "rttime" => Resource::Rttime,
        "sigpending" => Resource::Sigpending,
        "stack" => Resource::Stack,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_have_names_and_marks_limit_nothing() {
        let spec = |resource: &str| RlimitSpec {
            resource: resource.to_owned(),
            soft: Some(1),
            hard: None,
        };
        let limits = of_spec(&[spec("nofile")]).unwrap();
        assert_eq!((limits[0].0, limits[0].1.maximum), (Resource::Nofile, None));
        assert!(of_spec(&[spec("NOFILE")]).unwrap_err().contains("NOFILE"));
        assert!(mark(0) >= MARK_BASE && mark(u64::MAX) < i64::MAX as u64);
        assert_ne!(mark(1), mark(2));
        assert_eq!(of_processes(5, 0), None);
        // A user who has nothing.
        let (_, limit) = of_processes(5, u32::MAX - 7).unwrap();
        assert_eq!(limit.maximum, Some(5));
    }
}
