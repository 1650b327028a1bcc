//! Where objects lie among the control plane's keys:
//! `/atoll/objects/GROUP/RESOURCE/NAMESPACE/NAME`, with `core` for the core's group and no
//! namespace where the kind has none.

use bytes::Bytes;
use serde_json::Value;

use crate::core::{
    kinds::{self, Kind},
    object::Name,
};

/// Where objects lie.
pub(crate) const PREFIX: &str = "/atoll/objects/";

/// Where the objects of a kind lie, or those of a namespace.
pub(crate) fn prefix(kind: &Kind, namespace: Option<&str>) -> String {
    let group = match kind.group {
        "" => "core",
        group => group,
    };
    let all = format!("{PREFIX}{group}/{}/", kind.plural);
    match namespace {
        Some(namespace) if kind.is_namespaced => format!("{all}{namespace}/"),
        _ => all,
    }
}

/// Where an object lies.
pub(crate) fn key(name: &Name) -> Bytes {
    let namespace = name.kind.is_namespaced.then_some(name.namespace.as_str());
    format!("{}{}", prefix(name.kind, namespace), name.name).into()
}

/// The key right behind an object's.
pub(crate) fn key_after(kind: &'static Kind, object: &Value) -> Bytes {
    [&key(&Name::of(kind, object))[..], &[0]].concat().into()
}

/// The name in a key; none if the key is no object's, or of a kind that is not known here.
pub(crate) fn name_in(key: &[u8]) -> Option<Name> {
    let rest = std::str::from_utf8(key).ok()?.strip_prefix(PREFIX)?;
    let mut parts = rest.split('/');
    let (group, plural) = (parts.next()?, parts.next()?);
    let group = if group == "core" { "" } else { group };
    let found = |kind: &&&'static Kind| (kind.group, kind.plural) == (group, plural);
    let kind = kinds::KINDS.iter().find(found).copied()?;
    let namespace = match kind.is_namespaced {
        true => parts.next()?,
        false => "",
    };
    let name = parts.next()?;
    parts.next().is_none().then(|| Name {
        kind,
        namespace: namespace.to_owned(),
        name: name.to_owned(),
    })
}

/// The end of the range of keys that begin so.
pub(crate) fn range_end(prefix: &str) -> Bytes {
    let mut end = prefix.as_bytes().to_vec();
    if let Some(last) = end.last_mut() {
        // Prefixes end in a slash, which is not the highest byte.
        *last += 1;
    }
    end.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_and_names_belong_together() {
        let names = [
            (
                &kinds::PODS,
                "default",
                "web-1",
                "/atoll/objects/core/pods/default/web-1",
            ),
            (&kinds::NODES, "", "a", "/atoll/objects/core/nodes/a"),
            (
                &kinds::DEPLOYMENTS,
                "shop",
                "web",
                "/atoll/objects/apps/deployments/shop/web",
            ),
        ];
        for (kind, namespace, one, expected) in names {
            let name = Name {
                kind,
                namespace: namespace.to_owned(),
                name: one.to_owned(),
            };
            assert_eq!(key(&name), expected.as_bytes());
            assert_eq!(name_in(expected.as_bytes()), Some(name));
        }
        for stranger in [
            "/atoll/objects/core/pods/x",
            "/atoll/x",
            "/atoll/objects/a/b/c/d",
            "",
        ] {
            assert_eq!(name_in(stranger.as_bytes()), None, "{stranger}");
        }
    }
}
