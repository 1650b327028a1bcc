//! What was written comes back and goes on as if nothing had been; damage and noise are refused.

mod commands;

use std::sync::LazyLock;

use atoll_base::id::{PartitionId, ReplicaId};
use atoll_world::golden::golden;
use proptest::{collection::vec, prelude::*};

use self::commands::{COMMANDS, FILLERS, Step, step};
use super::*;
use crate::core::{
    machine::{BranchId, Call, Locks, Operation, Prepare, Settlement, Transact, TransactionId},
    partition::{Batch, StateMachine as _},
    paxos::{Ballot, Entry, Payload, Position},
    sessions::{Origin, Roll, Session},
};

/// Applies a command as the log's next entry; what it came to.
fn apply(state: &mut State<Machine>, step: &Step) -> String {
    let now_ms = state.now_ms.max(1_000) + step.passes_ms;
    apply_words(state, step, step.words(now_ms))
}

fn apply_words(state: &mut State<Machine>, step: &Step, words: Vec<Bytes>) -> String {
    let index = state.applied.index.next();
    let now_ms = state.now_ms.max(1_000) + step.passes_ms;
    let operation = Operation::Call(Call {
        database: step.database,
        words,
    });
    let origin = Origin {
        session: Session {
            replica: ReplicaId(1 + step.chance % 3),
            boot: 1 + index.0 / 40,
        },
        sequence: index.0,
        answered_below: index.0.saturating_sub(step.chance % 9),
    };
    let batch = Batch {
        now_ms,
        seed: step.chance,
        requests: vec![(origin, operation.encode())],
    };
    let birth = Ballot {
        configuration: 1,
        round: 300,
        replica: ReplicaId(2),
    };
    let entry = Entry {
        position: Position { birth, index },
        payload: Payload::Batch(batch.encode()),
    };
    let outcomes = state.apply(&entry);
    // A look at what has ended, as an owner does.
    let removal = state.machine.expire(now_ms);
    format!("{outcomes:?} {removal:?}")
}

fn joined(encoded: &Encoded) -> Bytes {
    let bytes = Bytes::from(encoded.pieces.concat());
    assert_eq!(bytes.len() as u64, encoded.bytes);
    bytes
}

/// The same as bytes.
static FULL: LazyLock<Bytes> = LazyLock::new(|| joined(&encode(&full())));

/// Something of everything.
fn full() -> State<Machine> {
    let mut state = State::new(Machine::default());
    for round in 0..6_u64 {
        for command in 0..COMMANDS.len() + FILLERS.len() {
            let step = Step {
                command,
                database: if round == 5 { 15 } else { 0 },
                chance: (round * 977 + command as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15),
                passes_ms: 1,
            };
            // What takes much away has its turn in the random tests.
            if !COMMANDS
                .get(command)
                .is_some_and(|line| line.starts_with("DEL"))
            {
                apply(&mut state, &step);
            }
        }
    }
    let step = Step {
        command: 0,
        database: 0,
        chance: 1,
        passes_ms: 1,
    };
    for line in [
        "SET number -5",
        "HSET small f v g w",
        "HPEXPIREAT small 9999999999999 FIELDS 1 g",
        "PEXPIREAT number 9999999999999",
    ] {
        let words = line.split(' ').map(|word| Bytes::from(word.to_owned()));
        apply_words(&mut state, &step, words.collect());
    }
    state
}

#[test]
fn the_full_state_has_every_form() {
    let state = full();
    let mut found = std::collections::BTreeSet::new();
    for index in [0, 15] {
        let database = state.machine.keyspace().database(index);
        for place in 0..database.len() {
            let (_, entry) = database.at(place).expect("a place");
            found.insert(entry.value.encoding());
        }
    }
    let all = [
        "embstr",
        "hashtable",
        "int",
        "intset",
        "listpack",
        "listpackex",
        "quicklist",
        "raw",
        "skiplist",
        "stream",
    ];
    assert_eq!(found.into_iter().collect::<Vec<_>>(), all);
    assert!(state.sessions.iter().count() == 3);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// A restored state is the same, and stays the same whatever is done to both.
    #[test]
    fn states_come_back(
        before in vec(step(), 0..160),
        after in vec(step(), 0..80),
    ) {
        let mut state = State::new(Machine::default());
        for step in &before {
            apply(&mut state, step);
        }
        let encoded = encode(&state);
        prop_assert_eq!(state.fingerprint(), encoded.checksum);
        let mut restored = decode(&joined(&encoded)).expect("it was just written");
        prop_assert_eq!(encode(&restored), encoded);
        prop_assert_eq!(&restored.sessions, &state.sessions);
        for step in &after {
            prop_assert_eq!(apply(&mut restored, step), apply(&mut state, step));
        }
        prop_assert_eq!(restored.fingerprint(), state.fingerprint());
        for database in [0, 15] {
            for line in ["SCAN 0 COUNT 1000", "RANDOMKEY", "HRANDFIELD H1 3", "SRANDMEMBER T1 3"] {
                let words = line.split(' ').map(|word| Bytes::from(word.to_owned())).collect();
                let read = Operation::Call(Call { database, words }).encode();
                prop_assert_eq!(
                    restored.machine.read(restored.now_ms, 5, &read),
                    state.machine.read(state.now_ms, 5, &read)
                );
            }
        }
    }

    /// No change of one byte goes unnoticed.
    #[test]
    fn damage_is_noticed(at: prop::sample::Index, byte: u8) {
        let mut bytes = FULL.to_vec();
        let at = at.index(bytes.len());
        prop_assume!(bytes[at] != byte);
        bytes[at] = byte;
        prop_assert!(decode(&Bytes::from(bytes)).is_err());
    }

    /// What a checksum vouches for and makes no sense is refused without harm.
    #[test]
    fn nonsense_is_refused_without_harm(
        edits in vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        cut: prop::sample::Index,
        cuts: bool,
    ) {
        let whole = &*FULL;
        let mut bytes = whole[..whole.len() - CHECKSUM_BYTES].to_vec();
        for (at, byte) in edits {
            let at = MAGIC.len() + 1 + at.index(bytes.len() - MAGIC.len() - 1);
            bytes[at] = byte;
        }
        if cuts {
            bytes.truncate(MAGIC.len() + 1 + cut.index(bytes.len() - MAGIC.len() - 1));
        }
        let checksum = sink::checksum(&bytes);
        bytes.extend(checksum.to_le_bytes());
        // What can be read after all is a state like any other.
        if let Ok(mut state) = decode(&Bytes::from(bytes)) {
            let mut sink = Sink::new(drop);
            write::state(&mut sink, &state);
            if state.applied.index.0 < u64::MAX / 4 && state.now_ms < u64::MAX / 4 {
                for command in 0..COMMANDS.len() {
                    apply(&mut state, &Step { command, database: 0, chance: 7, passes_ms: 1 });
                }
            }
        }
    }

    #[test]
    fn noise_is_refused(noise in vec(any::<u8>(), 0..300)) {
        prop_assert!(decode(&Bytes::from(noise.clone())).is_err());
        for version in VERSION..=VERSION_ABSENCES {
            let mut bytes = [&MAGIC[..], &[version], &noise].concat();
            bytes.extend(sink::checksum(&bytes).to_le_bytes());
            let _ = decode(&Bytes::from(bytes));
        }
    }
}

#[test]
fn a_newer_version_is_named() {
    let mut bytes = joined(&encode(&State::new(Machine::default()))).to_vec();
    bytes[MAGIC.len()] = VERSION_BRANCHES + 1;
    let error = decode(&Bytes::from(bytes)).expect_err("it is newer");
    assert_eq!(
        error.to_string(),
        "format version 6 is not known; this program knows up to 5"
    );
}

#[test]
fn what_no_client_sees_comes_back_too() {
    let mut state = State::new(Machine::default());
    let hide = Operation::Call(Call {
        database: crate::core::data::HIDDEN,
        words: ["SET", "a", "1"].map(Bytes::from).to_vec(),
    });
    let before = state.fingerprint();
    state.machine.apply(
        crate::core::partition::Moment {
            now_ms: 1,
            seed: 1,
            index: LogIndex(1),
        },
        &hide.encode(),
    );
    assert_ne!(state.fingerprint(), before);
    let stored = golden("partition-2.snap", &joined(&encode(&state)));
    let restored = decode(&stored).expect("it is in the tree");
    assert_eq!(restored.fingerprint(), state.fingerprint());
}

/// A transaction that has locked something, and two that were decided.
#[test]
fn transactions_come_back_too() {
    let mut state = State::new(Machine::default());
    let id = |number| TransactionId {
        session: Session {
            replica: ReplicaId(3),
            boot: 2,
        },
        number,
    };
    let prepare = |number| {
        Transact::Prepare(Prepare {
            id: id(number),
            home: PartitionId(1_000),
            participants: vec![PartitionId(1_000), PartitionId(2)],
            locks: Locks::Keys(vec![(4, Bytes::from("a"))]),
            watched: vec![(0, Bytes::from("b"), 0)],
            calls: vec![Call {
                database: 4,
                words: ["SET", "a", "1"].map(Bytes::from).to_vec(),
            }],
            waits: false,
            branch: None,
        })
    };
    let decide = |number, commits| Transact::Decide {
        id: id(number),
        commits,
    };
    let steps = [prepare(1), decide(1, true), decide(2, false), prepare(3)];
    for (index, step) in (1..).zip(steps) {
        let at = crate::core::partition::Moment {
            now_ms: 1_000 + index,
            seed: 7 * index,
            index: LogIndex(index),
        };
        state.machine.apply(at, &Operation::Transact(step).encode());
    }
    let known = state.machine.transactions();
    assert_eq!((known.prepared().len(), known.decisions().len()), (1, 2));
    let stored = golden("partition-3.snap", &joined(&encode(&state)));
    let restored = decode(&stored).expect("it is in the tree");
    assert_eq!(restored.fingerprint(), state.fingerprint());
    assert_eq!(restored.machine.transactions(), known);
}

/// Branches that are decided outside: one is held, one has ended, one is being prepared.
#[test]
fn branches_come_back_too() {
    let mut state = State::new(Machine::default());
    let id = |number| TransactionId {
        session: Session {
            replica: ReplicaId(3),
            boot: 2,
        },
        number,
    };
    let branch = |place| BranchId {
        transaction: 0x0102_0304_0506_0708_090a_0b0c_0d0e_0f10,
        place,
    };
    let prepare = |number: u64, key: &'static str| {
        Transact::Prepare(Prepare {
            id: id(number),
            home: PartitionId(1_000),
            participants: vec![PartitionId(1_000), PartitionId(2)],
            locks: Locks::Keys(vec![(4, Bytes::from(key))]),
            watched: Vec::new(),
            calls: vec![Call {
                database: 4,
                words: ["SET", key, "1"].map(Bytes::from).to_vec(),
            }],
            waits: false,
            branch: u16::try_from(number).ok().map(branch),
        })
    };
    let hold = |number: u64, place| Transact::Hold {
        id: id(number),
        branch: branch(place),
    };
    let settle = |place, how| Transact::Settle {
        branch: branch(place),
        how,
    };
    let steps = [
        prepare(1, "a"),
        hold(1, 1),
        prepare(2, "b"),
        hold(2, 2),
        settle(2, Settlement::Commit),
        settle(3, Settlement::Abort),
        prepare(4, "c"),
    ];
    for (index, step) in (1..).zip(steps) {
        let at = crate::core::partition::Moment {
            now_ms: 1_000 + index,
            seed: 7 * index,
            index: LogIndex(index),
        };
        state.machine.apply(at, &Operation::Transact(step).encode());
    }
    let known = state.machine.transactions();
    let counts = (known.prepared().len(), known.branches().len());
    assert_eq!((counts, known.is_held(id(1))), ((2, 3), true));
    let stored = golden("partition-5.snap", &joined(&encode(&state)));
    let restored = decode(&stored).expect("it is in the tree");
    assert_eq!(restored.fingerprint(), state.fingerprint());
    assert_eq!(restored.machine.transactions(), known);
}

#[test]
fn since_when_keys_are_missing_comes_back_too() {
    let mut state = State::new(Machine::default());
    let calls = ["SET a 1", "SET b 2", "DEL a", "SWAPDB 0 3"];
    for (index, text) in (1..).zip(calls) {
        let at = crate::core::partition::Moment {
            now_ms: 1_000,
            seed: 7,
            index: LogIndex(index),
        };
        let words = text.split(' ').map(|word| Bytes::from(word.to_owned()));
        let call = Call {
            database: 0,
            words: words.collect(),
        };
        state.machine.apply(at, &Operation::Call(call).encode());
    }
    assert!(!state.machine.absences().is_empty());
    let stored = golden("partition-4.snap", &joined(&encode(&state)));
    let restored = decode(&stored).expect("it is in the tree");
    assert_eq!(restored.fingerprint(), state.fingerprint());
    assert_eq!(restored.machine.absences(), state.machine.absences());
}

#[test]
fn pieces_are_bounded_whatever_is_in_them() {
    let mut state = State::new(Machine::default());
    let words = [&b"SET"[..], b"a", &vec![7; 3 * PIECE_BYTES_MAX]]
        .map(Bytes::copy_from_slice)
        .to_vec();
    let operation = Operation::Call(Call { database: 2, words }).encode();
    let batch = Batch {
        now_ms: 1,
        seed: 1,
        requests: vec![(Origin::own(ReplicaId(1)), operation)],
    };
    let position = Position {
        birth: Ballot::default(),
        index: LogIndex(1),
    };
    state.apply(&Entry {
        position,
        payload: Payload::Batch(batch.encode()),
    });
    let encoded = encode(&state);
    assert_eq!(encoded.pieces.len(), 5);
    assert!(
        encoded
            .pieces
            .iter()
            .all(|piece| piece.len() <= PIECE_BYTES_MAX)
    );
    let restored = decode(&joined(&encoded)).expect("it was just written");
    assert_eq!(restored.fingerprint(), state.fingerprint());
}

/// The golden file is what is written of the state that these commands make, and is read as that
/// state. It never changes; a new version of the format gets a new one.
#[test]
fn the_golden_file_is_written_and_read() {
    let mut state = State::new(Machine::default());
    let lines = [
        "SET number 41",
        "SET short text",
        "APPEND short !",
        "SET ends soon PXAT 9999999999999",
        "RPUSH list a b c",
        "SADD numbers 1 2 70000",
        "SADD words a 1",
        "ZADD scores 1.5 a -3 b",
        "HSET hash f v g w",
        "HPEXPIREAT hash 9999999999998 FIELDS 1 g",
        "XADD stream 5-1 f v",
        "XADD stream 5-2 f w",
        "XGROUP CREATE stream group 0",
        "XREADGROUP GROUP group alice COUNT 1 STREAMS stream >",
        "XDEL stream 5-2",
    ];
    for (chance, line) in (0..).zip(lines) {
        let step = Step {
            command: 0,
            database: 0,
            chance,
            passes_ms: 1,
        };
        let words = line.split(' ').map(|word| Bytes::from(word.to_owned()));
        apply_words(&mut state, &step, words.collect());
    }
    for name in ["SADD", "HSET", "ZADD"] {
        let command = COMMANDS.len() + FILLERS.iter().position(|it| it.0 == name).expect("one");
        let step = Step {
            command,
            database: 15,
            chance: 3,
            passes_ms: 1,
        };
        apply(&mut state, &step);
    }
    let present = state.sessions.iter().map(|(session, ..)| session.replica);
    state
        .sessions
        .call(&Roll::new(300, present.collect::<Vec<_>>()));
    let written = joined(&encode(&state));
    let stored = golden("partition-1.snap", &written);
    let restored = decode(&stored).expect("it is in the tree");
    assert_eq!(restored.fingerprint(), state.fingerprint());
    assert_eq!(restored.sessions, state.sessions);
}
