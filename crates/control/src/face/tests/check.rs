use proptest::prelude::*;

use super::*;

fn put_op(key: &str) -> pb::RequestOp {
    op(Request::RequestPut(pb::PutRequest {
        key: key.to_owned().into(),
        ..Default::default()
    }))
}

fn delete_op(key: &str, end: &str) -> pb::RequestOp {
    op(Request::RequestDeleteRange(pb::DeleteRangeRequest {
        key: key.to_owned().into(),
        range_end: end.to_owned().into(),
        ..Default::default()
    }))
}

fn txn_op(success: Vec<pb::RequestOp>, failure: Vec<pb::RequestOp>) -> pb::RequestOp {
    op(Request::RequestTxn(pb::TxnRequest {
        success,
        failure,
        ..Default::default()
    }))
}

fn op(request: Request) -> pb::RequestOp {
    pb::RequestOp {
        request: Some(request),
    }
}

fn checked(success: Vec<pb::RequestOp>) -> Result<(), Error> {
    txn(
        &pb::TxnRequest {
            success,
            ..Default::default()
        },
        4,
    )
}

#[test]
fn puts_are_looked_at_in_etcds_order() {
    let full = pb::PutRequest {
        key: "k".into(),
        value: "v".into(),
        lease: 1,
        ignore_value: true,
        ignore_lease: true,
        ..Default::default()
    };
    let no_value = pb::PutRequest {
        value: "".into(),
        ..full.clone()
    };
    let no_lease = pb::PutRequest {
        lease: 0,
        ..no_value.clone()
    };
    let table = [
        (
            pb::PutRequest {
                key: "".into(),
                ..full.clone()
            },
            Err(Error::EmptyKey),
        ),
        (full, Err(Error::ValueProvided)),
        (no_value, Err(Error::LeaseProvided)),
        (no_lease, Ok(())),
    ];
    for (request, wanted) in table {
        assert_eq!(put(&request), wanted, "{request:?}");
    }
}

#[test]
fn ranges_need_a_key_and_a_known_order() {
    let mut request = pb::RangeRequest {
        sort_order: 9,
        ..Default::default()
    };
    assert_eq!(range(&request), Err(Error::EmptyKey));
    request.key = "k".into();
    assert_eq!(range(&request), Err(Error::InvalidSortOption));
    request.sort_order = 0;
    request.sort_target = -1;
    assert_eq!(range(&request), Err(Error::InvalidSortOption));
    request.sort_target = 4;
    assert_eq!(range(&request), Ok(()));
}

#[test]
fn operations_are_counted_along_each_path() {
    let puts = |count: usize| {
        (0..count)
            .map(|i| put_op(&i.to_string()))
            .collect::<Vec<_>>()
    };
    assert_eq!(checked(puts(4)), Ok(()));
    assert_eq!(checked(puts(5)), Err(Error::TooManyOps));
    assert_eq!(checked(vec![txn_op(puts(3), puts(3))]), Ok(()));
    assert_eq!(
        checked(vec![txn_op(puts(4), vec![])]),
        Err(Error::TooManyOps)
    );
    // Too many is told before what is wrong with each.
    assert_eq!(checked(vec![put_op(""); 5]), Err(Error::TooManyOps));
    assert_eq!(checked(vec![put_op(""); 2]), Err(Error::EmptyKey));
    assert_eq!(
        checked(vec![pb::RequestOp::default()]),
        Err(Error::KeyNotFound)
    );
}

#[test]
fn no_key_is_written_twice() {
    let twice = Err(Error::DuplicateKey);
    let table = [
        (vec![put_op("a"), put_op("a")], twice),
        (vec![put_op("a"), put_op("b")], Ok(())),
        (vec![put_op("a"), delete_op("a", "")], twice),
        (vec![put_op("b"), delete_op("a", "c")], twice),
        (vec![put_op("c"), delete_op("a", "c")], Ok(())),
        (vec![put_op("c"), delete_op("a", "\0")], twice),
        (vec![delete_op("a", "c"), delete_op("b", "d")], Ok(())),
        (vec![put_op("a"), txn_op(vec![put_op("a")], vec![])], twice),
        // Only one branch runs.
        (vec![txn_op(vec![put_op("a")], vec![put_op("a")])], Ok(())),
        (
            vec![
                txn_op(vec![put_op("a")], vec![]),
                txn_op(vec![], vec![put_op("a")]),
            ],
            twice,
        ),
        (
            vec![txn_op(vec![delete_op("a", "c")], vec![]), put_op("b")],
            twice,
        ),
    ];
    for (ops, wanted) in table {
        assert_eq!(checked(ops.clone()), wanted, "{ops:?}");
    }
}

#[test]
fn only_ranges_make_a_reading_transaction() {
    let read = op(Request::RequestRange(pb::RangeRequest::default()));
    let of = |success| pb::TxnRequest {
        success,
        ..Default::default()
    };
    assert!(txn_only_reads(&of(vec![])));
    assert!(txn_only_reads(&of(vec![read.clone()])));
    assert!(!txn_only_reads(&of(vec![read.clone(), put_op("a")])));
    assert!(!txn_only_reads(&of(vec![txn_op(vec![read], vec![])])));
}

proptest! {
    /// Merged ranges cover exactly what the single ones cover, and none touches another.
    #[test]
    fn merged_deletes_cover_the_same_keys(ranges in prop::collection::vec((0u8..20, 0u8..21), 0..8)) {
        let mut writes = Writes::default();
        let end_of = |end: u8| match end {
            0 => Bytes::new(),
            20 => Bytes::from_static(&[0]),
            end => Bytes::from(vec![end]),
        };
        for &(start, end) in &ranges {
            writes.delete(&Bytes::from(vec![start]), &end_of(end));
        }
        for key in 0..25u8 {
            let covered = ranges.iter().any(|&(start, end)| match end {
                0 => key == start,
                20 => key >= start,
                end => key >= start && key < end,
            });
            prop_assert_eq!(writes.is_deleted(&Bytes::from(vec![key])), covered, "{}", key);
        }
        let spans: Vec<_> = writes.deletes.into_iter().collect();
        for pair in spans.windows(2) {
            prop_assert!(pair[0].1.as_ref().is_some_and(|end| *end < pair[1].0));
        }
    }
}

/// What is nested too deep for the log to carry would end every node that reads it there.
#[test]
fn what_passes_can_be_carried_by_the_log() {
    use crate::proto::internal::{Batch, Command, command::Op};
    use prost::Message as _;

    let mut request = pb::TxnRequest::default();
    let mut deepest = 1;
    for depth in 2..=128 {
        request = pb::TxnRequest {
            success: vec![op(Request::RequestTxn(request))],
            ..pb::TxnRequest::default()
        };
        // As it comes from a client; beyond some depth it can't even be read.
        let Ok(sent) = pb::TxnRequest::decode(&request.encode_to_vec()[..]) else {
            continue;
        };
        match txn(&sent, 128) {
            Ok(()) => deepest = depth,
            Err(error) => {
                assert_eq!(error, Error::TooManyOps);
                continue;
            }
        }
        let batch = Batch {
            commands: vec![Command {
                op: Some(Op::Txn(sent)),
                ..Command::default()
            }],
        };
        let carried = Batch::decode(&batch.encode_to_vec()[..]);
        assert_eq!(carried.as_ref(), Ok(&batch), "nested {depth} times");
    }
    assert_eq!(deepest, TXN_DEPTH_MAX);
}
