//! Taking out the lowest and highest.

use crate::core::command::testing::story;

#[test]
fn popping() {
    story(
        r#"
        > ZADD z 1 a 2 b 3 c 4 d
        (integer) 4
        > ZPOPMIN z
        1) "a"
        2) (double) 1
        ! zpopmin z
        > ZPOPMAX z
        1) "d"
        2) (double) 4
        > ZPOPMIN z 0
        (empty array)
        > ZPOPMIN z -1
        (error) ERR value is out of range, must be positive
        > ZPOPMIN z x
        (error) ERR value is out of range, must be positive
        > ZPOPMIN z 1 2
        (error) ERR syntax error
        > ZPOPMAX z 5
        1) 1) "c"
           2) (double) 3
        2) 1) "b"
           2) (double) 2
        ! zpopmax z, del z
        > ZPOPMIN z
        (empty array)
        > ZPOPMAX z 3
        (empty array)
        > ZADD y 1 a 2 b 3 c
        (integer) 3
        > ZMPOP 2 z y MIN
        1) "y"
        2) 1) 1) "a"
              2) (double) 1
        > ZMPOP 2 z y MAX COUNT 5
        1) "y"
        2) 1) 1) "c"
              2) (double) 3
           2) 1) "b"
              2) (double) 2
        ! zpopmax y, del y
        > ZMPOP 2 z y MAX COUNT 5
        (nil)
        > ZMPOP 0 z MIN
        (error) ERR numkeys should be greater than 0
        > ZMPOP x z MIN
        (error) ERR numkeys should be greater than 0
        > ZMPOP 1 z
        (error) ERR wrong number of arguments for 'zmpop' command
        > ZMPOP 1 z MID
        (error) ERR syntax error
        > ZMPOP 2 z MIN
        (error) ERR syntax error
        > ZMPOP 1 z MIN COUNT 0
        (error) ERR count should be greater than 0
        > ZMPOP 1 z MIN COUNT
        (error) ERR syntax error
        > ZMPOP 1 z MIN COUNT 1 COUNT 1
        (error) ERR syntax error
        > ZMPOP 1 z MIN LIMIT 1
        (error) ERR syntax error
        > SET s text
        OK
        > ZPOPMIN s
        (error) WRONGTYPE Operation against a key holding the wrong kind of value
        > ZMPOP 2 z s MIN
        (error) WRONGTYPE Operation against a key holding the wrong kind of value
        > BZPOPMIN z s 0
        (error) WRONGTYPE Operation against a key holding the wrong kind of value
        > BZPOPMIN z y 1.5
        (blocks)
        (nil)
        > BZPOPMAX z 0
        (blocks)
        (nil)
        > BZMPOP 0 2 z y MIN COUNT 3
        (blocks)
        (nil)
        > BZPOPMIN z x
        (error) ERR timeout is not a float or out of range
        > BZPOPMIN z -1
        (error) ERR timeout is negative
        > BZMPOP x 1 z MIN
        (error) ERR timeout is not a float or out of range
        > BZMPOP -1 1 z MIN
        (error) ERR timeout is negative
        > BZMPOP 1 0 z MIN
        (error) ERR numkeys should be greater than 0
        > BZMPOP 1 1 z MID
        (error) ERR syntax error
        > ZADD z 1 a 2 b
        (integer) 2
        > BZPOPMAX none z 0
        1) "z"
        2) "b"
        3) (double) 2
        ! zpopmax z
        > BZPOPMIN none z 0
        1) "z"
        2) "a"
        3) (double) 1
        > ZADD z 1 a 2 b
        (integer) 2
        > BZMPOP 1 2 none z MAX COUNT 2
        1) "z"
        2) 1) 1) "b"
              2) (double) 2
           2) 1) "a"
              2) (double) 1
        "#,
    );
}
