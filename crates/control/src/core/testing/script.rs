//! A tiny language for stories: one step a line, `what is done -> what is answered`.
//!
//! `as NAME` changes who speaks. Keys and values are words; `\0` in them is a zero byte and
//! `''` is empty. Transactions are written `txn [version(a) = 1] then (put a 2) (get a)
//! else (get b)`, nested ones the same in brackets. A key with its metadata reads
//! `a=1 c2 m3 v2 l7`: value, create and mod revision, version, lease.

use bytes::Bytes;

use super::{Node, command, system};
use crate::{
    api::Reply,
    core::{
        auth::Need,
        check,
        effects::{LeaseChange, Space, Table},
        error::Error,
        range::RangeCursor,
    },
    proto::{
        authpb,
        etcdserverpb::{self as pb, request_op::Request, response_op::Response},
        internal::{self, Identity, command::Op, identity},
        mvccpb::KeyValue,
    },
};

pub(crate) struct Script {
    node: Node,
    identity: Identity,
    flush_always: bool,
}

/// Runs a story; panics at the first line whose answer differs.
pub(crate) fn run(name: &str, text: &str, flush_always: bool) {
    let mut script = Script {
        node: Node::new(),
        identity: Identity::default(),
        flush_always,
    };
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (step, want) = line.split_once("->").unwrap_or((line, "ok"));
        let got = script.step(step.trim());
        assert_eq!(got.trim(), want.trim(), "{name}:{}: {step}", number + 1);
        if flush_always {
            script.node.flush();
        }
    }
    let before = script.node.hash(Space::User, 0, 1);
    script.node.restart();
    script.node.reclaim(1, None);
    script.node.restart();
    assert_eq!(
        script.node.hash(Space::User, 0, 7),
        before,
        "{name}: the hash at its end"
    );
}

fn bytes(word: &str) -> Bytes {
    if word == "''" {
        return Bytes::new();
    }
    Bytes::from(word.replace("\\0", "\0"))
}

fn show_bytes(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).replace('\0', "\\0")
}

fn number<T: std::str::FromStr>(word: &str) -> T {
    word.parse()
        .unwrap_or_else(|_| panic!("{word} should be a number"))
}

/// Splits at spaces outside of brackets.
fn words(text: &str) -> Vec<&str> {
    let (mut depth, mut start, mut words) = (0, None, Vec::new());
    for (at, c) in text.char_indices() {
        match c {
            '(' | '[' => depth += 1,
            ')' | ']' => depth -= 1,
            _ => {}
        }
        if c == ' ' && depth == 0 {
            words.extend(start.take().map(|from| &text[from..at]));
        } else if start.is_none() {
            start = Some(at);
        }
    }
    words.extend(start.map(|from| &text[from..]));
    words
}

fn option<'a>(words: &[&'a str], name: &str) -> Option<&'a str> {
    words
        .iter()
        .find_map(|word| word.strip_prefix(name)?.strip_prefix('='))
}

fn parse_put(args: &[&str]) -> pb::PutRequest {
    pb::PutRequest {
        key: bytes(args[0]),
        value: bytes(args[1]),
        lease: option(args, "lease").map_or(0, number),
        prev_kv: args.contains(&"prev"),
        ignore_value: args.contains(&"ignore_value"),
        ignore_lease: args.contains(&"ignore_lease"),
    }
}

fn parse_delete(args: &[&str]) -> pb::DeleteRangeRequest {
    pb::DeleteRangeRequest {
        key: bytes(args[0]),
        range_end: option(args, "to").map_or_else(Bytes::new, bytes),
        prev_kv: args.contains(&"prev"),
    }
}

fn parse_get(args: &[&str]) -> pb::RangeRequest {
    let at = |name| option(args, name).map_or(0, number);
    let (target, order) = option(args, "sort").map_or(("key", "none"), |sort| {
        sort.split_once(':').expect("sort=TARGET:ORDER")
    });
    let place = |names: &[&str], name| names.iter().position(|n| *n == name).map(|n| n as i32);
    pb::RangeRequest {
        key: bytes(args[0]),
        range_end: option(args, "to").map_or_else(Bytes::new, bytes),
        limit: at("limit"),
        revision: at("rev"),
        sort_order: place(&["none", "asc", "desc"], order).unwrap_or(9),
        sort_target: place(&["key", "version", "create", "mod", "value"], target).unwrap_or(9),
        serializable: false,
        keys_only: args.contains(&"keys"),
        count_only: args.contains(&"count"),
        min_mod_revision: at("min_mod"),
        max_mod_revision: at("max_mod"),
        min_create_revision: at("min_create"),
        max_create_revision: at("max_create"),
    }
}

fn parse_txn(args: &[&str]) -> pb::TxnRequest {
    let mut txn = pb::TxnRequest::default();
    let mut success = true;
    for word in args {
        match *word {
            "then" => success = true,
            "else" => success = false,
            word if word.starts_with('[') => txn.compare.push(parse_compare(word)),
            word => {
                let request = parse_op(
                    word.trim_start_matches('(')
                        .strip_suffix(')')
                        .unwrap_or(word),
                );
                let op = pb::RequestOp { request };
                if success {
                    txn.success.push(op)
                } else {
                    txn.failure.push(op)
                }
            }
        }
    }
    txn
}

fn parse_op(text: &str) -> Option<Request> {
    let words = words(text);
    let (verb, args) = words.split_first()?;
    Some(match *verb {
        "put" => Request::RequestPut(parse_put(args)),
        "del" => Request::RequestDeleteRange(parse_delete(args)),
        "get" => Request::RequestRange(parse_get(args)),
        "txn" => Request::RequestTxn(parse_txn(args)),
        _ => panic!("{verb} is no operation"),
    })
}

fn parse_compare(text: &str) -> pb::Compare {
    use pb::compare::{CompareResult, CompareTarget, TargetUnion};
    let text = text.trim_matches(['[', ']']);
    let [what, relation, want] = words(text)[..] else {
        panic!("{text} should be [target(key) relation value]");
    };
    let (target, keys) = what.strip_suffix(')').unwrap().split_once('(').unwrap();
    let (key, range_end) = keys
        .split_once(',')
        .map_or((keys, "''"), |(key, end)| (key, end));
    let (target, union) = match target {
        "version" => (CompareTarget::Version, TargetUnion::Version(number(want))),
        "create" => (
            CompareTarget::Create,
            TargetUnion::CreateRevision(number(want)),
        ),
        "mod" => (CompareTarget::Mod, TargetUnion::ModRevision(number(want))),
        "lease" => (CompareTarget::Lease, TargetUnion::Lease(number(want))),
        "value" => (CompareTarget::Value, TargetUnion::Value(bytes(want))),
        _ => panic!("{target} is no compare target"),
    };
    let result = match relation {
        "=" => CompareResult::Equal,
        "!=" => CompareResult::NotEqual,
        ">" => CompareResult::Greater,
        "<" => CompareResult::Less,
        _ => panic!("{relation} is no relation"),
    };
    pb::Compare {
        result: result.into(),
        target: target.into(),
        key: bytes(key),
        range_end: bytes(range_end),
        target_union: Some(union),
    }
}

fn show_kv(kv: &KeyValue) -> String {
    let mut text = format!(
        "{}={} c{} m{} v{}",
        show_bytes(&kv.key),
        show_bytes(&kv.value),
        kv.create_revision,
        kv.mod_revision,
        kv.version
    );
    if kv.lease != 0 {
        text += &format!(" l{}", kv.lease);
    }
    text
}

fn show_kvs<'a>(label: &str, kvs: impl IntoIterator<Item = &'a KeyValue>) -> String {
    let shown: Vec<String> = kvs.into_iter().map(show_kv).collect();
    if shown.is_empty() {
        String::new()
    } else {
        format!("{label} {}", shown.join(", "))
    }
}

fn show_put(put: &pb::PutResponse) -> String {
    show_kvs(" prev", &put.prev_kv)
}

fn show_delete(delete: &pb::DeleteRangeResponse) -> String {
    format!(
        " deleted {}{}",
        delete.deleted,
        show_kvs(" prev", &delete.prev_kvs)
    )
}

fn show_range(range: &pb::RangeResponse) -> String {
    let more = if range.more { " more" } else { "" };
    format!(" count {}{more}{}", range.count, show_kvs(":", &range.kvs))
}

fn show_txn(txn: &pb::TxnResponse) -> String {
    let branch = if txn.succeeded { " then" } else { " else" };
    let responses = txn.responses.iter().map(|op| match op.response.as_ref() {
        Some(Response::ResponsePut(put)) => {
            format!(
                " (rev {}{})",
                put.header.as_ref().unwrap().revision,
                show_put(put)
            )
        }
        Some(Response::ResponseDeleteRange(delete)) => {
            let revision = delete.header.as_ref().unwrap().revision;
            format!(" (rev {revision}{})", show_delete(delete))
        }
        Some(Response::ResponseRange(range)) => {
            format!(
                " (rev {}{})",
                range.header.as_ref().unwrap().revision,
                show_range(range)
            )
        }
        Some(Response::ResponseTxn(txn)) => format!(" ({})", show_txn(txn).trim()),
        None => " ()".to_owned(),
    });
    branch.to_owned() + &responses.collect::<String>()
}

fn error(error: Error) -> String {
    format!("! {error:?}")
}

impl Script {
    fn step(&mut self, step: &str) -> String {
        let words = words(step);
        let (verb, args) = words.split_first().expect("a line says something");
        self.keys_step(verb, args)
            .or_else(|| self.cluster_step(verb, args))
            .or_else(|| self.auth_step(verb, args))
            .or_else(|| self.look_step(verb, args))
            .unwrap_or_else(|| panic!("{verb} is no step"))
    }

    fn keys_step(&mut self, verb: &str, args: &[&str]) -> Option<String> {
        let (op, checked) = match verb {
            "put" => {
                let put = parse_put(args);
                let checked = check::check_put(&put);
                (Op::Put(put), checked)
            }
            "del" => {
                let delete = parse_delete(args);
                let checked = check::check_delete(&delete);
                (Op::DeleteRange(delete), checked)
            }
            "txn" => {
                let txn = parse_txn(args);
                let checked = check::check_txn(&txn, 5);
                if checked.is_ok() && check::is_read_only(&txn) {
                    let read = self
                        .node
                        .machine
                        .read_txn(&self.identity, &txn, &self.node.store);
                    return Some(read.unwrap().map_or_else(error, |response| {
                        let revision = response.header.as_ref().unwrap().revision;
                        format!("rev {revision}{}", show_txn(&response))
                    }));
                }
                (Op::Txn(txn), checked)
            }
            "get" => {
                let get = parse_get(args);
                let got = check::check_range(&get).and_then(|()| self.get(&get));
                return Some(got.map_or_else(error, |range| {
                    let revision = range.header.as_ref().unwrap().revision;
                    format!("rev {revision}{}", show_range(&range))
                }));
            }
            "compact" => (
                Op::Compact(pb::CompactionRequest {
                    revision: number(args[0]),
                    physical: false,
                }),
                Ok(()),
            ),
            _ => return None,
        };
        Some(checked.map_or_else(error, |()| self.propose(op)))
    }

    /// Reads in one go and in steps, which must agree.
    fn get(&self, get: &pb::RangeRequest) -> Result<pb::RangeResponse, Error> {
        let machine = &self.node.machine;
        let whole = machine
            .range(&self.identity, get, &self.node.store)
            .unwrap();
        let plan = machine.plan_range(&self.identity, get);
        let stepped = plan.map(|plan| {
            let mut cursor = RangeCursor::default();
            while !machine.collect_range(&plan, &mut cursor, 1) {}
            plan.finish(cursor, &self.node.store).unwrap()
        });
        assert_eq!(stepped, whole, "steps read what one go reads");
        whole
    }

    fn cluster_step(&mut self, verb: &str, args: &[&str]) -> Option<String> {
        let op = match (verb, args) {
            ("grant", [id, ttl]) => Op::LeaseGrant(pb::LeaseGrantRequest {
                id: number(id),
                ttl: number(ttl),
            }),
            ("revoke", [id]) => Op::LeaseRevoke(pb::LeaseRevokeRequest { id: number(id) }),
            ("checkpoint", [id, left]) => Op::LeaseCheckpoint(pb::LeaseCheckpointRequest {
                checkpoints: vec![pb::LeaseCheckpoint {
                    id: number(id),
                    remaining_ttl: number(left),
                }],
            }),
            ("alarm", [action, rest @ ..]) => {
                use pb::{AlarmType, alarm_request::AlarmAction};
                let kind = match rest.first() {
                    Some(&"nospace") => AlarmType::Nospace,
                    Some(&"corrupt") => AlarmType::Corrupt,
                    _ => AlarmType::None,
                };
                let action = match *action {
                    "raise" => AlarmAction::Activate,
                    "clear" => AlarmAction::Deactivate,
                    _ => AlarmAction::Get,
                };
                Op::Alarm(pb::AlarmRequest {
                    action: action.into(),
                    member_id: rest.get(1).map_or(0, |member| number(member)),
                    alarm: kind.into(),
                })
            }
            _ => return None,
        };
        Some(self.propose(op))
    }

    fn auth_step(&mut self, verb: &str, args: &[&str]) -> Option<String> {
        let text = |word: &&str| {
            if *word == "''" {
                String::new()
            } else {
                (*word).to_owned()
            }
        };
        let end = |rest: &[&str]| option(rest, "to").map_or_else(Bytes::new, bytes);
        let op = match (verb, args) {
            ("auth", ["on"]) => Op::AuthEnable(pb::AuthEnableRequest {}),
            ("auth", ["off"]) => Op::AuthDisable(pb::AuthDisableRequest {}),
            ("user-add", [name, rest @ ..]) => Op::UserAdd(pb::AuthUserAddRequest {
                name: text(name),
                hashed_password: "hash".to_owned(),
                options: Some(authpb::UserAddOptions {
                    no_password: rest.contains(&"no-password"),
                }),
                ..Default::default()
            }),
            ("user-delete", [name]) => {
                Op::UserDelete(pb::AuthUserDeleteRequest { name: text(name) })
            }
            ("user-password", [name]) => {
                Op::UserChangePassword(pb::AuthUserChangePasswordRequest {
                    name: text(name),
                    hashed_password: "other".to_owned(),
                    ..Default::default()
                })
            }
            ("user-grant", [user, role]) => Op::UserGrantRole(pb::AuthUserGrantRoleRequest {
                user: text(user),
                role: text(role),
            }),
            ("user-revoke", [name, role]) => Op::UserRevokeRole(pb::AuthUserRevokeRoleRequest {
                name: text(name),
                role: text(role),
            }),
            ("role-add", [name]) => Op::RoleAdd(pb::AuthRoleAddRequest { name: text(name) }),
            ("role-delete", [role]) => {
                Op::RoleDelete(pb::AuthRoleDeleteRequest { role: text(role) })
            }
            ("role-grant", [name, kind, key, rest @ ..]) => {
                let kind = ["r", "w", "rw"].iter().position(|k| k == kind).unwrap() as i32;
                Op::RoleGrantPermission(pb::AuthRoleGrantPermissionRequest {
                    name: text(name),
                    perm: Some(authpb::Permission {
                        perm_type: kind,
                        key: bytes(key),
                        range_end: end(rest),
                    }),
                })
            }
            ("role-revoke", [role, key, rest @ ..]) => {
                Op::RoleRevokePermission(pb::AuthRoleRevokePermissionRequest {
                    role: text(role),
                    key: bytes(key),
                    range_end: end(rest),
                })
            }
            ("login", [name, token, rest @ ..]) => {
                let now = self.node.machine.auth().revision();
                Op::SessionOpen(internal::SessionOpen {
                    name: text(name),
                    token_sha256: digest(token).into(),
                    auth_revision: option(rest, "at").map_or(now, number),
                })
            }
            _ => return None,
        };
        Some(self.propose(op))
    }

    fn look_step(&mut self, verb: &str, args: &[&str]) -> Option<String> {
        let auth = self.node.machine.auth();
        Some(match (verb, args) {
            ("as", [name]) => {
                self.identity = self.identity_of(name);
                "ok".to_owned()
            }
            ("whose", [token]) => auth.identify_digest(&digest(token)).map_or_else(
                || "nobody's".to_owned(),
                |identity| match identity.who {
                    Some(identity::Who::User(user)) => user.name,
                    other => panic!("a login belongs to a user, not {other:?}"),
                },
            ),
            ("auth-revision", []) => auth.revision().to_string(),
            ("users", []) => auth
                .users(&self.identity)
                .map_or_else(error, |u| u.join(" ")),
            ("roles", []) => auth
                .roles(&self.identity)
                .map_or_else(error, |r| r.join(" ")),
            ("user", [name]) => auth
                .user(&self.identity, name)
                .map_or_else(error, |r| r.join(" ")),
            ("role", [name]) => auth.role(&self.identity, name).map_or_else(error, |all| {
                let show = |p: &authpb::Permission| {
                    let kind = ["r", "w", "rw"][p.perm_type as usize];
                    format!("{kind}:{}:{}", show_bytes(&p.key), show_bytes(&p.range_end))
                };
                all.iter().map(show).collect::<Vec<_>>().join(" ")
            }),
            ("lease", [id]) => {
                let lease = self
                    .node
                    .machine
                    .lease(&self.identity, number(id), Need::Read);
                lease.map_or_else(error, |lease| {
                    let keys: Vec<_> = lease.keys.iter().map(|key| show_bytes(key)).collect();
                    format!(
                        "ttl {} left {} keys {}",
                        lease.ttl_s,
                        lease.remaining_s,
                        keys.join(" ")
                    )
                })
            }
            ("flush", []) => {
                self.node.flush();
                "ok".to_owned()
            }
            ("restart", []) => {
                self.node.restart();
                "ok".to_owned()
            }
            ("reclaim", rest) => {
                self.node.flush();
                self.node.reclaim(1, option(rest, "pinned").map(number));
                format!("{} rows", self.node.store.len(Table::UserRevisions))
            }
            _ => return None,
        })
    }

    fn identity_of(&self, name: &str) -> Identity {
        let auth = self.node.machine.auth();
        match name.split_once('@') {
            _ if name == "system" => system(),
            _ if name == "nobody" => Identity::default(),
            Some((name, at)) => Identity {
                who: Some(identity::Who::User(internal::User {
                    name: name.to_owned(),
                    auth_revision: number(at),
                })),
            },
            None => auth.identify(name),
        }
    }

    fn propose(&mut self, op: Op) -> String {
        let effects_before = (
            self.node.pending.events.len(),
            self.node.pending.leases.len(),
        );
        let outcome = self
            .node
            .apply(&command(&self.identity, op))
            .expect("it is new");
        let applied = match outcome {
            Ok(applied) => applied,
            Err(refused) => {
                let pending = &self.node.pending;
                let effects = (pending.events.len(), pending.leases.len());
                assert_eq!(effects, effects_before, "what is refused has no effect");
                return error(refused);
            }
        };
        let revision = format!("rev {}", applied.revision);
        let said = match &applied.reply {
            Reply::Put(put) => show_put(put),
            Reply::DeleteRange(delete) => show_delete(delete),
            Reply::Txn(txn) => show_txn(txn),
            Reply::LeaseGrant(grant) => format!(" lease {} ttl {}", grant.id, grant.ttl),
            Reply::LeaseRevoke(_) => {
                let last = self.node.pending.leases.last();
                assert!(matches!(last, Some(LeaseChange::Revoked { .. })));
                String::new()
            }
            Reply::Alarm(alarm) => {
                let show = |a: &pb::AlarmMember| format!(" {:?}@{}", a.alarm(), a.member_id);
                alarm.alarms.iter().map(show).collect()
            }
            Reply::Auth => return "ok".to_owned(),
            Reply::Both(both) => format!(" {both:?}"),
            Reply::Compact(_) | Reply::LeaseCheckpoint | Reply::RaiseFeatureLevel => String::new(),
        };
        assert!(!self.flush_always || self.node.pending.leases.len() <= 1);
        revision + &said
    }
}

/// Stands in for the SHA-256 of a token.
fn digest(token: &str) -> Vec<u8> {
    let mut digest = token.as_bytes().to_vec();
    digest.resize(32, 0);
    digest
}
