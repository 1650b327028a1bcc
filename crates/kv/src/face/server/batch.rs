//! Requests that are asked together, and what has to be sent between their replies.

use bytes::BytesMut;

use crate::{
    api::{Answer, Refusal, Request},
    face::session::{Heard, Session, Step, Ticket},
};

/// A buffer that is larger is given back when it is empty.
const KEPT_BYTES_MAX: usize = 16 * 1024;

/// Requests whose answers are awaited.
#[derive(Default)]
pub(super) struct Batch {
    requests: Vec<Request>,
    /// Each with the place of its reply in what is between.
    tickets: Vec<(Ticket, usize)>,
    /// Replies to requests after the first of these.
    pub(super) between: BytesMut,
}

impl Batch {
    pub(super) fn is_empty(&self) -> bool {
        self.tickets.is_empty()
    }

    pub(super) fn push(&mut self, request: Request, ticket: Ticket) {
        self.requests.push(request);
        self.tickets.push((ticket, self.between.len()));
    }

    pub(super) fn take_requests(&mut self) -> Vec<Request> {
        std::mem::take(&mut self.requests)
    }

    /// Writes all replies in their order. What is left to do is that of the last one.
    pub(super) fn finish(
        &mut self,
        session: &mut Session,
        answers: Vec<Answer>,
        out: &mut BytesMut,
    ) -> Step {
        // An answer that is missing is our own mistake, for which one command pays.
        let missing = || Answer::Refused(Refusal::Unknown);
        let answers = answers.into_iter().chain(std::iter::repeat_with(missing));
        let mut written = 0;
        let mut step = Step::Done;
        for ((ticket, place), answer) in self.tickets.drain(..).zip(answers) {
            out.extend_from_slice(&self.between[written..place]);
            written = place;
            step = session.finish(ticket, Heard::Api(answer), out);
        }
        out.extend_from_slice(&self.between[written..]);
        if self.between.capacity() > KEPT_BYTES_MAX {
            self.between = BytesMut::new();
        }
        self.between.clear();
        step
    }
}
