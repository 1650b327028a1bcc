//! Money moves between two databases: a node that moves it is killed, and they agree all the same.
// Edge of the house: real processes.
#![allow(clippy::disallowed_methods)]

use std::{
    process::{Child, Stdio},
    time::{Duration, Instant},
};

use atoll_e2e::{
    cluster::Cluster,
    command::Server,
    node::{Error, Node},
};
use atoll_e2e_postgres::{PASSWORD, Postgres};
use serde_json::{Value, json};
use tempfile::TempDir;

const DATABASES: [&str; 2] = ["north", "south"];
/// No wait for a condition takes longer, on a slow and busy machine.
const WAIT: Duration = Duration::from_secs(60);

struct Banks {
    postgres: Postgres,
    cluster: Cluster,
    _folder: TempDir,
}

impl Banks {
    async fn open(nodes: usize) -> Banks {
        Banks::open_at(Postgres::start(&DATABASES), nodes, None).await
    }

    async fn open_at(postgres: Postgres, nodes: usize, roots: Option<&str>) -> Banks {
        for database in DATABASES {
            let made = "CREATE TABLE account (name text PRIMARY KEY, balance bigint CHECK (balance >= 0)); \
                        INSERT INTO account VALUES ('ann', 100)";
            postgres.psql(database, made);
        }
        let folder = TempDir::new().unwrap();
        let file = postgres.file(folder.path(), &DATABASES);
        let file = file.to_str().unwrap();
        let mut environment = vec![
            ("ATOLL_TXN_POSTGRES_FILE", file),
            ("ATOLL_LOG_FILTER", "info,atoll_txn=debug"),
        ];
        let roots_file = folder.path().join("roots.pem");
        if let Some(roots) = roots {
            std::fs::write(&roots_file, roots).unwrap();
            environment.push(("ATOLL_TXN_ROOTS_FILE", roots_file.to_str().unwrap()));
        }
        let cluster = Cluster::start_with(&Server::under_test(), nodes, &environment)
            .await
            .unwrap();
        until("every node votes", async || {
            let list = cluster.nodes[0].told(&["node", "list"]).ok()?;
            let votes = |it: &Value| it["learner"] == false;
            list.as_array()?.iter().all(votes).then_some(())
        })
        .await;
        Banks {
            postgres,
            cluster,
            _folder: folder,
        }
    }

    fn node(&self, number: usize) -> &Node {
        &self.cluster.nodes[number]
    }

    fn balances(&self) -> [i64; 2] {
        DATABASES.map(|it| {
            self.postgres
                .psql(it, "SELECT balance FROM account")
                .parse()
                .unwrap()
        })
    }

    fn prepared(&self) -> Vec<String> {
        let listed = self
            .postgres
            .psql("postgres", "SELECT gid FROM pg_prepared_xacts");
        listed.lines().map(str::to_owned).collect()
    }

    /// A transfer from north to south that is not committed yet.
    fn transfer(&self, node: usize, amount: i64) -> String {
        let node = self.node(node);
        let begun = node.told(&["txn", "begin"]).unwrap();
        let id = begun["id"].as_str().unwrap();
        for (database, amount) in DATABASES.iter().zip([-amount, amount]) {
            let sql = format!("UPDATE account SET balance = balance + {amount} WHERE name = 'ann'");
            let words = [
                "txn",
                "enlist",
                id,
                "--postgres",
                database,
                "--sql",
                &sql,
                "--rows",
                "1",
            ];
            node.told(&words).unwrap();
        }
        id.to_owned()
    }

    async fn nothing_is_prepared(&self) {
        until("nothing is prepared", async || {
            self.prepared().is_empty().then_some(())
        })
        .await;
    }

    /// Whoever wants the accounts of a database waits until this is killed.
    fn lock(&self, database: &str) -> Child {
        let sql = "BEGIN; LOCK TABLE account IN ACCESS EXCLUSIVE MODE; SELECT pg_sleep(600)";
        let mut command = self.postgres.psql_command(database, sql);
        let quiet = command.stdout(Stdio::null()).stderr(Stdio::null());
        quiet.spawn().unwrap()
    }

    async fn locked(&self, database: &str) {
        until("it is locked", async || {
            let look = "SELECT count(*) FROM pg_locks WHERE mode = 'AccessExclusiveLock' AND granted AND relation = 'account'::regclass";
            (self.postgres.psql(database, look) == "1").then_some(())
        })
        .await;
    }

    fn unlock(&self, mut lock: Child) {
        lock.kill().unwrap();
        lock.wait().unwrap();
        let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(600)%' AND pid <> pg_backend_pid()";
        self.postgres.psql("postgres", end);
    }

    /// A commit is asked for, one database has prepared, the other waits, and the node is killed.
    async fn killed_between_votes(&mut self, id: &str) {
        let lock = self.lock("south");
        self.locked("south").await;
        let mut command = self.node(0).atoll(&["txn", "commit", id]);
        let quiet = command.stdout(Stdio::null()).stderr(Stdio::null());
        let mut asking = quiet.spawn().unwrap();
        until("one has prepared", async || {
            (self.prepared().len() == 1).then_some(())
        })
        .await;
        self.cluster.nodes[0].kill();
        asking.wait().unwrap();
        self.unlock(lock);
    }
}

async fn until<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + WAIT;
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(Instant::now() < deadline, "not within {WAIT:?}: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Has a node carry out a call of the coordinator.
async fn post(node: &Node, call: &str, body: Value) -> Value {
    let path = format!("/v1/transactions/{call}");
    let (code, told) = node.post(&path, &body).await.unwrap();
    assert_eq!(code, 200, "{told}");
    told
}

#[tokio::test(flavor = "multi_thread")]
async fn both_databases_move_money_or_neither_does() {
    let banks = Banks::open(1).await;
    let node = banks.node(0);
    let id = banks.transfer(0, 30);
    let words = ["txn", "commit", &id, "--until-ended"];
    assert_eq!(node.told(&words).unwrap()["outcome"], "committed");
    assert_eq!(banks.balances(), [70, 130]);

    // A constraint says no.
    let id = banks.transfer(0, 71);
    assert!(matches!(
        node.told(&["txn", "commit", &id]),
        Err(Error::Command { .. })
    ));
    let shown = node.told(&["txn", "show", &id]).unwrap();
    assert_eq!(shown["reason"], "participant");
    banks.nothing_is_prepared().await;
    assert_eq!(banks.balances(), [70, 130]);

    // So does a row that is not there; parameters stand beside statements.
    for (name, outcome, expected) in [
        ("bob", "ABORTED", [70, 130]),
        ("ann", "COMMITTED", [65, 135]),
    ] {
        let begun = post(node, "begin", json!({})).await;
        for (database, amount) in DATABASES.iter().zip(["-5", "5"]) {
            let statement = json!({
                "sql": "UPDATE account SET balance = balance + $1 WHERE name = $2",
                "parameters": [{"text": amount}, {"text": name}],
                "rows": "1",
            });
            let work = json!({"database": database, "statements": [statement]});
            post(node, "enlist", json!({"id": begun["id"], "postgres": work})).await;
        }
        let body = json!({"id": begun["id"], "until_ended": true});
        assert_eq!(
            post(node, "commit", body).await["outcome"],
            outcome,
            "{name}"
        );
        banks.nothing_is_prepared().await;
        assert_eq!(banks.balances(), expected);
    }

    // What would end the transaction from within is refused, as are databases nobody knows.
    let begun = node.told(&["txn", "begin"]).unwrap();
    let id = begun["id"].as_str().unwrap();
    for (database, sql) in [("north", "COMMIT"), ("west", "SELECT 1")] {
        let words = ["txn", "enlist", id, "--postgres", database, "--sql", sql];
        assert!(node.told(&words).is_err(), "{database} {sql}");
    }
    let log = std::fs::read_to_string(node.layout().dir.join("node.log")).unwrap();
    assert!(log.contains("a database refused a statement"), "{log}");
    assert!(!log.contains(PASSWORD), "no password in the log");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_node_dies_between_prepare_and_commit_and_another_one_commits() {
    let mut banks = Banks::open(3).await;
    let id = banks.transfer(0, 10);
    banks.killed_between_votes(&id).await;
    let words = ["txn", "commit", &id, "--until-ended"];
    assert_eq!(banks.node(1).told(&words).unwrap()["outcome"], "committed");
    banks.nothing_is_prepared().await;
    assert_eq!(banks.balances(), [90, 110]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_node_dies_between_prepare_and_commit_and_nobody_asks_any_more() {
    let mut banks = Banks::open(3).await;
    let id = banks.transfer(0, 10);
    banks.killed_between_votes(&id).await;
    banks.nothing_is_prepared().await;
    assert_eq!(banks.balances(), [100, 100]);
    let shown = banks.node(1).told(&["txn", "show", &id]).unwrap();
    assert_eq!(shown["outcome"], "aborted");
    // The accounts are free again.
    let id = banks.transfer(1, 20);
    let words = ["txn", "commit", &id, "--until-ended"];
    assert_eq!(banks.node(1).told(&words).unwrap()["outcome"], "committed");
    assert_eq!(banks.balances(), [80, 120]);
}

#[tokio::test(flavor = "multi_thread")]
async fn databases_that_crash_keep_their_votes() {
    let mut banks = Banks::open(1).await;
    let id = banks.transfer(0, 10);
    let lock = banks.lock("south");
    banks.locked("south").await;
    let mut command = banks.node(0).atoll(&["txn", "commit", &id]);
    let mut asking = command
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    until("one has prepared", async || {
        (banks.prepared().len() == 1).then_some(())
    })
    .await;
    banks.postgres.kill();
    drop(lock.wait_with_output());
    banks.postgres.run();
    // It voted before it crashed, or did not; the transaction ends either way, and both agree.
    asking.wait().unwrap();
    let shown = until("it has ended", async || {
        let shown = banks.node(0).told(&["txn", "show", &id]).ok()?;
        (shown["phase"] == "ended").then_some(shown)
    })
    .await;
    banks.nothing_is_prepared().await;
    let expected = match shown["outcome"].as_str() {
        Some("committed") => [90, 110],
        _ => [100, 100],
    };
    assert_eq!(banks.balances(), expected);
    assert_eq!(shown["mixed"], false);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_prepared_and_unknown_is_rolled_back_and_others_work_is_not() {
    let banks = Banks::open(1).await;
    let id = banks.transfer(0, 10);
    let status = banks.node(0).told(&["status"]).unwrap();
    let cluster = status["cluster"]
        .as_str()
        .unwrap_or_else(|| panic!("{status}"));
    banks.node(0).told(&["txn", "abort", &id]).unwrap();
    let cluster = u64::from_str_radix(cluster, 16).unwrap();
    let own = format!("atoll:{cluster:x}:{:032x}:0", 7);
    let strange = format!("atoll:{:x}:{:032x}:0", cluster ^ 1, 7);
    for gid in [&own, &strange] {
        let mut command = banks.postgres.psql_command("north", "BEGIN");
        command.args(["-c", "INSERT INTO account VALUES (txid_current()::text, 0)"]);
        command.args(["-c", &format!("PREPARE TRANSACTION '{gid}'")]);
        let done = command.output().unwrap();
        assert!(
            done.status.success(),
            "{}",
            String::from_utf8_lossy(&done.stderr)
        );
    }
    until("the unknown one is rolled back", async || {
        (banks.prepared() == [strange.clone()]).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn databases_prove_by_tls_who_they_are() {
    let (postgres, certificate) = Postgres::start_by_tls(&DATABASES);
    let banks = Banks::open_at(postgres, 1, Some(&certificate)).await;
    let id = banks.transfer(0, 30);
    let words = ["txn", "commit", &id, "--until-ended"];
    assert_eq!(banks.node(0).told(&words).unwrap()["outcome"], "committed");
    assert_eq!(banks.balances(), [70, 130]);

    // Another one in its place gets no work, and no password.
    let (postgres, _) = Postgres::start_by_tls(&DATABASES);
    let banks = Banks::open_at(postgres, 1, Some(&certificate)).await;
    let id = banks.transfer(0, 30);
    assert!(banks.node(0).told(&["txn", "commit", &id]).is_err());
    let shown = banks.node(0).told(&["txn", "show", &id]).unwrap();
    assert_eq!(shown["reason"], "timeout");
    assert_eq!(banks.balances(), [100, 100]);
}

/// What a client's statements do to the connection, and how much they answer, is theirs to choose.
#[tokio::test(flavor = "multi_thread")]
async fn statements_take_neither_time_nor_memory_without_end() {
    let banks = Banks::open(1).await;
    let endless = [
        "SELECT set_config('statement_timeout', '0', false)",
        "SELECT pg_sleep(900)",
    ];
    for statements in [&endless[..], &["SELECT repeat('x', 60000000)"]] {
        let begun = post(banks.node(0), "begin", json!({"timeout_ms": "6000"})).await;
        let id = begun["id"].as_str().unwrap();
        let statements: Vec<Value> = statements.iter().map(|sql| json!({"sql": sql})).collect();
        let work = json!({"database": "north", "statements": statements});
        let body = json!({"id": id, "postgres": work});
        post(banks.node(0), "enlist", body).await;
        let told = post(banks.node(0), "commit", json!({"id": id})).await;
        assert_eq!(told["outcome"], "ABORTED", "{told}");
    }
    until("nothing sleeps", async || {
        let look = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(900)%' AND pid <> pg_backend_pid()";
        (banks.postgres.psql("postgres", look) == "0").then_some(())
    })
    .await;
}
