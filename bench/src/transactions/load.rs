//! The clients of a load, and what is measured of them.

use std::{
    future::Future,
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    time::Duration,
};

use atoll_ring::slot::Slot;
use hdrhistogram::Histogram;
use tokio::{
    task::JoinSet,
    time::{Instant, sleep, timeout},
};

use super::{Choice, Deed, Report, postgres::Postgres};
use crate::{
    error::{Error, Result},
    load::{LATENCY_MAX, histogram, rest},
    process::Usage,
    redis::{
        keys::{Chooser, Doors},
        wire::{Answer, Connection, request},
    },
    workload::Numbers,
};

/// What each account holds at the beginning.
pub(super) const EACH: i64 = 1_000;
/// Where accounts are that any replica changes by itself.
const KEYSPACE: &str = "bench";
/// Slots of one of Atoll's partitions, with the 1,024 that it makes by itself.
const SLOTS_PER_PARTITION: u16 = 16;
/// Accounts that are opened, or looked at, in one go.
const CHUNK: u64 = 1_000;
/// How long clients may take to finish what they asked last.
const END_WAIT: Duration = Duration::from_secs(60);
/// How often it is looked whether a keyspace is there.
const POLL: Duration = Duration::from_millis(20);
/// So often accounts are drawn until they are as they have to be.
const DRAWS_MAX: usize = 10_000;

const WARM: u8 = 0;
const MEASURE: u8 = 1;
const STOP: u8 = 2;

/// One load.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) deed: Deed,
    pub(super) choice: Choice,
    pub(super) clients: usize,
    pub(super) accounts: u64,
    pub(super) warmup: Duration,
    pub(super) time: Duration,
    pub(super) seed: u64,
}

/// What came of it.
pub(super) struct Measured {
    latencies_us: Histogram<u64>,
    commits: u64,
    aborts: u64,
    /// Of the whole load, those before and after the measured time included.
    all_commits: u64,
    elapsed: Duration,
    cpu: Duration,
}

impl Measured {
    pub(super) fn report(
        &self,
        server: &'static str,
        nodes: usize,
        run: usize,
        plan: &Plan,
    ) -> Report {
        Report {
            server,
            nodes,
            run,
            deed: plan.deed,
            choice: plan.choice,
            clients: plan.clients,
            commits: self.commits,
            aborts: self.aborts,
            commits_per_second: self.commits as f64 / self.elapsed.as_secs_f64(),
            p50_us: self.latencies_us.value_at_quantile(0.5),
            p99_us: self.latencies_us.value_at_quantile(0.99),
            cpu_us_per_commit: self.cpu.as_secs_f64() * 1e6 / self.commits.max(1) as f64,
        }
    }
}

/// The key of an account. Two in a row share a hash tag, and so a partition.
fn key(account: u64) -> String {
    format!("{{account:{}}}:{}", account / 2, account % 2)
}

fn partition(account: u64) -> u16 {
    Slot::of_key(key(account).as_bytes()).number() / SLOTS_PER_PARTITION
}

/// Draws the accounts of transfers.
pub(super) struct Drawer {
    deed: Deed,
    chooser: Chooser,
    numbers: Numbers,
    chosen: Vec<u64>,
}

impl Drawer {
    fn new(plan: &Plan, chooser: Chooser, client: usize) -> Self {
        Self {
            deed: plan.deed,
            chooser,
            numbers: Numbers(plan.seed ^ ((client as u64 + 1) << 32)),
            chosen: Vec::new(),
        }
    }

    fn next(&mut self) -> Result<&[u64]> {
        self.chosen.clear();
        let first = self.chooser.draw(0, &mut self.numbers)?;
        self.chosen.push(first);
        if self.deed == Deed::Near {
            self.chosen.push(first ^ 1);
        }
        for _ in 0..DRAWS_MAX {
            if self.chosen.len() == self.deed.accounts() {
                return Ok(&self.chosen);
            }
            let next = self.chooser.draw(0, &mut self.numbers)?;
            let own = partition(next);
            if self.chosen.iter().all(|other| partition(*other) != own) {
                self.chosen.push(next);
            }
        }
        Err(Error::Options(
            "too few --accounts: they lie in too few partitions".to_owned(),
        ))
    }
}

/// What one account gets: the first pays for the others. A single write pays in.
pub(super) fn amount(accounts: usize, place: usize) -> i64 {
    match place {
        0 if accounts > 1 => 1 - i64::try_from(accounts).unwrap_or(i64::MAX),
        _ => 1,
    }
}

type Doing<'a> = Pin<Box<dyn Future<Output = Result<bool>> + Send + 'a>>;

/// A connection that does transfers; whether it was done, or refused.
trait Bank: Send + 'static {
    fn transfer<'a>(&'a mut self, accounts: &'a [u64]) -> Doing<'a>;
}

struct Atoll {
    connection: Connection,
    out: Vec<u8>,
}

impl Bank for Atoll {
    fn transfer<'a>(&'a mut self, accounts: &'a [u64]) -> Doing<'a> {
        Box::pin(async move {
            let out = &mut self.out;
            out.clear();
            let is_transaction = accounts.len() > 1;
            if is_transaction {
                request(out, &[b"MULTI"]);
            }
            for (place, account) in accounts.iter().enumerate() {
                let amount = amount(accounts.len(), place).to_string();
                request(
                    out,
                    &[b"INCRBY", key(*account).as_bytes(), amount.as_bytes()],
                );
            }
            let mut count = accounts.len();
            if is_transaction {
                request(out, &[b"EXEC"]);
                count += 2;
            }
            let answers = self.connection.answers(out, count).await?;
            match answers.last() {
                Some(Answer::Integer(_)) => Ok(true),
                Some(Answer::Array(told))
                    if told.iter().all(|it| matches!(it, Answer::Integer(_))) =>
                {
                    Ok(true)
                }
                Some(Answer::Refused(text))
                    if text.starts_with("TRYAGAIN") || text.starts_with("EXECABORT") =>
                {
                    Ok(false)
                }
                other => Err(Error::Answer(format!("a transfer came to {other:?}"))),
            }
        })
    }
}

struct Sql {
    client: tokio_postgres::Client,
}

impl Bank for Sql {
    fn transfer<'a>(&'a mut self, accounts: &'a [u64]) -> Doing<'a> {
        Box::pin(async move {
            // In one order, as whoever knows about deadlocks does it.
            let mut changes: Vec<(u64, i64)> = accounts
                .iter()
                .enumerate()
                .map(|(place, account)| (*account, amount(accounts.len(), place)))
                .collect();
            changes.sort_unstable();
            let updates: String = changes
                .iter()
                .map(|(account, amount)| {
                    format!("UPDATE account SET held = held + {amount} WHERE id = {account};")
                })
                .collect();
            // What comes together is one transaction.
            match self.client.batch_execute(&updates).await {
                Ok(()) => Ok(true),
                Err(error)
                    if error
                        .code()
                        .is_some_and(|code| code.code().starts_with("40")) =>
                {
                    Ok(false)
                }
                Err(error) => Err(Error::Answer(error.to_string())),
            }
        })
    }
}

/// Has an eventual keyspace made, and waits until every node knows it.
pub(super) async fn create_keyspace(doors: &[SocketAddr]) -> Result<()> {
    let mut connection = Connection::open(doors[0]).await?;
    let create = "ATOLL.KEYSPACE CREATE bench EVENTUAL REPLICAS 3 WRITE ONE READ ONE";
    let words: Vec<&[u8]> = create.split(' ').map(str::as_bytes).collect();
    match connection.ask(&words).await? {
        Answer::Integer(_) => {}
        other => return Err(Error::Answer(format!("no keyspace was made: {other:?}"))),
    }
    for door in doors {
        let known = async {
            while connect(*door, Deed::Eventual).await.is_err() {
                sleep(POLL).await;
            }
        };
        if timeout(END_WAIT, known).await.is_err() {
            return Err(Error::Late("a keyspace on every node", END_WAIT));
        }
    }
    Ok(())
}

/// A connection to the accounts that a deed changes.
async fn connect(door: SocketAddr, deed: Deed) -> Result<Connection> {
    let mut connection = Connection::open(door).await?;
    if deed == Deed::Eventual {
        let chosen = connection.ask(&[b"SELECT", KEYSPACE.as_bytes()]).await?;
        if let Answer::Refused(why) = chosen {
            return Err(Error::Answer(why));
        }
    }
    Ok(connection)
}

/// Writes all accounts.
pub(super) async fn open_accounts(doors: &[SocketAddr], deed: Deed, accounts: u64) -> Result<()> {
    let mut connection = connect(doors[0], deed).await?;
    let each = EACH.to_string();
    let mut out = Vec::new();
    for first in (0..accounts).step_by(CHUNK as usize) {
        out.clear();
        let last = (first + CHUNK).min(accounts);
        for account in first..last {
            request(
                &mut out,
                &[b"SET", key(account).as_bytes(), each.as_bytes()],
            );
        }
        connection.round_trip(&out, (last - first) as usize).await?;
    }
    Ok(())
}

pub(super) async fn run_atoll(
    plan: &Plan,
    doors: &[SocketAddr],
    usage: impl Fn() -> Result<Usage>,
) -> Result<Measured> {
    let mut banks = Vec::new();
    for client in 0..plan.clients {
        banks.push(Atoll {
            connection: connect(doors[client % doors.len()], plan.deed).await?,
            out: Vec::new(),
        });
    }
    run(plan, banks, usage).await
}

pub(super) async fn run_postgres(
    plan: &Plan,
    server: &Postgres,
    usage: impl Fn() -> Result<Usage>,
) -> Result<Measured> {
    let mut banks = Vec::new();
    for _ in 0..plan.clients {
        let client = server.client().await?;
        banks.push(Sql { client });
    }
    run(plan, banks, usage).await
}

async fn run<B: Bank>(
    plan: &Plan,
    banks: Vec<B>,
    usage: impl Fn() -> Result<Usage>,
) -> Result<Measured> {
    let doors = Doors::plain(Vec::new());
    let chooser = Chooser::new(&doors, b'a', plan.accounts, plan.choice.spread(), plan.seed);
    let phase = Arc::new(AtomicU8::new(WARM));
    let mut lanes = JoinSet::new();
    for (client, bank) in banks.into_iter().enumerate() {
        let drawer = Drawer::new(plan, chooser.clone(), client);
        lanes.spawn(lane(bank, drawer, phase.clone()));
    }
    rest(&mut lanes, plan.warmup).await?;
    let before = usage()?;
    let begin = Instant::now();
    phase.store(MEASURE, Ordering::Relaxed);
    rest(&mut lanes, plan.time).await?;
    let elapsed = begin.elapsed();
    let after = usage()?;
    phase.store(STOP, Ordering::Relaxed);
    let mut measured = Measured {
        latencies_us: histogram(),
        commits: 0,
        aborts: 0,
        all_commits: 0,
        elapsed,
        cpu: after.cpu.saturating_sub(before.cpu),
    };
    let ends = async {
        while let Some(lane) = lanes.join_next().await {
            let lane = lane??;
            measured
                .latencies_us
                .add(lane.latencies_us)
                .expect("all histograms have the same bounds");
            measured.commits += lane.commits;
            measured.aborts += lane.aborts;
            measured.all_commits += lane.all_commits;
        }
        Ok::<(), Error>(())
    };
    match timeout(END_WAIT, ends).await {
        Ok(ended) => ended?,
        Err(_) => return Err(Error::Late("an answer", END_WAIT)),
    }
    Ok(measured)
}

struct Lane {
    latencies_us: Histogram<u64>,
    commits: u64,
    aborts: u64,
    all_commits: u64,
}

async fn lane<B: Bank>(mut bank: B, mut drawer: Drawer, phase: Arc<AtomicU8>) -> Result<Lane> {
    let mut lane = Lane {
        latencies_us: histogram(),
        commits: 0,
        aborts: 0,
        all_commits: 0,
    };
    loop {
        let begun = phase.load(Ordering::Relaxed);
        if begun == STOP {
            return Ok(lane);
        }
        let accounts = drawer.next()?;
        let begin = Instant::now();
        let is_done = bank.transfer(accounts).await?;
        lane.all_commits += u64::from(is_done);
        // What is answered within the measured time counts there, whenever it was asked.
        if phase.load(Ordering::Relaxed) == MEASURE {
            match is_done {
                true => lane.commits += 1,
                false => lane.aborts += 1,
            }
            if begun == MEASURE && is_done {
                let us = begin.elapsed().min(LATENCY_MAX).as_micros() as u64;
                lane.latencies_us.record(us).expect("the histogram grows");
            }
        }
    }
}

/// What all accounts together have to hold more than before, after a load.
fn gained(plan: &Plan, measured: &Measured) -> i64 {
    match plan.deed {
        Deed::Write | Deed::Eventual => i64::try_from(measured.all_commits).unwrap_or(i64::MAX),
        _ => 0,
    }
}

fn compare(before: i64, after: i64, plan: &Plan, measured: &Measured) -> Result<()> {
    match after - before == gained(plan, measured) {
        true => Ok(()),
        false => Err(Error::Answer(format!(
            "all accounts held {before} before {} and hold {after} now",
            plan.deed.name()
        ))),
    }
}

/// All accounts hold what they should.
///
/// # Errors
/// They don't.
pub(super) async fn check_atoll(
    plan: &Plan,
    doors: &[SocketAddr],
    measured: &Measured,
) -> Result<()> {
    let mut connection = connect(doors[doors.len() - 1], plan.deed).await?;
    if plan.deed == Deed::Eventual {
        // What every replica knows together.
        connection
            .ask(&[b"ATOLL.CONSISTENCY", b"READ", b"ALL", b"WRITE", b"ALL"])
            .await?;
    }
    let mut sum = 0;
    let mut out = Vec::new();
    for first in (0..plan.accounts).step_by(CHUNK as usize) {
        out.clear();
        let last = (first + CHUNK).min(plan.accounts);
        for account in first..last {
            request(&mut out, &[b"GET", key(account).as_bytes()]);
        }
        for answer in connection.answers(&out, (last - first) as usize).await? {
            let Answer::Bytes(text) = answer else {
                return Err(Error::Answer(format!("an account is {answer:?}")));
            };
            let text = String::from_utf8_lossy(&text);
            let held: i64 = text
                .parse()
                .map_err(|_| Error::Answer(format!("an account holds {text}")))?;
            sum += held;
        }
    }
    // What single writes paid in before is part of it.
    let (opened, marked) = (EACH * plan.accounts as i64, b"bench:paid-in");
    let paid_in = match connection.ask(&[b"GET", marked]).await? {
        Answer::Bytes(text) => String::from_utf8_lossy(&text).parse().unwrap_or(0),
        _ => 0,
    };
    compare(opened + paid_in, sum, plan, measured)?;
    let now = (sum - opened).to_string();
    connection.ask(&[b"SET", marked, now.as_bytes()]).await?;
    Ok(())
}

/// The same.
pub(super) async fn check_postgres(
    plan: &Plan,
    server: &Postgres,
    measured: &Measured,
) -> Result<()> {
    let client = server.client().await?;
    let sum = postgres_sum(&client, "SELECT sum(held) FROM account").await?;
    let before = postgres_sum(&client, "SELECT held FROM account_sum").await?;
    compare(before, sum, plan, measured)?;
    let keep = format!("UPDATE account_sum SET held = {sum}");
    client
        .batch_execute(&keep)
        .await
        .map_err(|error| Error::Answer(error.to_string()))
}

async fn postgres_sum(client: &tokio_postgres::Client, sql: &str) -> Result<i64> {
    let rows = client.simple_query(sql).await;
    let rows = rows.map_err(|error| Error::Answer(error.to_string()))?;
    let text = rows.iter().find_map(|row| match row {
        tokio_postgres::SimpleQueryMessage::Row(row) => row.get(0),
        _ => None,
    });
    text.and_then(|text| text.parse().ok())
        .ok_or(Error::Protocol("PostgreSQL tells no sum"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(deed: Deed) -> Plan {
        Plan {
            deed,
            choice: Choice::Even,
            clients: 1,
            accounts: 10_000,
            warmup: Duration::ZERO,
            time: Duration::ZERO,
            seed: 3,
        }
    }

    #[test]
    fn transfers_are_of_as_many_partitions_as_their_names_say() {
        for (deed, partitions) in [
            (Deed::Write, 1),
            (Deed::Eventual, 1),
            (Deed::Near, 1),
            (Deed::Two, 2),
            (Deed::Five, 5),
        ] {
            let plan = plan(deed);
            let doors = Doors::plain(Vec::new());
            let chooser = Chooser::new(&doors, b'a', plan.accounts, plan.choice.spread(), 1);
            let mut drawer = Drawer::new(&plan, chooser, 0);
            for _ in 0..1_000 {
                let accounts = drawer.next().unwrap();
                assert_eq!(accounts.len(), deed.accounts());
                let all: std::collections::BTreeSet<u16> =
                    accounts.iter().map(|account| partition(*account)).collect();
                assert_eq!(all.len(), partitions, "{deed:?}: {accounts:?}");
                let sum: i64 = (0..accounts.len())
                    .map(|at| amount(accounts.len(), at))
                    .sum();
                assert_eq!(sum, i64::from(deed.accounts() == 1));
            }
        }
    }
}
