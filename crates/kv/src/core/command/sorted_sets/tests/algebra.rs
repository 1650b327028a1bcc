//! Unions, intersections and differences.

use crate::core::command::testing::story;

#[test]
fn algebra() {
    story(
        r#"
        > ZADD a 1 x 2 y 3 z
        (integer) 3
        > ZADD b 10 y 20 z 30 w
        (integer) 3
        > SADD s y w
        (integer) 2
        > ZUNION 2 a b
        1) "x"
        2) "y"
        3) "z"
        4) "w"
        > ZUNION 2 a b WITHSCORES
        1) 1) "x"
           2) (double) 1
        2) 1) "y"
           2) (double) 12
        3) 1) "z"
           2) (double) 23
        4) 1) "w"
           2) (double) 30
        > ZUNION 2 a b WEIGHTS 2 0.5 WITHSCORES
        1) 1) "x"
           2) (double) 2
        2) 1) "y"
           2) (double) 9
        3) 1) "w"
           2) (double) 15
        4) 1) "z"
           2) (double) 16
        > ZUNION 2 a b AGGREGATE MIN WITHSCORES
        1) 1) "x"
           2) (double) 1
        2) 1) "y"
           2) (double) 2
        3) 1) "z"
           2) (double) 3
        4) 1) "w"
           2) (double) 30
        > ZUNION 3 a s none AGGREGATE max WITHSCORES
        1) 1) "w"
           2) (double) 1
        2) 1) "x"
           2) (double) 1
        3) 1) "y"
           2) (double) 2
        4) 1) "z"
           2) (double) 3
        > ZINTER 2 a b WITHSCORES
        1) 1) "y"
           2) (double) 12
        2) 1) "z"
           2) (double) 23
        > ZINTER 3 a b s WITHSCORES
        1) 1) "y"
           2) (double) 13
        > ZINTER 2 a none
        (empty array)
        > ZINTER 2 a b WEIGHTS 1 -1 AGGREGATE MAX WITHSCORES
        1) 1) "y"
           2) (double) 2
        2) 1) "z"
           2) (double) 3
        > ZDIFF 2 a b WITHSCORES
        1) 1) "x"
           2) (double) 1
        > ZDIFF 1 s WITHSCORES
        1) 1) "w"
           2) (double) 1
        2) 1) "y"
           2) (double) 1
        > ZDIFF 2 none a
        (empty array)
        > ZINTERCARD 2 a b
        (integer) 2
        > ZINTERCARD 2 a b LIMIT 1
        (integer) 1
        > ZINTERCARD 2 a b LIMIT 0
        (integer) 2
        > ZINTERCARD 2 a b LIMIT -1
        (error) ERR LIMIT can't be negative
        > ZINTERCARD 2 a b WITHSCORES
        (error) ERR syntax error
        > ZUNIONSTORE d 2 a b WEIGHTS 1 2
        (integer) 4
        ! new d, zunionstore d
        > ZRANGE d 0 -1 WITHSCORES
        1) 1) "x"
           2) (double) 1
        2) 1) "y"
           2) (double) 22
        3) 1) "z"
           2) (double) 43
        4) 1) "w"
           2) (double) 60
        > ZINTERSTORE d 2 d a AGGREGATE MIN
        (integer) 3
        ! zinterstore d
        > ZRANGE d 0 -1 WITHSCORES
        1) 1) "x"
           2) (double) 1
        2) 1) "y"
           2) (double) 2
        3) 1) "z"
           2) (double) 3
        > ZDIFFSTORE d 2 a d
        (integer) 0
        ! del d
        > ZDIFFSTORE d 2 a b
        (integer) 1
        ! new d, zdiffstore d
        > ZINTERSTORE d 2 a none
        (integer) 0
        ! del d
        > ZUNIONSTORE d 0 a
        (error) ERR at least 1 input key is needed for 'zunionstore' command
        > ZUNION 0 a
        (error) ERR at least 1 input key is needed for 'zunion' command
        > ZINTERCARD 0 a
        (error) ERR at least 1 input key is needed for 'zintercard' command
        > ZUNION x a
        (error) ERR value is not an integer or out of range
        > ZUNION 3 a b
        (error) ERR syntax error
        > ZUNION 2 a b WEIGHTS 1
        (error) ERR syntax error
        > ZUNION 2 a b WEIGHTS 1 x
        (error) ERR weight value is not a float
        > ZUNION 2 a b AGGREGATE AVG
        (error) ERR syntax error
        > ZUNION 2 a b AGGREGATE
        (error) ERR syntax error
        > ZUNIONSTORE d 2 a b WITHSCORES
        (error) ERR syntax error
        > ZDIFF 2 a b WEIGHTS 1 2
        (error) ERR syntax error
        > ZADD i inf x
        (integer) 1
        > ZADD j -inf x
        (integer) 1
        > ZUNION 2 i j WITHSCORES
        1) 1) "x"
           2) (double) 0
        > ZUNION 1 i WEIGHTS 0 WITHSCORES
        1) 1) "x"
           2) (double) 0
        > ZINTER 2 i j WITHSCORES
        1) 1) "x"
           2) (double) 0
        > ZINTER 2 a i WEIGHTS 1 0 AGGREGATE MIN WITHSCORES
        1) 1) "x"
           2) (double) 0
        > SET t text
        OK
        > ZUNION 2 a t JUNK
        (error) WRONGTYPE Operation against a key holding the wrong kind of value
        > ZUNIONSTORE d 2 a t
        (error) WRONGTYPE Operation against a key holding the wrong kind of value
        "#,
    );
}
