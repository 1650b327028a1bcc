use serde_json::json;

use super::*;

fn id(container: &str) -> AttemptId {
    AttemptId {
        uid: "u".to_owned(),
        container: container.to_owned(),
        number: 0,
    }
}

fn run() -> ContainerRun {
    ContainerRun {
        argv: vec!["sh".to_owned()],
        env: BTreeMap::new(),
        cwd: None,
    }
}

fn until(span: Duration) -> Until {
    Until {
        instant: clock::now() + span,
        boot: Duration::ZERO,
    }
}

#[tokio::test(start_paused = true)]
async fn containers_end_as_their_pods_say_or_are_asked_to() {
    let simulated = Simulated::default();
    let pod = Arc::new(json!({"metadata": {"annotations": {
        RUN_MS: "5000", EXIT_CODE: "3", STOP_MS: "700",
    }}}));
    for name in ["a", "b", "c"] {
        simulated
            .start(id(name), pod.clone(), run(), None)
            .await
            .unwrap();
    }
    let begun = clock::now();
    simulated.stop(id("b"), "SIGTERM".to_owned()).await;
    assert!(!simulated.kill(id("c")).await);
    assert_eq!(simulated.ended(id("c")).await.code, 137);
    assert_eq!(simulated.ended(id("b")).await.code, 143);
    assert_eq!(clock::now() - begun, Duration::from_millis(700));
    assert_eq!(simulated.ended(id("a")).await.code, 3);
    assert_eq!(clock::now() - begun, Duration::from_secs(5));
    simulated.cleanup("u".to_owned()).await;
    assert!(simulated.found().await.is_empty());
    assert!(simulated.kill(id("d")).await, "it was never there");
    let pod = Arc::new(json!({}));
    assert!(simulated.start(id("d"), pod, run(), None).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn nothing_outlives_the_lease() {
    let simulated = Simulated::default();
    let span = Duration::from_secs(4);
    simulated.renew(until(span)).await.unwrap();
    let pod = Arc::new(json!({}));
    simulated
        .start(id("a"), pod.clone(), run(), None)
        .await
        .unwrap();
    clock::sleep(span / 2).await;
    simulated.renew(until(span)).await.unwrap();
    clock::sleep(span * 3 / 4).await;
    assert!(simulated.found().await[0].state.is_ok());
    clock::sleep(span).await;
    assert!(simulated.found().await[0].state.is_err());
    assert!(
        simulated
            .start(id("b"), pod.clone(), run(), None)
            .await
            .is_err()
    );
    simulated.renew(until(span)).await.unwrap();
    simulated.start(id("c"), pod, run(), None).await.unwrap();
    clock::sleep(span * 2).await;
    assert_eq!(simulated.ended(id("c")).await.code, 137);
}

#[tokio::test(start_paused = true)]
async fn what_runs_outlives_the_agent_and_not_the_power() {
    let told = Arc::new(Mutex::new(Vec::new()));
    let hears = told.clone();
    let simulated = Simulated::new(Habits {
        lingers: Duration::from_millis(500),
        observer: Some(Arc::new(move |ran: &Ran| {
            let at = clock::now();
            hears.lock().push((at, ran.container.clone(), ran.runs));
        })),
    });
    let (begun, span) = (clock::now(), Duration::from_secs(4));
    let (agent, machine) = (task::Group::new(), simulated.clone());
    let started = task::scope_sync(agent.clone(), || {
        task::spawn(async move {
            machine.renew(until(span)).await.unwrap();
            for name in ["a", "b"] {
                let pod = Arc::new(json!({}));
                machine.start(id(name), pod, run(), None).await.unwrap();
            }
            machine.kill(id("b")).await;
        })
    });
    started.await.unwrap();
    agent.kill();
    clock::sleep(span * 2).await;
    simulated.renew(until(span)).await.unwrap();
    let pod = Arc::new(json!({}));
    simulated
        .start(id("c"), pod.clone(), run(), None)
        .await
        .unwrap();
    simulated.lose_power();
    assert!(simulated.start(id("d"), pod, run(), None).await.is_err());
    assert!(simulated.found().await.is_empty());
    let told: Vec<(u128, String, bool)> = (told.lock().iter())
        .map(|(at, name, runs)| ((*at - begun).as_millis(), name.clone(), *runs))
        .collect();
    let expected = [
        (0, "a", true),
        (0, "b", true),
        (500, "b", false),
        (4_500, "a", false),
        (8_000, "c", true),
        (8_000, "c", false),
    ];
    let expected = expected.map(|(ms, name, runs)| (ms, name.to_owned(), runs));
    assert_eq!(told, expected);
}
