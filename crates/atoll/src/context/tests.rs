//! What is kept, what is refused, and the golden file.

use std::os::unix::fs::PermissionsExt as _;

use super::*;

#[test]
fn contexts_are_kept_and_only_their_owner_may_read_them() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("deep/er").join(FILE_NAME);
    assert_eq!(Contexts::load(&path).unwrap(), Contexts::default());

    let mut contexts = Contexts::default();
    assert!(contexts.find(None).unwrap().is_none());
    let lab = Context {
        endpoints: vec![
            "https://10.0.0.1:2379".into(),
            "https://10.0.0.2:2379".into(),
        ],
        user: Some("root".into()),
        ca: Some("-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n".into()),
        key_file: Some("/keys/lab.pem".into()),
        ..Context::default()
    };
    contexts.put("lab", lab.clone());
    contexts.put("home", Context::default());
    contexts.save(&path).unwrap();
    contexts.save(&path).unwrap();

    let read = Contexts::load(&path).unwrap();
    assert_eq!(read, contexts);
    assert_eq!(read.current.as_deref(), Some("home"));
    assert_eq!(read.find(Some("lab")).unwrap(), Some(&lab));
    let mode = fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, FILE_MODE);
    let error = read.find(Some("moon")).unwrap_err();
    assert_eq!(error.to_string(), "there is no context `moon`");
    assert_eq!(error.next_step(), "there are: home, lab");
}

#[test]
fn a_damaged_file_is_told_without_quoting_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(FILE_NAME);
    fs::write(&path, "[contexts.a]\nkey = \"SECRET\"\nmistyped = 1\n").unwrap();
    let error = Contexts::load(&path).unwrap_err().to_string();
    assert!(
        error.contains("mistyped") && !error.contains("SECRET"),
        "{error}"
    );
}

fn golden() -> Contexts {
    let lab = Context {
        endpoints: vec![
            "https://10.0.0.1:2379".into(),
            "https://10.0.0.2:2379".into(),
        ],
        user: Some("root".into()),
        ca: Some("-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n".into()),
        cert_file: Some("/keys/lab.pem".into()),
        key_file: Some("/keys/lab.key".into()),
        ..Context::default()
    };
    let home = Context {
        endpoints: vec!["http://127.0.0.1:2379".into()],
        ..Context::default()
    };
    let mut contexts = Contexts::default();
    contexts.put("lab", lab);
    contexts.put("home", home);
    contexts
}

#[test]
fn the_golden_file_is_written_and_read_the_same() {
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../docs/formats/golden/contexts-1.toml"
    );
    let stored = fs::read_to_string(path).expect("it is in the tree");
    assert_eq!(Contexts::load(Path::new(path)).expect("sound"), golden());
    assert_eq!(format::encode(&golden()), stored);
    // Before the format had a number.
    let unnumbered = stored.replace("format = 1\n", "");
    assert_eq!(format::decode(&unnumbered).expect("sound"), golden());
}

#[test]
fn a_newer_file_is_refused_by_both_numbers() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(FILE_NAME);
    fs::write(&path, "format = 2\nsomething = \"new\"\n").unwrap();
    let error = Contexts::load(&path).unwrap_err();
    let text = error.to_string();
    assert!(
        text.contains("has format 2") && text.contains("up to 1"),
        "{text}"
    );
    assert!(error.next_step().contains("newer atoll"));
}

#[test]
fn the_corpora_of_the_fuzzer_are_read() {
    let corpus = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fuzz/corpus/contexts");
    let mut read = 0;
    for file in fs::read_dir(corpus).expect("the target has a corpus") {
        let text = fs::read(file.unwrap().path()).unwrap();
        if let Ok(contexts) = format::decode(&String::from_utf8_lossy(&text)) {
            assert_eq!(
                format::decode(&format::encode(&contexts)).unwrap(),
                contexts
            );
            read += 1;
        }
    }
    assert!(read >= 2, "the sound ones are read");
}
