//! Ranges.

use crate::core::command::testing::story;

#[test]
fn ranks() {
    story(
        r#"
        > ZADD z 1 a 2 b 3 c 4 d
        (integer) 4
        > ZRANGE z 0 -1
        1) "a"
        2) "b"
        3) "c"
        4) "d"
        > ZRANGE z 1 2 WITHSCORES
        1) 1) "b"
           2) (double) 2
        2) 1) "c"
           2) (double) 3
        > ZRANGE z -2 -1
        1) "c"
        2) "d"
        > ZRANGE z 5 10
        (empty array)
        > ZRANGE z 3 1
        (empty array)
        > ZRANGE z 0 1 REV
        1) "d"
        2) "c"
        > ZRANGE z 0 1 REV WITHSCORES
        1) 1) "d"
           2) (double) 4
        2) 1) "c"
           2) (double) 3
        > ZREVRANGE z 0 0
        1) "d"
        > ZREVRANGE z -1 -1 WITHSCORES
        1) 1) "a"
           2) (double) 1
        > ZRANGE none 0 -1
        (empty array)
        > ZRANGE z x 1
        (error) ERR value is not an integer or out of range
        > ZRANGE z 0 1 LIMIT 0 1
        (error) ERR syntax error, LIMIT is only supported in combination with either BYSCORE or BYLEX
        > ZRANGE z 0 1 LIMIT 0 -1
        1) "a"
        2) "b"
        > ZRANGE z 0 1 LIMIT 0
        (error) ERR syntax error
        > ZRANGE z 0 1 LIMIT x 1
        (error) ERR value is not an integer or out of range
        > ZRANGE z 0 1 BYSCORE BYLEX
        (error) ERR syntax error
        > ZREVRANGE z 0 1 REV
        (error) ERR syntax error
        > ZREVRANGE z 0 1 BYSCORE
        (error) ERR syntax error
        > ZREVRANGE z 0 1 LIMIT 1 1
        (error) ERR syntax error, LIMIT is only supported in combination with either BYSCORE or BYLEX
        > ZREMRANGEBYRANK z 0 1
        (integer) 2
        ! zremrangebyrank z
        > ZREMRANGEBYRANK z 5 9
        (integer) 0
        > ZREMRANGEBYRANK z 0 -1
        (integer) 2
        ! zremrangebyrank z, del z
        "#,
    );
}

#[test]
fn scores() {
    story(
        r#"
        > ZADD z 1 a 2 b 3 c 4 d inf e
        (integer) 5
        > ZRANGE z 2 3 BYSCORE
        1) "b"
        2) "c"
        > ZRANGE z (2 3 BYSCORE WITHSCORES
        1) 1) "c"
           2) (double) 3
        > ZRANGE z 3 (2 BYSCORE REV
        1) "c"
        > ZRANGE z 2 3 BYSCORE REV
        (empty array)
        > ZRANGEBYSCORE z -inf +inf
        1) "a"
        2) "b"
        3) "c"
        4) "d"
        5) "e"
        > ZRANGEBYSCORE z (4 inf
        1) "e"
        > ZRANGEBYSCORE z -inf (inf LIMIT 1 2
        1) "b"
        2) "c"
        > ZRANGEBYSCORE z 0 9 LIMIT 1 -1
        1) "b"
        2) "c"
        3) "d"
        > ZRANGEBYSCORE z 0 9 LIMIT 9 1
        (empty array)
        > ZRANGEBYSCORE z 0 9 LIMIT -1 2
        (empty array)
        > ZRANGEBYSCORE z 0 9 LIMIT 0 0
        (empty array)
        > ZREVRANGEBYSCORE z 3 1 WITHSCORES LIMIT 1 1
        1) 1) "b"
           2) (double) 2
        > ZREVRANGEBYSCORE z 3 1 LIMIT 0 2 WITHSCORES
        1) 1) "c"
           2) (double) 3
        2) 1) "b"
           2) (double) 2
        > ZRANGEBYSCORE z x 1
        (error) ERR min or max is not a float
        > ZRANGEBYSCORE z 1 (x
        (error) ERR min or max is not a float
        > ZRANGEBYSCORE z nan 1
        (error) ERR min or max is not a float
        > ZCOUNT z (1 3
        (integer) 2
        > ZCOUNT z 9 1
        (integer) 0
        > ZCOUNT none 0 1
        (integer) 0
        > ZCOUNT z x 1
        (error) ERR min or max is not a float
        > ZREMRANGEBYSCORE z x 1
        (error) ERR min or max is not a float
        > ZREMRANGEBYSCORE z (1 3
        (integer) 2
        ! zremrangebyscore z
        > ZREMRANGEBYSCORE none 1 3
        (integer) 0
        > ZRANGE z 0 -1
        1) "a"
        2) "d"
        3) "e"
        "#,
    );
}

#[test]
fn bytes() {
    story(
        r#"
        > ZADD z 0 a 0 b 0 c 0 d
        (integer) 4
        > ZRANGE z [b (d BYLEX
        1) "b"
        2) "c"
        > ZRANGE z (d [b BYLEX REV
        1) "c"
        2) "b"
        > ZRANGEBYLEX z - +
        1) "a"
        2) "b"
        3) "c"
        4) "d"
        > ZRANGEBYLEX z - (c LIMIT 1 5
        1) "b"
        > ZREVRANGEBYLEX z + [c
        1) "d"
        2) "c"
        > ZREVRANGEBYLEX z - +
        (empty array)
        > ZRANGEBYLEX z + -
        (empty array)
        > ZRANGEBYLEX z b +
        (error) ERR min or max not valid string range item
        > ZRANGEBYLEX z -x +
        (error) ERR min or max not valid string range item
        > ZRANGEBYLEX z - [b WITHSCORES
        (error) ERR syntax error, WITHSCORES not supported in combination with BYLEX
        > ZRANGE z - + BYLEX WITHSCORES
        (error) ERR syntax error, WITHSCORES not supported in combination with BYLEX
        > ZLEXCOUNT z - +
        (integer) 4
        > ZLEXCOUNT z (a [c
        (integer) 2
        > ZLEXCOUNT z x y
        (error) ERR min or max not valid string range item
        > ZREMRANGEBYLEX z x y
        (error) ERR min or max not valid string range item
        > ZREMRANGEBYLEX z [a (c
        (integer) 2
        ! zremrangebylex z
        > ZRANGE z 0 -1
        1) "c"
        2) "d"
        "#,
    );
}

#[test]
fn keeping_ranges() {
    story(
        r#"
        > ZADD z 1 a 2 b 3 c 4 d
        (integer) 4
        > SET d text EX 10
        OK
        > ZRANGESTORE d z 1 2
        (integer) 2
        ! zrangestore d
        > ZRANGE d 0 -1 WITHSCORES
        1) 1) "b"
           2) (double) 2
        2) 1) "c"
           2) (double) 3
        > ZRANGESTORE d z 1 2 BYSCORE
        (integer) 2
        > ZRANGE d 0 -1
        1) "a"
        2) "b"
        > ZRANGESTORE d z 4 2 BYSCORE REV LIMIT 0 1
        (integer) 1
        > ZRANGE d 0 -1
        1) "d"
        > ZRANGESTORE z z 0 1 REV
        (integer) 2
        > ZRANGE z 0 -1
        1) "c"
        2) "d"
        > ZRANGESTORE d z 5 6
        (integer) 0
        ! del d
        > ZRANGESTORE d none 0 1
        (integer) 0
        > ZRANGESTORE d z 0 1 WITHSCORES
        (error) ERR syntax error
        > ZRANGESTORE d z x 1
        (error) ERR value is not an integer or out of range
        "#,
    );
}
