//! What a request asks for, before anybody looks into its body.

use crate::{
    core::{kinds::Kind, object::Name},
    driver::store,
    face::{
        continuing,
        options::{self, Options},
        route::{self, Resource, Target},
    },
};

/// A path and a query, as they stand in a request. What a path names has a path and a key by
/// which it is found again; the rest of a list begins within the list.
pub fn request(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let (path, query) = match text.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (&*text, None),
    };
    let options = Options::parse(query);
    asks(&options);
    let Ok(Target::Objects(resource)) = route::parse(path) else {
        return;
    };
    let again = route::parse(&path_of(&resource));
    assert_eq!(again, Ok(Target::Objects(resource.clone())));
    let Resource {
        kind,
        namespace,
        name,
        ..
    } = resource;
    drop(options.fields(kind));
    if let Some(token) = options.text("continue") {
        continues(token, kind, namespace.as_deref());
    }
    if let Some(name) = name {
        let namespace = namespace.unwrap_or_default();
        let name = Name {
            kind,
            namespace,
            name,
        };
        assert_eq!(store::name_in(&store::key(&name)), Some(name));
    }
}

/// Every option has a value, or an error that the client is told.
fn asks(options: &Options) {
    let failures = [
        options.flag("watch").err(),
        options.number("limit").err(),
        options.is_dry_run().err(),
        options.field_validation().err(),
        options.labels().err(),
        options.propagation().err(),
        options.revision().err(),
    ];
    for failure in failures.into_iter().flatten() {
        assert_eq!(failure.code(), 400, "{failure}");
    }
    let revision = options.revision().ok().flatten();
    assert!(revision.is_none_or(|it| it >= 0));
    if let Some(policy) = options.text("propagationPolicy") {
        let alone = options::propagation(policy).ok();
        assert_eq!(options.propagation().ok().flatten(), alone);
    }
}

fn continues(token: &str, kind: &'static Kind, namespace: Option<&str>) {
    if let Ok((revision, next)) = continuing::read(token, kind, namespace) {
        assert!(revision > 0);
        assert!(next.starts_with(store::prefix(kind, namespace).as_bytes()));
        let again = continuing::read(&continuing::write(revision, &next), kind, namespace);
        assert_eq!(again, Ok((revision, next)));
    }
}

/// The path of objects, with every letter behind a percent sign that may be.
fn path_of(resource: &Resource) -> String {
    let kind = resource.kind;
    let mut path = match kind.group {
        "" => format!("/api/{}", kind.version),
        group => format!("/apis/{group}/{}", kind.version),
    };
    if let Some(namespace) = &resource.namespace {
        path += &format!("/namespaces/{}", encoded(namespace));
    }
    path += &format!("/{}", kind.plural);
    if let Some(name) = &resource.name {
        path += &format!("/{}", encoded(name));
    }
    if let Some(part) = resource.subresource {
        path += &format!("/{}", part.name());
    }
    path
}

fn encoded(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}
