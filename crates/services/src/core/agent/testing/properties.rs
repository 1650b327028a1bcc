//! Random pods, a random runtime and a random API, and what must hold all the same.

use std::{collections::BTreeSet, sync::Arc};

use proptest::prelude::*;

use super::world::World;
use crate::core::{
    agent::{AttemptId, Exit, Hook, Input, ProbeKind, StartFailure},
    image::ImageReason,
};

const KINDS: [ProbeKind; 3] = [
    ProbeKind::Startup,
    ProbeKind::Liveness,
    ProbeKind::Readiness,
];

impl World {
    /// Something happens; `what` says what, the more numbers the more often.
    fn step(&mut self, (what, at, code): (u8, usize, i32)) {
        let uid = ["a", "b", "c", "d"][at % 4];
        let starting: Vec<AttemptId> = self
            .live
            .iter()
            .filter(|(_, runs)| !**runs)
            .map(|(id, _)| id.clone())
            .collect();
        match what {
            0..=4 => {
                if let Some(object) = self.past.remove(uid) {
                    self.objects.insert(uid.to_owned(), object);
                }
                if let Some(object) = self.objects.get(uid) {
                    let object = Arc::new(object.clone());
                    self.handle(Input::Changed(object));
                }
            }
            5..=12 => {
                if let Some(uid) = Self::pick(self.preparing.clone().into_iter(), at) {
                    self.preparing.remove(&uid);
                    let (reason, message) = ("FailedMount".to_owned(), "no".to_owned());
                    self.handle(match code {
                        0..=2 => Input::Prepared {
                            uid,
                            ips: Vec::new(),
                        },
                        _ => Input::PrepareFailed {
                            uid,
                            reason,
                            message,
                        },
                    });
                }
            }
            13..=24 => {
                if let Some(id) = Self::pick(starting.into_iter(), at) {
                    let failures = [
                        StartFailure::Image(ImageReason::ErrImagePull),
                        StartFailure::Config,
                        StartFailure::Start,
                        StartFailure::Create,
                    ];
                    let failure = usize::try_from(code)
                        .ok()
                        .and_then(|code| failures.get(code));
                    self.start(&id, failure.copied().filter(|_| at % 3 == 0));
                }
            }
            25..=34 => {
                let running = self
                    .live
                    .iter()
                    .filter(|(_, runs)| **runs)
                    .map(|(id, _)| id.clone());
                if let Some(id) = Self::pick(running, at) {
                    self.end(&id, code % 2);
                }
            }
            35..=44 => {
                if let Some(which) = Self::pick(self.probing.clone().into_keys(), at) {
                    self.answer(which, code % 4 != 0);
                }
            }
            45..=50 => {
                if let Some(id) = Self::pick(self.live.clone().into_keys(), at) {
                    let hook = if code % 2 == 0 {
                        Hook::PostStart
                    } else {
                        Hook::PreStop
                    };
                    let outcome = if code > 3 { Err(String::new()) } else { Ok(()) };
                    self.handle(Input::HookDone { id, hook, outcome });
                }
            }
            51..=53 => self.delete(uid, at as u64 % 20),
            54 => self.remove(uid),
            55 => {
                self.is_fenced = true;
                self.is_current = false;
                self.handle(Input::Fence);
                let killed: BTreeSet<AttemptId> = self.live.keys().cloned().collect();
                assert_eq!(self.killed, killed, "a fence kills all");
            }
            56..=57 => {
                self.is_fenced = false;
                self.handle(Input::Unfence);
            }
            58..=61 => self.snapshot(),
            62 => self.restart(code % 2 == 0),
            63..=65 => self.junk(uid, at, code),
            _ => self.pass(at as u64 * 97 % 20_000),
        }
    }

    /// What comes too late, or about what never was.
    fn junk(&mut self, uid: &str, at: usize, code: i32) {
        let never = AttemptId {
            uid: uid.to_owned(),
            container: "app".to_owned(),
            number: 1_000_000,
        };
        let id = Self::pick(self.ended.clone().into_iter(), at).unwrap_or(never.clone());
        let id = if code % 2 == 0 || self.live.contains_key(&id) {
            never
        } else {
            id
        };
        let (kind, outcome) = (KINDS[at % 3], Err(String::new()));
        self.handle(match code {
            0..=1 => Input::Exited {
                id,
                exit: Exit::default(),
            },
            2..=3 => Input::Started {
                id,
                at_ms: u64::MAX,
                image_id: None,
            },
            4 => Input::Probed {
                id,
                kind,
                serial: u64::MAX,
                outcome,
            },
            _ => Input::HookDone {
                id,
                hook: Hook::PreStop,
                outcome,
            },
        });
    }

    /// All is deleted, and the runtime does what it is told: in the end nothing is left.
    fn finish(&mut self) {
        self.is_fenced = false;
        self.handle(Input::Unfence);
        self.snapshot();
        for uid in ["a", "b", "c", "d"] {
            self.delete(uid, 5);
        }
        for _ in 0..200 {
            for id in self.killed.clone() {
                self.end(&id, 137);
            }
            let starting: Vec<_> = self.live.iter().filter(|(_, runs)| !**runs).collect();
            if let Some(id) = starting.first().map(|(id, _)| (*id).clone()) {
                self.start(&id, None);
            }
            let over: Vec<String> = self.objects.keys().cloned().collect();
            for uid in over {
                let status = &self.objects[&uid]["status"];
                let is_over = matches!(status["phase"].as_str(), Some("Succeeded" | "Failed"));
                if is_over && !self.live.keys().any(|id| id.uid == uid) {
                    self.remove(&uid);
                }
            }
            self.pass(1_000);
        }
        assert!(
            self.objects.is_empty() && self.live.is_empty(),
            "{:?}",
            self.live
        );
        assert_eq!(self.pods.next_wakeup_ms(), None);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_the_rules_hold(
        steps in prop::collection::vec((0u8..80, 0usize..1000, 0i32..6), 1..300)
    ) {
        let mut world = World::new();
        world.snapshot();
        for step in steps {
            world.step(step);
        }
        world.finish();
    }
}
