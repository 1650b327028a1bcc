//! What scripts call, and what is known of it afterwards.

use atoll_base::id::NodeId;

use super::*;
use crate::core::acl::{Caller, User};

#[test]
fn it_is_told_whether_a_script_read_and_whose_error_it_answers() {
    let mut machine = Machine::default();
    machine.apply(at(1_000, 1), &call_of("SET k x"));
    for (code, has_read, is_counted) in [
        ("return 1", false, false),
        ("return redis.call('set', 'k', 'x')", false, false),
        ("return redis.call('get', 'k')", true, false),
        ("return redis.call('incr', 'k')", false, true),
        ("return redis.pcall('incr', 'k')", false, true),
        ("redis.pcall('incr', 'k') return 1", false, false),
        ("redis.pcall('incr', 'k') error('mine')", false, false),
        (
            "return redis.call('nosuch', redis.call('get', 'k'))",
            true,
            true,
        ),
    ] {
        let told = match eval(&mut machine, code) {
            Answered::Ran {
                facts, answered, ..
            } => {
                let again = Answered::Ran {
                    answered,
                    publications: Vec::new(),
                    facts,
                };
                assert_eq!(Answered::decode(again.encode()), Ok(again));
                facts
            }
            _ => Facts::default(),
        };
        let expected = Facts {
            has_read,
            is_counted,
        };
        assert_eq!(told, expected, "{code}");
    }
}

#[test]
fn what_a_script_comes_with_is_logged_with_what_it_came_to() {
    let mut machine = Machine::default();
    machine.keep_changes(true);
    let terms = Terms {
        packing: None,
        author: Some(Author {
            node: NodeId(1),
            client: 7,
        }),
    };
    let code = "redis.call('set', 'k', 1)";
    let operation = Operation::Script(script(code, "k", vec![])).encode();
    let operation = Operation::with_terms(operation, &terms);
    assert!(machine.is_decided(&operation));
    let decided = machine.decide(at(1_000, 1), &operation);
    assert!(!machine.is_decided(&decided));
    machine.apply(at(1_000, 1), &decided);
    let changes = machine.take_changes();
    assert_eq!(changes.len(), 1);
    assert_eq!(changes[0].author, terms.author);
}

#[test]
fn a_set_has_an_order_for_scripts() {
    let mut machine = Machine::default();
    machine.apply(at(1_000, 1), &call_of("SADD k c a b 10"));
    let code = "return redis.call('sort', 'k', 'by', 'nosort')";
    let sorted = ["10", "a", "b", "c"].map(Reply::bulk).to_vec();
    let told = eval(&mut machine, code).plain();
    assert_eq!(told, Answered::Reply(Reply::Array(sorted)));
}

#[test]
fn what_scripts_call_is_held_against_rules() {
    let mut machine = Machine::default();
    let mut rules = User::nothing();
    rules.apply(&words("+set +select ~k")).unwrap();
    let told = |machine: &mut Machine, code: &str| {
        let limited = Script {
            caller: Some(Caller {
                name: "bob".into(),
                rules: Arc::new(rules.clone()),
            }),
            ..script(code, "k", vec![])
        };
        let operation = Operation::Script(limited);
        assert_eq!(Operation::decode(operation.encode()), Ok(operation.clone()));
        run(machine, at(1_000, 1), operation).plain()
    };
    assert_eq!(
        told(&mut machine, "return redis.call('set', 'k', 1)"),
        Answered::Reply(Reply::Simple("OK".into()))
    );
    for code in [
        "return redis.call('get', 'k')",
        "return redis.pcall('set', 'other', 1)",
        "return redis.call('publish', 'c', 'm')",
        "return redis.call('time')",
    ] {
        let refused = told(&mut machine, code);
        assert!(
            text(&refused).starts_with("NOPERM ACL failure in script: "),
            "{code}: {refused:?}"
        );
    }
    let may = "return {redis.acl_check_cmd('set', 'k', 1), redis.acl_check_cmd('set', 'j', 1)}";
    assert_eq!(
        told(&mut machine, may),
        Answered::Reply(Reply::Array(vec![Reply::Integer(1), Reply::Null]))
    );
    // Whoever runs the next one may do what that one may.
    let next = eval(&mut machine, "return redis.call('set', 'other', 1)");
    assert_eq!(next, Answered::Reply(Reply::Simple("OK".into())));
}

fn call_of(text: &str) -> Bytes {
    let call = Call {
        database: 0,
        words: words(text),
    };
    Operation::Call(call).encode()
}
