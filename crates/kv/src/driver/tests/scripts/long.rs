//! Scripts that run for long: what others are told meanwhile.

use super::*;
use crate::{api::Hindrance, core::machine::Running};

/// A script that runs keeps its shard from everything else; as on a machine with more than one
/// thread, another task looks on here.
#[test]
fn what_would_wait_for_a_long_script_is_told() {
    simulate(36, || async {
        let cluster = Cluster::new(36);
        let kv = cluster.kv(0).clone();
        kv.hub().set_slow_script_ms(10);
        let condition = kv.condition();
        let hindrance = |words: &[&str]| {
            let call = call(words);
            condition.hindrance(call.command, &call.words)
        };
        let begin = |shard, function: Option<Bytes>| {
            let command = vec![Bytes::from_static(b"eval")];
            let running = Running { function, command };
            let limit = Duration::from_secs(5);
            kv.0.scripts.runs.begin(running, limit, shard)
        };
        let key_of = |shard| {
            let mut keys = (0..).map(|number| format!("k{number}"));
            let is_there = |key: &String| kv.0.shard_of(kv.partitions().of_key(key.as_bytes()));
            keys.find(|key| is_there(key) == shard).unwrap()
        };
        let [first, second] = [0, 1].map(key_of);
        let script = Hindrance::Script { is_function: false };
        let busy = script.to_string();
        let script = Some(script);
        let function = Some(Hindrance::Script { is_function: true });

        let of_library = begin(None, None);
        let one = begin(Some(0), None);
        clock::sleep(Duration::from_millis(9)).await;
        assert_eq!(hindrance(&["GET", &first]), None);
        clock::sleep(Duration::from_millis(1)).await;
        assert_eq!(hindrance(&["GET", &first]), script);
        assert_eq!(hindrance(&["GET", &second]), None);
        assert_eq!(hindrance(&["MGET", &second, &first]), script);
        assert_eq!(hindrance(&["EVAL", "", "1", &first]), script);
        assert_eq!(hindrance(&["DBSIZE"]), script);
        assert_eq!(hindrance(&["PING"]), None);
        assert_eq!(hindrance(&["SCRIPT", "FLUSH"]), None);

        // A node that can do nothing else says so to everybody.
        let two = begin(Some(1), Some("f".into()));
        clock::sleep(Duration::from_millis(10)).await;
        assert_eq!(hindrance(&["GET", &second]), function);
        assert_eq!(hindrance(&["PING"]), script);
        assert_eq!(hindrance(&["SCRIPT", "FLUSH"]), script);
        kv.hub().set_slow_script_ms(0);
        assert_eq!(hindrance(&["GET", &first]), None);
        kv.hub().set_slow_script_ms(10);

        drop(two);
        assert_eq!(hindrance(&["PING"]), None);
        let other = error(&kv, &["FUNCTION", "KILL"]).await;
        assert_eq!(other, busy);
        assert_eq!(told(&kv, &["SCRIPT", "KILL"]).await, Reply::OK);
        assert!(one.ends().is_some());
        drop((one, of_library));
        assert_eq!(hindrance(&["GET", &first]), None);
        let nothing = error(&kv, &["FUNCTION", "KILL"]).await;
        assert!(nothing.starts_with("NOTBUSY"), "{nothing}");
    });
}

/// Who owns a key's partition after its owner's shard has said nothing for two seconds while
/// somebody wanted to write the key, and who owned it before.
async fn owners_around_silence(cluster: &Cluster, runs_script: bool) -> (usize, usize) {
    let partition = cluster.kv(0).partitions().of_key(b"k");
    let owner = || {
        let owns = |at: &usize| cluster.kv(*at).0.owners.owns(partition);
        let mut owners = (0..3).filter(owns);
        (owners.next().unwrap(), owners.next())
    };
    assert_eq!(told(cluster.kv(0), &["SET", "k", "1"]).await, Reply::OK);
    let (before, None) = owner() else {
        panic!("there is one owner");
    };
    let kv = cluster.kv(before);
    let running = Running {
        function: None,
        command: vec!["eval".into()],
    };
    let shard = runs_script.then(|| kv.0.shard_of(partition));
    let run =
        kv.0.scripts
            .runs
            .begin(running, Duration::from_secs(5), shard);
    clock::sleep(Duration::from_millis(10)).await;
    let (go_on, until) = oneshot::channel();
    kv.0.door(partition)
        .urgent
        .send(Urgent::Rest(until))
        .unwrap();
    let other = cluster.kv((before + 1) % 3).clone();
    let written = task::spawn(async move { told(&other, &["SET", "k", "2"]).await });
    clock::sleep(Duration::from_secs(2)).await;
    // Who was asked to take over knows first; who has lost it hears of it last.
    let (first, second) = owner();
    let after = second.into_iter().chain([first]).find(|it| *it != before);
    drop(run);
    go_on.send(()).unwrap();
    assert_eq!(written.await.unwrap(), Reply::OK);
    assert_eq!(told(cluster.kv(0), &["GET", "k"]).await, Reply::bulk("2"));
    (before, after.unwrap_or(before))
}

#[test]
fn an_owner_that_runs_a_script_stays_the_owner() {
    for (runs_script, stays) in [(true, true), (false, false)] {
        simulate(39, || async {
            let cluster = Cluster::new(39);
            let (before, after) = owners_around_silence(&cluster, runs_script).await;
            assert_eq!(before == after, stays, "{runs_script}");
        });
    }
}
