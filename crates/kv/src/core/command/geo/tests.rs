//! Stories of places. Answers are those of a Redis server, in RESP3
//! (of 8.0 where there are coordinates: 7.4 writes the same numbers with more digits).

use bytes::Bytes;

use crate::core::command::{find, testing::story};

#[test]
fn adding_and_asking() {
    story(
        r#"
        > GEOADD Sicily 13.361389 38.115556 Palermo 15.087269 37.502669 Catania
        (integer) 2
        ! new Sicily, zadd Sicily
        > ZSCORE Sicily Palermo
        (double) 3479099956230698
        > ZSCORE Sicily Catania
        (double) 3479447370796909
        > GEOADD Sicily NX 1 1 Palermo
        (integer) 0
        > GEOADD Sicily XX CH 13.361389 38.115556 Palermo
        (integer) 0
        > GEOADD Sicily CH XX 13.5 38 Palermo 1 1 none
        (integer) 1
        ! zadd Sicily
        > GEOADD Sicily 13.361389 38.115556 Palermo
        (integer) 0
        > GEODIST Sicily Palermo Catania
        "166274.1516"
        > GEODIST Sicily Palermo Catania km
        "166.2742"
        > GEODIST Sicily Palermo Catania MI
        "103.3182"
        > GEODIST Sicily Palermo Catania ft
        "545518.8700"
        > GEODIST Sicily Palermo Palermo
        "0.0000"
        > GEODIST Sicily Foo Bar
        (nil)
        > GEODIST none a b
        (nil)
        > GEODIST Sicily Palermo Catania yd
        (error) ERR unsupported unit provided. please use M, KM, FT, MI
        > GEODIST Sicily Palermo Catania km km
        (error) ERR syntax error
        > GEOPOS Sicily Palermo none
        1) 1) (double) 13.361389338970184
           2) (double) 38.1155563954963
        2) (nil)
        > GEORADIUS Sicily 15 37 200 km WITHCOORD WITHDIST DESC COUNT 1
        1) 1) "Palermo"
           2) "190.4424"
           3) 1) (double) 13.361389338970184
              2) (double) 38.1155563954963
        > GEOHASH Sicily Palermo none Catania
        1) "sqc8b49rny0"
        2) (nil)
        3) "sqdtr74hyu0"
        > GEOHASH none a
        1) (nil)
        > GEOHASH none
        (empty array)
        > GEOPOS none a
        1) (nil)
        > GEOADD Sicily 181 1 a
        (error) ERR invalid longitude,latitude pair 181.000000,1.000000
        > GEOADD Sicily 1 86 a
        (error) ERR invalid longitude,latitude pair 1.000000,86.000000
        > GEOADD Sicily x 1 a
        (error) ERR value is not a valid float
        > GEOADD Sicily 1 1 a 2
        (error) ERR syntax error
        > GEOADD Sicily NX XX 1 1 a
        (error) ERR syntax error
        > GEOADD Sicily NX CH CH
        (error) ERR syntax error
        > GEOADD Sicily 13.361389 38.115556 Palermo x 1 b
        (error) ERR value is not a valid float
        > SET t text
        OK
        > GEOADD t 1 1 a
        (error) WRONGTYPE Operation against a key holding the wrong kind of value
        > GEOPOS t a
        (error) WRONGTYPE Operation against a key holding the wrong kind of value
        > GEODIST t a b
        (error) WRONGTYPE Operation against a key holding the wrong kind of value
        > GEOSEARCH t FROMLONLAT 1 1 BYRADIUS 1 m
        (error) WRONGTYPE Operation against a key holding the wrong kind of value
        > GEORADIUS t 1 1 1 m
        (error) WRONGTYPE Operation against a key holding the wrong kind of value
        "#,
    );
}

#[test]
fn circles() {
    story(
        r#"
        > GEOADD Sicily 13.361389 38.115556 Palermo 15.087269 37.502669 Catania
        (integer) 2
        > GEORADIUS Sicily 15 37 200 km
        1) "Palermo"
        2) "Catania"
        > GEORADIUS Sicily 15 37 200 km WITHDIST
        1) 1) "Palermo"
           2) "190.4424"
        2) 1) "Catania"
           2) "56.4413"
        > GEORADIUS Sicily 15 37 100 km
        1) "Catania"
        > GEORADIUS Sicily 15 37 200 km WITHDIST WITHHASH ASC
        1) 1) "Catania"
           2) "56.4413"
           3) (integer) 3479447370796909
        2) 1) "Palermo"
           2) "190.4424"
           3) (integer) 3479099956230698
        > GEORADIUS Sicily 15 37 200 km DESC COUNT 1
        1) "Palermo"
        > GEORADIUS Sicily 15 37 200 km COUNT 1
        1) "Catania"
        > GEORADIUS Sicily 15 37 200 km COUNT 1 ANY
        1) "Palermo"
        > GEORADIUS_RO Sicily 15 37 200 km ASC
        1) "Catania"
        2) "Palermo"
        > GEOADD Sicily 13.583333 37.316667 Agrigento
        (integer) 1
        > GEORADIUSBYMEMBER Sicily Agrigento 100 km
        1) "Agrigento"
        2) "Palermo"
        > GEORADIUSBYMEMBER_RO Sicily Agrigento 100 km WITHDIST
        1) 1) "Agrigento"
           2) "0.0000"
        2) 1) "Palermo"
           2) "90.9778"
        > GEORADIUSBYMEMBER Sicily none 100 km
        (error) ERR could not decode requested zset member
        > GEORADIUSBYMEMBER none x 100 km
        (empty array)
        > GEORADIUS none 15 37 200 km
        (empty array)
        > GEORADIUS Sicily 15 37 x km
        (error) ERR need numeric radius
        > GEORADIUS Sicily 15 37 -1 km
        (error) ERR radius cannot be negative
        > GEORADIUS Sicily 15 37 1 yd
        (error) ERR unsupported unit provided. please use M, KM, FT, MI
        > GEORADIUS Sicily 15 99 1 km
        (error) ERR invalid longitude,latitude pair 15.000000,99.000000
        > GEORADIUS Sicily 15 37 200 km COUNT 0
        (error) ERR COUNT must be > 0
        > GEORADIUS Sicily 15 37 200 km COUNT x
        (error) ERR value is not an integer or out of range
        > GEORADIUS Sicily 15 37 200 km COUNT
        (error) ERR syntax error
        > GEORADIUS Sicily 15 37 200 km ANY
        (error) ERR the ANY argument requires COUNT argument
        > GEORADIUS Sicily 15 37 200 km JUNK
        (error) ERR syntax error
        > GEORADIUS Sicily 15 37 200 km STORE
        (error) ERR syntax error
        > GEORADIUS Sicily 15 37 200 km WITHDIST STORE d
        (error) ERR STORE option in GEORADIUS is not compatible with WITHDIST, WITHHASH and WITHCOORD options
        > GEORADIUS_RO Sicily 15 37 200 km STORE d
        (error) ERR syntax error
        > GEORADIUS Sicily 15 37 200 km STORE d
        (integer) 3
        ! new d, georadiusstore d
        > ZRANGE d 0 -1 WITHSCORES
        1) 1) "Agrigento"
           2) (double) 3479030013248308
        2) 1) "Palermo"
           2) (double) 3479099956230698
        3) 1) "Catania"
           2) (double) 3479447370796909
        > GEORADIUS Sicily 15 37 100 km STORE e STOREDIST d
        (integer) 1
        ! georadiusstore d
        > ZCARD d
        (integer) 1
        > ZRANGE d 0 -1
        1) "Catania"
        > GEORADIUS Sicily 0 0 100 km STORE d
        (integer) 0
        ! del d
        > GEORADIUS none 0 0 100 km STORE d
        (integer) 0
        > GEORADIUSBYMEMBER Sicily Agrigento 100 km STORE d
        (integer) 2
        ! new d, georadiusstore d
        > ZRANGE d 0 -1
        1) "Agrigento"
        2) "Palermo"
        "#,
    );
}

#[test]
fn searches() {
    story(
        r#"
        > GEOADD Sicily 13.361389 38.115556 Palermo 15.087269 37.502669 Catania
        (integer) 2
        > GEOADD Sicily 12.758489 38.788135 edge1 17.241510 38.788135 edge2
        (integer) 2
        > GEOSEARCH Sicily FROMLONLAT 15 37 BYRADIUS 200 km ASC
        1) "Catania"
        2) "Palermo"
        > GEOSEARCH Sicily FROMLONLAT 15 37 BYBOX 400 400 km ASC WITHDIST
        1) 1) "Catania"
           2) "56.4413"
        2) 1) "Palermo"
           2) "190.4424"
        3) 1) "edge2"
           2) "279.7403"
        4) 1) "edge1"
           2) "279.7405"
        > GEOSEARCH Sicily FROMMEMBER Palermo BYBOX 400 100 km WITHDIST
        1) 1) "Palermo"
           2) "0.0000"
        > GEOSEARCH Sicily FROMLONLAT 15 37 BYBOX 400 400 km COUNT 3 DESC WITHHASH
        1) 1) "edge1"
           2) (integer) 3479273021651468
        2) 1) "edge2"
           2) (integer) 3481342659049484
        3) 1) "Palermo"
           2) (integer) 3479099956230698
        > GEOSEARCH Sicily FROMMEMBER none BYRADIUS 1 m
        (error) ERR could not decode requested zset member
        > GEOSEARCH none FROMMEMBER none BYRADIUS 1 m
        (empty array)
        > GEOSEARCH Sicily FROMLONLAT 15 37 BYBOX 1 x km
        (error) ERR need numeric height
        > GEOSEARCH Sicily FROMLONLAT 15 37 BYBOX x 1 km
        (error) ERR need numeric width
        > GEOSEARCH Sicily FROMLONLAT 15 37 BYBOX 1 -1 km
        (error) ERR height or width cannot be negative
        > GEOSEARCH Sicily FROMLONLAT 15 37 BYBOX 1 1 yd
        (error) ERR unsupported unit provided. please use M, KM, FT, MI
        > GEOSEARCH Sicily FROMLONLAT 15 37 ASC WITHDIST
        (error) ERR exactly one of BYRADIUS and BYBOX can be specified for GEOSEARCH
        > GEOSEARCH Sicily BYRADIUS 1 m ASC WITHDIST
        (error) ERR exactly one of FROMMEMBER or FROMLONLAT can be specified for GEOSEARCH
        > GEOSEARCH Sicily FROMLONLAT 15 37 FROMMEMBER a BYRADIUS 1 m
        (error) ERR syntax error
        > GEOSEARCH Sicily FROMLONLAT 15 37 BYRADIUS 1 m BYBOX 1 1 m
        (error) ERR syntax error
        > GEOSEARCH Sicily FROMLONLAT 15 37 BYRADIUS 1 m STOREDIST
        (error) ERR syntax error
        > GEOSEARCH Sicily FROMLONLAT 15 37 BYRADIUS 1 m STORE d
        (error) ERR syntax error
        > GEOSEARCH Sicily FROMLONLAT 15 37 BYRADIUS 1 m ANY
        (error) ERR the ANY argument requires COUNT argument
        > GEOSEARCHSTORE d Sicily FROMLONLAT 15 37 BYBOX 400 400 km ASC COUNT 3
        (integer) 3
        ! new d, geosearchstore d
        > ZRANGE d 0 -1 WITHSCORES
        1) 1) "Palermo"
           2) (double) 3479099956230698
        2) 1) "Catania"
           2) (double) 3479447370796909
        3) 1) "edge2"
           2) (double) 3481342659049484
        > GEOSEARCHSTORE d Sicily FROMLONLAT 15 37 BYBOX 400 400 km STOREDIST
        (integer) 4
        ! geosearchstore d
        > ZRANGE d 0 -1
        1) "Catania"
        2) "Palermo"
        3) "edge2"
        4) "edge1"
        > GEOSEARCHSTORE d Sicily FROMLONLAT 15 37 BYBOX 400 400 km WITHDIST
        (error) ERR GEOSEARCHSTORE is not compatible with WITHDIST, WITHHASH and WITHCOORD options
        > GEOSEARCHSTORE d none FROMLONLAT 15 37 BYBOX 400 400 km
        (integer) 0
        ! del d
        > GEOSEARCHSTORE d none FROMLONLAT 15 37 BYBOX 400 400 km
        (integer) 0
        > GEOSEARCHSTORE d Sicily BYBOX 400 400 km ASC COUNT 1
        (error) ERR exactly one of FROMMEMBER or FROMLONLAT can be specified for GEOSEARCHSTORE
        "#,
    );
}

#[test]
fn keys_are_where_the_words_say() {
    for (call, places) in [
        ("GEORADIUS k 1 2 3 km", vec![1]),
        ("GEORADIUS k 1 2 3 km STORE d", vec![1, 7]),
        (
            "GEORADIUS k 1 2 3 km STORE d COUNT 1 STOREDIST e",
            vec![1, 11],
        ),
        ("GEORADIUS k 1 2 3 km STORE", vec![1]),
        ("georadiusbymember k STORE 3 km STOREDIST d", vec![1, 6]),
        ("GEORADIUS_RO k 1 2 3 km STORE d", vec![1]),
        ("GEOSEARCHSTORE d k", vec![1, 2]),
    ] {
        let words: Vec<Bytes> = call
            .split(' ')
            .map(|word| Bytes::copy_from_slice(word.as_bytes()))
            .collect();
        assert_eq!(find(&words).unwrap().keys.of(&words), places, "{call}");
    }
}
