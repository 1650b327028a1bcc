//! Archives that are good, and what becomes of them.

use std::io::Cursor;

use serde_json::json;

use super::{
    build::{Blobs, Tar, config, gzip, layer, named},
    *,
};

impl Place {
    pub(super) async fn import(
        &self,
        archive: Vec<u8>,
        base: Option<&str>,
    ) -> Result<Vec<String>, ImageError> {
        let source = Box::new(Cursor::new(archive));
        let names = self.images.import_from(source, base).await?;
        Ok(names.iter().map(Reference::to_string).collect())
    }
}

fn two_layers() -> [Vec<u8>; 2] {
    [layer("bin/app", "lower"), layer("bin/app", "upper")]
}

#[tokio::test]
async fn a_layout_is_imported_and_found() {
    let place = place();
    let mut blobs = Blobs::default();
    let manifest = blobs.image(&Platform::here(), &two_layers());
    let archive = blobs.layout(&[(manifest, named("docker.io/library/app:1"))]);
    let names = place.import(archive.end(), None).await.unwrap();
    assert_eq!(names, ["docker.io/library/app:1"]);
    let image = place.images.find("app:1").unwrap();
    assert_eq!((image.target, image.manifest), (manifest, manifest));
    assert_eq!(image.id(), format!("docker.io/library/app@{manifest}"));
    assert_eq!(image.config.argv(&[], &[]), ["/bin/app"]);
    let contents = image.layers.iter().map(|it| read(it.join("bin/app")));
    assert_eq!(contents.collect::<Vec<_>>(), [b"lower", b"upper"]);
    // Layers as they were sent, and the archive's own files, are not kept.
    assert_eq!((place.count("blobs/sha256"), place.count("layers")), (2, 2));
    assert_eq!(place.count("partial"), 0);
    let nobody = Keyring::default();
    let never = place.images.ensure("app:1", PullPolicy::Never, &nobody);
    assert_eq!(never.await, Ok(image));
    assert_eq!(place.images.find("app"), None);
}

#[tokio::test]
async fn what_docker_saves_is_imported() {
    let place = place();
    let [lower, upper] = two_layers();
    let ids = [&lower, &upper, &lower].map(|tar| Digest::of(tar));
    let manifest = json!([{"Config": "c.json", "RepoTags": ["app:1", "other.io/app:2"],
        "Layers": ["a/layer.tar", "b/layer.tar", "c/layer.tar"]}]);
    let archive = Tar::default()
        .file("a/layer.tar", &lower)
        .symlink("c/layer.tar", "../a/layer.tar")
        .file("b/layer.tar", &upper)
        .file("c.json", &config(&Platform::here(), &ids))
        .file("manifest.json", manifest.to_string().as_bytes());
    let names = place.import(gzip(&archive.end()), None).await.unwrap();
    assert_eq!(names, ["docker.io/library/app:1", "other.io/app:2"]);
    let image = place.images.find("other.io/app:2").unwrap();
    assert_eq!(image.layers.len(), 3);
    assert_eq!(image.layers[0], image.layers[2]);
    assert_eq!(place.content("app:1", "bin/app").unwrap(), b"lower");
    assert_eq!((place.count("blobs/sha256"), place.count("layers")), (2, 2));
}

#[tokio::test]
async fn a_folder_is_imported_and_names_what_its_tags_are_of() {
    let place = place();
    let mut blobs = Blobs::default();
    let manifest = blobs.image(&Platform::here(), &two_layers());
    let folder = place.scratch.path().join("layout");
    std::fs::create_dir_all(folder.join("blobs/sha256")).unwrap();
    let tagged = json!({"org.opencontainers.image.ref.name": "v1"});
    let index = blobs.layout_index(&[(manifest, tagged)]);
    write(folder.join("index.json"), index);
    for (digest, content) in &blobs.0 {
        write(folder.join("blobs/sha256").join(digest.hex()), content);
    }
    let nameless = place.images.import(&folder, None).await;
    assert!(matches!(nameless, Err(ImageError::Nameless)));
    assert_eq!(
        place.count("blobs/sha256"),
        0,
        "nothing stays of what failed"
    );
    let names = place.images.import(&folder, Some("example.com/app")).await;
    assert_eq!(names.unwrap()[0].to_string(), "example.com/app:v1");
    assert!(place.images.find("example.com/app:v1").is_some());
    // The layers are there: their blobs need not be.
    let archive = place.scratch.path().join("bare.tar");
    let config = blobs
        .0
        .values()
        .find(|it| it.starts_with(b"{\"architecture"));
    let bare = Blobs(
        [manifest, Digest::of(config.unwrap())]
            .map(|digest| (digest, blobs.0[&digest].clone()))
            .into(),
    );
    write(
        archive.clone(),
        bare.layout(&[(manifest, named("again"))]).end(),
    );
    place.images.import(&archive, None).await.unwrap();
    assert!(place.images.find("again").is_some());
}

#[tokio::test]
async fn an_index_leads_to_the_manifest_for_this_machine() {
    let place = place();
    let mut blobs = Blobs::default();
    let here = blobs.image(&Platform::here(), &two_layers());
    let other = Platform {
        os: "linux".to_owned(),
        architecture: "mips".to_owned(),
        variant: String::new(),
    };
    let elsewhere = blobs.image(&other, &[layer("x", "elsewhere")]);
    let both = blobs.index(&[(elsewhere, other.clone()), (here, Platform::here())]);
    let archive = blobs.layout(&[(both, named("app"))]).end();
    place.import(archive, None).await.unwrap();
    let image = place.images.find("app").unwrap();
    assert_eq!((image.target, image.manifest), (both, here));
    let by_digest = format!("docker.io/library/app@{both}");
    assert_eq!(place.images.find(&by_digest).unwrap().manifest, here);
    for (target, name) in [
        (blobs.index(&[(elsewhere, other.clone())]), "none"),
        (elsewhere, "wrong"),
    ] {
        let archive = blobs.layout(&[(target, named(name))]).end();
        let told = place.import(archive, None).await.unwrap_err().to_string();
        assert!(told.contains("no match for platform linux/"), "{told}");
        assert_eq!(place.images.find(name), None);
    }
    // An index that leads through too many others.
    let mut target = both;
    for _ in 0..3 {
        target = blobs.index(&[(target, Platform::here())]);
    }
    let archive = blobs.layout(&[(target, named("deep"))]).end();
    let told = place.import(archive, None).await.unwrap_err().to_string();
    assert!(told.contains("index of indexes"), "{told}");
}

#[tokio::test]
async fn layers_are_shared_and_go_with_their_last_image() {
    let place = place();
    let [base, own] = two_layers();
    for (name, top) in [("one", &own), ("two", &layer("two", "2"))] {
        let mut blobs = Blobs::default();
        let manifest = blobs.image(&Platform::here(), &[base.clone(), top.clone()]);
        let archive = blobs.layout(&[(manifest, named(name))]).end();
        place.import(archive, None).await.unwrap();
    }
    assert_eq!((place.count("layers"), place.count("blobs/sha256")), (3, 4));
    let two = place.images.find("two").unwrap();
    let freed = |blobs, layers| collect::Freed {
        blobs,
        layers,
        ..collect::Freed::default()
    };
    assert!(place.images.remove("one").await.unwrap());
    assert!(!place.images.remove("one").await.unwrap());
    assert!(!place.images.remove("No Name").await.unwrap());
    assert_eq!(place.images.find("one"), None);
    assert_eq!(place.collect(&[]), freed(2, 1));
    assert_eq!(place.images.find("two").as_ref(), Some(&two));
    assert!(place.images.remove("two").await.unwrap());
    // A container of it may still run.
    let used = [two.layers.clone(), vec![PathBuf::from("/unheard/of")]];
    assert_eq!(place.collect(&used), freed(2, 0), "what it was called");
    assert!(two.layers.iter().all(|layer| layer.is_dir()));
    assert_eq!(place.collect(&[]), freed(0, 2));
    assert_eq!((place.count("layers"), place.count("blobs/sha256")), (0, 0));
    assert_eq!(place.images.list(), []);
}

#[tokio::test]
async fn a_store_is_opened_again_without_what_was_half_made() {
    let place = place();
    let mut blobs = Blobs::default();
    let manifest = blobs.image(&Platform::here(), &two_layers());
    let archive = blobs.layout(&[(manifest, named("app"))]).end();
    place.import(archive.clone(), None).await.unwrap();
    let folder = place.folder();
    let second = Images::open(&folder, &[])
        .err()
        .expect("another one has it");
    assert!(
        matches!(&second, ImageError::Disk(it) if it.is_locked()),
        "{second}"
    );
    let Place { images, scratch } = place;
    let image = images.find("app").unwrap();
    drop(images);
    // As a crash leaves it: half a layer, and one whose folder is lost.
    std::fs::create_dir_all(folder.join("partial/7/etc")).unwrap();
    std::fs::remove_dir_all(&image.layers[1]).unwrap();
    let images = Images::open(&folder, &[]).unwrap();
    let place = Place { images, scratch };
    assert_eq!(place.count("partial"), 0);
    assert_eq!(
        place.images.list(),
        [("docker.io/library/app:latest".to_owned(), manifest)]
    );
    assert_eq!(place.images.find("app"), None, "not whole");
    place.import(archive, None).await.unwrap();
    assert_eq!(place.images.find("app"), Some(image));
    let Place {
        images,
        scratch: _kept,
    } = place;
    drop(images);
    write(folder.join("index.json"), r#"{"version": 9}"#);
    let later = Images::open(&folder, &[]).err().expect("it can't be read");
    assert!(matches!(later, ImageError::Version(9)), "{later}");
}

#[tokio::test]
async fn what_a_layer_hides_is_hidden() {
    let place = place();
    let mut blobs = Blobs::default();
    let top = Tar::default()
        .file("bin/.wh.app", b"")
        .folder("etc")
        .file("etc/.wh..wh..opq", b"")
        .end();
    let all = Tar::default()
        .file(".wh..wh..opq", b"")
        .file("new", b"n")
        .end();
    let [base, _] = two_layers();
    let hides = blobs.image(&Platform::here(), &[base.clone(), top.clone()]);
    let hides_all = blobs.image(&Platform::here(), &[base, top, all]);
    let archive = blobs.layout(&[(hides, named("hides")), (hides_all, named("all"))]);
    place.import(archive.end(), None).await.unwrap();
    let image = place.images.find("hides").unwrap();
    let whiteout = std::fs::symlink_metadata(image.layers[1].join("bin/app")).unwrap();
    use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
    assert!(whiteout.file_type().is_char_device() && whiteout.rdev() == 0);
    assert!(atoll_world::layer::is_opaque(&image.layers[1].join("etc")));
    assert_eq!(image.layers.len(), 2);
    let image = place.images.find("all").unwrap();
    assert_eq!(image.layers.len(), 1, "nothing below is seen");
    assert!(image.layers[0].join("new").exists());
}
