//! Archives of somebody who wants out, or wants it all.

use super::{
    build::{Blobs, Tar, gzip, named},
    *,
};
use crate::{
    core::image::layer::{Budget, TooMuch},
    driver::images::{decode, meter},
};

fn layout(tar: Vec<u8>) -> Vec<u8> {
    let mut blobs = Blobs::default();
    let manifest = blobs.image(&Platform::here(), &[tar]);
    blobs.layout(&[(manifest, named("evil"))]).end()
}

#[tokio::test]
async fn layers_that_lead_out_are_refused() {
    let place = place();
    let outside = place.scratch.path().join("outside");
    std::fs::create_dir(&outside).unwrap();
    write(outside.join("kept"), "kept");
    let out = outside.to_str().unwrap();
    let kept = format!("{out}/kept");
    let up = "../../../outside/kept";
    let long = "x".repeat(2 << 20);
    let tar = Tar::default;
    let cases = [
        ("has a ..", tar().file(up, b"evil")),
        (
            "has a ..",
            tar().file("a/../../../../outside/kept", b"evil"),
        ),
        (
            "symbolic link",
            tar().symlink("l", out).file("l/kept", b"evil"),
        ),
        (
            "symbolic link",
            tar()
                .symlink("l", "..")
                .symlink("m", "l/..")
                .file("m/x", b"evil"),
        ),
        ("symbolic link", tar().symlink("l", out).folder("l/new")),
        (
            "symbolic link",
            tar().symlink("l", out).file("l/.wh.kept", b""),
        ),
        ("target is outside", tar().entry("h", b'1', up, b"")),
        ("not there", tar().entry("h", b'1', &kept, b"")),
        (
            "not there",
            tar().symlink("l", out).entry("h", b'1', "l/kept", b""),
        ),
        ("removes no file", tar().file("a/.wh...", b"")),
        ("removes no file", tar().file(".wh..", b"")),
        ("type is not known", tar().entry("v", b'V', "", b"")),
        ("has holes", tar().entry("s", b'S', "", b"")),
        (
            "has holes",
            tar().records(&[("GNU.sparse.major", b"1")]).file("s", b""),
        ),
        (
            "has a ..",
            tar().records(&[("path", b"../../evil")]).file("a", b""),
        ),
        (
            "target is outside",
            tar()
                .records(&[("linkpath", b"../x")])
                .entry("a", b'1', "b", b""),
        ),
        (
            "zero byte",
            tar().records(&[("path", b"a\0b")]).file("a", b""),
        ),
        (
            "too long",
            tar()
                .records(&[("comment", long.as_bytes())])
                .file("a", b""),
        ),
        (
            "too long",
            tar()
                .entry("././@LongLink", b'L', "", long.as_bytes())
                .file("a", b""),
        ),
        (
            "attributes",
            tar()
                .records(&[("SCHILY.xattr.user.a", &[0; 65_537])])
                .file("a", b""),
        ),
    ];
    for (part, tar) in cases {
        let told = place
            .import(layout(tar.end()), None)
            .await
            .unwrap_err()
            .to_string();
        assert!(told.contains(part), "{part}: {told}");
        assert_eq!(place.images.find("evil"), None);
        for folder in ["layers", "partial", "blobs/sha256"] {
            assert_eq!(place.count(folder), 0, "{part}: {folder}");
        }
        assert_eq!(read(outside.join("kept")), b"kept");
        assert_eq!(std::fs::read_dir(&outside).unwrap().count(), 1);
        assert_eq!(std::fs::read_dir(place.scratch.path()).unwrap().count(), 2);
    }
}

#[tokio::test]
async fn what_looks_hostile_and_is_not_is_taken() {
    let place = place();
    let tar = Tar::default()
        .file("/absolute", b"1")
        .symlink("anywhere", "/../../etc/passwd")
        .entry("dev/sda", b'3', "", b"")
        .entry("dev/hidden", b'3', "", b"")
        .entry(".wh..wh.plnk/1", b'0', "", b"aufs")
        .records(&[
            ("SCHILY.xattr.trusted.overlay.opaque", b"y"),
            ("SCHILY.xattr.user.overlay.opaque", b"y"),
        ])
        .folder("etc")
        .file("old/", b"")
        .end();
    place.import(layout(tar), None).await.unwrap();
    assert_eq!(place.content("evil", "absolute").unwrap(), b"1");
    let layer = &place.images.find("evil").unwrap().layers[0];
    let target = std::fs::read_link(layer.join("anywhere")).unwrap();
    assert_eq!(target, std::path::Path::new("/../../etc/passwd"));
    assert!(!layer.join("dev").exists(), "devices are left out");
    assert!(!layer.join(".wh..wh.plnk").exists());
    assert!(layer.join("old").is_dir());
    assert!(!atoll_world::layer::is_opaque(&layer.join("etc")));
}

#[tokio::test]
async fn what_is_not_what_it_says_is_refused() {
    let place = place();
    let tar = Tar::default().file("a", b"1").end();
    let tars = std::slice::from_ref(&tar);
    let mut blobs = Blobs::default();
    let other = Digest::of(b"other");
    let lies = blobs.image_of(&Platform::here(), tars, &[other]);
    let more = blobs.image_of(&Platform::here(), tars, &[other, other]);
    let mut missing = Blobs::default();
    let gone = missing.image(&Platform::here(), tars);
    missing.0.remove(&Digest::of(&gzip(&tar)));
    let cut = Blobs::default().layout(&[]).end();
    let images = |digest| [(digest, named("lies"))];
    let archives = [
        ("a layer has digest", blobs.layout(&images(lies)).end()),
        (
            "manifest has 1 layers and its config 2",
            blobs.layout(&images(more)).end(),
        ),
        ("is not there", missing.layout(&images(gone)).end()),
        ("can't be read", cut[..700].to_vec()),
        (
            "can't be read",
            b"no archive at all, but longer than a block".repeat(20),
        ),
        (
            "\"index.json\" is not in it",
            Tar::default().file("x", b"").end(),
        ),
        ("\"index.json\" is not in it", Vec::new()),
        (
            "can't be read",
            Tar::default().file("manifest.json", b"{}").end(),
        ),
    ];
    for (part, archive) in archives {
        let told = place.import(archive, None).await.unwrap_err().to_string();
        assert!(told.contains(part), "{part}: {told}");
        assert_eq!(place.images.list(), []);
        assert_eq!(place.count("layers"), 0, "{part}");
    }
}

#[test]
fn bombs_are_cut_short() {
    // A megabyte of zeros, in a thousandth of it.
    let bomb = gzip(&Tar::default().file("a", &vec![0; 1 << 20]).end());
    let mut budget = Budget::new(64 << 10);
    let plain = decode::plain(bomb.as_slice()).unwrap();
    let mut seen = 0;
    let told = meter::each(plain, &mut budget, |_| {
        seen += 1;
        Ok(())
    });
    let (told, limit) = (told.unwrap_err().to_string(), TooMuch::Bytes.to_string());
    assert!(told.contains(&limit), "{told}");
    assert_eq!(seen, 1);
}
