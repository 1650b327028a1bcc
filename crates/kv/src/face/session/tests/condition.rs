//! What a node can't do at the moment.

use std::sync::atomic::{AtomicBool, Ordering};

use super::*;
use crate::api::{Condition, Hindrance, Unhindered};

/// No memory is left for keys that begin with `f`, and scripts run where those are that begin
/// with `s`, and everywhere after SETNAME.
#[derive(Default)]
struct Troubled(AtomicBool);

impl Condition for Troubled {
    fn is_full(&self, _: &Command, words: &[Bytes]) -> bool {
        words.get(1).is_some_and(|key| key.starts_with(b"f"))
    }

    fn hindrance(&self, command: &Command, words: &[Bytes]) -> Option<Hindrance> {
        let is_function = words.last() == Some(&Bytes::from_static(b"function"));
        if command.name == "client|setname" {
            self.0.store(true, Ordering::Relaxed);
            return None;
        }
        let is_busy = words.get(1).is_some_and(|key| key.starts_with(b"s"));
        (is_busy || self.0.load(Ordering::Relaxed)).then_some(Hindrance::Script { is_function })
    }

    fn may_write(&self, command: &Command, words: &[Bytes]) -> bool {
        Unhindered.may_write(command, words)
    }
}

fn story(text: &str) {
    let mut world = World::default();
    world.condition = Some(Arc::new(Troubled::default()));
    story_in(world, OPEN, text);
}

const OOM: &str = "-OOM command not allowed when used memory > 'maxmemory'.";
const BUSY: &str =
    "-BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.";

#[test]
fn a_transaction_is_spoilt_by_what_has_no_room() {
    story(&format!(
        "
        > SET full 1
        +OK
        > MULTI
        +OK
        > GET full
        +QUEUED
        > SET full 2
        {OOM}
        > SET a 1
        +QUEUED
        > EXEC
        -EXECABORT Transaction discarded because of previous errors.
        > MULTI
        +OK
        > SET full 2
        {OOM}
        > DISCARD
        +OK
        > GET full
        $1 1
        > GET a
        $-1
        "
    ));
}

#[test]
fn nobody_waits_for_a_script_that_runs_for_long() {
    story(&format!(
        "
        > SET slow 1
        {BUSY}
        > SET slow function
        -BUSY Redis is busy running a script. You can only call FUNCTION KILL or SHUTDOWN NOSAVE.
        > SET a 1
        +OK
        > WATCH slow
        {BUSY}
        > WATCH a
        +OK
        > MULTI
        +OK
        > INCR a
        +QUEUED
        > INCR slow
        {BUSY}
        > EXEC
        -EXECABORT Transaction discarded because of previous errors.
        > GET a
        $1 1
        "
    ));
}

#[test]
fn a_script_that_began_since_keeps_a_transaction_from_being_done() {
    story(&format!(
        "
        > MULTI
        +OK
        > SET a 1
        +QUEUED
        b> CLIENT SETNAME busy
        +OK
        > PING
        {BUSY}
        c> MULTI
        +OK
        c> DISCARD
        +OK
        > EXEC
        -EXECABORT Transaction discarded because of: {}
        > RESET
        +RESET
        ",
        &BUSY[1..]
    ));
}

#[test]
fn keys_of_a_script_count_as_read_if_it_read_anything() {
    let mut session = session(3, OPEN);
    let mut out = BytesMut::new();
    let mut handle = |session: &mut Session, text: &str| {
        let words = text
            .split(' ')
            .map(|word| Bytes::copy_from_slice(word.as_bytes()));
        session.handle(words.collect(), &mut out)
    };
    handle(&mut session, "CLIENT TRACKING ON");
    for (has_read, is_counted) in [(false, true), (true, false)] {
        let Step::Ask(Ask::Api(request), ticket) = handle(&mut session, "EVAL x 2 a b c") else {
            panic!("a script is asked for");
        };
        assert!(request.caller.is_none());
        assert_eq!(session.take_script_reads(), ["a", "b"]);
        assert!(session.take_reads().is_empty());
        let error = Reply::Error("ERR mine".into());
        let answer = Answer::Ran {
            answer: Box::new(Answer::Reply(error)),
            has_read,
            is_counted,
        };
        session.take_ended();
        session.finish(ticket, Heard::Api(answer), &mut BytesMut::new());
        assert_eq!(session.take_script_read(), has_read);
        let end = match is_counted {
            true => End::FailedInside,
            false => End::Failed("ERR".into()),
        };
        let ended: Vec<End> = session.take_ended().map(|ended| ended.end).collect();
        assert_eq!(ended, [end]);
    }
}
