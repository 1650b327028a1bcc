//! What goes when the disk fills up, and what is left to go later.

use super::{
    build::{Blobs, layer, named},
    *,
};
use crate::core::image::collection::{AGE_MS_MIN, Collection, DiskRoom};

/// A disk of which so many percent are used.
fn disk(percent: u64) -> DiskRoom {
    DiskRoom {
        bytes: 100 << 30,
        free_bytes: (100 - percent) << 30,
    }
}

/// Images, as if they were from a registry, each with a layer of its own.
async fn fetched(place: &Place, names: &[&str]) {
    let mut blobs = Blobs::default();
    for name in names {
        let manifest = blobs.image(&Platform::here(), &[layer("bin/app", name)]);
        let archive = blobs.layout(&[(manifest, named(name))]).end();
        place.import(archive, None).await.unwrap();
    }
    let index = |index: &mut index::Index| {
        for kept in index.images.values_mut() {
            kept.imported = false;
        }
    };
    place.images.inner.store.change_index(index).unwrap();
}

/// Looks at the disk, twice: images are new at first.
async fn collected(shelf: &Shelf, room: impl Fn() -> DiskRoom + Send + 'static) -> Vec<String> {
    let collection = Collection::default();
    let (collection, first) = shelf.collect(collection, 0, || disk(99)).await;
    assert_eq!(first.unwrap().names, [""; 0], "they are new");
    let (_, freed) = shelf.collect(collection, AGE_MS_MIN, room).await;
    let mut names = freed.unwrap().names;
    names.sort();
    names
}

#[tokio::test]
async fn a_full_disk_ends_what_nobody_needs() {
    let place = place();
    fetched(&place, &["held", "idle", "used"]).await;
    let mut blobs = Blobs::default();
    let own = blobs.image(&Platform::here(), &[layer("bin/app", "own")]);
    let archive = blobs.layout(&[(own, named("own"))]).end();
    place.import(archive, None).await.unwrap();
    let used = place.images.find("used").unwrap().layers;
    let shelf = Shelf::new(
        place.images.clone(),
        Arc::new(move || Ok(BTreeSet::from([used.clone()]))),
    );
    let nobody = Keyring::default();
    let given = place
        .images
        .ensure("held", PullPolicy::Never, &nobody)
        .await
        .unwrap();
    // It could be removed by hand now, and is being started all the same.
    assert!(place.images.remove("held").await.unwrap());
    assert_eq!(collected(&shelf, || disk(50)).await, [""; 0]);
    let gone = collected(&shelf, || disk(99)).await;
    assert_eq!(gone, ["docker.io/library/idle:latest"]);
    assert!(given.layers.iter().all(|layer| layer.is_dir()));
    assert_eq!(place.count("layers"), 3);
    drop(given);
    assert_eq!(collected(&shelf, || disk(99)).await, [""; 0]);
    let names = place.images.list().into_iter().map(|(name, _)| name);
    assert_eq!(
        names.collect::<Vec<_>>(),
        [
            "docker.io/library/own:latest",
            "docker.io/library/used:latest"
        ]
    );
    assert_eq!(place.count("layers"), 2);
}

#[tokio::test]
async fn it_ends_when_there_is_room() {
    let place = place();
    fetched(&place, &["a", "b", "c"]).await;
    let shelf = Shelf::new(place.images.clone(), Arc::new(|| Ok(BTreeSet::new())));
    let layers = place.folder().join("layers");
    // Two images are as much as it takes.
    let room = move || match tree::names(&layers).unwrap().len() {
        3 => disk(90),
        2 => disk(82),
        _ => disk(75),
    };
    assert_eq!(collected(&shelf, room).await.len(), 2);
    assert_eq!(place.images.list().len(), 1);
}

#[tokio::test]
async fn nothing_goes_while_it_is_not_known_what_is_used() {
    let place = place();
    fetched(&place, &["a"]).await;
    let shelf = Shelf::new(place.images.clone(), Arc::new(|| Err("no".to_owned())));
    let collection = Collection::default();
    let (_, looked) = shelf.collect(collection, 0, || disk(99)).await;
    assert!(matches!(looked, Err(ShelfError::Unknown(_))));
    let gate = place.images.inner.gate.read().await;
    let busy = shelf.collect(Collection::default(), 0, || disk(99)).await;
    assert_eq!(busy.1.unwrap(), collect::Freed::default(), "somebody adds");
    drop(gate);
    assert_eq!(place.count("layers"), 1);
}
