//! Objects as changes brought them a moment ago: the mirror and the watches of a node hear of the
//! same changes, and each is read once.

use std::{collections::BTreeMap, sync::Arc};

use atoll_control::proto::mvccpb::KeyValue;
use bytes::Bytes;
use parking_lot::Mutex;
use serde_json::Value;

/// So many objects are kept, and so many bytes of them, as they were sent: those who hear of the
/// same change do so at about the same time.
const OBJECTS_MAX: usize = 1_024;
const BYTES_MAX: usize = 4 << 20;

/// The objects of the last changes.
#[derive(Default)]
pub(super) struct Recent(Mutex<State>);

#[derive(Default)]
struct State {
    /// By revision and key.
    objects: BTreeMap<(i64, Bytes), Read>,
    bytes: usize,
}

struct Read {
    object: Arc<Value>,
    bytes: usize,
}

impl Recent {
    pub(super) fn get(&self, kv: &KeyValue) -> Option<Arc<Value>> {
        let key = (kv.mod_revision, kv.key.clone());
        let state = self.0.lock();
        state.objects.get(&key).map(|read| read.object.clone())
    }

    /// Keeps an object for the others, in place of the oldest ones.
    pub(super) fn keep(&self, kv: &KeyValue, object: &Arc<Value>) {
        // A copy: the key is a part of all that was sent with it.
        let key = (kv.mod_revision, Bytes::copy_from_slice(&kv.key));
        let read = Read {
            object: object.clone(),
            bytes: kv.value.len(),
        };
        let mut state = self.0.lock();
        state.bytes += read.bytes;
        if let Some(before) = state.objects.insert(key, read) {
            state.bytes -= before.bytes;
        }
        while state.objects.len() > OBJECTS_MAX || state.bytes > BYTES_MAX {
            let oldest = state.objects.pop_first();
            state.bytes -= oldest.map_or(0, |(_, read)| read.bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kv(revision: i64, bytes: usize) -> KeyValue {
        KeyValue {
            key: "k".into(),
            mod_revision: revision,
            value: vec![0; bytes].into(),
            ..KeyValue::default()
        }
    }

    #[test]
    fn the_last_ones_are_kept_within_bounds() {
        let recent = Recent::default();
        let has = |revision| recent.get(&kv(revision, 0)).is_some();
        let object = Arc::new(Value::Null);
        let many = i64::try_from(OBJECTS_MAX).unwrap() + 1;
        for revision in 1..=many {
            recent.keep(&kv(revision, 1), &object);
        }
        assert!(!has(1) && has(2) && has(many));
        recent.keep(&kv(many, 1), &object);
        assert!(has(2), "the same takes no more room");
        recent.keep(&kv(many + 1, BYTES_MAX - 1), &object);
        assert!(has(many) && !has(many - 1));
        recent.keep(&kv(many + 2, BYTES_MAX + 1), &object);
        assert!(!has(many) && !has(many + 2));
        assert_eq!(recent.0.lock().bytes, 0);
    }
}
