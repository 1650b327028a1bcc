//! Random histories: the machine answers what the model answers, a restart changes nothing,
//! reclaiming changes nothing that can be seen, and two machines never differ.

use bytes::Bytes;
use proptest::prelude::*;

use super::{Node, command, model::Model, system};
use crate::{
    api::Reply,
    core::{check::is_read_only, effects::Space, range::RangeCursor},
    proto::{
        authpb,
        etcdserverpb::{
            self as pb,
            compare::{CompareTarget, TargetUnion},
            request_op::Request,
            response_op::Response,
        },
        internal::{Identity, Origin, command::Op},
    },
};

#[derive(Clone, Debug)]
enum Step {
    Txn(pb::TxnRequest),
    Range(pb::RangeRequest),
    Compact(i64),
    Flush,
    Restart,
    Crash,
    Reclaim { budget: usize, pin_back: i64 },
}

fn key() -> impl Strategy<Value = Bytes> {
    prop::sample::select(vec!["a", "b", "ba", "bb", "c", "\0", "d\0"])
        .prop_map(|key| Bytes::from_static(key.as_bytes()))
}

fn range_end() -> impl Strategy<Value = Bytes> {
    let ends = prop::sample::select(vec!["", "", "", "\0", "a", "bb", "c", "z"]);
    ends.prop_map(|end| Bytes::from_static(end.as_bytes()))
}

fn value() -> impl Strategy<Value = Bytes> {
    prop::sample::select(vec!["", "1", "2", "33"]).prop_map(text)
}

fn text(text: &'static str) -> Bytes {
    Bytes::from_static(text.as_bytes())
}

fn revision() -> impl Strategy<Value = i64> {
    prop_oneof![3 => Just(0), 5 => 1..40_i64, 1 => -3..0_i64]
}

fn bound() -> impl Strategy<Value = i64> {
    prop_oneof![4 => Just(0), 1 => 1..20_i64]
}

fn range() -> impl Strategy<Value = pb::RangeRequest> {
    let what = (key(), range_end(), -1..4_i64, revision());
    let order = (0..3_i32, 0..5_i32, any::<bool>(), prop::bool::weighted(0.1));
    let bounds = (bound(), bound(), bound(), bound());
    (what, order, bounds).prop_map(|(what, order, bounds)| pb::RangeRequest {
        key: what.0,
        range_end: what.1,
        limit: what.2,
        revision: what.3,
        sort_order: order.0,
        sort_target: order.1,
        serializable: true,
        keys_only: order.2,
        count_only: order.3,
        min_mod_revision: bounds.0,
        max_mod_revision: bounds.1,
        min_create_revision: bounds.2,
        max_create_revision: bounds.3,
    })
}

fn compare() -> impl Strategy<Value = pb::Compare> {
    let union = prop_oneof![
        (0..4_i64).prop_map(|v| (CompareTarget::Version, TargetUnion::Version(v))),
        (0..9_i64).prop_map(|v| (CompareTarget::Create, TargetUnion::CreateRevision(v))),
        (0..9_i64).prop_map(|v| (CompareTarget::Mod, TargetUnion::ModRevision(v))),
        value().prop_map(|v| (CompareTarget::Value, TargetUnion::Value(v))),
        (0..2_i64).prop_map(|v| (CompareTarget::Lease, TargetUnion::Lease(v))),
    ];
    (key(), range_end(), 0..4_i32, union).prop_map(|(key, range_end, result, union)| pb::Compare {
        result,
        target: union.0.into(),
        key,
        range_end,
        target_union: Some(union.1),
    })
}

fn put() -> impl Strategy<Value = Request> {
    (key(), value(), any::<bool>(), prop::bool::weighted(0.1)).prop_map(
        |(key, value, prev_kv, ignore_value)| {
            Request::RequestPut(pb::PutRequest {
                key,
                value: if ignore_value { Bytes::new() } else { value },
                prev_kv,
                ignore_value,
                ..Default::default()
            })
        },
    )
}

fn delete() -> impl Strategy<Value = Request> {
    (key(), range_end(), any::<bool>()).prop_map(|(key, range_end, prev_kv)| {
        Request::RequestDeleteRange(pb::DeleteRangeRequest {
            key,
            range_end,
            prev_kv,
        })
    })
}

/// Whatever passes, also what the face would refuse: the machine must stand everything.
fn txn() -> impl Strategy<Value = pb::TxnRequest> {
    let leaf = prop_oneof![4 => put(), 2 => delete(), 1 => range().prop_map(Request::RequestRange)];
    let op = leaf.prop_recursive(2, 12, 3, |op| txn_of(op).prop_map(Request::RequestTxn));
    prop_oneof![
        // Most transactions are a single put or delete.
        3 => prop_oneof![3 => put(), 1 => delete()].prop_map(|request| pb::TxnRequest {
            success: vec![pb::RequestOp { request: Some(request) }],
            ..Default::default()
        }),
        2 => txn_of(op),
    ]
}

fn txn_of(
    op: impl Strategy<Value = Request> + Clone + 'static,
) -> impl Strategy<Value = pb::TxnRequest> {
    let ops = move || {
        let op = op.clone().prop_map(|request| pb::RequestOp {
            request: Some(request),
        });
        prop::collection::vec(op, 0..4)
    };
    (prop::collection::vec(compare(), 0..2), ops(), ops()).prop_map(
        |(compare, success, failure)| pb::TxnRequest {
            compare,
            success,
            failure,
        },
    )
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        12 => txn().prop_map(Step::Txn),
        6 => range().prop_map(Step::Range),
        2 => (-1..40_i64).prop_map(Step::Compact),
        3 => Just(Step::Flush),
        1 => Just(Step::Restart),
        2 => Just(Step::Crash),
        2 => (1..5_usize, 0..5_i64).prop_map(|(budget, pin_back)| Step::Reclaim { budget, pin_back }),
    ]
}

fn strip_headers(response: &mut pb::TxnResponse) {
    response.header = None;
    for op in &mut response.responses {
        match op.response.as_mut().unwrap() {
            Response::ResponseRange(range) => range.header = None,
            Response::ResponsePut(put) => put.header = None,
            Response::ResponseDeleteRange(delete) => delete.header = None,
            Response::ResponseTxn(txn) => strip_headers(txn),
        }
    }
}

fn check_txn(node: &mut Node, model: &mut Model, txn: &pb::TxnRequest) {
    let anybody = Identity::default();
    let before = node.pending.events.len();
    let mut got = if is_read_only(txn) {
        node.machine.read_txn(&anybody, txn, &node.store).unwrap()
    } else {
        let outcome = node
            .apply(&command(&anybody, Op::Txn(txn.clone())))
            .unwrap();
        outcome.map(|applied| match applied.reply {
            Reply::Txn(response) => {
                assert_eq!(
                    applied.revision.0,
                    node.machine.keyspace(Space::User).revision()
                );
                response
            }
            other => panic!("a transaction is not answered with {other:?}"),
        })
    };
    if let Ok(response) = &mut got {
        strip_headers(response);
    }
    let old_revision = model.revision;
    assert_eq!(got, model.txn(txn));
    let revision = node.machine.keyspace(Space::User).revision();
    assert_eq!(revision, model.revision);
    let told = node.pending.events.len() - before;
    assert_eq!(
        told as i64,
        model.revision - old_revision,
        "one report a revision"
    );
}

fn check_range(node: &Node, model: &Model, range: &pb::RangeRequest, keys_max: usize) {
    let plan = node.machine.plan_range(&Identity::default(), range);
    let got = plan.map(|plan| {
        let mut cursor = RangeCursor::default();
        while !node.machine.collect_range(&plan, &mut cursor, keys_max) {}
        let mut response = plan.finish(cursor, &node.store).unwrap();
        assert_eq!(response.header.take().unwrap().revision, model.revision);
        response
    });
    assert_eq!(got, model.range(range));
}

/// Everything at every readable revision, however much was reclaimed.
fn check_all(node: &Node, model: &Model) {
    for revision in model.compacted.max(1)..=model.revision {
        let everything = pb::RangeRequest {
            key: Bytes::from_static(&[0]),
            range_end: Bytes::from_static(&[0]),
            revision,
            ..Default::default()
        };
        check_range(node, model, &everything, 2);
    }
    let live = model.range(&pb::RangeRequest {
        key: Bytes::from_static(&[0]),
        range_end: Bytes::from_static(&[0]),
        count_only: true,
        ..Default::default()
    });
    assert_eq!(
        node.machine.keyspace(Space::User).live_keys() as i64,
        live.unwrap().count
    );
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(400) })]

    #[test]
    fn the_machine_answers_what_the_model_answers(steps in prop::collection::vec(step(), 1..50)) {
        let (mut node, mut model) = (Node::new(), Model::new());
        for step in &steps {
            match step {
                Step::Txn(txn) => check_txn(&mut node, &mut model, txn),
                Step::Range(range) => check_range(&node, &model, range, 1 + steps.len() % 3),
                Step::Compact(revision) => {
                    let op = Op::Compact(pb::CompactionRequest { revision: *revision, physical: false });
                    let got = node.apply(&command(&Identity::default(), op)).unwrap();
                    prop_assert_eq!(got.map(|_| ()), model.compact(*revision));
                }
                Step::Flush => node.flush(),
                Step::Restart => node.restart(),
                Step::Crash => node.crash(),
                Step::Reclaim { budget, pin_back } => {
                    let hash = node.hash(Space::User, 0, 3);
                    node.reclaim(*budget, Some(model.compacted - pin_back));
                    node.reclaim(*budget, None);
                    prop_assert_eq!(node.hash(Space::User, 0, 1), hash);
                }
            }
        }
        check_all(&node, &model);
        node.restart();
        node.reclaim(3, None);
        node.restart();
        check_all(&node, &model);
    }
}

/// Any command at all, by anybody.
fn op() -> impl Strategy<Value = Op> {
    let reserved = || prop::sample::select(vec!["/atoll/a", "/atoll/b", "a", "b"]).prop_map(text);
    let name = || prop::sample::select(vec!["root", "ann", "bob"]).prop_map(str::to_owned);
    let lease = 0..4_i64;
    prop_oneof![
        3 => txn().prop_map(Op::Txn),
        6 => (reserved(), value(), lease.clone()).prop_map(|(key, value, lease)| {
            Op::Put(pb::PutRequest { key, value, lease, ..Default::default() })
        }),
        1 => (reserved(), range_end()).prop_map(|(key, range_end)| {
            Op::DeleteRange(pb::DeleteRangeRequest { key, range_end, prev_kv: true })
        }),
        3 => (lease.clone(), 0..9_i64).prop_map(|(id, ttl)| Op::LeaseGrant(pb::LeaseGrantRequest { id, ttl })),
        1 => lease.clone().prop_map(|id| Op::LeaseRevoke(pb::LeaseRevokeRequest { id })),
        1 => (lease, 0..9_i64).prop_map(|(id, remaining_ttl)| Op::LeaseCheckpoint(pb::LeaseCheckpointRequest {
            checkpoints: vec![pb::LeaseCheckpoint { id, remaining_ttl }],
        })),
        1 => (0..3_i32, 0..3_i32).prop_map(|(action, alarm)| Op::Alarm(pb::AlarmRequest { action, member_id: 1, alarm })),
        1 => (0..30_i64).prop_map(|revision| Op::Compact(pb::CompactionRequest { revision, physical: true })),
        1 => Just(Op::AuthEnable(pb::AuthEnableRequest {})),
        1 => Just(Op::AuthDisable(pb::AuthDisableRequest {})),
        2 => name().prop_map(|name| Op::UserAdd(pb::AuthUserAddRequest { name, ..Default::default() })),
        1 => name().prop_map(|name| Op::UserDelete(pb::AuthUserDeleteRequest { name })),
        1 => name().prop_map(|name| Op::RoleAdd(pb::AuthRoleAddRequest { name })),
        1 => name().prop_map(|role| Op::RoleDelete(pb::AuthRoleDeleteRequest { role })),
        3 => (name(), name()).prop_map(|(user, role)| Op::UserGrantRole(pb::AuthUserGrantRoleRequest { user, role })),
        2 => (name(), 0..3_i32, key(), range_end()).prop_map(|(name, perm_type, key, range_end)| {
            Op::RoleGrantPermission(pb::AuthRoleGrantPermissionRequest {
                name,
                perm: Some(authpb::Permission { perm_type, key, range_end }),
            })
        }),
        1 => (name(), any::<[u8; 32]>(), 0..6_u64).prop_map(|(name, digest, auth_revision)| {
            Op::SessionOpen(crate::proto::internal::SessionOpen {
                name,
                token_sha256: Bytes::copy_from_slice(&digest),
                auth_revision,
            })
        }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(300) })]

    #[test]
    fn a_restart_or_another_pace_of_upkeep_changes_nothing(
        ops in prop::collection::vec((0..5_u8, 1..20_u64, op(), 0..8_u8), 1..60),
    ) {
        let (mut one, mut other) = (Node::new(), Node::new());
        for (speaker, sequence, op, upkeep) in ops {
            let auth = one.machine.auth();
            let identity = match speaker {
                0 => Identity::default(),
                1 => auth.identify("ann"),
                2 => auth.identify("root"),
                _ => system(),
            };
            let mut command = command(&identity, op);
            command.origin = (upkeep > 3).then_some(Origin {
                node: 1,
                boot: 1 + sequence / 15,
                sequence,
                answered_below: sequence / 2,
            });
            let outcome = one.apply(&command);
            let same = other.apply(&command);
            prop_assert_eq!(format!("{outcome:?}"), format!("{same:?}"));
            match upkeep {
                0 => one.flush(),
                1 => one.restart(),
                2 => one.reclaim(2, None),
                3 => one.crash(),
                _ => {}
            }
        }
        for node in [&mut one, &mut other] {
            node.restart();
            node.reclaim(100, None);
            node.restart();
        }
        prop_assert_eq!(&one.machine, &other.machine);
        prop_assert_eq!(&one.store, &other.store);
    }
}
