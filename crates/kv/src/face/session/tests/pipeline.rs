//! However requests and answers are mixed, the client sees the same.

use proptest::{collection::vec, prelude::*, sample::select};

use super::*;

/// What a client may send, so that much of it depends on what came before.
const LINES: &[&str] = &[
    "GET a",
    "SET a 1",
    "INCRBY a 1",
    "GET",
    "foo",
    "PING",
    "HELLO 3",
    "HELLO 2",
    "HELLO 3 AUTH a secret",
    "AUTH a secret",
    "AUTH a wrong",
    "SELECT 1",
    "SELECT 0",
    "MULTI",
    "MULTI",
    "EXEC",
    "EXEC",
    "DISCARD",
    "WATCH a",
    "UNWATCH",
    "RESET",
    "SUBSCRIBE c d",
    "UNSUBSCRIBE",
    "PUBLISH c m",
    "PUBSUB NUMPAT",
    "CLIENT REPLY OFF",
    "CLIENT REPLY ON",
    "CLIENT REPLY SKIP",
    "CLIENT GETNAME",
    "CLIENT SETNAME me",
    "CLIENT INFO",
    "CLIENT TRACKING ON REDIRECT 7",
    "CLIENT TRACKINGINFO",
    "READONLY",
    "COMMAND INFO get",
    "WAIT 0 0",
];

/// Handles all requests before the first answer comes, as far as the session lets it.
struct Pipeline {
    /// What is to be sent, in order: bytes, and the place of what is not written yet.
    waiting: Vec<(BytesMut, Option<(Ask, Ticket)>)>,
    sent: BytesMut,
}

impl Pipeline {
    fn settle(&mut self, session: &mut Session, world: &mut World) {
        for (bytes, asked) in self.waiting.drain(..) {
            self.sent.extend_from_slice(&bytes);
            let mut asked = asked;
            while let Some((ask, ticket)) = asked.take() {
                let heard = world.answer(ask, session);
                if let Step::Ask(ask, ticket) = session.finish(ticket, heard, &mut self.sent) {
                    assert!(ticket.waits());
                    asked = Some((ask, ticket));
                }
            }
        }
    }

    fn run(lines: &[&str], settings: Settings) -> BytesMut {
        let mut world = World::default();
        let mut session = super::session(3, settings);
        let mut pipeline = Pipeline {
            waiting: Vec::new(),
            sent: BytesMut::new(),
        };
        for line in lines {
            let words = line
                .split(' ')
                .map(|word| Bytes::copy_from_slice(word.as_bytes()));
            let mut out = BytesMut::new();
            match session.handle(words.collect(), &mut out) {
                Step::Ask(ask, ticket) => {
                    let waits = ticket.waits();
                    pipeline.waiting.push((out, Some((ask, ticket))));
                    if waits {
                        pipeline.settle(&mut session, &mut world);
                    }
                }
                Step::Done | Step::Close => pipeline.waiting.push((out, None)),
            }
        }
        pipeline.settle(&mut session, &mut world);
        pipeline.sent
    }
}

proptest! {
    #[test]
    fn a_pipeline_is_answered_as_its_requests_one_by_one(
        lines in vec(select(LINES), 1..30),
        auth_required: bool,
    ) {
        let settings = Settings { auth_required, cluster: false };
        let mut world = World::default();
        let mut client = Client::new(3, settings);
        for line in &lines {
            client.send(line, &mut world);
        }
        let pipelined = Pipeline::run(&lines, settings);
        prop_assert_eq!(
            String::from_utf8_lossy(&pipelined),
            String::from_utf8_lossy(&client.sent)
        );
    }

    /// Words of any kind after any name do no harm, and leave the connection in order.
    #[test]
    fn any_words_do_no_harm(
        calls in vec((select(names()), vec("[0-9a-zA-Z*|-]{0,5}", 0..5)), 1..20),
    ) {
        let mut world = World::default();
        let mut client = Client::new(3, OPEN);
        for (name, words) in &calls {
            client.send(&format!("{} {}", name.replace('|', " "), words.join(" ")), &mut world);
            if client.closed {
                return Ok(());
            }
        }
        client.send("CLIENT REPLY ON", &mut world);
        client.send("RESET", &mut world);
        prop_assert!(client.sent.ends_with(b"+RESET\r\n"));
    }
}

/// Names of all commands that are about connections.
fn names() -> Vec<&'static str> {
    crate::core::command::all()
        .filter(|command| command.flags.has(Flags::SESSION))
        .flat_map(|command| std::iter::once(command).chain(command.subcommands))
        .map(|command| command.name)
        .collect()
}
