//! One coordinator with a log that never fails.

use atoll_base::id::NodeId;
use bytes::Bytes;

use super::super::{
    Branch, Coordinator, Kind, Order, Outcome, Place, Record, Report, Settings, TransactionId,
    Version,
    coordinator::{Answer, Effect, Input, Note, Request, RequestId, Until},
};

pub(super) const ID: TransactionId = TransactionId(7);

pub(super) struct Desk {
    pub(super) coordinator: Coordinator,
    pub(super) now_ms: u64,
    pub(super) log: Option<(Version, Record)>,
    writes: u64,
    pub(super) answers: Vec<Answer>,
    pub(super) sent: Vec<(u16, Order)>,
    pub(super) notes: Vec<Note>,
    /// Places of keys that were done with a write.
    pub(super) done: Vec<u16>,
    /// This place's keys can't be.
    pub(super) cannot: Option<u16>,
}

impl Desk {
    pub(super) fn new(settings: Settings) -> Self {
        Desk {
            coordinator: Coordinator::new(NodeId(1), settings, 1),
            now_ms: 0,
            log: None,
            writes: 0,
            answers: Vec::new(),
            sent: Vec::new(),
            notes: Vec::new(),
            done: Vec::new(),
            cannot: None,
        }
    }

    pub(super) fn step(&mut self, input: Input) {
        self.coordinator.step(self.now_ms, input);
        for effect in self.coordinator.effects() {
            match effect {
                Effect::Write {
                    ticket,
                    expected,
                    record,
                    parts,
                    ..
                } => {
                    let found = self.log.as_ref().map_or(Version(0), |(it, _)| *it);
                    assert_eq!(expected, Some(found));
                    let cannot = |place: &&Place| self.cannot == Some(place.0);
                    let places = || parts.iter().map(|(place, _)| place);
                    if let Some(place) = places().find(cannot).copied() {
                        self.step(Input::Refused { ticket, place });
                        continue;
                    }
                    self.done.extend(places().map(|it| it.0));
                    self.writes += 1;
                    let version = Version(self.writes);
                    self.log = record.map(|it| (version, it));
                    self.step(Input::Written { ticket, version });
                }
                Effect::Load { id } => {
                    let found = self.log.clone();
                    self.step(Input::Found { id, found });
                }
                Effect::Send { branch, order, .. } => self.sent.push((branch.place.0, order)),
                Effect::Answer { answer, .. } => self.answers.push(answer),
                Effect::Note { note, .. } => self.notes.push(note),
            }
        }
    }

    pub(super) fn ask(&mut self, what: Request) -> Option<Answer> {
        self.answers.clear();
        let request = RequestId(1);
        self.step(Input::Asked {
            request,
            id: ID,
            what,
        });
        // Others may have waited for what this brings about.
        self.answers.drain(..).next()
    }

    pub(super) fn begin(&mut self, kind: Kind) -> Option<Answer> {
        let timeout_ms = 10_000;
        self.ask(Request::Begin { kind, timeout_ms })
    }

    pub(super) fn enlist(&mut self, name: &str, payload: &'static [u8]) -> Option<Answer> {
        self.ask(Request::Enlist {
            name: name.to_owned(),
            payload: Bytes::from_static(payload),
            compensation: Bytes::new(),
        })
    }

    pub(super) fn commit(&mut self) -> Option<Answer> {
        let until = Until::Decided;
        self.ask(Request::Commit { until })
    }

    pub(super) fn report(&mut self, place: u16, report: Report) -> Option<Answer> {
        self.answers.clear();
        let place = Place(place);
        let branch = Branch {
            transaction: ID,
            place,
        };
        self.step(Input::Reported { branch, report });
        self.answers.pop()
    }

    pub(super) fn resolve(&mut self, place: u16, outcome: Outcome, remark: &str) -> Option<Answer> {
        self.ask(Request::Resolve {
            place: Place(place),
            outcome,
            by: "ann".to_owned(),
            remark: remark.to_owned(),
        })
    }

    pub(super) fn record(&self) -> &Record {
        &self.log.as_ref().expect("a record").1
    }
}

/// Two participants, both of which were asked to prepare.
pub(super) fn two(kind: Kind) -> Desk {
    let mut desk = Desk::new(Settings::default());
    assert_eq!(desk.begin(kind), Some(Answer::Begun));
    assert_eq!(desk.enlist("a", b"x"), Some(Answer::Enlisted(Place(0))));
    assert_eq!(desk.enlist("b", b"y"), Some(Answer::Enlisted(Place(1))));
    assert_eq!(desk.commit(), None);
    desk
}
