//! What is fetched from a registry, and when, and by whom.

use super::{
    build::{Blobs, gzip, layer},
    server::{Fault, Registry, Ways},
    *,
};
use crate::core::image::Document;

/// An image of two layers, and what they are as they are sent.
struct Sample {
    blobs: Blobs,
    manifest: Digest,
    layers: [Digest; 2],
}

fn sample() -> Sample {
    let tars = [layer("bin/app", "lower"), layer("etc/conf", "upper")];
    let mut blobs = Blobs::default();
    let manifest = blobs.image(&Platform::here(), &tars);
    Sample {
        blobs,
        manifest,
        layers: tars.map(|tar| Digest::of(&gzip(&tar))),
    }
}

impl Sample {
    fn ways(&self) -> Ways {
        Ways {
            tags: vec![("app:1".to_owned(), self.manifest)],
            ..Ways::default()
        }
    }

    async fn registry(&self, ways: Ways) -> Registry {
        Registry::start(self.blobs.clone(), ways).await
    }
}

impl Place {
    async fn pull(&self, image: &str, keyring: &Keyring) -> Result<Image, ImageFailure> {
        self.images.ensure(image, PullPolicy::Always, keyring).await
    }
}

fn nobody() -> Keyring {
    Keyring::default()
}

#[tokio::test]
async fn an_image_is_fetched_when_the_policy_says_so() {
    let (place, sample) = (place(), sample());
    let registry = sample.registry(sample.ways()).await;
    let name = format!("{}/app:1", registry.address);
    let ensure = |policy| {
        let (images, name) = (place.images.clone(), name.clone());
        async move { images.ensure(&name, policy, &nobody()).await }
    };
    let told = ensure(PullPolicy::Never).await.unwrap_err();
    assert_eq!(told, ImageFailure::never_pull(&name));
    assert_eq!(registry.count(""), 0);

    let image = ensure(PullPolicy::IfNotPresent).await.unwrap();
    assert_eq!(
        (image.target, image.manifest),
        (sample.manifest, sample.manifest)
    );
    assert_eq!(place.content(&name, "bin/app").unwrap(), b"lower");
    assert_eq!(place.content(&name, "etc/conf").unwrap(), b"upper");
    assert_eq!(
        (registry.count("/manifests/"), registry.count("/blobs/")),
        (1, 3)
    );
    assert_eq!(
        (place.count("blobs/sha256"), place.count("partial")),
        (2, 0)
    );

    for policy in [PullPolicy::IfNotPresent, PullPolicy::Never] {
        assert_eq!(ensure(policy).await.as_ref(), Ok(&image));
    }
    assert_eq!(registry.count("/manifests/"), 1);
    assert_eq!(ensure(PullPolicy::Always).await.as_ref(), Ok(&image));
    assert_eq!(
        (registry.count("/manifests/"), registry.count("/blobs/")),
        (2, 3)
    );

    registry.ways.lock().tags.clear();
    let told = ensure(PullPolicy::Always).await.unwrap_err().to_string();
    assert!(
        told.starts_with("ErrImagePull: failed to pull and unpack image"),
        "{told}"
    );
    assert!(told.ends_with("/v2/app/manifests/1: not found"), "{told}");
    let by_digest = format!("{}/app@{}", registry.address, sample.manifest);
    let image = place
        .images
        .ensure(&by_digest, PullPolicy::Never, &nobody())
        .await
        .unwrap();
    assert_eq!(image.id(), by_digest);

    let told = place.pull("Not a name", &nobody()).await.unwrap_err();
    assert_eq!(told.reason.name(), "InvalidImageName");
}

#[tokio::test]
async fn who_asks_at_the_same_time_asks_once() {
    let (place, sample) = (place(), sample());
    let registry = sample.registry(sample.ways()).await;
    let name = format!("{}/app:1", registry.address);
    let nobody = nobody();
    let pulls = (0..8).map(|_| place.pull(&name, &nobody));
    let images = futures_util::future::join_all(pulls).await;
    assert!(
        images
            .iter()
            .all(|image| *image == images[0] && image.is_ok())
    );
    assert_eq!(
        (registry.count("/manifests/"), registry.count("/blobs/")),
        (1, 3)
    );
    // Somebody else may see something else.
    let other = keyring(&registry.address, "u", "p");
    let (one, two) = tokio::join!(place.pull(&name, &nobody), place.pull(&name, &other));
    assert_eq!(one, two);
    assert_eq!(registry.count("/manifests/"), 3);
}

#[tokio::test]
async fn a_token_is_asked_for_and_shown() {
    let sample = sample();
    for (login, secret) in [
        (None, None),
        (Some("Basic dTpw"), Some(("username", "password"))),
        (Some("fresh"), None),
    ] {
        let place = place();
        let registry = sample.registry(Ways {
            wants: Some("Bearer secret".to_owned()),
            login: login.map(str::to_owned),
            ..sample.ways()
        });
        let registry = registry.await;
        let mut keys = nobody();
        match (login, secret) {
            (Some(_), Some(_)) => keys = keyring(&registry.address, "u", "p"),
            (Some(token), None) => {
                let secret = serde_json::json!({&registry.address: {"identitytoken": token}});
                keys.add(secret.to_string().as_bytes()).unwrap();
            }
            _ => {}
        }
        let name = format!("{}/app:1", registry.address);
        place.pull(&name, &keys).await.unwrap();
        assert_eq!(
            registry.count("/token"),
            1,
            "one token is good for the whole pull"
        );
        let others = registry
            .shown()
            .into_iter()
            .filter(|it| it == "Bearer secret");
        assert_eq!(others.count(), 4, "the manifest, the config, two layers");
    }
}

#[tokio::test]
async fn who_may_not_is_told_so() {
    let (place, sample) = (place(), sample());
    for wants in ["Bearer secret", "Basic dTpw"] {
        let registry = sample.registry(Ways {
            wants: Some(wants.to_owned()),
            login: Some("Basic dTpw".to_owned()),
            ..sample.ways()
        });
        let registry = registry.await;
        let name = format!("{}/app:1", registry.address);
        let wrong = keyring(&registry.address, "u", "wrong");
        for keyring in [&nobody(), &wrong] {
            let told = place.pull(&name, keyring).await.unwrap_err().message;
            assert!(told.contains("pull access denied for 127.0.0.1"), "{told}");
            assert!(!told.contains("secret") && !told.contains("dTpw"), "{told}");
        }
        // The second login is good.
        let mut both = keyring(&format!("{}/app", registry.address), "u", "wrong");
        let good = serde_json::json!({&registry.address: {"username": "u", "password": "p"}});
        both.add(good.to_string().as_bytes()).unwrap();
        place.pull(&name, &both).await.unwrap();
        assert!(place.images.remove(&name).await.unwrap());
        place.collect(&[]);
    }
}

#[tokio::test]
async fn a_login_is_not_sent_without_tls() {
    let (place, sample) = (place(), sample());
    let registry = sample.registry(Ways {
        wants: Some("Bearer secret".to_owned()),
        realm: Some("http://192.0.2.1/token".to_owned()),
        ..sample.ways()
    });
    let registry = registry.await;
    let name = format!("{}/app:1", registry.address);
    let keyring = keyring(&registry.address, "u", "p");
    let told = place.pull(&name, &keyring).await.unwrap_err().message;
    assert!(told.contains("has no TLS"), "{told}");
}

#[tokio::test]
async fn a_redirect_is_followed_without_a_credential() {
    let (place, sample) = (place(), sample());
    let store = sample.registry(Ways::default()).await;
    let registry = sample.registry(Ways {
        wants: Some("Basic dTpw".to_owned()),
        blobs_at: Some(store.address.clone()),
        ..sample.ways()
    });
    let registry = registry.await;
    let name = format!("{}/app:1", registry.address);
    let keyring = keyring(&registry.address, "u", "p");
    place.pull(&name, &keyring).await.unwrap();
    assert_eq!(
        store.shown(),
        ["", "", ""],
        "the other host is shown nothing"
    );
    assert_eq!(store.count("?sig=secret"), 3);

    registry.ways.lock().blobs_at = Some("itself".to_owned());
    assert!(place.images.remove(&name).await.unwrap());
    place.collect(&[]);
    let told = place.pull(&name, &keyring).await.unwrap_err().message;
    assert!(told.contains("redirects too often"), "{told}");
    assert_eq!(
        registry.count("/blobs/"),
        3 + 6,
        "one document, asked for six times"
    );

    registry.ways.lock().blobs_at = Some("192.0.2.1".to_owned());
    let told = place.pull(&name, &keyring).await.unwrap_err().message;
    assert!(
        told.contains("has no TLS") && !told.contains("secret"),
        "{told}"
    );
}

#[tokio::test]
async fn what_comes_wrong_is_not_kept_and_what_came_right_is() {
    let (place, sample) = (place(), sample());
    let registry = sample.registry(sample.ways()).await;
    let name = format!("{}/app:1", registry.address);
    let [good, bad] = sample.layers;
    let cases = [
        (Fault::Short, "bytes and not"),
        (Fault::Cut, "connection"),
        (Fault::Long, "more than it should"),
        (Fault::Other, "a blob has digest"),
        (Fault::Down, "503"),
    ];
    for (fault, part) in cases {
        registry.ways.lock().faults = vec![(bad, fault)];
        let told = place.pull(&name, &nobody()).await.unwrap_err().message;
        assert!(told.contains(part), "{part}: {told}");
        assert_eq!(place.images.find(&name), None);
        assert_eq!((place.count("layers"), place.count("partial")), (0, 0));
    }
    registry.ways.lock().faults.clear();
    place.pull(&name, &nobody()).await.unwrap();
    let times = |digest: Digest| registry.count(&digest.to_string());
    assert!(
        times(good) < times(bad),
        "what came right is not asked for again"
    );
}

#[tokio::test]
async fn documents_are_what_they_are_named_by() {
    let (place, mut sample) = (place(), sample());
    let index = sample.blobs.index(&[(sample.manifest, Platform::here())]);
    let other = sample
        .blobs
        .image(&Platform::here(), &[layer("x", "other")]);
    let mut ways = sample.ways();
    let lie = (format!("app:{}", sample.manifest), other);
    ways.tags.extend([("app:index".to_owned(), index), lie]);
    let registry = sample.registry(ways).await;
    let image = format!("{}/app", registry.address);
    let told = place.pull(&format!("{image}:index"), &nobody()).await;
    let told = told.unwrap_err().message;
    assert!(told.contains("a document has digest"), "{told}");
    let Ok(Document::Manifest(manifest)) = Document::read(&sample.blobs.0[&sample.manifest], None)
    else {
        panic!("it is an image");
    };
    registry.ways.lock().faults = vec![(manifest.config.digest, Fault::Other)];
    let told = place.pull(&format!("{image}:1"), &nobody()).await;
    let told = told.unwrap_err().message;
    assert!(told.contains("a document has digest"), "{told}");
    assert_eq!(place.images.list(), []);
}

#[tokio::test]
async fn a_manifest_is_what_it_was_asked_for() {
    let (place, mut sample) = (place(), sample());
    let config = Blobs::default().add(b"{}".to_vec());
    let index = sample.blobs.index(&[(sample.manifest, Platform::here())]);
    let mut ways = sample.ways();
    ways.tags.extend([
        ("app:index".to_owned(), index),
        ("app:gone".to_owned(), config),
        (format!("app:{index}"), sample.manifest),
    ]);
    let registry = sample.registry(ways).await;
    let image = format!("{}/app", registry.address);
    let told = async |name: String| place.pull(&name, &nobody()).await.map_err(|it| it.message);
    let found = told(format!("{image}:index")).await.unwrap();
    assert_eq!((found.target, found.manifest), (index, sample.manifest));
    let wrong = told(format!("{image}@{index}")).await.unwrap_err();
    assert!(wrong.contains("a document has digest"), "{wrong}");
    let gone = told(format!("{image}:gone")).await.unwrap_err();
    assert!(gone.contains("not found"), "{gone}");
    registry.ways.lock().media_type = Some("application/vnd.oci.image.index.v1+json");
    let other = told(format!("{image}:1")).await.unwrap_err();
    assert!(
        other.contains("it is no application/vnd.oci.image.index"),
        "{other}"
    );
    let closed = "127.0.0.1:1/app".to_owned();
    assert!(told(closed).await.unwrap_err().contains("127.0.0.1:1"));
}
