//! `atoll demo`: three nodes under load, one of them killed, and a count of what was lost.
//! `atoll demo commit-protocols` plays stories instead ([`protocols`]), and `atoll demo cap` shows
//! what keyspaces do while a cluster is in two parts ([`cap`]).
//!
//! [`nodes`] starts the processes, [`load`] writes and reads through every node that lives, at
//! the [`port`] of etcd's clients and at that of Redis clients, and remembers what was
//! acknowledged; [`show`] tells how it goes. Who is killed leads the control plane and owns
//! partitions of hot data ([`owners`]). At the end each surviving node is asked for everything
//! that was acknowledged, and what is not there ([`written`]) is told. Then [`services`] has the
//! same nodes run a web service, and kills one again.

mod cap;
mod kube;
mod load;
mod node;
mod nodes;
mod owners;
mod port;
mod protocols;
mod requests;
mod services;
mod show;
mod summary;
mod tally;
mod web;
mod written;

use std::time::Duration;

use atoll_world::{clock, process::EndRequests};
use clap::{Args, Subcommand};

use self::{
    load::Load,
    nodes::{COUNT, Nodes},
    port::{Etcd, Port, Redis},
    show::{Screen, Seconds},
    summary::{Killed, Summary},
    written::Losses,
};
use crate::{error::CliError, output::Format};

/// What a shell answers for a command that Ctrl-C ended.
const EXIT_INTERRUPTED: u8 = 130;

/// How often the table is brought up to date.
const TICK: Duration = Duration::from_secs(1);

/// Other things that are shown.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum Other {
    /// What two-phase and three-phase commit come to when the coordinator dies or the network is
    /// cut, step by step, as the cores that nodes run play it. Needs no cluster.
    CommitProtocols,
    /// What a linearizable and an eventual keyspace do while the cluster is in two parts, on
    /// three nodes of its own. Takes about a minute.
    Cap,
    /// A web service of three replicas behind the gateway, on three nodes of its own, one of
    /// which dies under load together with its replica: how many requests fail?
    Services {
        /// How many clients ask at once, by each of two routes: with retries, and without.
        #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u64).range(1..=10_000), value_name = "N")]
        clients: u64,
    },
    /// What the replicas of that web service run.
    #[command(hide = true)]
    Web,
}

/// Arguments of `atoll demo`.
#[derive(Clone, Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct DemoArgs {
    #[command(subcommand)]
    pub(crate) other: Option<Other>,
    /// How long the load runs.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u64).range(5..=86_400), value_name = "SECONDS")]
    pub(crate) duration_s: u64,
    /// How many clients write and read at once, at each of the two ports; and how many ask the web
    /// service by each of its two routes.
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u64).range(1..=10_000), value_name = "N")]
    pub(crate) clients: u64,
    /// How often the leader, which owns hot data, too, is killed. A node that was killed is
    /// started again if there is more than one kill. With none, nobody is killed at the web
    /// service, either: that part is left out.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(0..=1_000), value_name = "N")]
    pub(crate) kills: u64,
    /// Leave the nodes' folders behind for looking at.
    #[arg(long)]
    pub(crate) keep: bool,
}

/// Runs the demonstration.
///
/// # Errors
/// A node cannot be started, or something acknowledged was lost.
pub(crate) async fn run(args: DemoArgs, output: Format) -> Result<(), CliError> {
    match args.other {
        Some(Other::CommitProtocols) => return protocols::run(output),
        Some(Other::Web) => return web::run().await,
        _ => {}
    }
    let mut ends = EndRequests::new()
        .map_err(|error| CliError::failed(format!("cannot listen for signals: {error}"), ""))?;
    let mut nodes = Nodes::new(args.keep).await?;
    let mut screen = Screen::new(output);
    if let Some(Other::Cap) = args.other {
        let played = tokio::select! {
            biased;
            _ = ends.next() => Err(CliError::Exit(EXIT_INTERRUPTED)),
            played = cap::play(&mut nodes, &mut screen) => played,
        };
        nodes.end().await;
        return output.show(&played?);
    }
    if let Some(Other::Services { clients }) = args.other {
        let played = tokio::select! {
            biased;
            _ = ends.next() => Err(CliError::Exit(EXIT_INTERRUPTED)),
            played = serve(&mut nodes, clients, &mut screen) => played,
        };
        nodes.end().await;
        return output.show(&played?);
    }
    let ran = tokio::select! {
        biased;
        _ = ends.next() => Err(CliError::Exit(EXIT_INTERRUPTED)),
        ran = demonstrate(&args, &mut nodes, screen) => ran,
    };
    // On every way out, and before anything is said about the outcome.
    nodes.end().await;
    let summary = ran?;
    output.show(&summary)?;
    summary.verdict()
}

/// The part about services alone.
async fn serve(
    nodes: &mut Nodes,
    clients: u64,
    screen: &mut Screen,
) -> Result<services::Told, CliError> {
    screen.say(&format!("Three nodes on this machine, in {}", nodes.dir()))?;
    nodes.start_all().await?;
    services::play(nodes, clients, screen).await
}

/// The load at both ports.
struct Loads {
    etcd: Load<Etcd>,
    redis: Load<Redis>,
}

impl Loads {
    fn start(nodes: &Nodes, clients: u64) -> Loads {
        Loads {
            etcd: Load::start(nodes.etcd(), COUNT, clients),
            redis: Load::start(nodes.redis(), COUNT, clients),
        }
    }

    fn seconds(&self) -> Seconds {
        Seconds {
            etcd: self.etcd.second(),
            redis: self.redis.second(),
        }
    }
}

async fn demonstrate(
    args: &DemoArgs,
    nodes: &mut Nodes,
    mut screen: Screen,
) -> Result<Summary, CliError> {
    screen.say(&format!("Three nodes on this machine, in {}", nodes.dir()))?;
    nodes.start_all().await?;
    screen.say("All three vote. Hot data gets its three copies.")?;
    nodes.all_placed().await?;
    screen.say("The load begins, at the etcd port and at the Redis port of each.")?;
    let loads = Loads::start(nodes, args.clients);
    let begin = clock::now();
    let mut killed = Vec::new();
    let mut plan = Plan::new(args);
    let mut next_tick = begin + TICK;
    loop {
        clock::sleep_until(next_tick.min(begin + plan.next())).await;
        let elapsed = clock::now() - begin;
        if let Some(step) = plan.due(elapsed) {
            killed.extend(take(step, nodes, &loads, &mut screen).await?);
        }
        if clock::now() >= next_tick {
            nodes.look().await;
            nodes.look_at_owners().await;
            screen.tick(elapsed, &loads.seconds(), nodes.list())?;
            next_tick += TICK;
        }
        if elapsed >= plan.end {
            break;
        }
    }
    tokio::join!(loads.etcd.stop(), loads.redis.stop());
    let seconds = (clock::now() - begin).as_secs_f64();
    screen.say("The load has ended. Is everything there?")?;
    let (mut etcd, mut redis) = (Losses::default(), Losses::default());
    let mut nodes_asked = Vec::new();
    for (index, name) in nodes.alive() {
        let missing = look_for(&loads.etcd, index, &mut etcd).await?;
        let missing_hot = look_for(&loads.redis, index, &mut redis).await?;
        screen.say(&format!(
            "{name}: {missing} acknowledged writes are missing at the etcd port, \
             {missing_hot} at the Redis port"
        ))?;
        nodes_asked.push(name);
    }
    let services = match args.kills {
        0 => None,
        _ => {
            restart(nodes, &mut screen)?;
            Some(services::play(nodes, args.clients, &mut screen).await?)
        }
    };
    let (etcd, redis) = (loads.etcd.summary(&etcd), loads.redis.summary(&redis));
    Ok(Summary {
        seconds,
        kills: killed.len() as u64,
        acknowledged: etcd.acknowledged + redis.acknowledged,
        lost: etcd.lost + redis.lost,
        nodes_asked,
        etcd,
        redis,
        killed,
        killed_owners_keys: loads.redis.struck().map(Into::into),
        services,
    })
}

/// Looks for everything at one node, and keeps the losses of the node that has the most.
async fn look_for<P: Port>(
    load: &Load<P>,
    node: usize,
    most: &mut Losses,
) -> Result<u64, CliError> {
    let losses = load.losses(node).await?;
    let count = losses.count;
    if count > most.count {
        *most = losses;
    }
    Ok(count)
}

async fn take(
    step: Step,
    nodes: &mut Nodes,
    loads: &Loads,
    screen: &mut Screen,
) -> Result<Option<Killed>, CliError> {
    match step {
        Step::Kill => {
            let victim = nodes.victim().await?;
            let killed = Killed::from(&victim);
            loads.redis.strike(victim.index, victim.slots);
            nodes.kill(victim.index).await;
            screen.say(&format!(
                "kill -9 of {}, which leads and owns {} of {} partitions of hot data",
                victim.name, victim.owned, victim.partitions
            ))?;
            Ok(Some(killed))
        }
        Step::Restart => restart(nodes, screen).map(|()| None),
    }
}

fn restart(nodes: &mut Nodes, screen: &mut Screen) -> Result<(), CliError> {
    for name in nodes.restart(&[0, 1, 2])? {
        screen.say(&format!("{name} is started again"))?;
    }
    Ok(())
}

/// Something that is to happen to the nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Kill,
    Restart,
}

/// What happens when, counted from the beginning.
struct Plan {
    /// In reverse: the next one is the last.
    steps: Vec<(Duration, Step)>,
    end: Duration,
}

impl Plan {
    /// Kills are spread evenly; half an interval after each the node comes back, unless there
    /// is only one.
    fn new(args: &DemoArgs) -> Plan {
        let end = Duration::from_secs(args.duration_s);
        let kills = u32::try_from(args.kills).unwrap_or(u32::MAX);
        let interval = end / (kills + 1);
        let mut steps = Vec::new();
        for kill in 1..=kills {
            steps.push((interval * kill, Step::Kill));
            if kills > 1 {
                steps.push((interval * kill + interval / 2, Step::Restart));
            }
        }
        steps.reverse();
        Plan { steps, end }
    }

    fn next(&self) -> Duration {
        self.steps.last().map_or(self.end, |(at, _)| *at)
    }

    fn due(&mut self, elapsed: Duration) -> Option<Step> {
        let (at, _) = self.steps.last()?;
        (*at <= elapsed).then(|| self.steps.pop().expect("it was just looked at").1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(duration_s: u64, kills: u64) -> Vec<(u64, Step)> {
        let args = DemoArgs {
            other: None,
            duration_s,
            clients: 1,
            kills,
            keep: false,
        };
        let mut plan = Plan::new(&args);
        let mut steps = Vec::new();
        while !plan.steps.is_empty() {
            let at = plan.next();
            assert!(plan.due(at - Duration::from_millis(1)).is_none());
            steps.push((at.as_secs(), plan.due(at).expect("it is due")));
        }
        assert_eq!(plan.next(), plan.end);
        steps
    }

    #[test]
    fn kills_are_spread_and_followed_by_restarts() {
        use Step::{Kill, Restart};
        assert_eq!(plan(20, 0), []);
        assert_eq!(plan(20, 1), [(10, Kill)]);
        assert_eq!(
            plan(30, 2),
            [(10, Kill), (15, Restart), (20, Kill), (25, Restart)]
        );
    }
}
