//! What the membership means to the state: which levels the cluster may reach, and whose
//! proposals are still to be remembered.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::{
    api::Reply,
    core::{
        effects::{Effects, Space, Table},
        error::Error,
        guard::Who,
        level::{FeatureLevel, LevelRange, highest_common},
        machine::{LEVEL_ROW, Machine},
    },
    proto::internal::{Origin, RaiseFeatureLevel},
};

/// Where everybody can read the cluster's feature level, in decimal. A copy: what counts is
/// the row in [`Table::Meta`].
pub const LEVEL_KEY: &str = "/atoll/feature_level";

impl Machine {
    /// Applies the entry at log `index` that changes the membership; the machine must hear of
    /// all of them.
    pub fn members_changed(
        &mut self,
        index: u64,
        members: BTreeMap<u64, Option<LevelRange>>,
        effects: &mut Effects,
    ) {
        self.applied_index = index;
        self.members = members;
        self.forget_strangers(effects);
    }

    /// Tells a restored machine who the members are, as of the last entry in the store.
    pub fn restore_members(&mut self, members: BTreeMap<u64, Option<LevelRange>>) {
        self.members = members;
    }

    /// Whether commands of this node are applied. Who was removed is forgotten, so its
    /// commands could not be told from their repetition any more.
    pub(crate) fn may_propose(&self, origin: &Origin) -> bool {
        self.level < FeatureLevel::FORGETS_REMOVED_NODES || self.members.contains_key(&origin.node)
    }

    pub(crate) fn raise_feature_level(
        &mut self,
        who: Who<'_>,
        request: &RaiseFeatureLevel,
        effects: &mut Effects,
    ) -> Result<Reply, Error> {
        if who != Who::System {
            return Err(Error::PermissionDenied);
        }
        let level = FeatureLevel(request.level);
        if level <= self.level {
            return Ok(Reply::RaiseFeatureLevel);
        }
        // Asked when it is applied, because somebody may have joined since it was proposed.
        if highest_common(self.members.values().copied()).is_none_or(|common| common < level) {
            return Err(Error::NotCapable);
        }
        self.level = level;
        effects.put(Table::Meta, LEVEL_ROW, level.0.to_be_bytes().to_vec());
        let mut write = self.begin(Space::System, effects);
        let (key, value) = (Bytes::from_static(LEVEL_KEY.as_bytes()), level.to_string());
        write.put(&key, value.into(), 0);
        write.finish();
        self.compact_system(Space::System, effects);
        self.forget_strangers(effects);
        Ok(Reply::RaiseFeatureLevel)
    }

    fn forget_strangers(&mut self, effects: &mut Effects) {
        if self.level >= FeatureLevel::FORGETS_REMOVED_NODES {
            let members = &self.members;
            self.proposers
                .retain(|node| members.contains_key(&node), effects);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        core::{
            effects::Fault,
            level::SERVED,
            testing::{Node, command, system},
        },
        proto::{
            etcdserverpb::{
                AuthEnableRequest, AuthRoleAddRequest, AuthUserAddRequest, AuthUserDeleteRequest,
                AuthUserGrantRoleRequest, PutRequest,
            },
            internal::{
                Anonymous, Command, Identity, SessionOpen, SessionsEnd, command::Op, identity,
            },
        },
    };

    const OLD: LevelRange = LevelRange {
        min: FeatureLevel(1),
        max: FeatureLevel(1),
    };

    fn raise(node: &mut Node, level: u32) -> Result<(), Error> {
        let op = Op::RaiseFeatureLevel(RaiseFeatureLevel { level });
        let outcome = node.apply(&command(&system(), op)).expect("applied now");
        outcome.map(drop)
    }

    fn change(node: &mut Node, members: &[(u64, Option<LevelRange>)]) {
        let index = node.machine.applied_index() + 1;
        let members = members.iter().copied().collect();
        node.machine
            .members_changed(index, members, &mut node.pending);
    }

    /// What is stored, told of its members as the log would tell it.
    fn restored(node: &mut Node) -> Machine {
        node.flush();
        let mut machine = node.store.restore(node.machine.applied_index());
        machine.restore_members(node.machine.members.clone());
        machine
    }

    fn put(origin: Origin) -> Command {
        let put = PutRequest {
            key: "a".into(),
            ..PutRequest::default()
        };
        Command {
            origin: Some(origin),
            ..command(&system(), Op::Put(put))
        }
    }

    fn of(node: u64, sequence: u64) -> Origin {
        Origin {
            node,
            boot: 1,
            sequence,
            answered_below: 0,
        }
    }

    #[test]
    fn the_level_rises_when_every_member_serves_it_and_never_falls() {
        let mut node = Node::new();
        assert_eq!(raise(&mut node, 2), Err(Error::NotCapable), "no members");
        for (members, outcome) in [
            (
                vec![(1, Some(SERVED)), (2, Some(OLD))],
                Err(Error::NotCapable),
            ),
            (vec![(1, Some(SERVED)), (2, None)], Err(Error::NotCapable)),
            (vec![(1, Some(SERVED)), (2, Some(SERVED))], Ok(())),
        ] {
            change(&mut node, &members);
            assert_eq!(raise(&mut node, 2), outcome, "{members:?}");
        }
        assert_eq!(node.machine.feature_level(), FeatureLevel(2));
        let revision = node.machine.keyspace(Space::System).revision();
        assert_eq!(raise(&mut node, 1), Ok(()), "it was there already");
        assert_eq!(node.machine.feature_level(), FeatureLevel(2));
        let after = node.machine.keyspace(Space::System).revision();
        assert_eq!(after, revision, "nothing was written");
        assert_eq!(restored(&mut node), node.machine);
    }

    #[test]
    fn users_do_not_raise_the_level() {
        let mut node = Node::new();
        change(&mut node, &[(1, Some(SERVED))]);
        let anybody = Identity {
            who: Some(identity::Who::Anonymous(Anonymous {})),
        };
        let op = Op::RaiseFeatureLevel(RaiseFeatureLevel { level: 2 });
        let outcome = node.apply(&command(&anybody, op)).expect("applied now");
        assert_eq!(outcome.map(drop), Err(Error::PermissionDenied));
        assert_eq!(node.machine.feature_level(), FeatureLevel::FIRST);
    }

    #[test]
    fn users_know_when_they_were_made_from_level_2_on() {
        let mut node = Node::new();
        change(&mut node, &[(1, Some(SERVED))]);
        let mut sequence = 0;
        let mut made_at = |node: &mut Node, name: &str| {
            for op in [
                Op::UserDelete(AuthUserDeleteRequest { name: name.into() }),
                Op::UserAdd(AuthUserAddRequest {
                    name: name.into(),
                    ..AuthUserAddRequest::default()
                }),
            ] {
                // The first time there is nobody to delete.
                let _ = node.apply(&command(&system(), op)).expect("applied now");
            }
            sequence += 1;
            let key = format!("/atoll/test/{sequence}");
            let put = PutRequest {
                key: key.into(),
                ..PutRequest::default()
            };
            let outcome = node.apply(&command(&system(), Op::Put(put)));
            outcome.expect("applied now").expect("it is taken");
            let users = node.machine.auth().every_user();
            let mut users = users.filter(|(it, _)| *it == name);
            users.next().expect("it is there").1.made_at
        };
        assert_eq!(made_at(&mut node, "ann"), 0);
        raise(&mut node, 2).expect("it rises");
        let revision = node.machine.keyspace(Space::System).revision();
        assert_eq!(made_at(&mut node, "ann"), revision);
        // Made again, it is another one.
        assert_eq!(made_at(&mut node, "ann"), revision + 1);
        assert_eq!(restored(&mut node), node.machine);
    }

    #[test]
    fn a_removed_node_is_forgotten_from_level_2_on() {
        let mut node = Node::new();
        let both = [(1, Some(SERVED)), (2, Some(SERVED))];
        change(&mut node, &both);
        for origin in [of(1, 1), of(2, 1)] {
            assert!(node.apply(&put(origin)).is_some());
        }
        change(&mut node, &both[..1]);
        assert!(node.machine.has_applied(&of(2, 1)), "level 1 remembers it");
        raise(&mut node, 2).expect("all serve it");
        assert!(!node.machine.has_applied(&of(2, 1)));
        assert!(node.apply(&put(of(2, 1))).is_none(), "not applied twice");
        assert!(node.apply(&put(of(1, 2))).is_some());
        node.flush();
        assert_eq!(node.store.len(Table::Proposers), 1);

        change(&mut node, &both);
        assert!(node.apply(&put(of(2, 2))).is_some(), "a member again");
        change(&mut node, &both[..1]);
        assert_eq!(restored(&mut node), node.machine);
        assert_eq!(node.store.len(Table::Proposers), 1);
    }

    #[test]
    fn logins_end_by_an_entry_from_level_2_on() {
        let mut node = Node::new();
        change(&mut node, &[(1, Some(SERVED))]);
        let digests = || vec![Bytes::from(vec![7; 32]), Bytes::from_static(b"no digest")];
        let end = || {
            Op::SessionsEnd(SessionsEnd {
                token_sha256: digests(),
            })
        };
        let apply = |node: &mut Node, identity: &Identity, op| {
            let outcome = node.apply(&command(identity, op)).expect("applied now");
            outcome.map(drop)
        };
        let root = |name: &str| name.to_owned();
        for op in [
            Op::UserAdd(AuthUserAddRequest {
                name: root("root"),
                hashed_password: root("hash"),
                ..AuthUserAddRequest::default()
            }),
            Op::RoleAdd(AuthRoleAddRequest { name: root("root") }),
            Op::UserGrantRole(AuthUserGrantRoleRequest {
                user: root("root"),
                role: root("root"),
            }),
            Op::AuthEnable(AuthEnableRequest {}),
        ] {
            assert_eq!(apply(&mut node, &system(), op), Ok(()));
        }
        let open = Op::SessionOpen(SessionOpen {
            name: root("root"),
            token_sha256: vec![7; 32].into(),
            auth_revision: node.machine.auth().revision(),
        });
        assert_eq!(apply(&mut node, &system(), open), Ok(()));
        assert_eq!(apply(&mut node, &system(), end()), Err(Error::NotCapable));
        assert_eq!(node.machine.auth().sessions().count(), 1);
        raise(&mut node, 2).expect("all serve it");
        let anybody = Identity::default();
        assert_eq!(
            apply(&mut node, &anybody, end()),
            Err(Error::PermissionDenied)
        );
        assert_eq!(apply(&mut node, &system(), end()), Ok(()));
        assert_eq!(node.machine.auth().sessions().count(), 0);
        assert_eq!(restored(&mut node), node.machine);
    }

    #[test]
    fn a_command_of_a_later_version_is_not_passed_over() {
        let mut node = Node::new();
        let unknown = Command {
            op: None,
            ..put(of(1, 1))
        };
        let refused = node
            .machine
            .apply(1, &unknown, &node.store, &mut node.pending);
        assert!(
            matches!(refused, Err(Fault::UnknownCommand { index: 1, .. })),
            "{refused:?}"
        );
    }
}
