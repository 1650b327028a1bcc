//! Controllers, the scheduler, leases and agents under faults: three nodes on virtual time, each
//! with its control plane and its part of services, on machines where containers are simulated.
//!
//! A seed has users deploy things, then a rollout while all is well, then a storm in which nodes
//! die, freeze and lose each other while users go on; then everything is healed and has to become
//! what is wanted. At the end a machine dies for good, and its pods have to run elsewhere in time.
//! What the machines ran, and every object as it was written, is held against what must be so
//! (`check`). A seed is run twice by its caller, and must go the same way.

mod check;
mod history;
mod machines;
mod planted;
mod storm;
mod user;
mod workloads;

use std::time::Duration;

use atoll_services::core::{kinds::DEPLOYMENTS, object};
use atoll_world::{clock, random::Stream, task};

pub use self::planted::Planted;
use self::{
    check::Calm,
    history::History,
    machines::Machines,
    user::User,
    workloads::{Rollout, Seen, WEB},
};
use crate::{node::End, scenario::simulate};

/// For so long things go wrong.
const STORM: Duration = Duration::from_secs(40);
/// When all is well, what is wanted has to be so within this time.
const CALM_MAX: Duration = Duration::from_secs(30);
/// After a storm, within this: containers that were killed again and again are started after
/// pauses that grow, and so are pods of Jobs.
const HEALED_MAX: Duration = Duration::from_secs(240);
/// When a machine dies and the leader lives, its pods run elsewhere within this time.
pub const REPLACED_MAX: Duration = Duration::from_secs(10);
/// When it is the leader's, within this: the next one has to be found, and gives everybody the
/// whole time anew.
pub const REPLACED_AFTER_LEADER_MAX: Duration = Duration::from_secs(12);
/// How often it is looked whether something is so.
const LOOK_INTERVAL: Duration = Duration::from_millis(200);

/// What a run came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// What must not be, each with the property it contradicts.
    pub violations: Vec<String>,
    /// How long it took after the storm until all was as it was wanted.
    pub healed: Duration,
    /// How long it took until the pods of a machine that died ran elsewhere.
    pub replaced: Duration,
    /// How often a node was given up.
    pub given_up: usize,
    /// Starts of containers.
    pub runs: usize,
    /// Writes of objects.
    pub writes: usize,
    /// Sums up everything that happened.
    pub trace: u64,
}

/// Runs a seed.
pub fn run(seed: u64, planted: Option<Planted>) -> Report {
    let (mut report, panics) = simulate(seed, || live(seed, planted));
    let panics = panics
        .into_iter()
        .map(|panic| format!("nothing panics: {panic}"));
    report.violations.extend(panics);
    report
}

async fn live(seed: u64, planted: Option<Planted>) -> Report {
    let mut chance = Stream::new(seed ^ 0x7365_7276);
    let history = History::new();
    let machines = match Machines::form(&mut chance, &history, planted).await {
        Ok(machines) => machines,
        Err(error) => {
            return Report {
                violations: vec![format!("a cluster forms: {error}")],
                ..Report::default()
            };
        }
    };
    let mut scene = Scene {
        chance,
        machines,
        calms: Vec::new(),
        planted,
        report: Report::default(),
    };
    if let Err(violation) = scene.play().await {
        history.violate(violation);
    }
    let Scene {
        machines,
        calms,
        mut report,
        ..
    } = scene;
    report.trace = history.fingerprint(machines.cluster.net.fingerprint());
    machines.end().await;
    report.violations = check::check(&history, &calms);
    history.look(|told| {
        report.runs = told.runs.len();
        report.writes = told.written.len();
        report.given_up = check::given_up(told);
    });
    report
}

struct Scene {
    chance: Stream,
    machines: Machines,
    calms: Vec<Calm>,
    planted: Option<Planted>,
    report: Report,
}

impl Scene {
    async fn play(&mut self) -> Result<(), String> {
        let mut user = User {
            machines: self.machines.clone(),
            chance: Stream::new(self.chance.u64()),
            jobs: 0,
        };
        let rollout = match self.chance.range(0..3) {
            0 => (1, 0),
            1 => (0, 1),
            _ => (1, 1),
        };
        let rollout = Rollout {
            replicas: self.chance.range(2..=4),
            surge: rollout.0,
            unavailable: rollout.1,
        };
        user.begin(rollout).await;
        self.settles("what is new becomes so", &[], CALM_MAX)
            .await?;
        self.roll_out(&mut user, rollout).await?;
        let ends_at = clock::now() + STORM;
        let working = task::spawn(user.work(ends_at));
        storm::rage(&self.machines, &mut self.chance, ends_at, self.planted).await;
        clock::sleep_until(ends_at).await;
        self.machines.heal();
        let healed_at = clock::now();
        working
            .await
            .map_err(|error| format!("users only end: {error}"))?;
        self.settles("what is healed becomes as it was wanted", &[], HEALED_MAX)
            .await?;
        self.report.healed = clock::now() - healed_at;
        self.lose_machine().await
    }

    /// Waits until everything is as it is wanted.
    async fn settles(
        &mut self,
        property: &str,
        away: &[usize],
        within: Duration,
    ) -> Result<(), String> {
        let ends_at = clock::now() + within;
        let mut lacks = vec!["nobody answers".to_owned()];
        while clock::now() < ends_at {
            for at in (0..self.machines.all.len()).filter(|at| !away.contains(at)) {
                if let Some(Ok(seen)) = self.machines.call(at, Seen::read).await {
                    lacks = seen.lacks(&self.machines, away);
                    break;
                }
            }
            if lacks.is_empty() {
                return Ok(());
            }
            clock::sleep(LOOK_INTERVAL).await;
        }
        Err(format!(
            "{property}: not within {} s: {lacks:#?}",
            within.as_secs()
        ))
    }

    /// A rollout while all is well.
    async fn roll_out(&mut self, user: &mut User, rollout: Rollout) -> Result<(), String> {
        let from = self.machines.history.revision();
        user.roll_out().await;
        if let Some(planted) = self.planted {
            planted.spoil_rollout(&self.machines).await;
        }
        self.settles("a rollout ends", &[], CALM_MAX).await?;
        self.calms.push(Calm {
            from,
            to: self.machines.history.revision(),
            floor: (rollout.replicas - rollout.unavailable).max(0) as usize,
        });
        Ok(())
    }

    /// A machine dies for good, and its pods have to run elsewhere.
    async fn lose_machine(&mut self) -> Result<(), String> {
        let Some(leader) = self.machines.leader() else {
            return Err("a healthy cluster has a leader".to_owned());
        };
        let is_leader = self.chance.chance(0.3);
        let count = self.machines.all.len();
        let lost = match is_leader {
            true => leader,
            false => (leader + self.chance.range(1..count)) % count,
        };
        let within = match is_leader {
            true => REPLACED_AFTER_LEADER_MAX,
            false => REPLACED_MAX,
        };
        let wanted = self.machines.call(leader, Seen::read).await;
        let died_at = clock::now();
        self.machines.all[lost].end(End::Power);
        tracing::info!(lost, is_leader, "a machine dies");
        let property = "what a lost machine ran runs elsewhere";
        self.settles(property, &[lost], within).await?;
        self.report.replaced = clock::now() - died_at;
        let web = wanted.and_then(Result::ok).is_some_and(|seen| {
            seen.of(&DEPLOYMENTS)
                .iter()
                .any(|it| object::name(it) == WEB)
        });
        match web {
            true => Ok(()),
            false => Err("what nobody deletes is there".to_owned()),
        }
    }
}
