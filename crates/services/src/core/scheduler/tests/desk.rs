//! Frameworks that ask what is new of their offers, and pods that want the same room.

mod random;

use std::{collections::BTreeMap, sync::Arc};

use serde_json::{Value, json};

use super::{
    super::{Desk, OFFER_MS, Offer, OfferError, OfferNews, POLL_MS, Poll, SILENT_MS, Told},
    town::{Town, asks, node, pod},
};

/// A town with a desk; each question has a number, and each new session the next one.
struct Place {
    town: Town,
    desk: Desk<u64>,
    asked: u64,
    answers: BTreeMap<u64, Result<Told, OfferError>>,
}

/// What a framework knows.
#[derive(Debug, Default)]
struct Client {
    name: String,
    user: String,
    session: u64,
    seen: u64,
    open: BTreeMap<u64, Offer>,
}

impl Client {
    fn new(name: &str) -> Client {
        Client {
            name: name.to_owned(),
            user: "ann".to_owned(),
            ..Client::default()
        }
    }

    fn learn(&mut self, told: &Told) {
        if told.is_new {
            self.open.clear();
        }
        (self.session, self.seen) = (told.session, told.seen);
        for news in &told.news {
            match news {
                OfferNews::Offered(offer) => {
                    assert_eq!(offer.framework, self.name);
                    self.open.insert(offer.id, offer.clone());
                }
                OfferNews::Withdrawn(id) => drop(self.open.remove(id)),
            }
        }
    }
}

impl Place {
    fn new(nodes: usize) -> Place {
        let mut town = Town::new();
        for number in 0..nodes {
            town.set("Node", node(&format!("n{number}"), json!({})));
        }
        Place {
            town,
            desk: Desk::default(),
            asked: 0,
            answers: BTreeMap::new(),
        }
    }

    /// Asks; the number of the question.
    fn ask(&mut self, client: &Client) -> u64 {
        self.asked += 1;
        let poll = Poll {
            framework: client.name.clone(),
            user: client.user.clone(),
            weight: 1,
            session: client.session,
            seen: client.seen,
        };
        let fresh = 1_000 + self.asked;
        let town = &mut self.town;
        let answers = self
            .desk
            .poll(&mut town.scheduler, poll, fresh, self.asked, town.now_ms);
        self.answers.extend(answers);
        self.asked
    }

    /// So much later, the desk has its turn.
    fn later(&mut self, ms: u64) {
        self.town.now_ms += ms;
        let town = &mut self.town;
        let answers = self.desk.turn(&mut town.scheduler, true, town.now_ms);
        self.answers.extend(answers);
    }

    fn answer(&mut self, asked: u64) -> Option<Result<Told, OfferError>> {
        self.answers.remove(&asked)
    }

    /// Asks and takes in what is told right away.
    fn poll(&mut self, client: &mut Client) -> Result<Told, OfferError> {
        let asked = self.ask(client);
        if !self.answers.contains_key(&asked) {
            self.later(POLL_MS);
        }
        let told = self.answer(asked).expect("it was kept for long enough")?;
        client.learn(&told);
        Ok(told)
    }

    fn accept(
        &mut self,
        client: &mut Client,
        id: u64,
        names: &[&str],
        cpu: &str,
    ) -> Result<String, OfferError> {
        client.open.remove(&id);
        let tasks: Vec<Arc<Value>> = names
            .iter()
            .map(|name| Arc::new(pod(name, asks(cpu, "1Gi"))))
            .collect();
        let town = &mut self.town;
        self.desk
            .admit(&client.name, &client.user, client.session)?;
        let node = town
            .scheduler
            .accept(&client.name, id, &tasks, 5_000, town.now_ms)?;
        for task in tasks {
            let mut task = (*task).clone();
            task["metadata"]["labels"] = json!({"atoll.dev/framework": client.name});
            town.placed(task, &node);
        }
        Ok(node)
    }
}

#[test]
fn a_question_is_kept_until_there_is_something_to_tell() {
    let mut place = Place::new(0);
    let mut client = Client::new("a");
    let told = place.poll(&mut client).unwrap();
    assert!(told.is_new && told.news.is_empty() && told.session == 1_001);
    let asked = place.ask(&client);
    place.later(POLL_MS - 1);
    assert_eq!(place.answer(asked), None);
    place.later(1);
    let told = place.answer(asked).unwrap().unwrap();
    assert!(!told.is_new && told.news.is_empty());
    // A node comes.
    let asked = place.ask(&client);
    place.town.set("Node", node("n0", json!({})));
    place.later(100);
    let told = place.answer(asked).unwrap().unwrap();
    client.learn(&told);
    assert_eq!(client.open.len(), 1);
    // It expires, and is offered anew.
    let first = *client.open.keys().next().unwrap();
    for _ in 0..OFFER_MS / POLL_MS + 1 {
        place.poll(&mut client).unwrap();
    }
    let ids: Vec<u64> = client.open.keys().copied().collect();
    assert_eq!(ids, [first + 1]);
}

#[test]
fn rounds_are_rarer_where_there_is_more_to_look_at() {
    for (nodes, wait_ms) in [(10, 100), (10_000, 100), (80_000, 200)] {
        let mut place = Place::new(nodes);
        place.poll(&mut Client::new("a")).unwrap();
        place.later(0);
        assert_eq!(place.desk.next_ms(), Some(place.town.now_ms + 1_000));
        // Somebody comes, who may want something.
        place.poll(&mut Client::new("b")).unwrap();
        assert_eq!(
            place.desk.next_ms(),
            Some(place.town.now_ms + wait_ms),
            "{nodes}"
        );
    }
}

#[test]
fn an_answer_that_was_lost_is_told_again() {
    let mut place = Place::new(2);
    let mut client = Client::new("a");
    place.poll(&mut client).unwrap();
    place.later(100);
    let lost = place.ask(&client);
    let lost = place.answer(lost).unwrap().unwrap();
    assert_eq!((lost.news.len(), lost.seen), (2, 2));
    assert_eq!(place.poll(&mut client).unwrap(), lost);
    // It was seen now. A number that is too large is as good as the right one.
    client.seen = u64::MAX;
    let asked = place.ask(&client);
    assert_eq!(place.answer(asked), None);
    place.town.set("Node", node("n2", json!({})));
    place.later(100);
    let told = place.answer(asked).unwrap().unwrap();
    assert_eq!((told.news.len(), told.seen), (1, 3));
}

#[test]
fn who_does_not_ask_leaves_and_others_get_its_room() {
    let mut place = Place::new(1);
    let (mut a, mut b) = (Client::new("a"), Client::new("b"));
    place.poll(&mut a).unwrap();
    place.later(100);
    place.poll(&mut a).unwrap();
    let id = *a.open.keys().next().unwrap();
    place.poll(&mut b).unwrap();
    let asked = place.ask(&b);
    place.later(SILENT_MS - 1);
    assert!(place.answer(asked).unwrap().unwrap().news.is_empty());
    place.poll(&mut b).unwrap();
    assert_eq!(b.open.len(), 1);
    assert_eq!(
        place.accept(&mut a, id, &["t"], "1"),
        Err(OfferError::NoFramework("a".to_owned()))
    );
    // It comes back: as a new one, whatever it has seen before.
    let told = place.poll(&mut a).unwrap();
    assert!(told.is_new && told.seen == 0);
    assert!(a.open.is_empty());
}

#[test]
fn the_last_session_of_a_framework_counts_and_is_its_users() {
    let mut place = Place::new(1);
    let mut first = Client::new("a");
    place.poll(&mut first).unwrap();
    place.later(100);
    place.poll(&mut first).unwrap();
    let id = *first.open.keys().next().unwrap();
    let kept = place.ask(&first);

    let mut foreign = Client::new("a");
    foreign.user = "bob".to_owned();
    let refused = Err(OfferError::Foreign("a".to_owned()));
    assert_eq!(place.poll(&mut foreign), refused);
    foreign.session = first.session;
    assert_eq!(place.poll(&mut foreign), refused);
    assert_eq!(
        place.desk.admit("a", "bob", first.session),
        refused.map(drop)
    );

    let mut second = Client::new("a");
    place.poll(&mut second).unwrap();
    let superseded = Err(OfferError::Superseded("a".to_owned()));
    assert_eq!(place.answer(kept), Some(superseded.clone()));
    assert_eq!(place.poll(&mut first), superseded.clone());
    assert_eq!(
        place.accept(&mut first, id, &["t"], "1"),
        superseded.map(|_| String::new())
    );
    place.later(100);
    place.poll(&mut second).unwrap();
    assert!(second.open.keys().all(|other| *other > id));
    let id = *second.open.keys().next().unwrap();
    place.accept(&mut second, id, &["t"], "1").unwrap();
}

/// How many nodes with something to compute on are offered to each.
fn shares(clients: [&Client; 2]) -> [usize; 2] {
    clients.map(|client| {
        let offers = client.open.values();
        offers.filter(|offer| offer.room.milli_cpu > 0).count()
    })
}

#[test]
fn two_frameworks_and_pods_share_the_machines() {
    let mut place = Place::new(4);
    let (mut a, mut b) = (Client::new("a"), Client::new("b"));
    place.poll(&mut a).unwrap();
    place.poll(&mut b).unwrap();
    place.later(100);
    place.poll(&mut a).unwrap();
    place.poll(&mut b).unwrap();
    assert_eq!(shares([&a, &b]), [2, 2]);
    let on = |client: &Client, node: &str| {
        let found = client.open.values().find(|offer| offer.node == node);
        found.map(|offer| offer.id)
    };

    // Each starts something; a fills a node, b takes a part of one.
    let (whole, part) = (on(&a, "n0").unwrap(), on(&b, "n1").unwrap());
    assert_eq!(
        place.accept(&mut a, whole, &["a1", "a2"], "2").as_deref(),
        Ok("n0")
    );
    assert_eq!(
        place.accept(&mut b, part, &["b1"], "1").as_deref(),
        Ok("n1")
    );
    // A service takes a node that is offered.
    place.town.pod(pod("web", asks("4", "4Gi")));
    assert_eq!(place.town.turn(), ["web on n2"]);
    let taken = on(&a, "n2").unwrap();
    let refused = place.accept(&mut a, taken, &["a3"], "1").unwrap_err();
    assert_eq!(refused.to_string(), "node n2 has not enough cpu any more");

    // The rest of n1 is what b has left, so a gets it. n0 and n2 are full.
    place.later(100);
    place.poll(&mut a).unwrap();
    place.poll(&mut b).unwrap();
    let free =
        |client: &Client, node: &str| on(client, node).map(|id| client.open[&id].room.milli_cpu);
    assert_eq!((free(&a, "n1"), shares([&a, &b])), (Some(3_000), [1, 1]));

    // The service goes: its node is offered to a, for b has more of all the memory.
    place.town.gone("Pod", "web");
    place.later(100);
    place.poll(&mut a).unwrap();
    place.poll(&mut b).unwrap();
    assert_eq!((free(&a, "n2"), free(&b, "n3")), (Some(4_000), Some(4_000)));
}
