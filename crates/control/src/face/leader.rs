//! Tells streams that require a leader when there has been none for a while.
//!
//! One task looks for all of them. Ending a stream costs its client more than a refused
//! request, so a single look in vain is not enough: an election on its way must not end them.

use std::time::Duration;

use atoll_world::task;
use tokio::sync::watch;

use crate::{api::ControlApi, core::error::Error};

/// Looks in vain after which streams are ended.
const VAIN_LOOKS_MAX: u32 = 3;

/// Whether there is a leader, as streams see it.
#[derive(Clone)]
pub(crate) struct Leadership(watch::Receiver<bool>);

impl Leadership {
    /// Starts to look. The task ends with the last clone.
    pub(crate) fn watch<C: ControlApi>(control: C, interval: Duration) -> Self {
        let (sender, receiver) = watch::channel(true);
        task::spawn(async move {
            let mut vain_looks = 0;
            loop {
                tokio::select! {
                    biased;
                    () = sender.closed() => return,
                    () = tokio::time::sleep(interval) => {}
                }
                vain_looks = match control.standing().leader {
                    Some(_) => 0,
                    None => vain_looks + 1,
                };
                let led = vain_looks < VAIN_LOOKS_MAX;
                sender.send_if_modified(|seen| std::mem::replace(seen, led) != led);
            }
        });
        Leadership(receiver)
    }

    /// Runs `work`; if it needs a leader and there has been none for a while, gives it up.
    pub(crate) async fn hold<T>(
        &self,
        required: bool,
        work: impl Future<Output = Result<T, tonic::Status>>,
    ) -> Result<T, tonic::Status> {
        if !required {
            return work.await;
        }
        let mut receiver = self.0.clone();
        tokio::select! {
            biased;
            lost = receiver.wait_for(|led| !led) => {
                drop(lost);
                Err(Error::NoLeader.into())
            }
            result = work => result,
        }
    }
}
