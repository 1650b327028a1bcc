//! The stories under `testdata/`, each told twice: with every step flushed to the store at
//! once, and with nothing flushed unless the story says so.

use super::script::run;

macro_rules! stories {
    ($($name:ident)*) => {$(
        #[test]
        fn $name() {
            let text = include_str!(concat!("../testdata/", stringify!($name), ".txt"));
            run(stringify!($name), text, true);
            run(stringify!($name), text, false);
        }
    )*};
}

stories! {
    puts_and_deletes
    ranges
    transactions
    compaction
    leases
    reserved_keys
    alarms
    users_and_roles
    rights
}
