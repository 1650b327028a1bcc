//! Which cores programs run on. A program that is started has the cores of the thread that
//! starts it.

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use crate::error::{Error, Result};

/// One core for the proxy, and the others for everybody else.
#[derive(Clone, Debug)]
pub(super) struct Cores {
    /// The proxy's.
    pub(super) proxy: CpuSet,
    /// Of all others.
    pub(super) others: CpuSet,
    /// The number of the proxy's.
    pub(super) core: usize,
}

impl Cores {
    /// Of those that this program may use. Where there is only one, all share it.
    ///
    /// # Errors
    /// It may not use that one.
    pub(super) fn split(wanted: Option<usize>) -> Result<Self> {
        let allowed = sched_getaffinity(None)
            .map_err(|error| Error::io("read the cores of this program")(error.into()))?;
        let may = |core: &usize| allowed.is_set(*core);
        let core = match wanted {
            Some(core) => Some(core).filter(may),
            None => (0..CpuSet::MAX_CPU).rev().find(may),
        };
        let Some(core) = core else {
            let why = "--core is one that this program may use: see taskset -p $$";
            return Err(Error::Options(why.to_owned()));
        };
        let mut proxy = CpuSet::new();
        proxy.set(core);
        let mut others = allowed;
        others.unset(core);
        if others.count() == 0 {
            others.set(core);
        }
        Ok(Self {
            proxy,
            others,
            core,
        })
    }
}

/// This thread is on these cores, and back on its own when this is dropped.
#[derive(Debug)]
pub(super) struct Pinned(CpuSet);

impl Pinned {
    /// # Errors
    /// The system refuses.
    pub(super) fn to(cores: &CpuSet) -> Result<Self> {
        let told = |error: rustix::io::Errno| Error::io("choose cores")(error.into());
        let before = sched_getaffinity(None).map_err(told)?;
        sched_setaffinity(None, cores).map_err(told)?;
        Ok(Self(before))
    }
}

impl Drop for Pinned {
    fn drop(&mut self) {
        // These were this thread's before.
        let _ = sched_setaffinity(None, &self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_core_of_its_own_for_the_proxy() {
        let before = sched_getaffinity(None).unwrap();
        let cores = Cores::split(None).unwrap();
        assert!(cores.proxy.is_set(cores.core));
        assert_eq!(cores.proxy.count(), 1);
        assert!(cores.others.count() >= 1);
        let pinned = Pinned::to(&cores.proxy).unwrap();
        assert_eq!(sched_getaffinity(None).unwrap(), cores.proxy);
        drop(pinned);
        assert_eq!(sched_getaffinity(None).unwrap(), before);
        assert!(Cores::split(Some(CpuSet::MAX_CPU - 1)).is_err() || before.count() > 1_000);
    }
}
