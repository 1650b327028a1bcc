use bytes::Bytes;

use super::keys;
use crate::core::command::testing::story;

#[test]
fn by_themselves() {
    story(
        r#"
        > SORT missing
        (empty array)
        > RPUSH list 3 1 2 10 -0.5
        (integer) 5
        > SORT list
        1) "-0.5"
        2) "1"
        3) "2"
        4) "3"
        5) "10"
        > SORT list DESC LIMIT 1 2
        1) "3"
        2) "2"
        > SORT_RO list ALPHA
        1) "-0.5"
        2) "1"
        3) "10"
        4) "2"
        5) "3"
        > SORT list LIMIT -5 1
        1) "-0.5"
        > SORT list LIMIT 4 -1
        1) "10"
        > SORT list LIMIT 5 1
        (empty array)
        > SORT list LIMIT 1 0
        (empty array)
        > ZADD zset 1 b 2 c 3 a
        (integer) 3
        > SORT zset ALPHA DESC
        1) "c"
        2) "b"
        3) "a"
        > SORT zset BY nothing DESC
        1) "a"
        2) "c"
        3) "b"
        > SORT zset BY nothing BY weight_*
        1) "b"
        2) "c"
        3) "a"
        > SORT list BY nothing DESC LIMIT 0 2
        1) "-0.5"
        2) "10"
        > SADD set 10 9
        (integer) 2
        > SORT set
        1) "9"
        2) "10"
        > RPUSH same 1.0 1 01
        (integer) 3
        > SORT same
        1) "01"
        2) "1"
        3) "1.0"
        "#,
    );
}

#[test]
fn by_what_other_keys_hold() {
    story(
        r#"
        > SADD set a b c
        (integer) 3
        > MSET weight_a 3 weight_b 1 name_a x name_b y name_c x
        OK
        > SORT set BY weight_*
        1) "c"
        2) "b"
        3) "a"
        > SORT set BY name_* ALPHA LIMIT 2 1
        1) "b"
        > SORT set BY weight_* DESC GET # GET name_* GET none GET weight_*
        1) "a"
        2) "x"
        3) (nil)
        4) "3"
        5) "b"
        6) "y"
        7) (nil)
        8) "1"
        9) "c"
        10) "x"
        11) (nil)
        12) (nil)
        > HSET h_a size 1 -> 7
        (integer) 2
        > HSET h_b size 3
        (integer) 1
        > HSET h_c size 2
        (integer) 1
        > SORT set BY h_*->size GET h_*->size GET h_*->missing GET h_* GET h_*->
        1) "1"
        2) (nil)
        3) (nil)
        4) (nil)
        5) "2"
        6) (nil)
        7) (nil)
        8) (nil)
        9) "3"
        10) (nil)
        11) (nil)
        12) (nil)
        > SORT set BY name_*
        (error) ERR One or more scores can't be converted into double
        > SORT set
        (error) ERR One or more scores can't be converted into double
        "#,
    );
}

#[test]
fn stored() {
    story(
        r#"
        > SADD set b a c
        (integer) 3
        > SET out x EX 10
        OK
        > SORT set BY nothing STORE out
        (integer) 3
        ! sortstore out
        > LRANGE out 0 -1
        1) "a"
        2) "b"
        3) "c"
        > TTL out
        (integer) -1
        > SORT out ALPHA DESC LIMIT 0 1 GET # GET missing_* STORE out
        (integer) 2
        > LRANGE out 0 -1
        1) "c"
        2) ""
        > SORT missing STORE out
        (integer) 0
        ! del out
        > SORT missing STORE out
        (integer) 0
        !
        "#,
    );
}

#[test]
fn refused() {
    story(
        r#"
        > SET a x
        OK
        > SORT a
        (error) WRONGTYPE Operation against a key holding the wrong kind of value
        > SORT missing LIMIT 1
        (error) ERR syntax error
        > SORT missing LIMIT x
        (error) ERR syntax error
        > SORT missing LIMIT 1 x
        (error) ERR value is not an integer or out of range
        > SORT missing BY
        (error) ERR syntax error
        > SORT missing STORE
        (error) ERR syntax error
        > SORT_RO missing STORE out
        (error) ERR syntax error
        > SORT missing UP
        (error) ERR syntax error
        "#,
    );
}

#[test]
fn numbers_as_c_reads_them() {
    story(
        r#"
        > RPUSH list inf -inf "" " 2" 1e3 -0 0
        (integer) 7
        > SORT list
        1) "-inf"
        2) ""
        3) "-0"
        4) "0"
        5) " 2"
        6) "1e3"
        7) "inf"
        > RPUSH list 1e999
        (integer) 8
        > SORT list
        (error) ERR One or more scores can't be converted into double
        > RPUSH other nan
        (integer) 1
        > SORT other
        (error) ERR One or more scores can't be converted into double
        "#,
    );
}

#[test]
fn which_words_are_keys() {
    let places = |call: &str| {
        let words: Vec<Bytes> = call
            .split(' ')
            .map(|word| Bytes::copy_from_slice(word.as_bytes()))
            .collect();
        keys(&words)
    };
    assert_eq!(places("SORT a"), [1]);
    assert_eq!(places("SORT a BY STORE GET STORE LIMIT STORE 1"), [1]);
    assert_eq!(places("SORT a STORE b ALPHA STORE c"), [1, 6]);
    assert_eq!(places("SORT a STORE b STORE"), [1, 3]);
}
