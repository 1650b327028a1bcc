//! Runs of a whole cluster, each a function of its seed.

pub mod chaos;
pub mod failover;

use std::{cell::RefCell, panic, sync::Once};

use atoll_world::random;

thread_local! {
    static PANICS: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

/// Runs a future on a seeded thread with virtual time. What panicked in its tasks comes back
/// beside its result: a task that panics takes its runtime's other tasks nowhere.
pub(crate) fn simulate<F: Future>(seed: u64, run: impl FnOnce() -> F) -> (F::Output, Vec<String>) {
    note_panics();
    PANICS.take();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime without I/O can be made");
    let output = runtime.block_on(async {
        random::seed_thread(seed);
        run().await
    });
    drop(runtime);
    random::unseed_thread();
    (output, PANICS.take())
}

/// Runs something on this thread as a simulation; its panic, if it panics, is the error.
pub(crate) fn catch<T>(run: impl FnOnce() -> T + panic::UnwindSafe) -> Result<T, String> {
    note_panics();
    PANICS.take();
    random::seed_thread(0);
    let result = panic::catch_unwind(run);
    random::unseed_thread();
    result.map_err(|_| PANICS.take().join("; "))
}

/// Keeps the messages of panics on simulated threads, instead of printing them.
fn note_panics() {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |panic| {
            if random::is_simulated() {
                PANICS.with_borrow_mut(|panics| panics.push(panic.to_string()));
            } else {
                before(panic);
            }
        }));
    });
}
