//! `atoll.v1.Txn`: transactions on the strings of hot data, for programs.
//!
//! Optimistic concurrency control (Kung and Robinson, 1981): a client reads, keeps what it wants
//! to write, and commits all at once; what it read is compared in the moment of the commit, which
//! is a MULTI of its keys ([`crate::core::partitions`]). So this face has no state, and any node
//! may answer any call.
//!
//! What a user may do is what it may do as a Redis client: GET, KEYS, SET, DEL of these keys.

use std::{collections::BTreeSet, sync::Arc};

use atoll_control::{
    face::Guest,
    proto::internal::{Identity, identity::Who},
};
use atoll_kv::{
    api::{
        Answer, Api, Body, Call, Consistency, DatabaseKey, Names, Refusal, Request as Ask, Step,
        Transaction, Version,
    },
    core::{
        acl::User,
        command,
        data::{DATABASES, HIDDEN},
        reply::Reply,
    },
    face::acl::{Acl, DEFAULT_USER},
};
use bytes::Bytes;
use futures_util::{StreamExt as _, TryStreamExt as _};
use tonic::{Request, Response, Status, codegen::Service as _};

use crate::proto::{
    self as pb,
    txn_server::{Txn, TxnServer},
    write_key::What,
};

/// Keys that one call may name.
const KEYS_MAX: usize = 10_000;
/// Keys that a prefix may have.
const SCANNED_MAX: usize = 10_000;
/// So many keys are read at a time for one call.
const READS_AT_ONCE: usize = 64;
/// So many bytes of keys and values one answer has, besides the last.
const ANSWER_BYTES_MAX: usize = 6 << 20;
/// Bytes of an idempotency key.
const IDEMPOTENCY_KEY_BYTES_MAX: usize = 128;
/// How long it is known what was committed under an idempotency key, in milliseconds: a day.
const IDEMPOTENCY_MS: u64 = 24 * 60 * 60 * 1_000;
/// Before the names of what was committed, in the hidden database.
const COMMITTED: &[u8] = b"txn:committed:";
/// So often a read is tried again because the key was changed in the middle of it.
const READS_MAX: usize = 16;

/// What is answered where something was committed under the same idempotency key.
const DONE_BEFORE: pb::CommitWritesResponse = pb::CommitWritesResponse {
    committed: true,
    repeated: true,
};

/// Paths of the JSON gateway.
const PATHS: &[(&str, &str)] = &[
    ("/v1/txn/read", "ReadKeys"),
    ("/v1/txn/scan", "ScanPrefix"),
    ("/v1/txn/commit", "CommitWrites"),
];

/// A node's hot data.
pub trait HotData: Send + Sync + 'static {
    /// Whoever is asked.
    type Kv: Api;

    /// It, and what users may do with it; none before it is there.
    fn now(&self) -> Option<(Self::Kv, Acl)>;
}

struct Face<H>(H);

/// Hot data, and who asks for it.
struct Caller<K> {
    kv: K,
    name: Vec<u8>,
    user: Arc<User>,
}

/// The service, for the control plane's listener.
pub fn guest<H: HotData>(hot: H) -> Guest {
    let face = Arc::new(Face(hot));
    Guest {
        service: "atoll.v1.Txn",
        descriptors: pb::DESCRIPTORS,
        paths: PATHS,
        call: Arc::new(move |request, bytes_max| {
            let server = TxnServer::from_arc(face.clone());
            let mut server = server.max_decoding_message_size(bytes_max);
            Box::pin(async move {
                let Ok(answer) = server.call(request).await;
                answer
            })
        }),
    }
}

fn database(index: u32) -> Result<usize, Status> {
    let index = usize::try_from(index).ok();
    index
        .filter(|index| *index < DATABASES)
        .ok_or_else(|| Status::invalid_argument(format!("databases are 0 to {}", DATABASES - 1)))
}

fn call(words: Vec<Bytes>) -> Result<Call, Status> {
    let command = command::find(&words);
    let command = command.ok_or_else(|| Status::internal("a command that is none"))?;
    Ok(Call { command, words })
}

fn get(key: &Bytes) -> Result<Call, Status> {
    call(vec![Bytes::from_static(b"GET"), key.clone()])
}

/// What hot data says where it did not do what was asked.
fn refused(refusal: Refusal) -> Status {
    match refusal {
        Refusal::Unknown => Status::unknown(refusal.to_string()),
        Refusal::Overloaded => Status::resource_exhausted(refusal.to_string()),
        Refusal::Unavailable | Refusal::CrossPartition => Status::unavailable(refusal.to_string()),
    }
}

fn error(text: &[u8]) -> Status {
    let text = String::from_utf8_lossy(text).into_owned();
    match text.split(' ').next() {
        Some("WRONGTYPE") => Status::failed_precondition(text),
        Some("OOM") => Status::resource_exhausted(text),
        Some("TRYAGAIN" | "EXECABORT" | "MISCONF") => Status::unavailable(text),
        _ => Status::unknown(text),
    }
}

fn strange(answer: &Answer) -> Status {
    Status::internal(format!("hot data answered something else: {answer:?}"))
}

/// Hot data, if it is there, and what users may do with it.
pub(super) fn there<H: HotData>(hot: &H) -> Result<(H::Kv, Acl), Status> {
    // Before its users are known, nobody is told that he may do nothing.
    hot.now()
        .filter(|(_, users)| !users.users().is_empty())
        .ok_or_else(|| Status::unavailable("hot data is not there yet"))
}

/// Who asks, as hot data knows him: the name, and what he may do.
pub(super) fn user_of(
    users: &Acl,
    identity: Option<&Identity>,
) -> Result<(Vec<u8>, Arc<User>), Status> {
    let name = match identity.and_then(|identity| identity.who.as_ref()) {
        Some(Who::User(user)) => user.name.as_bytes().to_vec(),
        Some(Who::Anonymous(_)) => DEFAULT_USER.to_vec(),
        _ => return Err(Status::unauthenticated("nobody knows who asks")),
    };
    let user = users.user(&name).filter(|user| user.is_on());
    let user =
        user.ok_or_else(|| Status::permission_denied("this user may do nothing with hot data"))?;
    Ok((name, user))
}

/// Whether a user may do this.
pub(super) fn permit(user: &User, call: &Call) -> Result<(), Status> {
    let denied = user.check(call.command, &call.words);
    denied.map_err(|denied| Status::permission_denied(denied.text(b"this user", call.command)))
}

impl<H: HotData> Face<H> {
    /// Whose rules a call goes by.
    fn caller<T>(&self, request: &Request<T>) -> Result<Caller<H::Kv>, Status> {
        let (kv, users) = there(&self.0)?;
        let (name, user) = user_of(&users, request.extensions().get::<Identity>())?;
        Ok(Caller { kv, name, user })
    }
}

impl<K: Api> Caller<K> {
    /// Whether the user may do this.
    fn permit(&self, call: &Call) -> Result<(), Status> {
        permit(&self.user, call)
    }

    async fn ask(&self, body: Body) -> Result<Answer, Status> {
        let ask = Ask {
            consistency: Consistency::Linearizable,
            by: None,
            caller: None,
            body,
        };
        let answer = self.kv.ask(vec![ask]).await.pop();
        match answer.map(Answer::plain) {
            None => Err(Status::unavailable("hot data does not answer")),
            Some(Answer::Refused(refusal)) => Err(refused(refusal)),
            Some(Answer::Reply(Reply::Error(text))) => Err(error(&text)),
            Some(answer) => Ok(answer),
        }
    }

    async fn versions(&self, keys: Vec<DatabaseKey>) -> Result<Vec<Version>, Status> {
        match self.ask(Body::Versions(keys)).await? {
            Answer::Versions(versions) => Ok(versions),
            other => Err(strange(&other)),
        }
    }

    /// A key as it was at one moment.
    async fn read(&self, database: usize, key: Bytes) -> Result<pb::FoundKey, Status> {
        let watched = DatabaseKey { database, key };
        for _ in 0..READS_MAX {
            let version = self.versions(vec![watched.clone()]).await?.pop();
            let version = version.ok_or_else(|| Status::internal("no version of a key"))?;
            let call = get(&watched.key)?;
            let transaction = Transaction {
                steps: vec![Step::Call { database, call }],
                watched: vec![(watched.clone(), version)],
                names: Vec::new(),
            };
            let reply = match self.ask(Body::Transaction(transaction)).await? {
                Answer::Discarded => continue,
                Answer::Executed(mut replies) => replies.pop(),
                other => return Err(strange(&other)),
            };
            let value = match reply {
                Some(Reply::Bulk(value)) => Some(value),
                Some(Reply::Null) => None,
                Some(Reply::Error(text)) => return Err(error(&text)),
                other => return Err(Status::internal(format!("GET came to {other:?}"))),
            };
            return Ok(pb::FoundKey {
                key: watched.key,
                version: version.0,
                exists: value.is_some(),
                value: value.unwrap_or_default(),
            });
        }
        Err(Status::aborted(
            "the key is changed all the time; try again",
        ))
    }

    async fn read_all(
        &self,
        database: usize,
        keys: impl IntoIterator<Item = Bytes>,
    ) -> Result<Vec<pb::FoundKey>, Status> {
        let reads = keys.into_iter().map(|key| self.read(database, key));
        let mut reads = futures_util::stream::iter(reads).buffered(READS_AT_ONCE);
        let (mut found, mut bytes) = (Vec::new(), 0);
        while let Some(key) = reads.try_next().await? {
            if bytes > ANSWER_BYTES_MAX {
                return Err(Status::out_of_range(format!(
                    "these keys and their values take more than {ANSWER_BYTES_MAX} bytes: ask for fewer"
                )));
            }
            bytes += key.key.len() + key.value.len();
            found.push(key);
        }
        Ok(found)
    }
}

fn bounded(count: usize) -> Result<(), Status> {
    match count <= KEYS_MAX {
        true => Ok(()),
        false => Err(Status::invalid_argument(format!(
            "a call names up to {KEYS_MAX} keys"
        ))),
    }
}

fn keys_of(prefix: &[u8]) -> Result<Call, Status> {
    let pattern = crate::core::partitions::pattern(prefix);
    call(vec![Bytes::from_static(b"KEYS"), pattern])
}

/// What a write is to a Redis client.
fn write(write: pb::WriteKey) -> Result<Call, Status> {
    match write.what {
        Some(What::Put(value)) => call(vec![Bytes::from_static(b"SET"), write.key, value]),
        Some(What::Delete(true)) => call(vec![Bytes::from_static(b"DEL"), write.key]),
        Some(What::Delete(false)) | None => Err(Status::invalid_argument(
            "a write puts a value or deletes a key",
        )),
    }
}

/// Where it is kept what a user has committed under an idempotency key. Nobody comes upon
/// another user's.
fn mark(user: &[u8], idempotency_key: &[u8]) -> DatabaseKey {
    let user_bytes = user.len().to_string();
    DatabaseKey {
        database: HIDDEN,
        key: [
            COMMITTED,
            user_bytes.as_bytes(),
            b":",
            user,
            idempotency_key,
        ]
        .concat()
        .into(),
    }
}

#[tonic::async_trait]
impl<H: HotData> Txn for Face<H> {
    async fn read_keys(
        &self,
        request: Request<pb::ReadKeysRequest>,
    ) -> Result<Response<pb::ReadKeysResponse>, Status> {
        let caller = self.caller(&request)?;
        let request = request.into_inner();
        let database = database(request.database)?;
        bounded(request.keys.len())?;
        for key in &request.keys {
            caller.permit(&get(key)?)?;
        }
        let found = caller.read_all(database, request.keys).await?;
        Ok(Response::new(pb::ReadKeysResponse { found }))
    }

    async fn scan_prefix(
        &self,
        request: Request<pb::ScanPrefixRequest>,
    ) -> Result<Response<pb::ScanPrefixResponse>, Status> {
        let caller = self.caller(&request)?;
        let request = request.into_inner();
        let database = database(request.database)?;
        let call = keys_of(&request.prefix)?;
        caller.permit(&call)?;
        let names = match caller.ask(Body::Call { database, call }).await? {
            Answer::Reply(Reply::Array(names)) => names,
            other => return Err(strange(&other)),
        };
        if names.len() > SCANNED_MAX {
            return Err(Status::out_of_range(format!(
                "{} keys begin so; a scan takes up to {SCANNED_MAX}",
                names.len()
            )));
        }
        let mut keys = BTreeSet::new();
        for name in names {
            let Reply::Bulk(key) = name else {
                return Err(Status::internal("a key that has no name"));
            };
            caller.permit(&get(&key)?)?;
            keys.insert(key);
        }
        let mut found = caller.read_all(database, keys).await?;
        // One that went meanwhile is none of them; the commit will see that it is gone.
        found.retain(|key| key.exists);
        Ok(Response::new(pb::ScanPrefixResponse { found }))
    }

    async fn commit_writes(
        &self,
        request: Request<pb::CommitWritesRequest>,
    ) -> Result<Response<pb::CommitWritesResponse>, Status> {
        let caller = self.caller(&request)?;
        let request = request.into_inner();
        let database = database(request.database)?;
        // What was found by its prefix was read, too.
        let read: BTreeSet<&Bytes> = request.read.iter().map(|read| &read.key).collect();
        let scanned = request.scanned.iter().flat_map(|it| &it.keys);
        let scanned = scanned.filter(|key| !read.contains(key)).count();
        bounded(request.read.len() + scanned + request.writes.len())?;
        if request.idempotency_key.len() > IDEMPOTENCY_KEY_BYTES_MAX {
            return Err(Status::invalid_argument(format!(
                "an idempotency key has up to {IDEMPOTENCY_KEY_BYTES_MAX} bytes"
            )));
        }
        let mark = (!request.idempotency_key.is_empty())
            .then(|| mark(&caller.name, &request.idempotency_key));
        let mut steps = Vec::new();
        for one in request.writes {
            let call = write(one)?;
            caller.permit(&call)?;
            steps.push(Step::Call { database, call });
        }
        let mut watched = Vec::new();
        for read in request.read {
            caller.permit(&get(&read.key)?)?;
            let key = DatabaseKey {
                database,
                key: read.key,
            };
            watched.push((key, Version(read.version)));
        }
        let mut names = Vec::new();
        for scanned in request.scanned {
            caller.permit(&keys_of(&scanned.prefix)?)?;
            names.push(Names {
                database,
                prefix: scanned.prefix,
                keys: scanned.keys.into_iter().collect(),
            });
        }
        if let Some(mark) = &mark {
            let found = caller.read(HIDDEN, mark.key.clone()).await?;
            if found.exists {
                return Ok(Response::new(DONE_BEFORE));
            }
            watched.push((mark.clone(), Version(found.version)));
            let words = vec![
                Bytes::from_static(b"SET"),
                mark.key.clone(),
                Bytes::from_static(b"1"),
                Bytes::from_static(b"PX"),
                Bytes::from(IDEMPOTENCY_MS.to_string()),
            ];
            steps.push(Step::Call {
                database: HIDDEN,
                call: call(words)?,
            });
        }
        let transaction = Transaction {
            steps,
            watched,
            names,
        };
        let committed = match caller.ask(Body::Transaction(transaction)).await? {
            Answer::Executed(replies) => {
                let failed = replies.into_iter().find_map(|reply| match reply {
                    Reply::Error(text) => Some(error(&text)),
                    _ => None,
                });
                match failed {
                    // SET and DEL take whatever is there.
                    Some(failed) => return Err(failed),
                    None => true,
                }
            }
            Answer::Discarded => false,
            other => return Err(strange(&other)),
        };
        if let (false, Some(mark)) = (committed, mark) {
            // It may have been done meanwhile, by an earlier call that was taken for lost.
            if caller.read(HIDDEN, mark.key).await?.exists {
                return Ok(Response::new(DONE_BEFORE));
            }
        }
        Ok(Response::new(pb::CommitWritesResponse {
            committed,
            repeated: false,
        }))
    }
}

#[cfg(test)]
mod tests {
    use atoll_control::proto::internal;
    use atoll_kv::core::{
        machine::{self, Answered, Machine, Operation},
        partition::{Moment, StateMachine as _},
        paxos::LogIndex,
    };
    use parking_lot::Mutex;
    use tonic::Code;

    use super::*;

    /// One partition in this process.
    #[derive(Clone, Default)]
    struct Kv(Arc<Mutex<(Machine, u64)>>);

    impl Api for Kv {
        async fn ask(&self, requests: Vec<Ask>) -> Vec<Answer> {
            let answer = |ask: Ask| match ask.body {
                Body::Versions(keys) => {
                    let keys = keys.into_iter().map(|key| (key.database, key.key));
                    self.apply(Operation::Versions(keys.collect()))
                }
                Body::Call { database, call } => self.apply(Operation::Call(machine::Call {
                    database,
                    words: call.words,
                })),
                Body::Transaction(transaction) => {
                    let calls = transaction.steps.into_iter().filter_map(|step| match step {
                        Step::Call { database, call } => Some(machine::Call {
                            database,
                            words: call.words,
                        }),
                        Step::Publish(_) => None,
                    });
                    let watched = transaction.watched.into_iter();
                    let watched = watched.map(|(key, at)| (key.database, key.key, at.0));
                    self.apply(Operation::Transaction {
                        calls: calls.collect(),
                        watched: watched.collect(),
                    })
                }
                other => panic!("nobody asks {other:?}"),
            };
            requests.into_iter().map(answer).collect()
        }
    }

    impl Kv {
        fn apply(&self, operation: Operation) -> Answer {
            let (machine, index) = &mut *self.0.lock();
            *index += 1;
            let at = Moment {
                now_ms: 1,
                seed: 1,
                index: LogIndex(*index),
            };
            match machine.apply(at, &operation.encode()) {
                Answered::Reply(reply) => Answer::Reply(reply),
                Answered::Executed(replies) => Answer::Executed(replies),
                Answered::Discarded => Answer::Discarded,
                Answered::Versions(all) => Answer::Versions(all.into_iter().map(Version).collect()),
                other => panic!("it came to {other:?}"),
            }
        }
    }

    struct Data(Kv, Option<Acl>);

    impl HotData for Data {
        type Kv = Kv;

        fn now(&self) -> Option<(Kv, Acl)> {
            Some((self.0.clone(), self.1.clone()?))
        }
    }

    fn face(rules: &str) -> Face<Data> {
        let mut ann = User::nothing();
        let rules: Vec<Bytes> = rules
            .split(' ')
            .map(|it| Bytes::from(it.to_owned()))
            .collect();
        ann.apply(&rules).unwrap();
        Face(Data(Kv::default(), Some(Acl::of([("ann".into(), ann)]))))
    }

    fn by<T>(name: &str, message: T) -> Request<T> {
        let mut request = Request::new(message);
        request.extensions_mut().insert(Identity {
            who: Some(Who::User(internal::User {
                name: name.to_owned(),
                ..internal::User::default()
            })),
        });
        request
    }

    fn put(key: &'static str) -> pb::WriteKey {
        pb::WriteKey {
            key: key.into(),
            what: Some(What::Put("1".into())),
        }
    }

    #[tokio::test]
    async fn users_do_what_they_may_do_as_redis_clients() {
        let face = face("on +get +set +keys ~mine:*");
        let commit = |key| pb::CommitWritesRequest {
            writes: vec![put(key)],
            ..Default::default()
        };
        let read = |key: &'static str| pb::ReadKeysRequest {
            keys: vec![key.into()],
            ..Default::default()
        };
        let scan = |prefix: &'static str| pb::ScanPrefixRequest {
            prefix: prefix.into(),
            ..Default::default()
        };
        let done = face
            .commit_writes(by("ann", commit("mine:a")))
            .await
            .unwrap();
        assert!(done.into_inner().committed);
        let found = face.read_keys(by("ann", read("mine:a"))).await.unwrap();
        assert_eq!(&found.into_inner().found[0].value[..], b"1");
        let found = face.scan_prefix(by("ann", scan("mine:"))).await.unwrap();
        assert_eq!(found.into_inner().found.len(), 1);

        let delete = pb::CommitWritesRequest {
            writes: vec![pb::WriteKey {
                key: "mine:a".into(),
                what: Some(What::Delete(true)),
            }],
            ..Default::default()
        };
        for refused in [
            face.commit_writes(by("ann", commit("yours")))
                .await
                .map(drop),
            face.commit_writes(by("ann", delete)).await.map(drop),
            face.read_keys(by("ann", read("yours"))).await.map(drop),
            face.read_keys(by("eve", read("mine:a"))).await.map(drop),
        ] {
            assert_eq!(refused.unwrap_err().code(), Code::PermissionDenied);
        }
        let nobody = face.read_keys(Request::new(read("mine:a"))).await;
        assert_eq!(nobody.unwrap_err().code(), Code::Unauthenticated);
        let early = Face(Data(Kv::default(), None));
        let early = early.read_keys(by("ann", read("mine:a"))).await;
        assert_eq!(early.unwrap_err().code(), Code::Unavailable);
    }

    #[tokio::test]
    async fn what_makes_no_sense_is_refused() {
        let face = face("on +@all ~*");
        let commits = [
            pb::CommitWritesRequest {
                database: 16,
                ..Default::default()
            },
            pb::CommitWritesRequest {
                writes: vec![pb::WriteKey::default()],
                ..Default::default()
            },
            pb::CommitWritesRequest {
                idempotency_key: vec![1; 129].into(),
                ..Default::default()
            },
            pb::CommitWritesRequest {
                writes: vec![put("a"); KEYS_MAX + 1],
                ..Default::default()
            },
        ];
        for commit in commits {
            let refused = face.commit_writes(by("ann", commit)).await.unwrap_err();
            assert_eq!(refused.code(), Code::InvalidArgument, "{refused}");
        }
    }

    #[tokio::test]
    async fn what_is_committed_under_a_name_is_each_users_own() {
        let mut users = Vec::new();
        for name in ["ann", "annb"] {
            let mut user = User::nothing();
            user.apply(&["on", "+@all", "~*"].map(Bytes::from)).unwrap();
            users.push((Bytes::from(name), user));
        }
        let face = Face(Data(Kv::default(), Some(Acl::of(users))));
        let mut told = Vec::new();
        for (user, name, key) in [
            ("ann", "bcd", "first"),
            ("ann", "bcd", "second"),
            ("annb", "cd", "third"),
            ("ann", "", "fourth"),
            ("ann", "", "fifth"),
        ] {
            let commit = pb::CommitWritesRequest {
                writes: vec![put(key)],
                idempotency_key: name.into(),
                ..Default::default()
            };
            let done = face.commit_writes(by(user, commit)).await.unwrap();
            let done = done.into_inner();
            let read = pb::ReadKeysRequest {
                keys: vec![key.into()],
                ..Default::default()
            };
            let found = face.read_keys(by(user, read)).await.unwrap().into_inner();
            assert_eq!(found.found[0].exists, !done.repeated, "{key}");
            told.push((done.committed, done.repeated));
        }
        let (new, repeated) = ((true, false), (true, true));
        assert_eq!(told, [new, repeated, new, new, new]);
    }
}
