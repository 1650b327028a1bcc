//! Where the leader answers about offers: between the turns of the scheduler's loop, whose
//! snapshot it needs. Pods that were accepted are made beside the loop; the loop hears of those
//! that are not, so that nothing is kept for them.

use std::{collections::BTreeMap, sync::Arc};

use atoll_control::api::ControlApi;
use atoll_world::{random, task};
use parking_lot::Mutex;
use serde_json::Value;
use tokio::sync::{mpsc, oneshot};

use super::{
    accept,
    wire::{Answer, Asked, News, Offered, Polled, Refusal, Verb},
};
use crate::{
    core::{
        controllers::world::View as _,
        kinds,
        scheduler::{self, Answers, Desk, OFFERS_MAX, Offer, Scheduler},
    },
    driver::{
        execute::Executor,
        mirror::{Look, Mirror},
    },
};

/// So many questions wait for their turn.
const REQUESTS_MAX: usize = 256;
/// So many bytes of a node's labels are told.
const LABEL_BYTES_MAX: usize = 16 << 10;

/// What the loop is told.
enum Request {
    Asked(Asked, oneshot::Sender<Answer>),
    /// These pods are not made: namespaces and names.
    NotMade(Vec<(String, String)>),
}

/// Where questions go in, while this node leads. Clones are the same.
#[derive(Clone, Default)]
pub(crate) struct Hatch(Arc<Mutex<Option<mpsc::Sender<Request>>>>);

impl Hatch {
    /// This node leads, as long as the counter is there.
    pub(crate) fn open(&self) -> Counter {
        let (sender, requests) = mpsc::channel(REQUESTS_MAX);
        *self.0.lock() = Some(sender.clone());
        Counter {
            hatch: self.clone(),
            sender,
            requests,
            arrived: None,
            desk: Desk::default(),
        }
    }

    /// Asks, if this node leads.
    ///
    /// # Errors
    /// It does not, or has too much to do.
    pub(super) async fn ask(&self, asked: Asked) -> Result<Answer, Refusal> {
        let not_leading = || Refusal::unavailable("this node does not lead");
        let sender = self.0.lock().clone().ok_or_else(not_leading)?;
        let (reply, answer) = oneshot::channel();
        let sent = sender.try_send(Request::Asked(asked, reply));
        sent.map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => {
                Refusal::unavailable("the node that leads has too much to do")
            }
            mpsc::error::TrySendError::Closed(_) => not_leading(),
        })?;
        answer.await.map_err(|_| not_leading())
    }
}

/// The leader's side.
pub(crate) struct Counter {
    hatch: Hatch,
    sender: mpsc::Sender<Request>,
    requests: mpsc::Receiver<Request>,
    /// One that was waited for.
    arrived: Option<Request>,
    desk: Desk<oneshot::Sender<Answer>>,
}

impl Drop for Counter {
    fn drop(&mut self) {
        *self.hatch.0.lock() = None;
    }
}

impl Counter {
    /// Waits until somebody asks. May be dropped at any time.
    pub(crate) async fn arrival(&mut self) {
        if self.arrived.is_none() {
            self.arrived = self.requests.recv().await;
        }
    }

    /// When there is something to do even if nobody asks.
    pub(crate) fn next_ms(&self) -> Option<u64> {
        self.desk.next_ms()
    }

    /// Answers those who have asked, and makes offers.
    pub(crate) fn turn<C: ControlApi>(
        &mut self,
        scheduler: &mut Scheduler,
        mirror: &Mirror,
        executor: &Executor<C>,
        has_changed: bool,
        now_ms: u64,
    ) {
        for _ in 0..REQUESTS_MAX {
            let next = self
                .arrived
                .take()
                .or_else(|| self.requests.try_recv().ok());
            match next {
                None => break,
                Some(Request::NotMade(pods)) => {
                    for (namespace, name) in pods {
                        scheduler.unclaim(&namespace, &name);
                    }
                }
                Some(Request::Asked(asked, reply)) => {
                    self.handle(scheduler, mirror, executor, asked, reply, now_ms);
                }
            }
        }
        let answers = self.desk.turn(scheduler, has_changed, now_ms);
        tell(mirror, answers, now_ms);
    }

    fn handle<C: ControlApi>(
        &mut self,
        scheduler: &mut Scheduler,
        mirror: &Mirror,
        executor: &Executor<C>,
        asked: Asked,
        reply: oneshot::Sender<Answer>,
        now_ms: u64,
    ) {
        let Asked {
            user,
            framework,
            session,
            verb,
        } = asked;
        if let Verb::Poll { weight, seen } = verb {
            let poll = scheduler::Poll {
                framework,
                user,
                weight,
                session,
                seen,
            };
            let fresh = random::u64().max(1);
            let answers = self.desk.poll(scheduler, poll, fresh, reply, now_ms);
            return tell(mirror, answers, now_ms);
        }
        if let Err(error) = self.desk.admit(&framework, &user, session) {
            return answer(reply, Answer::Refused(error.into()));
        }
        match verb {
            Verb::Poll { .. } => {}
            Verb::Accept {
                offer,
                pods,
                decline_ms,
            } => {
                let accepted =
                    accept::claim(scheduler, &framework, offer, pods, decline_ms, now_ms);
                match accepted {
                    Ok((node, pods)) => {
                        let making = accept::make(executor.clone(), framework, node, pods);
                        let sender = self.sender.clone();
                        task::spawn(async move {
                            let (accepted, not_made) = making.await;
                            if !not_made.is_empty() {
                                // Who leads no more has nothing kept for them.
                                let _ = sender.send(Request::NotMade(not_made)).await;
                            }
                            answer(reply, accepted);
                        });
                    }
                    Err(refusal) => answer(reply, Answer::Refused(refusal)),
                }
            }
            Verb::Decline { offers, decline_ms } => {
                let offers = offers.into_iter().take(OFFERS_MAX);
                let is_unknown = |id: &u64| {
                    let declined = scheduler.decline(&framework, *id, decline_ms, now_ms);
                    declined.is_err()
                };
                let unknown = offers.filter(is_unknown).collect();
                answer(reply, Answer::Declined { unknown });
            }
            Verb::Revive => answer(
                reply,
                match scheduler.revive(&framework) {
                    Ok(()) => Answer::Revived,
                    Err(error) => Answer::Refused(error.into()),
                },
            ),
        }
    }
}

/// Whoever has asked may be gone.
fn answer(reply: oneshot::Sender<Answer>, answer: Answer) {
    let _ = reply.send(answer);
}

/// Tells frameworks what is new.
fn tell(mirror: &Mirror, answers: Answers<oneshot::Sender<Answer>>, now_ms: u64) {
    if answers.is_empty() {
        return;
    }
    let look = mirror.look();
    for (reply, told) in answers {
        let told = match told {
            Ok(told) => Answer::Polled(Polled {
                session: told.session,
                is_new: told.is_new,
                seen: told.seen,
                news: told
                    .news
                    .into_iter()
                    .map(|news| match news {
                        scheduler::OfferNews::Offered(offer) => {
                            News::Offered(offered(&look, offer, now_ms))
                        }
                        scheduler::OfferNews::Withdrawn(id) => News::Withdrawn(id),
                    })
                    .collect(),
            }),
            Err(error) => Answer::Refused(error.into()),
        };
        answer(reply, told);
    }
}

fn offered(look: &Look<'_>, offer: Offer, now_ms: u64) -> Offered {
    let node = look.get(&kinds::NODES, "", &offer.node);
    let offered = Offered {
        id: offer.id,
        labels: node.map(|node| labels(&node)).unwrap_or_default(),
        node: offer.node,
        left_ms: offer.until_ms.saturating_sub(now_ms),
        ..Offered::default()
    };
    offered.with_room(offer.room)
}

/// A node's labels, as many as are told.
fn labels(node: &Value) -> BTreeMap<String, String> {
    let mut left = LABEL_BYTES_MAX;
    let labels = node["metadata"]["labels"].as_object().into_iter().flatten();
    let labels = labels.map_while(|(key, value)| {
        let value = value.as_str().unwrap_or_default();
        left = left.checked_sub(key.len() + value.len())?;
        Some((key.clone(), value.to_owned()))
    });
    labels.collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{super::wire::Why, *};

    #[test]
    fn labels_are_told_within_bounds() {
        let labels_of = json!({"a": "1", "b": "2".repeat(LABEL_BYTES_MAX)});
        let node = json!({"metadata": {"labels": labels_of}});
        let told = labels(&node);
        assert_eq!(
            told.into_iter().collect::<Vec<_>>(),
            [("a".to_owned(), "1".to_owned())]
        );
    }

    #[tokio::test]
    async fn questions_are_answered_while_somebody_leads() {
        let hatch = Hatch::default();
        let asked = || Asked {
            user: "ann".to_owned(),
            framework: "batch".to_owned(),
            session: 0,
            verb: Verb::Revive,
        };
        let refused = async || hatch.ask(asked()).await.unwrap_err().why;
        assert_eq!(refused().await, Why::Unavailable);
        let mut counter = hatch.open();
        let (other, waiting) = (hatch.clone(), asked());
        let waits = task::spawn(async move { other.ask(waiting).await });
        counter.arrival().await;
        assert!(counter.arrived.is_some());
        drop(counter);
        assert_eq!(waits.await.unwrap().unwrap_err().why, Why::Unavailable);
        assert_eq!(refused().await, Why::Unavailable);
    }
}
