//! What fuzz targets call: every parser here of bytes that come from outside, with what must
//! hold whatever the bytes are. The same functions replay the corpora in a normal test.

use atoll_base::id::NodeId;
use bytes::Bytes;

use crate::{
    core::global::{
        Coordinator, Kind, Record, Settings, TransactionId, Version,
        coordinator::{Answer, Effect, Input, Request, RequestId, Until},
        keys,
    },
    outside::{Hosts, hot, http, postgres::work::Work},
};

/// The record of a global transaction: one that is written as it was read, or an error.
///
/// # Panics
/// When that does not hold.
pub fn record(bytes: &[u8]) {
    let bytes = Bytes::copy_from_slice(bytes);
    if let Ok(record) = Record::decode(bytes.clone()) {
        assert_eq!(record.encode(), bytes, "a record has one form");
    }
}

/// What clients and services send about participants; the first byte chooses what it is. What a
/// database, hot data or keys are to do comes back as it was written or is refused, a service's
/// answer is a report or an error, and where it is looked for is one of the hosts that are listed.
///
/// # Panics
/// When that does not hold.
pub fn outside(bytes: &[u8]) {
    let Some((choice, bytes)) = bytes.split_first() else {
        return;
    };
    let text = String::from_utf8_lossy(bytes);
    match choice % 5 {
        0 => {
            if let Ok(work) = Work::decode(bytes) {
                let again = Work::decode(&work.clone().encode());
                assert_eq!(again, Ok(work), "work is written as it was read");
            }
        }
        1 => drop(http::report(bytes)),
        3 => keys_of(Bytes::copy_from_slice(bytes)),
        4 => {
            if let Ok(work) = hot::work::Work::decode(bytes) {
                let again = hot::work::Work::decode(&work.clone().encode());
                assert_eq!(again.as_ref(), Ok(&work), "work is written as it was read");
                let named = work.parts().unwrap_or_default();
                let mut keys = named
                    .iter()
                    .map(|it| it.call.command.keys.of(&it.call.words));
                assert!(keys.all(|it| !it.is_empty()), "only what names its keys");
            }
        }
        _ => {
            let Ok(hosts) = Hosts::parse(&text, true) else {
                return;
            };
            let strange = hosts.place("never.listed.example", 1);
            let is_listed = text.to_ascii_lowercase().contains("never.listed.example");
            assert!(strange.is_none() || is_listed, "only who is listed");
        }
    }
}

/// Keys take part with this, alone, and the log takes all that is written.
fn keys_of(payload: Bytes) {
    let id = TransactionId(1);
    let mut coordinator = Coordinator::new(NodeId(1), Settings::default(), 1);
    let asked = [
        Request::Begin {
            kind: Kind::TwoPhase,
            timeout_ms: 1_000,
        },
        Request::Enlist {
            name: keys::NAME.to_owned(),
            payload: payload.clone(),
            compensation: Bytes::new(),
        },
        Request::Commit {
            until: Until::Ended,
        },
    ];
    let (mut versions, mut enlisted, mut done) = (0, false, Vec::new());
    for what in asked {
        let request = RequestId(1);
        coordinator.step(0, Input::Asked { request, id, what });
        let mut effects = coordinator.effects();
        while !effects.is_empty() {
            for effect in effects {
                match effect {
                    Effect::Write { ticket, parts, .. } => {
                        done.extend(parts.into_iter().map(|(_, payload)| payload));
                        versions += 1;
                        let version = Version(versions);
                        coordinator.step(0, Input::Written { ticket, version });
                    }
                    Effect::Answer { answer, .. } => {
                        enlisted |= matches!(answer, Answer::Enlisted(_));
                    }
                    _ => {}
                }
            }
            effects = coordinator.effects();
        }
    }
    let expected: Vec<Bytes> = enlisted.then_some(payload).into_iter().collect();
    assert_eq!(done, expected, "what takes part is done");
}

#[cfg(test)]
mod tests {
    use atoll_world::corpus::replay;

    #[test]
    fn the_corpora_of_the_fuzzer_are_read() {
        replay("txn_record", super::record);
        replay("txn_outside", super::outside);
    }
}
