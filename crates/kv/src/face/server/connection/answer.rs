//! From requests to replies.

use std::time::Duration;

use atoll_world::clock;
use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite};

use super::{Connection, may_wait, wait::Waited};
use crate::{
    api::{Api, Body, Request},
    face::{
        server::{ConnectionError, batch::Batch, node::config::Setting},
        session::{Ask, Heard, Session, Step, Ticket},
    },
};

impl<A, S, F> Connection<'_, A, S, F>
where
    A: Api,
    S: AsyncRead + AsyncWrite + Unpin + Send,
    F: Future<Output = ()> + Send,
{
    /// Asks what was put together, and writes the replies.
    pub(super) async fn settle(&mut self) -> Result<(), ConnectionError> {
        if self.batch.is_empty() {
            return Ok(());
        }
        let requests = self.batch.take_requests();
        let api = &self.server.0.api;
        let logged = self.alone(&requests);
        let begun = clock::now();
        let Waited::Heard(answers) = self.during(api.ask(requests), false).await? else {
            return Ok(());
        };
        let took = clock::now().duration_since(begun);
        let finish = |session: &mut Session, batch: &mut Batch, out: &mut BytesMut| {
            batch.finish(session, answers, out)
        };
        match self.conclude(took, logged, finish).await? {
            Some((ask, ticket)) => self.answer(ask, ticket).await,
            None => Ok(()),
        }
    }

    /// Has replies written, and notes what came of them. Gives back what is to be asked next.
    async fn conclude(
        &mut self,
        took: Duration,
        logged: Option<Vec<Bytes>>,
        finish: impl FnOnce(&mut Session, &mut Batch, &mut BytesMut) -> Step + Send,
    ) -> Result<Option<(Ask, Ticket)>, ConnectionError> {
        let (step, begins) = {
            let member = &self.seat.member;
            let mut session = member.session.lock();
            let step = finish(&mut session, &mut self.batch, &mut self.wire.out);
            self.seat.note_subscriptions(&mut session);
            self.seat.note_monitor(&mut session);
            let begins = self.seat.note_tracking(&mut session);
            self.seat.settle_reads(&mut session, &mut self.reads);
            self.server.note_ended(&mut session, took);
            if let Some(words) = logged {
                let address = member.address();
                self.server.note_slow(&session, address, &words, took);
            }
            (step, begins)
        };
        if begins {
            self.announce().await?;
        }
        match step {
            Step::Done => Ok(None),
            Step::Close => {
                self.seat.member.mailbox.leave();
                self.is_closing = true;
                Ok(None)
            }
            Step::Ask(ask, ticket) => Ok(Some((ask, ticket))),
        }
    }

    /// What is read from now on is told of when it changes, wherever it is.
    pub(super) async fn announce(&mut self) -> Result<(), ConnectionError> {
        let hub = &self.server.0.hub;
        self.during(hub.trackers().announced(), false).await?;
        Ok(())
    }

    /// The words of a command that comes alone, if slow ones are kept.
    fn alone(&self, requests: &[Request]) -> Option<Vec<Bytes>> {
        match requests {
            [
                Request {
                    body: Body::Call { call, .. },
                    ..
                },
            ] => self.logged(&call.words),
            _ => None,
        }
    }

    fn logged(&self, words: &[Bytes]) -> Option<Vec<Bytes>> {
        let is_kept = self.server.0.config.get(Setting::SlowerThanUs) >= 0;
        is_kept.then(|| words.to_vec())
    }

    /// Asks one thing, and what follows from its answer.
    pub(super) async fn answer(&mut self, ask: Ask, ticket: Ticket) -> Result<(), ConnectionError> {
        let mut next = (ask, ticket);
        loop {
            let (ask, ticket) = next;
            let shared = &self.server.0;
            let begun = clock::now();
            let mut waits = false;
            let mut logged = None;
            let waited = match ask {
                Ask::Api(request) => {
                    waits = may_wait(&request);
                    logged = self.alone(std::slice::from_ref(&request));
                    let answers = self.during(shared.api.ask(vec![request]), waits).await?;
                    match answers {
                        Waited::Heard(answers) => answers
                            .into_iter()
                            .next()
                            .map_or(Waited::Gone, |answer| Waited::Heard(Heard::Api(answer))),
                        Waited::Unblocked { with_error } => Waited::Unblocked { with_error },
                        Waited::Gone => Waited::Gone,
                    }
                }
                Ask::Identity(credentials) => {
                    let (server, member) = (self.server, self.seat.member.clone());
                    let checked = server.authenticate(&member, &credentials);
                    match self.during(checked, false).await? {
                        Waited::Heard(is_right) => Waited::Heard(Heard::Identity(is_right)),
                        Waited::Unblocked { .. } | Waited::Gone => Waited::Gone,
                    }
                }
                Ask::Node(call) => {
                    logged = self.logged(&call.words);
                    let changes_users = matches!(call.name, "acl|setuser" | "acl|deluser");
                    let (server, member) = (self.server, self.seat.member.clone());
                    match self.during(server.node(&member, call), false).await? {
                        Waited::Heard(reply) => {
                            // It may have deleted its own user.
                            self.is_closing |= changes_users && self.seat.member.is_outlived();
                            Waited::Heard(Heard::Node(reply))
                        }
                        Waited::Unblocked { .. } | Waited::Gone => Waited::Gone,
                    }
                }
                Ask::Registry(question) => {
                    let (reply, ends) = self.server.registry(&self.seat.member, question);
                    self.is_closing |= ends;
                    Waited::Heard(Heard::Registry(reply))
                }
            };
            // What it waited for others is not its own time.
            let took = match waits {
                true => Duration::ZERO,
                false => clock::now().duration_since(begun),
            };
            let finish = |session: &mut Session, _: &mut Batch, out: &mut BytesMut| match waited {
                Waited::Heard(heard) => session.finish(ticket, heard, out),
                Waited::Unblocked { with_error } => session.unblock(ticket, with_error, out),
                Waited::Gone => Step::Close,
            };
            match self.conclude(took, logged, finish).await? {
                Some(asked) => next = asked,
                None => return Ok(()),
            }
        }
    }
}
