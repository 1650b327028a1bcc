//! A value that others wait on, woken in the order in which they began to wait.
//!
//! tokio's channel of the same name spreads its waiters over lists picked by a random number that
//! no seed reaches, so two runs of one simulation would wake them in different orders. Its
//! interface is kept, as far as it is used.

use std::{
    ops::Deref,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
};

use openraft_rt::{OptionalSend, OptionalSync, watch as raft};
use parking_lot::{RwLock, RwLockReadGuard};
use tokio::sync::Notify;

/// Nobody can change the value any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("whoever changed the value has gone")]
pub struct Closed;

struct Shared<T> {
    value: RwLock<T>,
    /// Counts the changes; raised under the value's write lock.
    version: AtomicU64,
    senders: AtomicUsize,
    receivers: AtomicUsize,
    changed: Notify,
}

/// Makes a value, its changer, and one who has seen it.
pub fn channel<T>(value: T) -> (Sender<T>, Receiver<T>) {
    let shared = Arc::new(Shared {
        value: RwLock::new(value),
        version: AtomicU64::new(0),
        senders: AtomicUsize::new(1),
        receivers: AtomicUsize::new(0),
        changed: Notify::new(),
    });
    let sender = Sender { shared };
    let receiver = sender.subscribe();
    (sender, receiver)
}

/// Changes the value. Clones change the same.
pub struct Sender<T> {
    shared: Arc<Shared<T>>,
}

impl<T> Sender<T> {
    /// Puts a value in place of the old one, which comes back; wakes whoever waits.
    pub fn send_replace(&self, value: T) -> T {
        let mut old = value;
        self.send_if_modified(|current| {
            std::mem::swap(current, &mut old);
            true
        });
        old
    }

    /// Changes the value; wakes whoever waits if the function says that it did.
    pub fn send_if_modified(&self, modify: impl FnOnce(&mut T) -> bool) -> bool {
        let mut value = self.shared.value.write();
        if !modify(&mut value) {
            return false;
        }
        self.shared.version.fetch_add(1, Ordering::Release);
        drop(value);
        self.shared.changed.notify_waiters();
        true
    }

    /// Looks at the value. Changes wait meanwhile: be brief.
    pub fn borrow(&self) -> Ref<'_, T> {
        Ref(self.shared.value.read())
    }

    /// One more who waits, and has seen the present value.
    pub fn subscribe(&self) -> Receiver<T> {
        self.shared.receivers.fetch_add(1, Ordering::Relaxed);
        Receiver {
            seen: self.shared.version.load(Ordering::Acquire),
            shared: self.shared.clone(),
        }
    }
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        self.shared.senders.fetch_add(1, Ordering::Relaxed);
        Sender {
            shared: self.shared.clone(),
        }
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        if self.shared.senders.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.shared.changed.notify_waiters();
        }
    }
}

/// Waits for changes of the value. A clone has seen what its original has.
pub struct Receiver<T> {
    shared: Arc<Shared<T>>,
    seen: u64,
}

impl<T> Receiver<T> {
    /// Looks at the value. Changes wait meanwhile: be brief.
    pub fn borrow(&self) -> Ref<'_, T> {
        Ref(self.shared.value.read())
    }

    /// The same, and counts the value as seen.
    pub fn borrow_and_update(&mut self) -> Ref<'_, T> {
        let value = self.shared.value.read();
        self.seen = self.shared.version.load(Ordering::Acquire);
        Ref(value)
    }

    /// Waits for a value that was not seen, and counts it as seen. Cancel-safe.
    ///
    /// # Errors
    /// There will be none.
    pub async fn changed(&mut self) -> Result<(), Closed> {
        loop {
            // Made before the look: a change after it is not missed.
            let changed = self.shared.changed.notified();
            let version = self.shared.version.load(Ordering::Acquire);
            if version != self.seen {
                self.seen = version;
                return Ok(());
            }
            if self.shared.senders.load(Ordering::Acquire) == 0 {
                return Err(Closed);
            }
            changed.await;
        }
    }

    /// Waits until the value is as wanted. Cancel-safe.
    ///
    /// # Errors
    /// It is not, and will not change any more.
    pub async fn wait_for(&mut self, mut wanted: impl FnMut(&T) -> bool) -> Result<(), Closed> {
        loop {
            if wanted(&self.borrow_and_update()) {
                return Ok(());
            }
            self.changed().await?;
        }
    }
}

impl<T> Clone for Receiver<T> {
    fn clone(&self) -> Self {
        self.shared.receivers.fetch_add(1, Ordering::Relaxed);
        Receiver {
            shared: self.shared.clone(),
            seen: self.seen,
        }
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        self.shared.receivers.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The value, while it is looked at.
pub struct Ref<'a, T>(RwLockReadGuard<'a, T>);

impl<T> Deref for Ref<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

/// For consensus, which asks for the same under other names.
pub struct RaftWatch;

impl raft::Watch for RaftWatch {
    type Sender<T: OptionalSend + OptionalSync> = Sender<T>;
    type Receiver<T: OptionalSend + OptionalSync> = Receiver<T>;
    type Ref<'a, T: OptionalSend + 'a> = Ref<'a, T>;

    fn channel<T: OptionalSend + OptionalSync>(init: T) -> (Sender<T>, Receiver<T>) {
        channel(init)
    }
}

impl<T: OptionalSend + OptionalSync> raft::WatchSender<RaftWatch, T> for Sender<T> {
    fn send(&self, value: T) -> Result<(), raft::SendError<T>> {
        if self.shared.receivers.load(Ordering::Relaxed) == 0 {
            return Err(raft::SendError(value));
        }
        self.send_replace(value);
        Ok(())
    }

    fn send_if_modified<F>(&self, modify: F) -> bool
    where
        F: FnOnce(&mut T) -> bool,
    {
        Sender::send_if_modified(self, modify)
    }

    fn borrow_watched(&self) -> Ref<'_, T> {
        self.borrow()
    }

    fn subscribe(&self) -> Receiver<T> {
        Sender::subscribe(self)
    }
}

impl<T: OptionalSend + OptionalSync> raft::WatchReceiver<RaftWatch, T> for Receiver<T> {
    async fn changed(&mut self) -> Result<(), raft::RecvError> {
        Receiver::changed(self)
            .await
            .map_err(|Closed| raft::RecvError(()))
    }

    fn borrow_watched(&self) -> Ref<'_, T> {
        self.borrow()
    }

    fn borrow_and_update(&mut self) -> Ref<'_, T> {
        Receiver::borrow_and_update(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::task;

    #[tokio::test]
    async fn waiters_wake_in_the_order_in_which_they_came() {
        let (sender, receiver) = channel(0);
        let order = Arc::new(parking_lot::Mutex::new(Vec::new()));
        let waiters: Vec<_> = (0..40)
            .map(|waiter| {
                let (mut receiver, order) = (receiver.clone(), order.clone());
                task::spawn(async move {
                    receiver.wait_for(|value| *value == 2).await.unwrap();
                    order.lock().push(waiter);
                })
            })
            .collect();
        for value in [1, 2] {
            task::yield_now().await;
            sender.send_replace(value);
        }
        for waiter in waiters {
            waiter.await.unwrap();
        }
        assert_eq!(*order.lock(), (0..40).collect::<Vec<_>>());
    }

    #[tokio::test]
    async fn a_change_is_seen_once_and_the_last_one_before_the_end() {
        let (sender, mut receiver) = channel('a');
        assert!(!sender.send_if_modified(|_| false));
        assert_eq!(sender.send_replace('b'), 'a');
        let mut late = sender.subscribe();
        receiver.changed().await.unwrap();
        assert_eq!(*receiver.borrow(), 'b');
        sender.send_replace('c');
        drop(sender);
        assert_eq!(*receiver.borrow_and_update(), 'c');
        assert_eq!(receiver.changed().await, Err(Closed));
        late.changed().await.unwrap();
        assert_eq!(late.wait_for(|value| *value == 'd').await, Err(Closed));
    }
}
