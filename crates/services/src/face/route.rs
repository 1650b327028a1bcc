//! What a path means: `/api/v1/…` for the core's group, `/apis/GROUP/VERSION/…` for others, with
//! a namespace, a name and a subresource where they belong (Kubernetes API reference, "Resource
//! URIs").

use crate::core::{
    discovery::METRICS,
    kinds::{self, Kind, Subresource},
    status::{Failure, Reason},
    versions,
};

/// What a request is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// Something beside objects, by its path.
    Page(Page),
    /// Objects of a kind, or one of them, or a part of that one.
    Objects(Resource),
    /// Images of nodes.
    Images,
    /// What objects use, as it is measured: nodes or pods.
    Measured(Resource),
    /// A question that is asked by making an object that nobody keeps.
    Review(Review),
}

/// Pages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Page {
    /// `/healthz`, `/livez`.
    Alive,
    /// `/readyz`.
    Ready,
    /// `/version`.
    Version,
    /// `/`.
    Paths,
    /// `/api`.
    CoreVersions,
    /// `/apis`.
    Groups,
    /// `/apis/GROUP`.
    Group(String),
    /// `/api/v1`, `/apis/GROUP/VERSION`.
    Resources(String, String),
    /// The kinds that users define, of which there are none: kubectl looks here before it says that
    /// a kind is not served.
    Definitions,
    /// `/openapi/v2`.
    OpenApiV2,
    /// `/openapi/v3`.
    OpenApiV3Index,
    /// `/openapi/v3/api/v1`, `/openapi/v3/apis/GROUP/VERSION`.
    OpenApiV3(String, String),
}

/// Questions about oneself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Review {
    /// `authorization.k8s.io/v1 SelfSubjectAccessReview`.
    Access,
    /// `authorization.k8s.io/v1 SelfSubjectRulesReview`.
    Rules,
    /// `authentication.k8s.io/v1 SelfSubjectReview`.
    Subject,
}

/// Objects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Resource {
    /// Their kind.
    pub(crate) kind: &'static Kind,
    /// How they look to who asks: their kind, or an older version of it.
    pub(crate) version: &'static Kind,
    /// In this namespace; none: in all, or the kind has none.
    pub(crate) namespace: Option<String>,
    /// This one.
    pub(crate) name: Option<String>,
    /// This part of it.
    pub(crate) subresource: Option<Subresource>,
}

/// Reads a path.
///
/// # Errors
/// `NotFound`.
pub(crate) fn parse(path: &str) -> Result<Target, Failure> {
    let segments: Vec<String> = path
        .split('/')
        .filter(|segment| !segment.is_empty())
        .map(decoded)
        .collect::<Option<_>>()
        .ok_or_else(nothing)?;
    let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
    let page = match &segments[..] {
        [] => Page::Paths,
        ["healthz" | "livez", ..] => Page::Alive,
        ["readyz", ..] => Page::Ready,
        ["version"] => Page::Version,
        ["api"] => Page::CoreVersions,
        ["apis"] => Page::Groups,
        ["api", version] => Page::Resources(String::new(), (*version).to_owned()),
        ["apis", group] => Page::Group((*group).to_owned()),
        ["apis", group, version] => Page::Resources((*group).to_owned(), (*version).to_owned()),
        [
            "apis",
            "apiextensions.k8s.io",
            "v1",
            "customresourcedefinitions",
        ] => Page::Definitions,
        ["openapi", "v2"] => Page::OpenApiV2,
        ["openapi", "v3"] => Page::OpenApiV3Index,
        ["openapi", "v3", "api", version] => Page::OpenApiV3(String::new(), (*version).to_owned()),
        ["openapi", "v3", "apis", group, version] => {
            Page::OpenApiV3((*group).to_owned(), (*version).to_owned())
        }
        ["atoll", "v1", "images"] => return Ok(Target::Images),
        ["api", version, rest @ ..] => return objects("", version, rest),
        ["apis", group, version, rest @ ..] => return objects(group, version, rest),
        _ => return Err(nothing()),
    };
    Ok(Target::Page(page))
}

fn objects(group: &str, version: &str, rest: &[&str]) -> Result<Target, Failure> {
    if let Some(review) = review(group, version, rest) {
        return Ok(Target::Review(review));
    }
    if (group, version) == METRICS {
        // The same paths as those of the objects themselves.
        return match objects("", "v1", rest)? {
            Target::Objects(resource) if is_measured(&resource) => Ok(Target::Measured(resource)),
            _ => Err(nothing()),
        };
    }
    // A namespace's own parts look like what is in it.
    let in_namespace = |rest: &[&str]| rest.len() >= 3 && !matches!(rest[2], "status" | "finalize");
    let (namespace, rest) = match rest {
        ["namespaces", namespace, inner @ ..] if in_namespace(rest) => {
            (Some((*namespace).to_owned()), inner)
        }
        all => (None, all),
    };
    let (plural, name, part) = match rest {
        [plural] => (*plural, None, None),
        [plural, name] => (*plural, Some((*name).to_owned()), None),
        [plural, name, part] => (*plural, Some((*name).to_owned()), Some(*part)),
        _ => return Err(nothing()),
    };
    let version = versions::by_resource(group, version, plural).ok_or_else(nothing)?;
    let kind = versions::kept(version);
    let is_whole = namespace.is_some() == kind.is_namespaced;
    // All namespaces at once can be listed, nothing else.
    let is_list = name.is_none() && namespace.is_none();
    if !is_whole && !is_list {
        return Err(nothing());
    }
    let subresource = match part {
        None => None,
        Some(part) => {
            let mut parts = kind.subresources.iter();
            let found = parts.find(|it| it.name() == part).copied();
            Some(found.ok_or_else(nothing)?)
        }
    };
    Ok(Target::Objects(Resource {
        kind,
        version,
        namespace,
        name,
        subresource,
    }))
}

fn is_measured(resource: &Resource) -> bool {
    let kinds = [&kinds::NODES, &kinds::PODS];
    kinds.contains(&resource.kind) && resource.subresource.is_none()
}

fn review(group: &str, version: &str, rest: &[&str]) -> Option<Review> {
    match (group, version, rest) {
        ("authorization.k8s.io", "v1", ["selfsubjectaccessreviews"]) => Some(Review::Access),
        ("authorization.k8s.io", "v1", ["selfsubjectrulesreviews"]) => Some(Review::Rules),
        ("authentication.k8s.io", "v1", ["selfsubjectreviews"]) => Some(Review::Subject),
        _ => None,
    }
}

/// A segment without percent signs; none if it can't be read.
fn decoded(segment: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(segment.len());
    let mut rest = segment.as_bytes();
    while let [first, tail @ ..] = rest {
        rest = tail;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let digits = std::str::from_utf8(tail.get(..2)?).ok()?;
        bytes.push(u8::from_str_radix(digits, 16).ok()?);
        rest = &tail[2..];
    }
    // It becomes a part of a key, which has slashes of its own.
    let text = String::from_utf8(bytes).ok()?;
    (!text.contains('/') && text != "." && text != "..").then_some(text)
}

fn nothing() -> Failure {
    // What Kubernetes says of every path that is not there.
    Failure::new(
        Reason::NotFound,
        "the server could not find the requested resource",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resource(path: &str) -> Resource {
        match parse(path) {
            Ok(Target::Objects(resource)) => resource,
            other => panic!("{path}: {other:?}"),
        }
    }

    #[test]
    fn paths_name_objects() {
        let pod = resource("/api/v1/namespaces/default/pods/web%2D1/log");
        assert_eq!(pod.kind, &kinds::PODS);
        assert_eq!(pod.namespace.as_deref(), Some("default"));
        assert_eq!(pod.name.as_deref(), Some("web-1"));
        assert_eq!(pod.subresource, Some(Subresource::Log));
        assert_eq!(resource("/api/v1/pods").namespace, None);
        let space = resource("/api/v1/namespaces/default");
        assert_eq!((space.kind, space.namespace), (&kinds::NAMESPACES, None));
        let space = resource("/api/v1/namespaces/default/finalize");
        assert_eq!(space.subresource, Some(Subresource::Finalize));
        let set = resource("/apis/apps/v1/namespaces/shop/deployments/web/scale");
        assert_eq!(set.subresource, Some(Subresource::Scale));
        let older = resource("/apis/batch/v1beta1/cronjobs");
        assert_eq!(
            (older.kind, older.version.version),
            (&kinds::CRON_JOBS, "v1beta1")
        );
    }

    #[test]
    fn what_is_measured_has_the_paths_of_objects() {
        let parsed = parse("/apis/metrics.k8s.io/v1beta1/namespaces/shop/pods/web").unwrap();
        let Target::Measured(pod) = parsed else {
            panic!("{parsed:?}");
        };
        assert_eq!((pod.kind.kind, pod.name.as_deref()), ("Pod", Some("web")));
        for wrong in ["services", "namespaces/shop/pods/web/log"] {
            assert!(parse(&format!("/apis/metrics.k8s.io/v1beta1/{wrong}")).is_err());
        }
    }

    #[test]
    fn what_is_not_there_is_not_found() {
        for path in [
            "/api/v2/pods",
            "/api/v1/pods/web",
            "/api/v1/namespaces/default/nodes",
            "/api/v1/namespaces/default/pods/web/nothing",
            "/api/v1/namespaces/default/pods/web/log/more",
            "/apis/apps/v1/pods",
            "/nothing",
            "/api/v1/namespaces/default/pods/%zz",
            "/api/v1/namespaces/default/pods/%",
            "/api/v1/namespaces/default/pods/a%2Fb",
            "/api/v1/namespaces/../pods/a",
        ] {
            assert!(parse(path).is_err(), "{path}");
        }
    }

    #[test]
    fn pages_and_reviews() {
        assert_eq!(parse("/api"), Ok(Target::Page(Page::CoreVersions)));
        assert_eq!(
            parse("/apis/apps/v1"),
            Ok(Target::Page(Page::Resources("apps".into(), "v1".into())))
        );
        assert_eq!(
            parse("/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"),
            Ok(Target::Review(Review::Access))
        );
    }
}
