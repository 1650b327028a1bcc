//! What people hand over, look at and take away.

use tokio::sync::mpsc;

use super::{
    build::{Blobs, Tar, layer, named},
    *,
};
use crate::api::Piece;

/// So many bytes are handed over at a time.
const PIECE_BYTES: usize = 1_000;

/// A shelf, and what is said to be used.
fn shelf(place: &Place) -> (Shelf, Arc<Mutex<BTreeSet<Vec<PathBuf>>>>) {
    let used = Arc::new(Mutex::new(BTreeSet::new()));
    let told = used.clone();
    let shelf = Shelf::new(
        place.images.clone(),
        Arc::new(move || Ok(told.lock().clone())),
    );
    (shelf, used)
}

/// Hands an archive over, whole or not.
fn handed(archive: Vec<u8>, is_whole: bool) -> mpsc::Receiver<Piece> {
    let (to, pieces) = mpsc::channel(1);
    drop(task::spawn(async move {
        for piece in archive.chunks(PIECE_BYTES) {
            let piece = bytes::Bytes::copy_from_slice(piece);
            if to.send(Piece::Bytes(piece)).await.is_err() {
                return;
            }
        }
        if is_whole {
            let _ = to.send(Piece::End).await;
        }
    }));
    pieces
}

fn archive(names: &[&str]) -> Vec<u8> {
    let mut blobs = Blobs::default();
    let images: Vec<_> = names
        .iter()
        .map(|name| {
            let tar = layer("bin/app", name);
            (blobs.image(&Platform::here(), &[tar]), named(name))
        })
        .collect();
    blobs.layout(&images).end()
}

#[tokio::test]
async fn what_is_handed_over_is_listed_until_it_is_taken_away() {
    let place = place();
    let (shelf, used) = shelf(&place);
    let told = shelf.import(handed(archive(&["app:1"]), true), None).await;
    let told = told.unwrap();
    assert_eq!(told[0].names, ["docker.io/library/app:1"]);
    assert!(told[0].imported && !told[0].used && told[0].bytes > 0);
    assert_eq!(shelf.list().await.unwrap(), told);
    let image = place.images.find("app:1").unwrap();
    used.lock().insert(image.layers.clone());
    assert!(shelf.list().await.unwrap()[0].used);
    let refused = shelf.remove("app:1").await.unwrap_err();
    assert!(matches!(refused, ShelfError::InUse(_)), "{refused}");
    used.lock().clear();
    shelf.remove("app:1").await.unwrap();
    assert_eq!(shelf.list().await.unwrap(), []);
    for gone in ["app:1", "No Name"] {
        let refused = shelf.remove(gone).await.unwrap_err();
        assert!(matches!(refused, ShelfError::NotFound(_)), "{refused}");
    }
}

#[tokio::test]
async fn a_name_that_is_told_is_the_images() {
    let place = place();
    let (shelf, _) = shelf(&place);
    for (told, name) in [
        ("mine:2", "docker.io/library/mine:2"),
        ("example.com/mine", "example.com/mine:latest"),
    ] {
        let pieces = handed(archive(&["app:1"]), true);
        let images = shelf.import(pieces, Some(told)).await.unwrap();
        assert_eq!(images[0].names, [name]);
    }
    assert!(place.images.find("app:1").is_none());
    let both = handed(archive(&["a", "b"]), true);
    let refused = shelf.import(both, Some("mine:2")).await.unwrap_err();
    assert!(refused.to_string().contains("it has 2 images"), "{refused}");
    let both = handed(archive(&["a", "b"]), true);
    assert_eq!(shelf.import(both, None).await.unwrap().len(), 2);
}

#[tokio::test]
async fn what_does_not_come_whole_leaves_nothing() {
    let place = place();
    let (shelf, _) = shelf(&place);
    let whole = archive(&["app:1"]);
    let outside = place.scratch.path().join("outside");
    write(outside.clone(), "kept");
    let mut blobs = Blobs::default();
    let tar = Tar::default().file("../../../outside", b"evil").end();
    let evil = blobs.image(&Platform::here(), &[tar]);
    let evil = blobs.layout(&[(evil, named("evil"))]).end();
    let cases = [
        // Cut between two files, it would pass for a whole one.
        (whole[..1024].to_vec(), false, "can't be read"),
        (whole.clone(), false, "can't be read"),
        (whole[..1300].to_vec(), true, "can't be read"),
        (b"no archive".to_vec(), true, "can't be read"),
        (Vec::new(), true, "is not in it"),
        (evil, true, "has a .."),
    ];
    for (bytes, is_whole, expected) in cases {
        let refused = shelf.import(handed(bytes, is_whole), None).await;
        let refused = refused.unwrap_err().to_string();
        assert!(refused.contains(expected), "{expected}: {refused}");
        let counts = ["blobs/sha256", "layers", "partial"].map(|part| place.count(part));
        assert_eq!(counts, [0, 0, 0], "{expected}");
    }
    assert_eq!(read(outside), b"kept");
    shelf.import(handed(whole, true), None).await.unwrap();
}

#[tokio::test]
async fn one_is_imported_at_a_time() {
    let place = place();
    let (shelf, _) = shelf(&place);
    let (to, slow) = mpsc::channel(1);
    let first = shelf.import(slow, None);
    let others = async {
        // It has begun once it takes pieces.
        to.send(Piece::Bytes(vec![0; 10].into())).await.unwrap();
        to.reserve().await.unwrap();
        let pieces = handed(archive(&["app:1"]), true);
        let refused = shelf.import(pieces, None).await.unwrap_err();
        assert!(matches!(refused, ShelfError::Busy), "{refused}");
        drop(to);
    };
    let (first, ()) = tokio::join!(first, others);
    assert!(first.is_err());
    let pieces = handed(archive(&["app:1"]), true);
    shelf.import(pieces, None).await.unwrap();
}
