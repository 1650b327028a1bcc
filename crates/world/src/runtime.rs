//! What consensus runs on: openraft's runtime interface, answered by [`task`], [`clock`] and
//! [`random`], so that its tasks die with a simulated node and its chances follow the seed.

use std::{fmt, future::Future, io, time::Duration};

use openraft_rt::{AsyncRuntime, OptionalSend};
use openraft_rt_tokio::{TokioInstant, TokioMpsc, TokioMutex, TokioOneshot, TokioRuntime};

use crate::{clock, random, task, watch};

/// The runtime that is handed to openraft. Everything runs on the current tokio runtime.
pub struct WorldRuntime {
    /// Only there when it was made by `new`, which openraft's own test suite does.
    owned: tokio::runtime::Runtime,
}

impl fmt::Debug for WorldRuntime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WorldRuntime").finish_non_exhaustive()
    }
}

impl AsyncRuntime for WorldRuntime {
    type JoinError = task::JoinError;
    type JoinHandle<T: OptionalSend + 'static> = task::JoinHandle<T>;
    type Sleep = clock::Sleep;
    type Instant = TokioInstant;
    type TimeoutError = clock::Elapsed;
    type Timeout<R, T: Future<Output = R> + OptionalSend> = clock::Timeout<T>;
    type ThreadLocalRng = random::Rng;
    type Mpsc = TokioMpsc;
    type Watch = watch::RaftWatch;
    type Oneshot = TokioOneshot;
    type Mutex<T: OptionalSend + 'static> = TokioMutex<T>;

    fn spawn<T>(future: T) -> Self::JoinHandle<T::Output>
    where
        T: Future + OptionalSend + 'static,
        T::Output: OptionalSend + 'static,
    {
        task::spawn(future)
    }

    fn sleep(duration: Duration) -> Self::Sleep {
        clock::sleep(duration)
    }

    fn sleep_until(deadline: Self::Instant) -> Self::Sleep {
        TokioRuntime::sleep_until(deadline)
    }

    fn timeout<R, F: Future<Output = R> + OptionalSend>(
        duration: Duration,
        future: F,
    ) -> Self::Timeout<R, F> {
        clock::timeout(duration, future)
    }

    fn timeout_at<R, F: Future<Output = R> + OptionalSend>(
        deadline: Self::Instant,
        future: F,
    ) -> Self::Timeout<R, F> {
        TokioRuntime::timeout_at(deadline, future)
    }

    fn is_panic(join_error: &Self::JoinError) -> bool {
        join_error.is_panic()
    }

    fn thread_rng() -> Self::ThreadLocalRng {
        random::Rng::new()
    }

    fn new(threads: usize) -> Self {
        let owned = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(threads)
            .enable_all()
            .build()
            .expect("a tokio runtime can be made");
        WorldRuntime { owned }
    }

    fn block_on<F, T>(&mut self, future: F) -> T
    where
        F: Future<Output = T>,
    {
        self.owned.block_on(future)
    }

    async fn spawn_blocking<F, T>(run: F) -> Result<T, io::Error>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        Ok(task::blocking(run).await)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn openraft_finds_what_it_expects() {
        openraft_rt::testing::Suite::<WorldRuntime>::test_all();
    }
}
