//! Answers of the list of connections.

use bytes::Bytes;

use super::{Server, members::Member};
use crate::{
    api::Api,
    core::reply::Reply,
    face::session::{Channels, ClientFilter, Registry},
    hub::Topic,
};

impl<A: Api> Server<A> {
    /// Answers `asker`, and says whether its connection ends thereby.
    pub(super) fn registry(&self, asker: &Member, question: Registry) -> (Reply, bool) {
        let shared = &self.0;
        let reply = match question {
            Registry::Info => verbatim(line(asker)),
            Registry::List(filter) => verbatim(self.list(&filter)),
            Registry::Kill(filter) => {
                return self.kill(asker, |member| filter.matches(&member.info()));
            }
            Registry::KillAddress(address) => {
                let is_meant = |member: &Member| member.address().as_bytes() == address;
                return match self.kill(asker, is_meant) {
                    (Reply::Integer(0), _) => (error("ERR No such client"), false),
                    (_, ends) => (Reply::OK, ends),
                };
            }
            Registry::Pause { timeout_ms, of } => {
                shared.pause.begin(of, timeout_ms);
                Reply::OK
            }
            Registry::Unpause => {
                shared.pause.end();
                shared.members.wake();
                Reply::OK
            }
            Registry::Unblock { id, with_error } => {
                let member = shared.members.get(id);
                let done = member.is_some_and(|member| member.unblock(with_error));
                Reply::Integer(done.into())
            }
            Registry::Exists(id) => Reply::Boolean(shared.members.get(id).is_some()),
            Registry::Channels { of, pattern } => {
                let names = shared.hub.names(topic(of), pattern.as_deref());
                Reply::Array(names.into_iter().map(Reply::Bulk).collect())
            }
            Registry::Listeners { of, channels } => {
                let count = |name: Bytes| {
                    let count = Reply::count(shared.hub.listeners(topic(of), &name));
                    [Reply::Bulk(name), count]
                };
                Reply::Array(channels.into_iter().flat_map(count).collect())
            }
            Registry::Patterns => Reply::count(shared.hub.count(Topic::Pattern)),
        };
        (reply, false)
    }

    fn list(&self, filter: &ClientFilter) -> String {
        let mut lines = String::new();
        for member in self.0.members.all() {
            let info = member.info();
            if !member.is_killed() && filter.matches(&info) {
                lines.push_str(&info.line());
                lines.push('\n');
            }
        }
        lines
    }

    /// Ends connections and counts them; that of the asker ends by itself, once it was answered.
    fn kill(&self, asker: &Member, is_meant: impl Fn(&Member) -> bool) -> (Reply, bool) {
        let mut killed = 0;
        let mut ends = false;
        for member in self.0.members.all() {
            if member.is_killed() || !is_meant(&member) {
                continue;
            }
            killed += 1;
            if member.id == asker.id {
                ends = true;
            } else {
                member.kill();
            }
        }
        (Reply::count(killed), ends)
    }
}

fn line(member: &Member) -> String {
    member.info().line() + "\n"
}

fn verbatim(text: String) -> Reply {
    Reply::Verbatim(Bytes::from(text))
}

fn error(text: &'static str) -> Reply {
    Reply::Error(Bytes::from_static(text.as_bytes()))
}

fn topic(of: Channels) -> Topic {
    match of {
        Channels::Plain => Topic::Channel,
        Channels::Sharded => Topic::Shard,
    }
}
