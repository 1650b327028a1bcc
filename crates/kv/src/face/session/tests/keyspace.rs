//! Named keyspaces, and what eventual ones don't have.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::{
    api::{Condition, Hindrance, Unhindered},
    core::{
        eventual::quorum::Level,
        keyspaces::{Keyspaces, Wanted},
    },
};

struct Named(Arc<Keyspaces>);

/// The same, but they come to be only after so many looks.
struct Later {
    named: Named,
    looks: AtomicUsize,
    after: usize,
}

impl Condition for Later {
    fn is_full(&self, command: &Command, words: &[Bytes]) -> bool {
        self.named.is_full(command, words)
    }

    fn hindrance(&self, command: &Command, words: &[Bytes]) -> Option<Hindrance> {
        self.named.hindrance(command, words)
    }

    fn may_write(&self, command: &Command, words: &[Bytes]) -> bool {
        self.named.may_write(command, words)
    }

    fn keyspaces(&self) -> Arc<Keyspaces> {
        match self.looks.fetch_add(1, Ordering::Relaxed) < self.after {
            true => Arc::default(),
            false => self.named.keyspaces(),
        }
    }
}

impl Condition for Named {
    fn is_full(&self, _: &Command, _: &[Bytes]) -> bool {
        false
    }

    fn hindrance(&self, _: &Command, _: &[Bytes]) -> Option<Hindrance> {
        None
    }

    fn may_write(&self, command: &Command, words: &[Bytes]) -> bool {
        Unhindered.may_write(command, words)
    }

    fn keyspaces(&self) -> Arc<Keyspaces> {
        self.0.clone()
    }
}

fn created() -> Named {
    let mut keyspaces = Keyspaces::default();
    let eventual = Some((3, Level::One, Level::Quorum));
    for (name, eventual) in [("carts", eventual), ("orders", None)] {
        let name = name.to_owned();
        let wanted = Wanted { name, eventual };
        keyspaces.create(&wanted, vec![1], 3).expect("it can be");
    }
    Named(Arc::new(keyspaces))
}

fn world() -> World {
    world_with(created())
}

fn world_with(condition: impl Condition + 'static) -> World {
    let condition: Arc<dyn Condition> = Arc::new(condition);
    let mut world = World::default();
    world.condition = Some(condition);
    world
}

#[test]
fn keyspaces_are_chosen_by_number_and_by_name() {
    story_in(
        world(),
        OPEN,
        "
        > SELECT carts
        +OK
        > SET a 1
        -ASKED (KeyspaceNumber(32), One, Quorum, \"set\")
        > SELECT orders
        +OK
        > SET a 1
        +OK
        > SELECT 1
        +OK
        > GET a
        $1 1
        > SELECT 32
        +OK
        > GET a
        -ASKED (KeyspaceNumber(32), One, Quorum, \"get\")
        > RESET
        +RESET
        > GET a
        $-1
        > SELECT 33
        -ERR DB index is out of range
        > SELECT 16
        -ERR DB index is out of range
        > SELECT nobody
        -ERR value is not an integer or out of range
        > ATOLL.KEYSPACE LIST
        *2 *6 $4 name $6 orders $6 number :1 $11 consistency $12 linearizable *12 $4 name $5 carts $6 number :32 $11 consistency $8 eventual $8 replicas :3 $5 write $3 ONE $4 read $6 QUORUM
        ",
    );
}

#[test]
fn a_connection_says_how_many_have_to_answer() {
    story_in(
        world(),
        OPEN,
        "
        > ATOLL.CONSISTENCY
        *4 $5 write $7 DEFAULT $4 read $7 DEFAULT
        > ATOLL.CONSISTENCY WRITE all READ one
        +OK
        > SELECT carts
        +OK
        > INCR a
        -ASKED (KeyspaceNumber(32), All, One, \"incr\")
        > ATOLL.CONSISTENCY READ default
        +OK
        > ATOLL.CONSISTENCY
        *4 $5 write $3 ALL $4 read $7 DEFAULT
        > GET a
        -ASKED (KeyspaceNumber(32), All, Quorum, \"get\")
        > ATOLL.CONSISTENCY WRITE
        -ERR syntax error
        > ATOLL.CONSISTENCY WRITE TWO
        -ERR a level is ONE, QUORUM, ALL or DEFAULT
        > ATOLL.CONSISTENCY SOME ONE
        -ERR syntax error
        ",
    );
}

#[test]
fn what_an_eventual_keyspace_does_not_have_is_refused() {
    story_in(
        world(),
        OPEN,
        "
        > SELECT carts
        +OK
        > LPUSH a 1
        -ERR LPUSH is not available in an eventual keyspace: their order is kept in a linearizable keyspace; here, use a set or a hash
        > KEYS *
        -ERR KEYS is not available in an eventual keyspace: use a linearizable keyspace
        > FLUSHALL
        -ERR FLUSHALL is not available in an eventual keyspace: use a linearizable keyspace
        > MULTI
        -ERR MULTI and WATCH are not available in an eventual keyspace: use a linearizable keyspace for transactions and scripts
        > WATCH a
        -ERR MULTI and WATCH are not available in an eventual keyspace: use a linearizable keyspace for transactions and scripts
        > EVAL return 0
        -ERR EVAL is not available in an eventual keyspace: use a linearizable keyspace for transactions and scripts
        > WAIT 1 0
        -ERR WAIT is not available in an eventual keyspace: say ATOLL.CONSISTENCY WRITE QUORUM or ALL before what is to be waited for
        > PING
        +PONG
        > SELECT 0
        +OK
        > MULTI
        +OK
        > SELECT carts
        -ERR a transaction can't go to an eventual keyspace
        > EXEC
        -EXECABORT Transaction discarded because of previous errors.
        > MULTI
        +OK
        > SELECT orders
        -ERR inside a transaction a keyspace is chosen by its number
        > EXEC
        -EXECABORT Transaction discarded because of previous errors.
        > WATCH a
        +OK
        > SELECT carts
        -ERR MULTI and WATCH are not available in an eventual keyspace: use a linearizable keyspace for transactions and scripts
        ",
    );
}

#[test]
fn a_cluster_client_chooses_an_eventual_keyspace_by_its_name() {
    let settings = Settings {
        auth_required: false,
        cluster: true,
    };
    story_in(
        world(),
        settings,
        "
        > SELECT 32
        -ERR SELECT is not allowed in cluster mode
        > SELECT orders
        -ERR value is not an integer or out of range
        > SELECT carts
        +OK
        > GET a
        -ASKED (KeyspaceNumber(32), One, Quorum, \"get\")
        > SELECT 0
        +OK
        > GET a
        $-1
        ",
    );
}

/// A keyspace that comes to be while a transaction is queued, or while it is done.
#[test]
fn a_transaction_goes_to_no_keyspace_that_comes_to_be_meanwhile() {
    let later = |after| {
        world_with(Later {
            named: created(),
            looks: AtomicUsize::new(0),
            after,
        })
    };
    story_in(
        later(1),
        OPEN,
        "
        > SET a before
        +OK
        > MULTI
        +OK
        > SELECT 32
        +QUEUED
        > SET a 1
        +QUEUED
        > EXEC
        -EXECABORT Transaction discarded because of: ERR a transaction can't go to an eventual keyspace
        > GET a
        $6 before
        ",
    );
    story_in(
        later(2),
        OPEN,
        "
        > MULTI
        +OK
        > SELECT 32
        +QUEUED
        > SET a 1
        +QUEUED
        > EXEC
        *2 -ERR DB index is out of range +OK
        > GET a
        $1 1
        ",
    );
}
