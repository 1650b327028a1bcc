//! Stories of sets.

use crate::core::command::testing::story;

#[test]
fn adding_and_taking_out() {
    story(
        r#"
        > SADD s b a b
        (integer) 2
        ! new s, sadd s
        > SADD s a
        (integer) 0
        > SMEMBERS s
        1~ "b"
        2~ "a"
        > SCARD s
        (integer) 2
        > SISMEMBER s a
        (integer) 1
        > SMISMEMBER s a x b
        1) (integer) 1
        2) (integer) 0
        3) (integer) 1
        > SREM s x
        (integer) 0
        > SREM s a b x
        (integer) 2
        ! srem s, del s
        > SMEMBERS s
        (empty set)
        > SCARD s
        (integer) 0
        > SMISMEMBER s a
        1) (integer) 0
        > SREM s a
        (integer) 0
        > SADD n 10 9 -1
        (integer) 3
        > SMEMBERS n
        1~ "-1"
        2~ "9"
        3~ "10"
        "#,
    );
}

#[test]
fn other_types_are_refused() {
    story(
        r#"
        > SET a 1
        OK
        > SADD s x
        (integer) 1
        > SADD a x
        (error) WRONGTYPE Operation against a key holding the wrong kind of value
        > SREM a x
        (error) WRONGTYPE Operation against a key holding the wrong kind of value
        > SPOP a
        (error) WRONGTYPE Operation against a key holding the wrong kind of value
        > SINTER none a
        (error) WRONGTYPE Operation against a key holding the wrong kind of value
        > SUNIONSTORE d s a
        (error) WRONGTYPE Operation against a key holding the wrong kind of value
        > SMOVE s a y
        (error) WRONGTYPE Operation against a key holding the wrong kind of value
        > SMOVE none a y
        (integer) 0
        > SSCAN a 0
        (error) WRONGTYPE Operation against a key holding the wrong kind of value
        > SADD s
        (error) ERR wrong number of arguments for 'sadd' command
        "#,
    );
}

#[test]
fn moving() {
    story(
        r#"
        > SADD a x y
        (integer) 2
        > SADD b y
        (integer) 1
        > SMOVE a b z
        (integer) 0
        > SMOVE a b x
        (integer) 1
        ! srem a, sadd b
        > SMOVE a b y
        (integer) 1
        ! srem a, del a
        > SMEMBERS b
        1~ "y"
        2~ "x"
        > SMOVE b b x
        (integer) 1
        > SMOVE b c x
        (integer) 1
        ! srem b, new c, sadd c
        "#,
    );
}

#[test]
fn popping() {
    story(
        r#"
        > SPOP s
        (nil)
        > SPOP s 1
        (empty set)
        > SADD s a
        (integer) 1
        > SPOP s 0
        (empty set)
        > SPOP s -1
        (error) ERR value is out of range, must be positive
        > SPOP s x
        (error) ERR value is out of range, must be positive
        > SPOP s 1 2
        (error) ERR syntax error
        > SPOP s
        "a"
        ! spop s, del s
        > SADD s 1 2 3
        (integer) 3
        > SPOP s 5
        1~ "3"
        2~ "2"
        3~ "1"
        ! spop s, del s
        > SADD s 1 2 3
        (integer) 3
        > SPOP s 2
        1~ "2"
        2~ "3"
        ! spop s
        > SMEMBERS s
        1~ "1"
        "#,
    );
}

#[test]
fn looking_by_chance() {
    story(
        r#"
        > SRANDMEMBER s
        (nil)
        > SRANDMEMBER s 2
        (empty array)
        > SADD s a
        (integer) 1
        > SRANDMEMBER s
        "a"
        > SRANDMEMBER s -3
        1) "a"
        2) "a"
        3) "a"
        > SRANDMEMBER s 3
        1) "a"
        > SRANDMEMBER s 0
        (empty array)
        > SRANDMEMBER s x
        (error) ERR value is not an integer or out of range
        > SRANDMEMBER s -9223372036854775808
        (error) ERR value is out of range, value must between -9223372036854775807 and 9223372036854775807
        > SRANDMEMBER s -1048577
        (error) ERR value is out of range
        > SRANDMEMBER s 1 2
        (error) ERR syntax error
        "#,
    );
}

#[test]
fn algebra() {
    story(
        r#"
        > SADD a 1 2 3 4
        (integer) 4
        > SADD b 3 4 5
        (integer) 3
        > SADD c 4 x
        (integer) 2
        > SINTER a b c
        1~ "4"
        > SINTER a b none
        (empty set)
        > SUNION a c none
        1~ "1"
        2~ "2"
        3~ "3"
        4~ "4"
        5~ "x"
        > SDIFF a b c
        1~ "1"
        2~ "2"
        > SDIFF none a
        (empty set)
        > SDIFF a a
        (empty set)
        > SINTERCARD 2 a b
        (integer) 2
        > SINTERCARD 2 a b LIMIT 1
        (integer) 1
        > SINTERCARD 2 a b LIMIT 0
        (integer) 2
        > SINTERCARD 2 a none
        (integer) 0
        > SINTERCARD 0 a
        (error) ERR numkeys should be greater than 0
        > SINTERCARD x a
        (error) ERR numkeys should be greater than 0
        > SINTERCARD 3 a b
        (error) ERR Number of keys can't be greater than number of args
        > SINTERCARD 1 a LIMIT -1
        (error) ERR LIMIT can't be negative
        > SINTERCARD 1 a LIMIT
        (error) ERR syntax error
        > SINTERCARD 1 a b
        (error) ERR syntax error
        "#,
    );
}

#[test]
fn keeping_results() {
    story(
        r#"
        > SADD a 1 2 3
        (integer) 3
        > SADD b 3 4
        (integer) 2
        > SET d text EX 10
        OK
        > SUNIONSTORE d a b
        (integer) 4
        ! sunionstore d
        @ 20000
        > SCARD d
        (integer) 4
        > SINTERSTORE a a b
        (integer) 1
        ! sinterstore a
        > SMEMBERS a
        1~ "3"
        > SDIFFSTORE d a b
        (integer) 0
        ! del d
        > SDIFFSTORE d a b
        (integer) 0
        > SINTERSTORE d a none
        (integer) 0
        > SDIFFSTORE e b a
        (integer) 1
        ! new e, sdiffstore e
        "#,
    );
}

#[test]
fn scanning() {
    let members: Vec<String> = (0..600).map(|number| number.to_string()).collect();
    let story_of_many = format!(
        r#"
        > SADD s {}
        (integer) 600
        > SSCAN s 0 COUNT 2
        1) "598"
        2) 1) "599"
           2) "598"
        > SREM s 3
        (integer) 1
        > SSCAN s 5 COUNT 100
        1) "0"
        2) 1) "4"
           2) "599"
           3) "2"
           4) "1"
           5) "0"
        > SSCAN s 99999999999 MATCH 59[67] COUNT 3
        1) "596"
        2) 1) "597"
           2) "596"
        "#,
        members.join(" ")
    );
    story(&story_of_many);
    story(
        r#"
        > SSCAN s 0 JUNK
        1) "0"
        2) (empty array)
        > SSCAN s x
        (error) ERR invalid cursor
        > SADD s ab cd
        (integer) 2
        > SSCAN s 0 COUNT 1
        1) "0"
        2) 1) "ab"
           2) "cd"
        > SSCAN s 0 MATCH a*
        1) "0"
        2) 1) "ab"
        > SSCAN s 0 COUNT 0
        (error) ERR syntax error
        > SSCAN s 0 COUNT x
        (error) ERR value is not an integer or out of range
        > SSCAN s 0 MATCH
        (error) ERR syntax error
        > SSCAN s 0 NOVALUES
        (error) ERR syntax error
        "#,
    );
}
