//! Adding, looking, taking out; members by chance; scanning.

use crate::core::command::testing::story;

#[test]
fn adding() {
    story(
        r#"
        > ZADD z 1 a 2 b
        (integer) 2
        ! new z, zadd z
        > ZADD z 1 a
        (integer) 0
        > ZADD z CH 3 a 4 c 2 b
        (integer) 2
        > ZADD z NX 9 a 5 d
        (integer) 1
        > ZADD z XX 9 a 9 e
        (integer) 0
        > ZADD z GT CH 8 a 10 b
        (integer) 1
        > ZADD z LT CH 8 a 11 b
        (integer) 1
        > ZADD z GT 1 new
        (integer) 1
        > ZADD z INCR 1.5 a
        (double) 9.5
        ! zincr z
        > ZADD z INCR NX 1 a
        (nil)
        > ZADD z XX INCR 1 none
        (nil)
        > ZADD none XX 1 a
        (integer) 0
        > ZADD none XX INCR 1 a
        (nil)
        > ZRANGE z 0 -1 WITHSCORES
        1) 1) "new"
           2) (double) 1
        2) 1) "c"
           2) (double) 4
        3) 1) "d"
           2) (double) 5
        4) 1) "a"
           2) (double) 9.5
        5) 1) "b"
           2) (double) 10
        > ZINCRBY z -0.5 a
        (double) 9
        ! zincr z
        > ZINCRBY i inf a
        (double) inf
        > ZINCRBY i -inf a
        (error) ERR resulting score is not a number (NaN)
        > ZADD i INCR -inf a
        (error) ERR resulting score is not a number (NaN)
        > ZSCORE i a
        (double) inf
        > ZADD z XX NX 1 a
        (error) ERR XX and NX options at the same time are not compatible
        > ZADD z GT LT 1 a
        (error) ERR GT, LT, and/or NX options at the same time are not compatible
        > ZADD z NX GT 1 a
        (error) ERR GT, LT, and/or NX options at the same time are not compatible
        > ZADD z INCR 1 a 2 b
        (error) ERR INCR option supports a single increment-element pair
        > ZADD z 1
        (error) ERR wrong number of arguments for 'zadd' command
        > ZADD z 1 a 2
        (error) ERR syntax error
        > ZADD z CH 1
        (error) ERR syntax error
        > ZADD z x a
        (error) ERR value is not a valid float
        > ZADD z nan a
        (error) ERR value is not a valid float
        > ZADD z 1 a x b
        (error) ERR value is not a valid float
        > ZINCRBY z x a
        (error) ERR value is not a valid float
        > ZADD n -0 x
        (integer) 1
        > ZSCORE n x
        (double) 0
        > ZADD n 0 x
        (integer) 0
        > ZSCORE n x
        (double) 0
        > SET s text
        OK
        > ZADD s 1 a
        (error) WRONGTYPE Operation against a key holding the wrong kind of value
        > ZINCRBY s 1 a
        (error) WRONGTYPE Operation against a key holding the wrong kind of value
        "#,
    );
}

#[test]
fn looking() {
    story(
        r#"
        > ZADD z 1 a 2 b 2.5 c inf d -inf e
        (integer) 5
        > ZCARD z
        (integer) 5
        > ZCARD none
        (integer) 0
        > ZSCORE z c
        (double) 2.5
        > ZSCORE z none
        (nil)
        > ZSCORE none c
        (nil)
        > ZMSCORE z a none e
        1) (double) 1
        2) (nil)
        3) (double) -inf
        > ZMSCORE none a
        1) (nil)
        > ZRANK z b
        (integer) 2
        > ZRANK z none
        (nil)
        > ZRANK none b
        (nil)
        > ZREVRANK z b
        (integer) 2
        > ZREVRANK none b
        (nil)
        > ZRANK z b WITHSCORE
        1) (integer) 2
        2) (double) 2
        > ZREVRANK z e WITHSCORE
        1) (integer) 4
        2) (double) -inf
        > ZRANK z none WITHSCORE
        (nil)
        > ZRANK z b SCORE
        (error) ERR syntax error
        > ZRANK z b WITHSCORE WITHSCORE
        (error) ERR wrong number of arguments for 'zrank' command
        > ZREM z a none b
        (integer) 2
        ! zrem z
        > ZREM z none
        (integer) 0
        > ZREM z c d e
        (integer) 3
        ! zrem z, del z
        > ZREM z c
        (integer) 0
        "#,
    );
}

#[test]
fn chance() {
    story(
        r#"
        > ZRANDMEMBER z
        (nil)
        > ZRANDMEMBER z 2
        (empty array)
        > ZRANDMEMBER z 2 WITHSCORES
        (empty array)
        > ZADD z 1.5 a
        (integer) 1
        > ZRANDMEMBER z
        "a"
        > ZRANDMEMBER z 3
        1) "a"
        > ZRANDMEMBER z -2
        1) "a"
        2) "a"
        > ZRANDMEMBER z -2 WITHSCORES
        1) 1) "a"
           2) (double) 1.5
        2) 1) "a"
           2) (double) 1.5
        > ZRANDMEMBER z 0
        (empty array)
        > ZRANDMEMBER z x
        (error) ERR value is not an integer or out of range
        > ZRANDMEMBER z 1 SCORES
        (error) ERR syntax error
        > ZRANDMEMBER z 9223372036854775807 WITHSCORES
        (error) ERR value is out of range
        > ZRANDMEMBER z -9223372036854775808
        (error) ERR value is out of range, value must between -9223372036854775807 and 9223372036854775807
        "#,
    );
}

#[test]
fn scanning() {
    story(
        r#"
        > ZSCAN none 0
        1) "0"
        2) (empty array)
        > ZADD z 1.5 ab 2 cd 1 ac
        (integer) 3
        > ZSCAN z 0
        1) "0"
        2) 1) "ac"
           2) "1"
           3) "ab"
           4) "1.5"
           5) "cd"
           6) "2"
        > ZSCAN z 0 MATCH a* COUNT 1
        1) "0"
        2) 1) "ac"
           2) "1"
           3) "ab"
           4) "1.5"
        > ZSCAN z x
        (error) ERR invalid cursor
        > ZSCAN z 0 COUNT 0
        (error) ERR syntax error
        > ZSCAN z 0 JUNK
        (error) ERR syntax error
        "#,
    );
}

#[test]
fn other_types_are_refused() {
    story(
        r#"
        > SET t text
        OK
        > ZCARD t
        (error) WRONGTYPE Operation against a key holding the wrong kind of value
        > ZSCORE t a
        (error) WRONGTYPE Operation against a key holding the wrong kind of value
        > ZRANGE t 0 -1
        (error) WRONGTYPE Operation against a key holding the wrong kind of value
        > ZRANGESTORE d t 0 -1
        (error) WRONGTYPE Operation against a key holding the wrong kind of value
        > ZRANK t a
        (error) WRONGTYPE Operation against a key holding the wrong kind of value
        > ZCOUNT t 0 1
        (error) WRONGTYPE Operation against a key holding the wrong kind of value
        > ZREM t a
        (error) WRONGTYPE Operation against a key holding the wrong kind of value
        > ZREMRANGEBYRANK t 0 1
        (error) WRONGTYPE Operation against a key holding the wrong kind of value
        > ZRANDMEMBER t 1
        (error) WRONGTYPE Operation against a key holding the wrong kind of value
        > ZSCAN t 0
        (error) WRONGTYPE Operation against a key holding the wrong kind of value
        "#,
    );
}
