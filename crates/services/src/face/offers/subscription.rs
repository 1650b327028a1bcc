//! One framework's stream of events: the node that leads is asked again and again what is new.
//! Nothing runs while the client does not read, so a framework that reads no more leaves.

use std::{collections::VecDeque, time::Duration};

use atoll_control::api::ControlApi;
use atoll_world::clock;
use futures_util::stream::{self, BoxStream, StreamExt as _};
use tonic::{Code, Status};

use super::{
    Asking,
    convert::{event, status},
    unexpected,
};
use crate::{
    driver::offers::wire::{Answer, Polled, Verb},
    face::identity::{self, User},
    proto::{self as pb, offer_event::Event},
};

/// How long a new leader is waited for.
const PATIENCE: Duration = Duration::from_secs(10);
/// How soon it is looked for again.
const AGAIN: Duration = Duration::from_millis(200);

/// Where a stream is.
pub(super) struct Subscription<C> {
    asking: Asking<C>,
    user: User,
    framework: String,
    weight: u32,
    namespaces: Vec<String>,
    /// 0: none yet.
    session: u64,
    seen: u64,
    ready: VecDeque<pb::OfferEvent>,
}

impl<C: ControlApi> Subscription<C> {
    pub(super) fn new(
        asking: Asking<C>,
        user: User,
        framework: String,
        weight: u32,
        namespaces: Vec<String>,
    ) -> Self {
        Subscription {
            asking,
            user,
            framework,
            weight,
            namespaces,
            session: 0,
            seen: 0,
            ready: VecDeque::new(),
        }
    }

    /// Refuses who may not create pods where they are to be. Rights may be taken away, and where
    /// others' are the user is another one, too.
    pub(super) fn permit(&self) -> Result<(), Status> {
        let user = identity::again(&self.asking.control, &self.user.name);
        let user = user.map_err(|failure| status(&failure))?;
        let mut namespaces = self.namespaces.iter();
        namespaces.try_for_each(|namespace| self.asking.permit(&user, namespace))
    }

    /// The events, until one can't be had.
    pub(super) fn stream(self) -> BoxStream<'static, Result<pb::OfferEvent, Status>> {
        let next = async |it: Option<Self>| {
            let mut it = it?;
            match it.next().await {
                Ok(event) => Some((Ok(event), Some(it))),
                Err(status) => Some((Err(status), None)),
            }
        };
        stream::unfold(Some(self), next).boxed()
    }

    async fn next(&mut self) -> Result<pb::OfferEvent, Status> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Ok(event);
            }
            self.permit()?;
            let polled = self.poll().await?;
            (self.session, self.seen) = (polled.session, polled.seen);
            self.ready = events(polled);
        }
    }

    /// Asks what is new, of whoever leads by then.
    async fn poll(&self) -> Result<Polled, Status> {
        let until = clock::now() + PATIENCE;
        loop {
            let verb = Verb::Poll {
                weight: self.weight,
                seen: self.seen,
            };
            let asked = self
                .asking
                .ask(&self.user, &self.framework, self.session, verb);
            match asked.await {
                Ok(Answer::Polled(polled)) => return Ok(polled),
                Ok(_) => return Err(unexpected()),
                Err(status) if status.code() == Code::Unavailable && clock::now() < until => {
                    clock::sleep(AGAIN).await;
                }
                Err(status) => return Err(status),
            }
        }
    }
}

/// What is told of an answer.
fn events(polled: Polled) -> VecDeque<pb::OfferEvent> {
    let mut events = VecDeque::new();
    if polled.is_new {
        let session = polled.session;
        events.push_back(event(Event::Subscribed(pb::Subscribed { session })));
    }
    events.extend(polled.news.into_iter().map(Into::into));
    if events.is_empty() {
        events.push_back(event(Event::Alive(pb::Alive {})));
    }
    events
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::driver::offers::wire::{News, Offered};

    #[test]
    fn a_new_session_is_told_first_and_silence_is_told_too() {
        let told = |polled: Polled| {
            let events = events(polled).into_iter();
            let events = events.map(|event| event.event.unwrap());
            events.collect::<Vec<_>>()
        };
        let quiet = Polled::default();
        assert_eq!(told(quiet.clone()), [Event::Alive(pb::Alive {})]);
        let begun = Polled {
            session: 7,
            is_new: true,
            news: vec![
                News::Withdrawn(3),
                News::Offered(Offered {
                    id: 4,
                    milli_cpu: 500,
                    ..Offered::default()
                }),
            ],
            ..quiet
        };
        let events = told(begun);
        assert_eq!(events[0], Event::Subscribed(pb::Subscribed { session: 7 }));
        assert_eq!(events[1], Event::Withdrawn(pb::Withdrawn { id: 3 }));
        let Event::Offered(offer) = &events[2] else {
            panic!("{events:?}");
        };
        assert_eq!((offer.id, offer.room.as_ref().unwrap().milli_cpu), (4, 500));
    }
}
