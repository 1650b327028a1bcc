//! What entries become, and which are refused.

use proptest::prelude::*;

use super::*;

fn path(text: &str) -> Vec<u8> {
    text.as_bytes().to_vec()
}

#[test]
fn entries_become_what_overlayfs_knows() {
    let cases = [
        ("a/b", Kind::File, "", Step::File(path("a/b"))),
        ("./a//b/.", Kind::Folder, "", Step::Folder(path("a/b"))),
        ("/etc/x", Kind::File, "", Step::File(path("etc/x"))),
        ("./", Kind::Folder, "", Step::Folder(path(""))),
        ("/", Kind::Folder, "", Step::Folder(path(""))),
        ("a/..b", Kind::File, "", Step::File(path("a/..b"))),
        (
            "l",
            Kind::Symlink,
            "../../../etc",
            Step::Symlink(path("l"), path("../../../etc")),
        ),
        (
            "h",
            Kind::HardLink,
            "/a/./b",
            Step::HardLink(path("h"), path("a/b")),
        ),
        ("f", Kind::Fifo, "", Step::Fifo(path("f"))),
        ("a/.wh.b", Kind::File, "", Step::Whiteout(path("a/b"))),
        (".wh.b", Kind::HardLink, "x", Step::Whiteout(path("b"))),
        (".wh..b", Kind::File, "", Step::Whiteout(path(".b"))),
        ("a/.wh..wh..opq", Kind::File, "", Step::Opaque(path("a"))),
        (".wh..wh..opq", Kind::File, "", Step::Opaque(path(""))),
    ];
    for (at, kind, target, expected) in cases {
        let target = (!target.is_empty()).then_some(target.as_bytes());
        assert_eq!(step(at.as_bytes(), kind, target), Ok(expected), "{at}");
    }
    for (at, kind) in [
        ("dev/sda", Kind::Device),
        (".wh..wh.plnk/1.2", Kind::File),
        (".wh..wh.aufs", Kind::File),
        (".wh..wh.orph/x", Kind::Folder),
    ] {
        let step = step(at.as_bytes(), kind, None).unwrap();
        assert!(matches!(step, Step::Skip(_)), "{at}");
    }
}

#[test]
fn what_leads_out_is_refused() {
    let deep = "a/".repeat(DEPTH_MAX + 1);
    let long = "a/".repeat(PATH_BYTES_MAX / 2);
    let name = "n".repeat(NAME_BYTES_MAX + 1);
    let cases = [
        ("..", Kind::Folder, ""),
        ("../a", Kind::File, ""),
        ("a/../../b", Kind::File, ""),
        ("a/..", Kind::Folder, ""),
        ("/../a", Kind::File, ""),
        ("", Kind::File, ""),
        (".", Kind::File, ""),
        ("/", Kind::Symlink, "x"),
        ("a\0b", Kind::File, ""),
        (&deep, Kind::Folder, ""),
        (&long, Kind::Folder, ""),
        (&name, Kind::File, ""),
        ("h", Kind::HardLink, "../etc/passwd"),
        ("h", Kind::HardLink, "a/../../etc/passwd"),
        ("h", Kind::HardLink, ""),
        ("h", Kind::HardLink, "/"),
        ("l", Kind::Symlink, ""),
        ("l", Kind::Symlink, "a\0"),
        ("l", Kind::Symlink, &long),
        (".wh.", Kind::File, ""),
        ("a/.wh..", Kind::File, ""),
        ("a/.wh...", Kind::File, ""),
        (".wh.a/b", Kind::File, ""),
        ("../.wh.a", Kind::File, ""),
        ("../.wh..wh.plnk", Kind::File, ""),
        ("s", Kind::Other(b'V'), ""),
    ];
    for (at, kind, target) in cases {
        let told = step(at.as_bytes(), kind, Some(target.as_bytes()));
        assert!(told.is_err(), "{at:?} {target:?}: {told:?}");
    }
}

#[test]
fn attributes_are_kept_as_far_as_they_are_the_images_affair() {
    assert_eq!(mode(0o104_755), 0o4755);
    assert_eq!((owner(0), owner(1_000)), (Some(0), Some(1_000)));
    assert_eq!((owner(u64::from(u32::MAX)), owner(1 << 32)), (None, None));
    for name in ["user.a", "security.capability"] {
        assert!(keeps_xattr(name.as_bytes()), "{name}");
    }
    let long = format!("user.{}", "x".repeat(XATTR_NAME_BYTES_MAX));
    for name in [
        "user.",
        "user.overlay.opaque",
        "trusted.overlay.redirect",
        "security.selinux",
        "system.posix_acl_access",
        "user.a\0b",
        &long,
    ] {
        assert!(!keeps_xattr(name.as_bytes()), "{name}");
    }
}

#[test]
fn attributes_are_few_and_small() {
    let small = b"SCHILY.xattr.user.a".as_slice();
    let other = b"SCHILY.xattr.trusted.overlay.opaque".as_slice();
    let kept = xattrs([(small, b"1".as_slice()), (other, b"y"), (b"path", b"x")]);
    assert_eq!(kept, Ok(vec![(b"user.a".to_vec(), b"1".to_vec())]));
    let value = vec![0; XATTRS_BYTES_MAX];
    assert!(xattrs([(small, value.as_slice())]).is_err());
    let one = (small, b"".as_slice());
    assert!(xattrs(std::iter::repeat_n(one, XATTRS_MAX)).is_ok());
    assert!(xattrs(std::iter::repeat_n(one, XATTRS_MAX + 1)).is_err());
    let holes = (b"GNU.sparse.major".as_slice(), b"1".as_slice());
    assert_eq!(xattrs([holes]), Err("it has holes"));
}

#[test]
fn budgets_end() {
    let mut budget = Budget::new(10);
    budget.take_bytes(10).unwrap();
    assert_eq!(budget.take_bytes(1), Err(TooMuch::Bytes));
    for _ in 0..ENTRIES_MAX {
        budget.take_entry().unwrap();
    }
    assert_eq!(budget.take_entry(), Err(TooMuch::Entries));
    budget.begin_layer();
    budget.take_entry().unwrap();
}

proptest! {
    #[test]
    fn no_step_leads_out(
        at in "(/|\\.|a|\\.wh\\.|\0){0,12}",
        target in "(/|\\.|a){0,8}",
        kind in prop::sample::select(vec![
            Kind::File, Kind::Folder, Kind::Symlink, Kind::HardLink, Kind::Fifo, Kind::Device,
        ]),
    ) {
        let inside = |path: &[u8]| path.is_empty() || path.split(|it| *it == b'/')
            .all(|part| !part.is_empty() && part != b"." && part != b"..");
        match step(at.as_bytes(), kind, Some(target.as_bytes())) {
            Ok(Step::HardLink(path, target)) => prop_assert!(inside(&path) && inside(&target)),
            Ok(Step::Folder(path) | Step::File(path) | Step::Symlink(path, _)
                | Step::Fifo(path) | Step::Whiteout(path) | Step::Opaque(path)) =>
                prop_assert!(inside(&path)),
            Ok(Step::Skip(_)) | Err(_) => {}
        }
    }
}
