//! Golden files of every format, and what is refused.

use atoll_world::disk;

use super::*;

const GOLDEN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/formats/golden");

fn golden() -> Record {
    Record {
        cluster: ClusterId(0x6c1b_0b83_9347_8ee5),
        node: NodeId(0xc109_18f7_0f50_e155),
        boot: 3,
        founder: false,
        members: [
            // Not even, and above 2^53: programs that read numbers as floats change it.
            (NodeId(0xb519_9f2f_decc_ee85), "10.0.0.1:2380".to_owned()),
            (NodeId(0xa), "[::1]:2390".to_owned()),
        ]
        .into(),
    }
}

fn stored(name: &str) -> Vec<u8> {
    let path = Path::new(GOLDEN).join(name);
    disk::real()
        .read_all(&path)
        .expect("it is in the tree")
        .to_vec()
}

/// A directory that holds these bytes as its record.
fn load(bytes: &[u8]) -> Result<Option<Record>, CliError> {
    let folder = tempfile::tempdir().expect("a folder");
    let disk: Arc<dyn Disk> = disk::real();
    disk.write_atomic(&folder.path().join(FILE), bytes)
        .expect("it is writable");
    Record::load(&disk, folder.path())
}

#[test]
fn every_format_is_read_and_the_newest_is_written() {
    for name in ["node-1.json", "node-2.json"] {
        assert_eq!(load(&stored(name)).expect(name), Some(golden()), "{name}");
    }
    let written = format::encode(&golden());
    assert_eq!(
        String::from_utf8(written).expect("it is text"),
        String::from_utf8(stored("node-2.json")).expect("it is text"),
        "the encoder writes other bytes than format 2 has"
    );
}

#[test]
fn an_old_record_is_brought_up_to_date_when_it_is_saved() {
    let folder = tempfile::tempdir().expect("a folder");
    let disk: Arc<dyn Disk> = disk::real();
    let path = folder.path().join(FILE);
    disk.write_atomic(&path, &stored("node-1.json"))
        .expect("it is writable");
    let mut record = Record::load(&disk, folder.path())
        .expect("sound")
        .expect("there");
    record.boot += 1;
    record.save(&disk, folder.path()).expect("it is writable");
    let text = String::from_utf8(disk.read_all(&path).expect("there").to_vec()).expect("text");
    assert!(
        text.contains("\"format\": 2") && text.contains("\"c10918f70f50e155\""),
        "{text}"
    );
    assert_eq!(
        Record::load(&disk, folder.path()).expect("sound"),
        Some(record)
    );
}

#[test]
fn a_newer_format_is_refused_by_both_numbers() {
    let newer = String::from_utf8(stored("node-2.json")).expect("text");
    let newer = newer.replace("\"format\": 2", "\"format\": 3");
    let error = load(newer.as_bytes()).expect_err("it is newer");
    let text = error.to_string();
    assert!(
        text.contains("has format 3") && text.contains("up to 2"),
        "{text}"
    );
    assert!(
        error.next_step().contains("newer atoll"),
        "{}",
        error.next_step()
    );
}

#[test]
fn what_is_damaged_is_said_to_be() {
    let sound = String::from_utf8(stored("node-2.json")).expect("text");
    for damaged in [
        String::new(),
        "{}".to_owned(),
        sound[..sound.len() / 2].to_owned(),
        sound.replace("\"format\": 2", "\"format\": 0"),
        sound.replace("\"format\": 2", "\"format\": -1"),
        sound.replace("\"boot\"", "\"boots\""),
        sound.replace("c10918f70f50e155", "+c10918f70f50e15"),
        sound.replace("c10918f70f50e155", "c10918f70f50e1551"),
        sound.replace("c10918f70f50e155", ""),
        // The numbers of format 1 under the name of format 2.
        String::from_utf8(stored("node-1.json"))
            .expect("text")
            .replace("\"format\": 1", "\"format\": 2"),
    ] {
        let error = load(damaged.as_bytes()).expect_err(&damaged);
        assert!(error.to_string().contains("damaged"), "{damaged}: {error}");
        assert!(error.next_step().contains("join again"), "{damaged}");
    }
}

#[test]
fn the_corpora_of_the_fuzzer_are_read() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/node_record");
    let disk = disk::real();
    let mut read = 0;
    for file in disk.list(&corpus).expect("the target has a corpus") {
        let bytes = disk.read_all(&corpus.join(file)).expect("it was listed");
        if let Ok(record) = format::decode(&bytes) {
            let again = format::decode(&format::encode(&record));
            assert_eq!(again.expect("a record of ours"), record);
            read += 1;
        }
    }
    assert!(read >= 2, "the sound ones are read");
}

#[test]
fn a_folder_without_a_record_holds_no_node() {
    let folder = tempfile::tempdir().expect("a folder");
    let disk: Arc<dyn Disk> = disk::real();
    assert_eq!(
        Record::load(&disk, folder.path()).expect("it is empty"),
        None
    );
}
