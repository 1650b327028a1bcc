//! Writes to both keyspaces: all of it or nothing, with the rights of whoever has asked.

use bytes::Bytes;

use super::*;
use crate::{
    core::{
        level::SERVED,
        testing::{Node, command, system},
    },
    proto::{
        authpb::{Permission, permission},
        etcdserverpb::{
            self as pb, Compare, PutRequest, RequestOp,
            compare::{CompareResult, CompareTarget, TargetUnion},
            request_op::Request,
        },
        internal::{Anonymous, RaiseFeatureLevel, command::Op, identity},
        mvccpb::event::EventType,
    },
};

const RECORD: &str = "/atoll/txn/record";

fn at_level(level: u32) -> Node {
    let mut node = Node::new();
    let members = [(1, Some(SERVED))].into();
    node.machine.members_changed(1, members, &mut node.pending);
    if level > 1 {
        let raise = Op::RaiseFeatureLevel(RaiseFeatureLevel { level });
        done(&mut node, raise);
    }
    node
}

fn done(node: &mut Node, op: Op) -> Reply {
    let outcome = node.apply(&command(&system(), op)).expect("applied now");
    outcome.expect("it is done").reply
}

fn put(key: &str, value: &str) -> Request {
    Request::RequestPut(PutRequest {
        key: key.to_owned().into(),
        value: value.to_owned().into(),
        ..PutRequest::default()
    })
}

/// The requests, if the key was changed last at this revision (0: there is none).
fn guarded(key: &str, revision: i64, requests: Vec<Request>) -> TxnRequest {
    let ops = requests.into_iter().map(|request| RequestOp {
        request: Some(request),
    });
    TxnRequest {
        compare: vec![Compare {
            result: CompareResult::Equal.into(),
            target: CompareTarget::Mod.into(),
            key: key.to_owned().into(),
            target_union: Some(TargetUnion::ModRevision(revision)),
            ..Compare::default()
        }],
        success: ops.collect(),
        failure: Vec::new(),
    }
}

fn part(txn: TxnRequest) -> Part {
    Part {
        txn: Some(txn),
        ..Part::default()
    }
}

fn both(record_at: i64, parts: Vec<Part>) -> Op {
    Op::Both(Both {
        system: Some(guarded(RECORD, record_at, vec![put(RECORD, "committed")])),
        parts,
    })
}

fn reply(node: &mut Node, op: Op) -> BothReply {
    match done(node, op) {
        Reply::Both(reply) => reply,
        other => panic!("{other:?}"),
    }
}

fn revisions(node: &Node) -> (i64, i64) {
    let of = |space| node.machine.keyspace(space).revision();
    (of(Space::System), of(Space::User))
}

fn anonymous() -> Identity {
    Identity {
        who: Some(identity::Who::Anonymous(Anonymous {})),
    }
}

#[test]
fn all_parts_are_done_with_the_clusters_own_in_one_revision_of_each() {
    let mut node = at_level(3);
    let (system_before, user_before) = revisions(&node);
    node.flush();
    let lost = |it: &str| {
        Request::RequestDeleteRange(pb::DeleteRangeRequest {
            key: it.to_owned().into(),
            ..pb::DeleteRangeRequest::default()
        })
    };
    let parts = vec![
        part(guarded("a", 0, vec![put("a", "1"), put("b", "2")])),
        part(guarded("c", 0, vec![put("c", "3"), lost("none")])),
        Part::default(),
    ];
    assert_eq!(reply(&mut node, both(0, parts)), BothReply::Done);
    assert_eq!(revisions(&node), (system_before + 1, user_before + 1));
    let events = &node.pending.events;
    let told: Vec<_> = events
        .iter()
        .map(|(space, at, events)| (*space, *at, events.len()))
        .collect();
    assert_eq!(
        told,
        [
            (Space::System, system_before + 1, 1),
            (Space::User, user_before + 1, 3)
        ]
    );
    assert!(events[1].2.iter().all(|it| it.r#type() == EventType::Put));
    node.crash();
    node.restart();
}

#[test]
fn nothing_is_done_unless_everything_can_be() {
    let mut node = at_level(3);
    assert_eq!(reply(&mut node, both(0, Vec::new())), BothReply::Done);
    let (record_at, _) = revisions(&node);
    let before = revisions(&node);
    let fits = || part(guarded("a", 0, vec![put("a", "1")]));
    let refused = |part, error| BothReply::Refused { part, error };
    let leased = Request::RequestPut(PutRequest {
        key: "b".into(),
        lease: 9,
        ..PutRequest::default()
    });
    for (record, second, expected) in [
        (record_at - 1, fits(), BothReply::Changed),
        (
            record_at,
            part(guarded("b", 7, vec![put("b", "2")])),
            refused(1, None),
        ),
        (
            record_at,
            part(guarded("b", 0, vec![leased])),
            refused(1, Some(Error::LeaseNotFound)),
        ),
        (
            record_at,
            part(guarded("b", 0, vec![put("/atoll/x", "2")])),
            refused(1, Some(Error::ReservedKey)),
        ),
        (
            record_at,
            part(guarded(RECORD, record_at, vec![])),
            refused(1, Some(Error::ReservedKey)),
        ),
        (
            record_at,
            part(guarded("b", 0, vec![put("", "2")])),
            refused(1, Some(Error::EmptyKey)),
        ),
    ] {
        assert_eq!(
            reply(&mut node, both(record, vec![fits(), second])),
            expected
        );
        assert_eq!(revisions(&node), before, "{expected:?}");
    }
    // The record's guard comes first: who wrote it knows what became of the parts.
    let wrong = part(guarded("b", 7, vec![]));
    let op = both(record_at - 1, vec![wrong]);
    assert_eq!(reply(&mut node, op), BothReply::Changed);
    node.restart();
}

#[test]
fn compares_look_at_what_was_before_all_of_it() {
    let mut node = at_level(3);
    let parts = vec![
        part(guarded("a", 0, vec![put("a", "1")])),
        part(guarded("a", 0, vec![put("b", "2")])),
    ];
    assert_eq!(reply(&mut node, both(0, parts)), BothReply::Done);
}

#[test]
fn only_the_cluster_writes_to_both_and_only_when_all_members_know_how() {
    let mut old = at_level(2);
    let outcome = old.apply(&command(&system(), both(0, Vec::new())));
    assert_eq!(outcome.expect("now").map(drop), Err(Error::NotCapable));
    let asked = old.machine.part(&anonymous(), TxnRequest::default());
    assert_eq!(asked, Err(Error::NotCapable));

    let mut node = at_level(3);
    let before = revisions(&node);
    let own = |txn| {
        Op::Both(Both {
            system: txn,
            parts: Vec::new(),
        })
    };
    for (who, op, error) in [
        (anonymous(), both(0, Vec::new()), Error::PermissionDenied),
        (system(), own(None), Error::EmptyKey),
        (
            system(),
            own(Some(guarded("a", 0, vec![put("a", "1")]))),
            Error::ReservedKey,
        ),
        (
            system(),
            own(Some(guarded(RECORD, 0, vec![put("a", "1")]))),
            Error::ReservedKey,
        ),
    ] {
        let outcome = node.apply(&command(&who, op)).expect("applied now");
        assert_eq!(outcome.map(drop), Err(error));
    }
    assert_eq!(revisions(&node), before);
    let asked = node.machine.part(&system(), TxnRequest::default());
    assert_eq!(asked, Err(Error::PermissionDenied));
}

/// A cluster with logins, and a user that may read and write the key `a`.
fn with_logins() -> (Node, Identity) {
    let mut node = at_level(3);
    let role = |user: &str, role: &str| {
        Op::UserGrantRole(pb::AuthUserGrantRoleRequest {
            user: user.into(),
            role: role.into(),
        })
    };
    for op in [
        add("root"),
        Op::RoleAdd(pb::AuthRoleAddRequest {
            name: "root".into(),
        }),
        role("root", "root"),
        Op::AuthEnable(pb::AuthEnableRequest {}),
        add("ann"),
        Op::RoleAdd(pb::AuthRoleAddRequest {
            name: "clerk".into(),
        }),
        Op::RoleGrantPermission(pb::AuthRoleGrantPermissionRequest {
            name: "clerk".into(),
            perm: Some(Permission {
                perm_type: permission::Type::Readwrite.into(),
                key: "a".into(),
                range_end: Bytes::new(),
            }),
        }),
        role("ann", "clerk"),
    ] {
        done(&mut node, op);
    }
    let ann = node.machine.auth().identify("ann");
    (node, ann)
}

fn add(name: &str) -> Op {
    Op::UserAdd(pb::AuthUserAddRequest {
        name: name.into(),
        options: Some(crate::proto::authpb::UserAddOptions { no_password: true }),
        ..pb::AuthUserAddRequest::default()
    })
}

#[test]
fn a_part_needs_the_rights_of_whoever_asked_for_it_when_it_is_asked_for_and_when_it_is_done() {
    let (mut node, ann) = with_logins();
    let wanted = || guarded("a", 0, vec![put("a", "1")]);
    let asked = node.machine.part(&ann, wanted()).expect("may");
    assert_eq!(asked.user, "ann");
    let elsewhere = guarded("a", 0, vec![put("b", "1")]);
    let looks = guarded("b", 0, vec![put("a", "1")]);
    for txn in [elsewhere, looks] {
        let denied = Err(Error::PermissionDenied);
        assert_eq!(node.machine.part(&ann, txn.clone()), denied);
        let part = Part {
            txn: Some(txn),
            ..asked.clone()
        };
        let refused = BothReply::Refused {
            part: 0,
            error: Some(Error::PermissionDenied),
        };
        assert_eq!(reply(&mut node, both(0, vec![part])), refused);
    }
    assert_eq!(
        node.machine.part(&anonymous(), wanted()),
        Err(Error::UserEmpty)
    );
    let nobodys = BothReply::Refused {
        part: 0,
        error: Some(Error::UserEmpty),
    };
    let before_logins = vec![part(wanted()), part(TxnRequest::default())];
    for part in before_logins {
        assert_eq!(reply(&mut node, both(0, vec![part])), nobodys);
    }
    // Others' rights change meanwhile, which ends no wish.
    done(&mut node, add("bob"));
    assert_eq!(
        node.machine.part(&ann, wanted()),
        Err(Error::AuthOldRevision)
    );
    assert_eq!(reply(&mut node, both(0, vec![asked])), BothReply::Done);
}

#[test]
fn who_has_lost_a_right_or_is_somebody_else_has_nothing_done() {
    let refused = BothReply::Refused {
        part: 0,
        error: Some(Error::PermissionDenied),
    };
    let revoke = Op::UserRevokeRole(pb::AuthUserRevokeRoleRequest {
        name: "ann".into(),
        role: "clerk".into(),
    });
    let delete = Op::UserDelete(pb::AuthUserDeleteRequest { name: "ann".into() });
    let again = Op::UserGrantRole(pb::AuthUserGrantRoleRequest {
        user: "ann".into(),
        role: "clerk".into(),
    });
    for changes in [
        vec![revoke],
        vec![delete.clone()],
        vec![delete, add("ann"), again],
    ] {
        let (mut node, ann) = with_logins();
        let wanted = guarded("a", 0, vec![put("a", "1")]);
        let asked = node.machine.part(&ann, wanted).expect("may");
        // As every enlisting does.
        let record = PutRequest {
            key: RECORD.into(),
            ..PutRequest::default()
        };
        done(&mut node, Op::Put(record));
        let (record_at, _) = revisions(&node);
        for change in changes {
            done(&mut node, change);
        }
        let op = both(record_at, vec![asked.clone()]);
        assert_eq!(reply(&mut node, op), refused);
        // With logins off everybody may.
        done(&mut node, Op::AuthDisable(pb::AuthDisableRequest {}));
        let op = both(record_at, vec![asked]);
        assert_eq!(reply(&mut node, op), BothReply::Done);
    }
}

#[test]
fn a_full_store_keeps_users_parts_out() {
    let mut node = at_level(3);
    let raised = pb::AlarmRequest {
        action: pb::alarm_request::AlarmAction::Activate.into(),
        member_id: 1,
        alarm: pb::AlarmType::Nospace.into(),
    };
    done(&mut node, Op::Alarm(raised));
    let op = both(0, vec![part(guarded("a", 0, vec![put("a", "1")]))]);
    let refused = BothReply::Refused {
        part: 0,
        error: Some(Error::NoSpace),
    };
    assert_eq!(reply(&mut node, op), refused);
    assert_eq!(reply(&mut node, both(0, Vec::new())), BothReply::Done);
}
