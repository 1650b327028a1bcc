//! Both disks do what the trait says; the simulated one forgets what was not synced, by a seed.

use std::path::Path;

use super::*;

const MEBIBYTE: u64 = 1 << 20;

fn both(test: impl Fn(&dyn Disk, &Path)) {
    let dir = tempfile::tempdir().unwrap();
    test(real().as_ref(), &dir.path().join("a/b"));
    test(&SimDisk::new(1), Path::new("/a/b"));
}

fn make(disk: &dyn Disk, path: &Path, content: &[u8]) -> Box<dyn DiskFile> {
    disk.create_dir_all(path.parent().unwrap()).unwrap();
    let file = disk
        .open(
            path,
            Open::Create {
                preallocate_bytes: 0,
            },
        )
        .unwrap();
    file.write_at(0, content).unwrap();
    file
}

#[test]
fn files_hold_what_was_written() {
    both(|disk, dir| {
        disk.create_dir_all(dir).unwrap();
        let path = dir.join("file");
        let file = disk
            .open(
                &path,
                Open::Create {
                    preallocate_bytes: MEBIBYTE,
                },
            )
            .unwrap();
        assert_eq!(file.len_bytes().unwrap(), MEBIBYTE);
        file.write_at(1000, b"across a sector's end").unwrap();
        let mut read = [7; 23];
        assert_eq!(file.read_at(999, &mut read).unwrap(), 23);
        assert_eq!(&read, b"\0across a sector's end\0");
        assert_eq!(file.read_at(MEBIBYTE - 3, &mut read).unwrap(), 3);
        file.set_len(1006).unwrap();
        file.set_len(1008).unwrap();
        file.sync_data().unwrap();
        assert_eq!(&disk.read_all(&path).unwrap()[1000..], b"across\0\0");
    });
}

#[test]
fn names_come_and_go() {
    both(|disk, dir| {
        make(disk, &dir.join("two"), b"2");
        make(disk, &dir.join("one"), b"1");
        assert_eq!(disk.list(dir).unwrap(), ["one", "two"]);
        disk.rename(&dir.join("one"), &dir.join("two")).unwrap();
        disk.sync_dir(dir).unwrap();
        assert_eq!(disk.list(dir).unwrap(), ["two"]);
        assert_eq!(&disk.read_all(&dir.join("two")).unwrap()[..], b"1");
        disk.remove(&dir.join("two")).unwrap();
        assert!(disk.remove(&dir.join("two")).unwrap_err().is_not_found());
        assert!(
            disk.open(&dir.join("two"), Open::Existing)
                .err()
                .unwrap()
                .is_not_found()
        );
        assert!(disk.read_all(&dir.join("two")).unwrap_err().is_not_found());
        assert!(disk.list(&dir.join("nowhere")).unwrap_err().is_not_found());
        assert!(disk.free_bytes(dir).unwrap() > 0);
    });
}

#[test]
fn a_lock_has_one_holder() {
    both(|disk, dir| {
        disk.create_dir_all(dir).unwrap();
        let held = disk.lock(&dir.join("lock")).unwrap();
        assert!(disk.lock(&dir.join("lock")).err().unwrap().is_locked());
        drop(held);
        disk.lock(&dir.join("lock")).unwrap();
    });
}

#[test]
fn an_atomic_write_is_old_or_new() {
    both(|disk, dir| {
        disk.create_dir_all(dir).unwrap();
        disk.write_atomic(&dir.join("file"), b"old, and longer")
            .unwrap();
        disk.write_atomic(&dir.join("file"), b"new").unwrap();
        assert_eq!(&disk.read_all(&dir.join("file")).unwrap()[..], b"new");
        assert_eq!(disk.list(dir).unwrap(), ["file"]);
    });
    for seed in 0..50 {
        let disk = SimDisk::new(seed);
        let dir = Path::new("/d");
        disk.create_dir_all(dir).unwrap();
        disk.write_atomic(&dir.join("file"), b"old").unwrap();
        disk.fail_sync(1);
        disk.write_atomic(&dir.join("file"), b"new").unwrap_err();
        let disk = disk.crash();
        assert_eq!(&disk.read_all(&dir.join("file")).unwrap()[..], b"old");
        disk.write_atomic(&dir.join("file"), b"new").unwrap();
        assert_eq!(
            &disk.crash().read_all(&dir.join("file")).unwrap()[..],
            b"new"
        );
    }
}

/// What a crash leaves of a file that was synced with `a`s and overwritten with `b`s.
fn overwritten(seed: u64) -> Vec<u8> {
    let disk = SimDisk::new(seed);
    let path = Path::new("/file");
    let file = make(&disk, path, &[b'a'; 20 * SECTOR_BYTES]);
    file.sync_data().unwrap();
    disk.sync_dir(Path::new("/")).unwrap();
    file.write_at(0, &[b'b'; 20 * SECTOR_BYTES]).unwrap();
    disk.crash().read_all(path).unwrap().to_vec()
}

#[test]
fn a_crash_keeps_loses_and_tears_by_seed() {
    let (mut kept, mut lost, mut torn) = (0, 0, 0);
    for seed in 0..20 {
        let left = overwritten(seed);
        assert_eq!(left, overwritten(seed));
        for sector in left.chunks(SECTOR_BYTES) {
            let new = sector.iter().take_while(|byte| **byte == b'b').count();
            assert!(
                sector[new..].iter().all(|byte| *byte == b'a'),
                "a torn sector has a new head"
            );
            match new {
                0 => lost += 1,
                SECTOR_BYTES => kept += 1,
                _ => torn += 1,
            }
        }
    }
    assert!(
        kept > 50 && lost > 50 && torn > 20,
        "{kept} kept, {lost} lost, {torn} torn"
    );
}

#[test]
fn names_and_lengths_are_lost_unless_synced() {
    let (mut there, mut gone) = (0, 0);
    for seed in 0..40 {
        let disk = SimDisk::new(seed);
        make(&disk, Path::new("/d/file"), b"x").sync_data().unwrap();
        match disk.crash().list(Path::new("/d")).unwrap().len() {
            0 => gone += 1,
            _ => there += 1,
        }
    }
    assert!(there > 5 && gone > 5);
}

#[test]
fn a_failed_sync_dooms_what_it_should_have_saved() {
    let disk = SimDisk::new(3);
    let path = Path::new("/file");
    let file = make(&disk, path, &[b'a'; SECTOR_BYTES]);
    file.sync_data().unwrap();
    disk.sync_dir(Path::new("/")).unwrap();
    file.write_at(0, b"b").unwrap();
    disk.fail_sync(1);
    file.sync_data().unwrap_err();
    file.sync_data().unwrap();
    assert_eq!(disk.read_all(path).unwrap()[0], b'b');
    assert_eq!(disk.crash().read_all(path).unwrap()[0], b'a');
}

#[test]
fn a_killed_process_loses_nothing_and_a_dead_handle_does_nothing() {
    let disk = SimDisk::new(4);
    let file = make(&disk, Path::new("/file"), b"x");
    let next = disk.kill();
    assert_eq!(&next.read_all(Path::new("/file")).unwrap()[..], b"x");
    file.write_at(0, b"y").unwrap_err();
    file.sync_data().unwrap_err();
    disk.list(Path::new("/")).unwrap_err();
    disk.remove(Path::new("/file")).unwrap_err();
    assert_eq!(&next.read_all(Path::new("/file")).unwrap()[..], b"x");
}

#[test]
fn a_full_disk_says_so() {
    let disk = SimDisk::new(5);
    disk.set_capacity_bytes(1000);
    let file = make(&disk, Path::new("/file"), &[1; 600]);
    assert_eq!(disk.free_bytes(Path::new("/")).unwrap(), 400);
    assert!(file.write_at(600, &[1; 401]).unwrap_err().is_full());
    let larger = Open::Create {
        preallocate_bytes: 401,
    };
    assert!(
        disk.open(Path::new("/more"), larger)
            .err()
            .unwrap()
            .is_full()
    );
    file.write_at(600, &[1; 400]).unwrap();
}
