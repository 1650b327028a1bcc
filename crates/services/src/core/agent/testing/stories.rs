//! The stories of `testdata`.

use super::script::run;

macro_rules! stories {
    ($($name:ident)*) => { $(
        #[test]
        fn $name() {
            let name = stringify!($name);
            run(name, include_str!(concat!("../testdata/", stringify!($name), ".txt")));
        }
    )* };
}

stories! {
    start_and_end
    crash_loop
    failed_starts
    init_containers
    sidecars
    probes
    graceful_stop
    hooks
    deadline
    restart_of_the_agent
    fence
}
