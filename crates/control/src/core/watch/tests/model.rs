//! Whatever happens, in whatever order: a watcher receives exactly what filtering the whole
//! history for it gives.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::proto::etcdserverpb::watch_create_request::FilterType;

const SPACES: [Space; 2] = [Space::User, Space::System];
const STREAMS: usize = 2;

#[derive(Clone, Debug)]
enum Op {
    /// Apply and publish a revision: keys, and whether each is deleted.
    Publish(usize, Vec<(u8, bool)>),
    /// Apply revisions that are not published, as an installed snapshot does.
    Restore(usize, Vec<u8>),
    Create {
        stream: usize,
        space: usize,
        from: u8,
        to: u8,
        /// Relative to the current revision.
        start: Option<i64>,
        filters: u8,
        id: i64,
    },
    Cancel(usize, prop::sample::Index),
    Compact(usize, i64),
    Poll(usize, usize),
    /// Completes a read that the stream has begun.
    FinishRead(usize),
    Progress(usize),
    Tick(usize),
}

fn ops() -> impl Strategy<Value = Op> {
    let space = prop_oneof![4 => Just(0_usize), 1 => Just(1_usize)];
    let stream = 0..STREAMS;
    let changes = prop::collection::vec((0..8_u8, any::<bool>()), 1..5);
    let create = (
        (stream.clone(), space.clone()),
        (0..8_u8, 0..10_u8),
        prop::option::of(-12..4_i64),
        (0..6_u8, prop_oneof![Just(0_i64), 100..104_i64]),
    );
    let create =
        create.prop_map(
            |((stream, space), (from, to), start, (filters, id))| Op::Create {
                stream,
                space,
                from,
                to,
                start,
                filters,
                id,
            },
        );
    prop_oneof![
        12 => (space.clone(), changes).prop_map(|(space, changes)| Op::Publish(space, changes)),
        1 => (space.clone(), prop::collection::vec(0..8_u8, 1..6)).prop_map(|(space, keys)| Op::Restore(space, keys)),
        4 => create,
        1 => (stream.clone(), any::<prop::sample::Index>()).prop_map(|(stream, which)| Op::Cancel(stream, which)),
        1 => (space, 0..15_i64).prop_map(|(space, back)| Op::Compact(space, back)),
        5 => (stream.clone(), 1..6_usize).prop_map(|(stream, times)| Op::Poll(stream, times)),
        3 => stream.clone().prop_map(Op::FinishRead),
        2 => stream.clone().prop_map(Op::Progress),
        1 => stream.prop_map(Op::Tick),
    ]
}

/// What a watcher should see, and has seen.
#[derive(Debug)]
struct Seen {
    space: usize,
    from: String,
    to: Option<String>,
    start: i64,
    filters: Vec<i32>,
    is_created: bool,
    end: Option<WatchResponse>,
    events: Vec<Event>,
}

impl Seen {
    fn wants(&self, event: &Event) -> bool {
        let kv = event.kv.as_ref().unwrap();
        let key = std::str::from_utf8(&kv.key).unwrap();
        let is_inside = match &self.to {
            None => key == self.from,
            Some(to) => self.from.as_str() <= key && key < to.as_str(),
        };
        let filter = match event.r#type() {
            EventType::Put => FilterType::Noput,
            EventType::Delete => FilterType::Nodelete,
        };
        is_inside && kv.mod_revision >= self.start && !self.filters.contains(&(filter as i32))
    }
}

#[derive(Default)]
struct Client {
    live: BTreeMap<i64, Seen>,
    ended: Vec<Seen>,
    reading: Option<Reading>,
}

type Groups = Vec<(i64, Arc<[Event]>)>;

/// A read from storage that was begun: what it saw then is what it gives.
struct Reading {
    space: Space,
    from: i64,
    /// Revisions, or the compact revision.
    result: Result<Groups, i64>,
    to: i64,
}

struct World {
    hub: Hub,
    slots: Vec<StreamSlot>,
    clients: Vec<Client>,
    /// Every revision ever applied, by keyspace; the first is revision 2.
    history: [Vec<Arc<[Event]>>; 2],
    compact: [i64; 2],
    /// Revisions that one read from storage gives.
    chunk: usize,
}

impl World {
    fn new(limits: Limits, chunk: usize) -> Self {
        let mut hub = hub(limits);
        let slots = (0..STREAMS).map(|_| hub.open()).collect();
        World {
            hub,
            slots,
            clients: (0..STREAMS).map(|_| Client::default()).collect(),
            history: [Vec::new(), Vec::new()],
            compact: [0, 0],
            chunk,
        }
    }

    fn current(&self, space: usize) -> i64 {
        1 + self.history[space].len() as i64
    }

    fn key(space: usize, key: u8) -> String {
        let prefix = ["", "/atoll/"][space];
        format!("{prefix}{}", char::from(b'a' + key))
    }

    fn apply(&mut self, space: usize, changes: &[(u8, bool)]) -> Arc<[Event]> {
        let revision = self.current(space) + 1;
        let event = |&(key, deletes): &(u8, bool)| {
            let key = Self::key(space, key);
            if deletes {
                delete(revision, &key)
            } else {
                put(revision, &key, false)
            }
        };
        let events: Arc<[Event]> = changes.iter().map(event).collect();
        self.history[space].push(events.clone());
        events
    }

    fn run(&mut self, op: Op) {
        match op {
            Op::Publish(space, changes) => {
                let events = self.apply(space, &changes);
                let revision = self.current(space);
                self.hub
                    .publish(SPACES[space], revision, events, &mut Vec::new());
            }
            Op::Restore(space, keys) => {
                for key in keys {
                    self.apply(space, &[(key, false)]);
                }
                let revisions = (self.current(space), self.compact[space]);
                self.hub.restored(SPACES[space], revisions, &mut Vec::new());
            }
            Op::Create {
                stream,
                space,
                from,
                to,
                start,
                filters,
                id,
            } => {
                let start = start.map_or(0, |back| (self.current(space) + back).max(1));
                self.create(stream, space, (from, to), start, filters, id);
            }
            Op::Cancel(stream, which) => {
                let ids: Vec<_> = self.clients[stream].live.keys().copied().collect();
                if !ids.is_empty() {
                    self.hub
                        .cancel(self.slots[stream], ids[which.index(ids.len())]);
                }
            }
            Op::Compact(space, back) => {
                let revision = self.current(space) - back;
                if revision > self.compact[space] {
                    self.compact[space] = revision;
                    self.hub.compacted(SPACES[space], revision);
                }
            }
            Op::Poll(stream, times) => {
                for _ in 0..times {
                    self.poll(stream);
                }
            }
            Op::FinishRead(stream) => self.finish_read(stream),
            Op::Progress(stream) => self.hub.want_progress(self.slots[stream]),
            Op::Tick(stream) => self.hub.progress_tick(self.slots[stream]),
        }
    }

    fn create(
        &mut self,
        stream: usize,
        space: usize,
        (from, to): (u8, u8),
        start: i64,
        filters: u8,
        id: i64,
    ) {
        let is_range = to > from;
        let (from, to) = (Self::key(space, from), Self::key(space, to));
        let filters = match filters {
            0 => vec![FilterType::Noput as i32],
            1 => vec![FilterType::Nodelete as i32],
            _ => vec![],
        };
        let request = WatchCreateRequest {
            filters: filters.clone(),
            watch_id: id,
            progress_notify: true,
            ..create(&from, if is_range { &to } else { "" }, start)
        };
        // What is refused has a story of its own.
        if self.clients[stream].live.contains_key(&id) {
            return;
        }
        self.hub.create(self.slots[stream], &request, Ok(()));
        let start = if start == 0 {
            self.current(space) + 1
        } else {
            start
        };
        let seen = Seen {
            space,
            from,
            to: is_range.then_some(to),
            start,
            filters,
            is_created: false,
            end: None,
            events: Vec::new(),
        };
        // The id is learnt when the response is read; until then it is expected at this key.
        let expected = if id == 0 {
            i64::MIN + self.pending(stream)
        } else {
            id
        };
        self.clients[stream].live.insert(expected, seen);
    }

    fn pending(&self, stream: usize) -> i64 {
        let client = &self.clients[stream];
        // Later ones get larger keys, so that they are matched in the order of creation.
        client
            .live
            .keys()
            .rfind(|&&id| id < 0)
            .map_or(0, |id| id - i64::MIN + 1)
    }

    fn poll(&mut self, stream: usize) -> bool {
        if self.clients[stream].reading.is_some() {
            return true;
        }
        let response = match self.hub.poll(self.slots[stream]) {
            Step::Idle => return false,
            Step::Read(space, from) => {
                self.begin_read(stream, space, from);
                return true;
            }
            Step::Reply(reply) => reply.into(),
            Step::Events(deliveries) => to_response(&deliveries),
        };
        self.receive(stream, response);
        true
    }

    fn begin_read(&mut self, stream: usize, space: Space, from: i64) {
        let at = space as usize;
        let result = if from < self.compact[at] {
            Err(self.compact[at])
        } else {
            let groups = (2..)
                .zip(&self.history[at])
                .filter(|(revision, _)| *revision >= from);
            Ok(groups
                .take(self.chunk)
                .map(|(revision, events)| (revision, events.clone()))
                .collect::<Vec<_>>())
        };
        let to = match &result {
            Ok(groups) => {
                groups
                    .last()
                    .map_or(self.current(at), |(revision, _)| *revision)
                    + 1
            }
            Err(_) => 0,
        };
        self.clients[stream].reading = Some(Reading {
            space,
            from,
            result,
            to,
        });
    }

    fn finish_read(&mut self, stream: usize) {
        let slot = self.slots[stream];
        let Some(reading) = self.clients[stream].reading.take() else {
            return;
        };
        let (space, from) = (reading.space, reading.from);
        match reading.result {
            Ok(groups) => self.hub.feed(slot, space, from, groups, reading.to),
            Err(compact) => {
                let end = ReadEnd::Compacted(compact);
                self.hub.feed_nothing(slot, space, from, end);
            }
        }
    }

    fn receive(&mut self, stream: usize, response: WatchResponse) {
        let client = &mut self.clients[stream];
        let revision = response.header.as_ref().unwrap().revision;
        if response.created {
            assert!(!response.canceled, "{response:?}");
            let unnamed = client.live.range(..0).next().map(|(&id, _)| id);
            let is_named = client
                .live
                .get(&response.watch_id)
                .is_some_and(|it| !it.is_created);
            let id = if is_named {
                response.watch_id
            } else {
                unnamed.unwrap()
            };
            let mut seen = client.live.remove(&id).unwrap();
            seen.is_created = true;
            assert!(
                client.live.insert(response.watch_id, seen).is_none(),
                "{response:?}"
            );
        } else if response.canceled {
            let mut seen = client
                .live
                .remove(&response.watch_id)
                .expect("it was created");
            assert!(seen.is_created);
            seen.end = Some(response);
            client.ended.push(seen);
        } else if !response.events.is_empty() {
            let seen = client.live.get_mut(&response.watch_id).expect("it lives");
            assert!(seen.is_created, "created comes first");
            let last = response
                .events
                .last()
                .unwrap()
                .kv
                .as_ref()
                .unwrap()
                .mod_revision;
            assert_eq!(revision, last);
            seen.events.extend(response.events);
        } else {
            self.check_progress(stream, response.watch_id, revision);
        }
    }

    fn check_progress(&self, stream: usize, id: i64, revision: i64) {
        for (&live, seen) in &self.clients[stream].live {
            if (live == id || id == NO_WATCH) && seen.is_created {
                assert!(
                    revision >= seen.start - 1,
                    "{seen:?} has not begun at {revision}"
                );
                let due = self.expected(seen, revision);
                assert_eq!(seen.events, due, "progress at {revision} overtook events");
            }
        }
    }

    /// What a watcher should have received up to a revision.
    fn expected(&self, seen: &Seen, up_to: i64) -> Vec<Event> {
        let groups = (2..)
            .zip(&self.history[seen.space])
            .filter(|(at, _)| *at <= up_to);
        groups
            .flat_map(|(_, events)| events.iter())
            .filter(|it| seen.wants(it))
            .cloned()
            .collect()
    }

    fn check_end(&mut self) {
        for stream in 0..STREAMS {
            while self.poll(stream) {
                self.finish_read(stream);
            }
        }
        for client in &self.clients {
            for seen in client.live.values() {
                assert!(seen.is_created);
                assert_eq!(seen.events, self.expected(seen, i64::MAX));
            }
            for seen in &client.ended {
                let all = self.expected(seen, i64::MAX);
                assert!(
                    all.starts_with(&seen.events),
                    "{seen:?} should begin {all:?}"
                );
                // A revision is never divided, and only what was compacted cancels.
                let last = seen
                    .events
                    .last()
                    .map(|it| it.kv.as_ref().unwrap().mod_revision);
                let whole = last.map_or(0, |last| self.expected(seen, last).len());
                assert_eq!(seen.events.len(), whole);
                let compact = seen.end.as_ref().unwrap().compact_revision;
                assert!(compact <= self.compact[seen.space]);
                assert!(compact == 0 || seen.start < compact);
                assert!(compact == 0 || last.is_none_or(|last| last < compact));
            }
        }
        let stats = self.hub.stats();
        assert_eq!((stats.lagging, stats.queued_bytes), (0, 0));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn every_watcher_receives_the_filtered_history(
        ops in prop::collection::vec(ops(), 1..160),
        ring_revisions_max in 0..8_usize,
        stream_queue_events_max in 1..5_usize,
        stream_queue_bytes_max in prop::sample::select(vec![1_u64, 1_000, 1 << 20]),
        response_bytes_max in prop::sample::select(vec![1_usize, 60, 1 << 20]),
        chunk in 1..6_usize,
    ) {
        let limits = Limits {
            ring_revisions_max,
            stream_queue_events_max,
            stream_queue_bytes_max,
            response_bytes_max,
            ..Limits::default()
        };
        let mut world = World::new(limits, chunk);
        for op in ops {
            world.run(op);
        }
        world.check_end();
    }
}
