//! One turn of the core: what time it is, what is to be done, and when to look again.

use super::messages::{Effect, Node, PodEvent, PodId, bounded};

/// What a step of the core writes into.
pub(super) struct Turn<'a> {
    pub(super) now_ms: u64,
    pub(super) node: &'a Node,
    pub(super) effects: Vec<Effect>,
    /// Whether people are not to be told of anything.
    pub(super) is_silent: bool,
    wake_ms: Option<u64>,
}

impl Turn<'_> {
    pub(super) fn new(now_ms: u64, node: &Node, is_silent: bool) -> Turn<'_> {
        Turn {
            now_ms,
            node,
            effects: Vec::new(),
            is_silent,
            wake_ms: None,
        }
    }

    pub(super) fn emit(&mut self, effect: Effect) {
        self.effects.push(effect);
    }

    /// Something is to be looked at again then.
    pub(super) fn wait_until(&mut self, at_ms: u64) {
        self.wake_ms = Some(self.wake_ms.map_or(at_ms, |wake_ms| wake_ms.min(at_ms)));
    }

    /// The earliest of what was waited for since the last call.
    pub(super) fn take_wake(&mut self) -> Option<u64> {
        self.wake_ms.take()
    }

    /// Tells people about a part of a pod.
    pub(super) fn event(
        &mut self,
        pod: &PodId,
        field_path: &str,
        is_warning: bool,
        reason: &str,
        message: String,
    ) {
        if self.is_silent {
            return;
        }
        self.emit(Effect::Event(PodEvent {
            pod: pod.clone(),
            field_path: field_path.to_owned(),
            is_warning,
            reason: bounded(reason.to_owned()),
            message: bounded(message),
        }));
    }
}
