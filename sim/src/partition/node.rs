//! A node of a simulated partition: the replica, its coordinator, and a disk that forgets.

use std::collections::{BTreeMap, VecDeque};

use atoll_base::id::ReplicaId;
use atoll_kv::core::{
    partition::{Coordinator, Limits, Partition, State},
    paxos::{Configuration, Durable, Forgotten, Position, Record, Settings, Snapshot},
    sessions::Session,
};
use atoll_world::random::Stream;
use bytes::Bytes;

use super::registers::Registers;

/// A node that is up.
pub(super) struct Process {
    pub(super) partition: Option<Partition<Registers>>,
    pub(super) coordinator: Coordinator<u64>,
}

/// A node, up or not.
pub(super) struct Node {
    pub(super) id: ReplicaId,
    pub(super) boot: u64,
    pub(super) process: Option<Process>,
    pub(super) disk: Disk,
    /// It does nothing before.
    pub(super) frozen_until_us: u64,
    /// The wall clock's error, and how much too fast its clocks are.
    pub(super) wall_ms: i64,
    pub(super) drift_ppm: i64,
    pub(super) ticks_at_us: Option<u64>,
    /// How much of what the control plane has recorded it has heard of.
    pub(super) heard: usize,
}

/// What a node's disk holds of the partition.
#[derive(Default)]
pub(super) struct Disk {
    /// What is synced, as a restart reads it.
    pub(super) durable: Option<Durable>,
    /// What stays of a replica that was let go.
    pub(super) forgotten: Option<Forgotten>,
    /// The state at the base of the log.
    pub(super) base: Option<State<Registers>>,
    /// Records that a loss of power may take, with their numbers.
    unsynced: VecDeque<(u64, Record)>,
    /// States saved for records that are on their way.
    saved: BTreeMap<Position, State<Registers>>,
    is_syncing: bool,
    pub(super) sync_us_max: u64,
    /// Syncs begun before the last crash bring nothing to disk.
    pub(super) epoch: u64,
}

/// States in messages: the message holds the place, this table the state.
#[derive(Default)]
pub(super) struct Snapshots(Vec<State<Registers>>);

impl Snapshots {
    pub(super) fn store(&mut self, state: &State<Registers>) -> Snapshot {
        self.0.push(state.clone());
        let place = self.0.len() - 1;
        Snapshot {
            base: state.applied,
            state: Bytes::copy_from_slice(&place.to_be_bytes()),
        }
    }

    pub(super) fn load(&self, snapshot: &Snapshot) -> State<Registers> {
        let place: [u8; 8] = snapshot.state[..].try_into().expect("a place");
        self.0[usize::from_be_bytes(place)].clone()
    }
}

impl Disk {
    pub(super) fn save(&mut self, state: State<Registers>) {
        self.saved.insert(state.applied, state);
    }

    pub(super) fn write(&mut self, records: Vec<Record>, written: u64) {
        let first = written + 1 - records.len() as u64;
        self.unsynced.extend((first..).zip(records));
    }

    /// The number of the last record that a sync begun now brings to disk.
    pub(super) fn begins_sync(&mut self) -> Option<u64> {
        if self.is_syncing {
            return None;
        }
        let last = self.unsynced.back()?.0;
        self.is_syncing = true;
        Some(last)
    }

    pub(super) fn synced(&mut self, number: u64, snapshots: &Snapshots) {
        self.is_syncing = false;
        while let Some((at, _)) = self.unsynced.front()
            && *at <= number
            && let Some((_, record)) = self.unsynced.pop_front()
        {
            self.keep(record, snapshots);
        }
    }

    fn keep(&mut self, record: Record, snapshots: &Snapshots) {
        let Some(durable) = &mut self.durable else {
            panic!("a record of a partition that is not here");
        };
        match &record {
            Record::Compact(base) => self.base = self.saved.remove(base),
            Record::Install(snapshot) => self.base = Some(snapshots.load(snapshot)),
            _ => {}
        }
        durable.apply(record);
    }

    /// The process ended; with its machine's power, what was not synced is lost from some point
    /// on.
    pub(super) fn crash(&mut self, power: bool, random: &mut Stream, snapshots: &Snapshots) {
        self.is_syncing = false;
        self.epoch += 1;
        let stays = if power {
            random.range(0..=self.unsynced.len())
        } else {
            self.unsynced.len()
        };
        for (_, record) in std::mem::take(&mut self.unsynced).into_iter().take(stays) {
            self.keep(record, snapshots);
        }
        self.saved.clear();
    }

    /// The partition is not here any more.
    pub(super) fn forget(&mut self, forgotten: Option<Forgotten>) {
        *self = Disk {
            forgotten,
            sync_us_max: self.sync_us_max,
            epoch: self.epoch + 1,
            ..Disk::default()
        };
    }
}

impl Node {
    pub(super) fn new(id: ReplicaId, sync_us_max: u64) -> Self {
        Node {
            id,
            boot: 0,
            process: None,
            disk: Disk {
                sync_us_max,
                ..Disk::default()
            },
            frozen_until_us: 0,
            wall_ms: 0,
            drift_ppm: 0,
            ticks_at_us: None,
            heard: 0,
        }
    }

    /// Its clock that does not go back.
    pub(super) fn now_ms(&self, now_us: u64) -> u64 {
        let drift = i64::try_from(now_us).expect("short runs") * self.drift_ppm / 1_000_000;
        now_us.saturating_add_signed(drift) / 1_000
    }

    /// Its clock on the wall.
    pub(super) fn wall_ms(&self, now_us: u64) -> u64 {
        (1_700_000_000_000 + self.now_ms(now_us)).saturating_add_signed(self.wall_ms)
    }

    /// The partition comes to be held here.
    pub(super) fn place(&mut self, configuration: &Configuration, settings: Settings, seed: u64) {
        if self.disk.durable.is_none() {
            let forgotten = self.disk.forgotten;
            if forgotten.is_some_and(|it| !it.lets_begin_in(configuration)) {
                return;
            }
            self.disk.forgotten = None;
            self.disk.durable = Some(Durable::new(configuration.clone()));
            self.disk.base = Some(State::new(Registers::default()));
        }
        self.load(settings, seed);
    }

    /// Starts the process.
    pub(super) fn start(
        &mut self,
        members: Vec<ReplicaId>,
        hedge_ms: u64,
        settings: Settings,
        seed: u64,
    ) {
        self.boot += 1;
        let session = Session {
            replica: self.id,
            boot: self.boot,
        };
        self.process = Some(Process {
            partition: None,
            coordinator: Coordinator::new(session, members, hedge_ms).looks_first(),
        });
        self.load(settings, seed);
    }

    fn load(&mut self, settings: Settings, seed: u64) {
        let (Some(process), Some(durable), Some(base)) =
            (&mut self.process, &self.disk.durable, &self.disk.base)
        else {
            return;
        };
        if process.partition.is_none() {
            process.partition = Some(Partition::new(
                self.id,
                durable.clone(),
                base.clone(),
                settings,
                Limits::default(),
                seed,
            ));
        }
    }
}
