//! Manifests of pods, as frameworks send them: read within bounds, held against the schema as
//! strictly as can be, for nobody could be warned.

use serde_json::{Value, json};

use super::NAMESPACE;
use crate::{
    core::{
        kinds, lifecycle,
        object::{self, Name},
        schema::check,
        status::Failure,
    },
    driver::objects,
};

/// Reads one: it has a namespace then, and a name.
///
/// # Errors
/// It is no pod, or one that can't be placed by an offer.
pub(super) fn pod(text: &str) -> Result<Value, Failure> {
    let kind = &kinds::PODS;
    let (mut pod, duplicates) = check::parse_json(text.as_bytes()).map_err(Failure::bad_request)?;
    lifecycle::is_of_kind(kind, &mut pod)?;
    let checked = check::check(kind.type_name, &pod);
    let doubts = checked.strict(&duplicates);
    let wrong = match checked.wrong.first() {
        Some(wrong) => Some(wrong.clone()),
        None if doubts.is_empty() => None,
        None => Some(check::strict_decoding_error(&doubts)),
    };
    if let Some(wrong) = wrong {
        let told = check::cannot_be_handled(&kind.api_version(), kind.kind, &wrong);
        return Err(Failure::bad_request(told));
    }
    check::prune(kind.type_name, &mut pod);
    if object::namespace(&pod).is_empty() {
        object::meta_mut(&mut pod).insert("namespace".to_owned(), json!(NAMESPACE));
    }
    // Whoever does not hear the answer finds the pod by it.
    objects::check_name(&Name::of(kind, &pod))?;
    if pod["spec"]["nodeName"]
        .as_str()
        .is_some_and(|node| !node.is_empty())
    {
        return Err(Failure::bad_request(
            "spec.nodeName: the node of a pod is that of the offer",
        ));
    }
    Ok(pod)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pods_are_read_strictly() {
        let read = pod(r#"{"metadata": {"name": "a"}, "spec": {"containers": [{"name": "c"}]}}"#);
        let read = read.unwrap();
        assert_eq!(
            (&read["kind"], &read["apiVersion"]),
            (&json!("Pod"), &json!("v1"))
        );
        assert_eq!(read["metadata"]["namespace"], "default");
        let elsewhere = pod(r#"{"metadata": {"name": "a", "namespace": "jobs"}}"#);
        assert_eq!(elsewhere.unwrap()["metadata"]["namespace"], "jobs");
        let table = [
            ("", "EOF while parsing"),
            ("[]", "not an object"),
            (
                r#"{"kind": "Job", "metadata": {"name": "a"}}"#,
                "does not match the expected kind",
            ),
            (
                r#"{"metadata": {"generateName": "a"}}"#,
                "name or generateName is required",
            ),
            (r#"{"metadata": {"name": "a/b"}}"#, "invalid name"),
            (
                r#"{"metadata": {"name": "a", "namespace": ".."}}"#,
                "invalid name",
            ),
            (
                r#"{"metadata": {"name": "a"}, "spec": {"contaners": []}}"#,
                "unknown field \"spec.contaners\"",
            ),
            (
                r#"{"metadata": {"name": "a", "name": "b"}}"#,
                "duplicate field \"metadata.name\"",
            ),
            (
                r#"{"metadata": {"name": "a"}, "spec": {"containers": {}}}"#,
                "cannot unmarshal object",
            ),
            (
                r#"{"metadata": {"name": "a"}, "spec": {"nodeName": "n"}}"#,
                "that of the offer",
            ),
        ];
        for (text, words) in table {
            let told = pod(text).unwrap_err().message;
            assert!(told.contains(words), "{text}: {told}");
        }
    }

    #[test]
    fn what_is_nested_deeply_is_refused() {
        let deep = format!(
            "{}{}",
            r#"{"a":"#.repeat(10_000),
            "1".to_owned() + &"}".repeat(10_000)
        );
        assert!(pod(&deep).is_err());
    }
}
