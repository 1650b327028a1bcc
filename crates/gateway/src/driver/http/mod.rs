//! Connections of HTTP listeners: requests are routed one by one, whatever connection they
//! came on, and passed to connections to endpoints that are kept and shared.

use atoll_world::task;
use hyper::rt::Executor;

mod access;
mod admit;
mod answer;
mod body;
mod forward;
mod hedge;
pub(crate) mod pool;
mod send;
pub(crate) mod serve;
mod session;
mod tunnel;

/// Spawns what HTTP/2 needs through the world, so that a simulated crash takes it along.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spawner;

impl<F> Executor<F> for Spawner
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    fn execute(&self, future: F) {
        drop(task::spawn(future));
    }
}
