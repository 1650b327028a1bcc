//! PostgreSQL databases, by PREPARE TRANSACTION, COMMIT PREPARED and ROLLBACK PREPARED.
//!
//! Nodes know databases by name ([`databases`]); clients name one, and the statements that are
//! run there. A branch is a prepared transaction whose name holds the cluster's, the
//! transaction's and the branch's. PostgreSQL forgets a prepared transaction that has ended, so
//! its name is also written into a table, `atoll_branches`, as a part of the transaction: the
//! row keeps work from being done twice, and tells a Commit of what was committed before from one
//! whose vote was lost ([`Prepared`](crate::core::global::participant::Prepared) is the model).
//!
//! What an answer was lost of is found again by looking. What was prepared after nobody wanted it
//! any more is found in `pg_prepared_xacts`, and asked about.

mod branch;
pub mod databases;
mod pool;
mod session;
mod wire;
pub mod work;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use atoll_base::id::ClusterId;
use atoll_world::{clock, task};
use parking_lot::Mutex;

use self::{
    branch::Names,
    databases::Database,
    pool::Pool,
    session::{Session, SessionError},
    work::Work,
};
use crate::{
    core::global::{Branch, Kind, Order, Report, Termination},
    driver::global::{Call, Later, Unfit},
};

/// What a database's name as a participant begins with.
pub const PREFIX: &str = "postgres:";
/// How long an order may take.
const CALL_TIMEOUT: Duration = Duration::from_secs(5);
/// What is prepared for so long is asked about, in seconds.
const HELD_S: i64 = 10;
/// So many are asked about at a time, of one database.
const HELD_MAX: i64 = 1_000;
/// How often rows of what ended long ago are deleted.
const SWEEP_INTERVAL: Duration = Duration::from_secs(3_600);

/// The way to databases. Clones are the same.
#[derive(Clone)]
pub struct Postgres(Arc<Inner>);

struct Inner {
    names: Names,
    pools: BTreeMap<String, Arc<Pool>>,
    swept: Mutex<Option<clock::Instant>>,
}

impl Postgres {
    /// Knows these databases.
    pub fn new(cluster: ClusterId, databases: Vec<Database>) -> Self {
        let pools = databases.into_iter();
        let pools = pools.map(|it| (it.name.clone(), Arc::new(Pool::new(it))));
        Postgres(Arc::new(Inner {
            names: Names::new(cluster),
            pools: pools.collect(),
            swept: Mutex::new(None),
        }))
    }

    pub(super) fn reaches(&self, name: &str) -> Result<(), Unfit> {
        self.pool(name).map(drop)
    }

    fn pool(&self, name: &str) -> Result<&Arc<Pool>, Unfit> {
        let database = name.strip_prefix(PREFIX).unwrap_or(name);
        self.0.pools.get(database).ok_or_else(|| {
            Unfit::Refused(format!(
                "{name}: this node knows no database of this name (txn.postgres_file lists them)"
            ))
        })
    }

    pub(super) fn check(&self, kind: Kind, name: &str, payload: &[u8]) -> Result<(), Unfit> {
        self.reaches(name)?;
        let why = match kind {
            Kind::TwoPhase | Kind::ThreePhase(Termination::ByLog) => {
                let work = Work::decode(payload);
                return work
                    .map(drop)
                    .map_err(|error| Unfit::Refused(format!("{name}: {error}")));
            }
            Kind::ThreePhase(Termination::ByPeers) => "databases end nothing among themselves",
            Kind::Saga => "databases prepare; a saga's steps are services'",
        };
        let name = name.to_owned();
        Err(Unfit::Kind { name, why })
    }

    pub(super) fn tell(&self, call: Call) -> Later<Option<Report>> {
        let postgres = self.clone();
        Box::pin(async move {
            match postgres.ask(&call).await {
                Ok(report) => Some(report),
                Err(error) => {
                    tracing::debug!(branch = %call.branch, name = call.name, attempt = call.attempt, %error, "a database gave no answer");
                    None
                }
            }
        })
    }

    async fn ask(&self, call: &Call) -> Result<Report, SessionError> {
        let pool = self.pool(&call.name)?;
        let ends_at = clock::now() + CALL_TIMEOUT;
        let session = clock::timeout(CALL_TIMEOUT, pool.session());
        let mut session = session.await.map_err(|_| SessionError::Timeout)??;
        let left = ends_at.saturating_duration_since(clock::now());
        let Ok(report) = clock::timeout(left, self.carry_out(call, &mut session)).await else {
            let pool = pool.clone();
            task::spawn(async move { pool.stop(session).await });
            return Err(SessionError::Timeout);
        };
        // A client's statements may have changed what later ones on this connection come to
        // (set_config); and after a no, its transaction ends with the connection.
        if report.is_ok() && !matches!(call.order, Order::Prepare { .. }) {
            pool.keep(session);
        }
        report
    }

    async fn carry_out(&self, call: &Call, session: &mut Session) -> Result<Report, SessionError> {
        let gid = self.0.names.of(call.branch);
        match &call.order {
            Order::Prepare { payload, .. } => {
                let work = Work::decode(payload)?;
                session.prepare(&gid, &work).await
            }
            // Nothing has to be remembered of it where only the log decides.
            Order::PreCommit => Ok(Report::PreCommitted),
            Order::Commit => session.commit(&gid).await,
            Order::Abort => session.abort(&gid).await,
            Order::Terminate | Order::Do { .. } | Order::Ask | Order::Compensate { .. } => {
                Err(SessionError::Order)
            }
        }
    }

    /// What databases hold prepared for longer than a transaction takes.
    pub(super) async fn held(&self) -> Vec<(Branch, String)> {
        let mut held = Vec::new();
        let sweeps = self.sweeps();
        for (name, pool) in &self.0.pools {
            let listed = clock::timeout(CALL_TIMEOUT, self.list(pool, sweeps)).await;
            match listed.unwrap_or(Err(SessionError::Timeout)) {
                Ok(branches) => {
                    let named = branches.into_iter();
                    held.extend(named.map(|branch| (branch, format!("{PREFIX}{name}"))));
                }
                Err(error) => {
                    tracing::warn!(name, %error, "what a database holds prepared can't be listed");
                }
            }
        }
        held
    }

    fn sweeps(&self) -> bool {
        let mut swept = self.0.swept.lock();
        let now = clock::now();
        let is_due = swept.is_none_or(|it| now >= it + SWEEP_INTERVAL);
        if is_due {
            *swept = Some(now);
        }
        is_due
    }

    async fn list(&self, pool: &Pool, sweeps: bool) -> Result<Vec<Branch>, SessionError> {
        let mut session: Session = pool.session().await?;
        let prefix = self.0.names.prefix();
        let names = session.held(prefix, HELD_S, HELD_MAX).await?;
        if sweeps {
            session.sweep().await?;
        }
        pool.keep(session);
        let branches = names.iter().filter_map(|it| self.0.names.branch(it));
        Ok(branches.collect())
    }
}
