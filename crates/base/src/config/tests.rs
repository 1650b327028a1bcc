use super::*;

fn file(text: &str) -> Sources<'_> {
    Sources {
        file: Some(File {
            name: "atoll.toml",
            text,
        }),
        ..Sources::default()
    }
}

fn pairs(list: &[(&str, &str)]) -> Vec<(String, String)> {
    let owned = |(a, b): &(&str, &str)| ((*a).to_owned(), (*b).to_owned());
    list.iter().map(owned).collect()
}

fn refused(sources: &Sources<'_>) -> String {
    sources
        .load()
        .expect_err("this must be refused")
        .to_string()
}

#[test]
fn the_defaults_are_valid_and_stand_where_the_design_says() {
    let config = Sources::default().load().unwrap().config;
    assert_eq!(config.client_address().to_string(), "127.0.0.1:2379");
    assert_eq!(config.peer_address().to_string(), "127.0.0.1:2380");
    assert!(!config.leaves_loopback());
    assert_eq!(config.control.quota_bytes, 2 << 30);
    assert_eq!(config.control.request_bytes_max, 3 << 19);
    assert_eq!(config.journal.durability, Durability::Always);
}

#[test]
fn a_later_source_wins_and_the_origin_is_told() {
    let mut sources = file(
        "[control]\nheartbeat_ms = 10\nsnapshot_entries = 0x400\n\n[log]\nfilter = \"debug\"\n",
    );
    sources.environment = pairs(&[
        ("ATOLL_CONTROL_HEARTBEAT_MS", "20"),
        ("ATOLL_LOG_FILTER", "warn"),
        ("ATOLL_HOME", "/elsewhere"),
        ("HOME", "/root"),
    ]);
    sources.flags = pairs(&[("control.heartbeat_ms", "30"), ("node.dir", "/d")]);
    let loaded = sources.load().unwrap();
    assert_eq!(loaded.config.control.heartbeat_ms, 30);
    assert_eq!(loaded.config.control.snapshot_entries, 1024);
    assert_eq!(loaded.config.log.filter, "warn");
    let told = |path: &str| {
        let all = loaded.describe();
        let one = all.iter().find(|d| d.setting.path == path).unwrap();
        format!("{} <- {}", one.value, one.origin)
    };
    assert_eq!(
        told("control.heartbeat_ms"),
        "30 <- flag --control-heartbeat-ms"
    );
    assert_eq!(told("node.dir"), "/d <- flag --dir");
    assert_eq!(
        told("control.snapshot_entries"),
        "1024 <- atoll.toml line 3"
    );
    assert_eq!(told("log.filter"), "warn <- environment ATOLL_LOG_FILTER");
    assert_eq!(told("store.cache_bytes"), "67108864 <- default");
}

#[test]
fn what_nobody_declared_is_refused_and_the_nearest_name_told() {
    assert_eq!(
        refused(&file("[control]\nheartbeat = 10\n")),
        "atoll.toml line 2: there is no setting `control.heartbeat`; did you mean `control.heartbeat_ms`?"
    );
    assert_eq!(
        refused(&file("[controll]\nheartbeat_ms = 10\n")),
        "atoll.toml line 1: there is no setting `controll`; did you mean `control`?"
    );
    assert_eq!(
        refused(&file("heartbeat_ms = 10\n")),
        "atoll.toml line 1: there is no setting `heartbeat_ms`; did you mean `control.heartbeat_ms`?"
    );
    let sources = Sources {
        environment: pairs(&[("ATOLL_CONTROL_HEARTBEAT", "10")]),
        ..Sources::default()
    };
    assert!(refused(&sources).ends_with("did you mean `ATOLL_CONTROL_HEARTBEAT_MS`?"));
    let sources = Sources {
        environment: pairs(&[("ATOLL_SOMETHING_OF_ANOTHER_PLANET", "10")]),
        ..Sources::default()
    };
    assert!(refused(&sources).contains("atoll config reference"));
}

#[test]
fn values_out_of_range_or_of_another_kind_are_refused_with_their_origin() {
    let cases = [
        (
            "[control]\nheartbeat_ms = 1\n",
            "atoll.toml line 2: control.heartbeat_ms = 1 is out of range; it takes 5 to 10000 ms",
        ),
        (
            "[control]\nheartbeat_ms = -5\n",
            "atoll.toml line 2: control.heartbeat_ms = -5 is out of range; it takes 5 to 10000 ms",
        ),
        (
            "[control]\nheartbeat_ms = \"50\"\n",
            "atoll.toml line 2: control.heartbeat_ms takes a TOML integer (5 to 10000), not a TOML string",
        ),
        (
            "[journal]\ndurability = \"sometimes\"\n",
            "atoll.toml line 2: journal.durability = \"sometimes\": expected always, interval:TIME (as interval:1s) or none",
        ),
        (
            "[listen]\nclient = \"http://0.0.0.0:1\"\n",
            "atoll.toml line 2: listen.client = \"http://0.0.0.0:1\": expected HOST:PORT, not a URL",
        ),
        (
            "[log]\nformat = \"xml\"\n",
            "atoll.toml line 2: log.format = \"xml\": expected one of text, json",
        ),
    ];
    for (text, expected) in cases {
        assert_eq!(refused(&file(text)), expected);
    }
    assert!(refused(&file("[control\n")).starts_with("atoll.toml line 1 is not valid TOML"));
    let sources = Sources {
        flags: pairs(&[("control.heartbeat_ms", "fast")]),
        ..Sources::default()
    };
    assert_eq!(
        refused(&sources),
        "flag --control-heartbeat-ms: control.heartbeat_ms = \"fast\": expected a whole number, 5 to 10000"
    );
}

#[test]
fn contradictions_name_both_values_and_where_they_came_from() {
    let error = refused(&file("[control]\nheartbeat_ms = 100\n"));
    assert!(
        error.starts_with(
            "control.election_ms_min = 250 (default) and control.heartbeat_ms = 100 (atoll.toml line 2) contradict each other"
        ),
        "{error}"
    );
    for text in [
        "[control]\nelection_ms_max = 150\n",
        "[control]\nrequest_timeout_ms = 300\n",
        "[listen]\nclient = \"127.0.0.1:2380\"\n",
        "[listen]\nclient = \"127.0.0.1:60000\"\n[node]\nport_offset = 6000\n",
        "[listen]\npeer = \"127.0.0.1:60000\"\n[node]\nport_offset = 6000\n",
        "[security]\ninsecure = true\nrequire_client_cert = true\n",
        "[control]\nquota_bytes = 16_777_216\nrequest_bytes_max = 16_777_216\n",
        "[journal]\nsegment_bytes = 1_048_576\n",
    ] {
        assert!(refused(&file(text)).contains("contradict"), "{text}");
    }
}

#[test]
fn addresses_and_durabilities_are_read_as_written() {
    let loaded = file("[listen]\nclient = \"[::1]:2379\"\npeer = \"0.0.0.0:0\"\n[node]\nport_offset = 10\n[journal]\ndurability = \"interval:200ms\"\n")
        .load()
        .unwrap();
    let config = loaded.config;
    assert_eq!(config.client_address().to_string(), "[::1]:2389");
    assert!(config.client_address().is_loopback());
    assert_eq!(config.peer_address().port, 0, "the system still chooses");
    assert!(config.peer_address().is_unspecified());
    assert!(config.leaves_loopback());
    assert_eq!(
        config.journal.durability,
        Durability::Interval { interval_ms: 200 }
    );
    for wrong in ["interval:0s", "interval:61s", "interval:5", "interval:"] {
        let text = format!("[journal]\ndurability = \"{wrong}\"\n");
        assert!(file(&text).load().is_err(), "{wrong}");
    }
}

#[test]
fn what_is_shown_can_be_read_again() {
    let first = file("[node]\nname = \"a \\\"b\\\"\"\n[control]\nheartbeat_ms = 40\n")
        .load()
        .unwrap();
    for described in first.describe() {
        // One section may stand only once in TOML, so each line is read on its own.
        let single = format!(
            "[{}]\n{}\n",
            described.setting.split().0,
            described.toml_line()
        );
        let again = file(&single).load().unwrap();
        let found = again.describe();
        let same = found
            .iter()
            .find(|d| d.setting.path == described.setting.path)
            .unwrap();
        assert_eq!(same.value, described.value);
    }
}

#[test]
fn names_follow_from_paths_and_never_collide() {
    let mut names: Vec<String> = Vec::new();
    for setting in SETTINGS {
        assert!(
            !setting.doc.is_empty() && setting.doc.ends_with('.'),
            "{}",
            setting.path
        );
        names.push(setting.flag_long());
        if setting.flag() != setting.flag_long() {
            names.push(setting.flag());
        }
        assert!(
            !OTHER_VARIABLES
                .iter()
                .any(|(name, _)| *name == setting.variable())
        );
        if let Kind::Integer { .. } = setting.kind {
            assert!(!setting.unit.is_empty(), "{} has no unit", setting.path);
        }
    }
    let count = names.len();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), count);
}

#[test]
fn the_reference_page_is_what_the_tree_says() {
    let page = include_str!("../../../../docs/configuration.md");
    assert!(
        page == reference(),
        "docs/configuration.md is out of date: write it again with `atoll config reference > docs/configuration.md`"
    );
}
