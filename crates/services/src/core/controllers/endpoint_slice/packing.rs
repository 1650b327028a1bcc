//! How endpoints are spread over slices. An endpoint stays in its slice, so that few slices are
//! written when few pods change: what is gone is taken out, what is new goes first into slices
//! that are written anyway, then into those with room, then into fresh ones.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{Groups, SLICE_ENDPOINTS_MAX};

/// A slice that is to be made.
#[derive(Debug)]
pub(super) struct Fresh {
    pub(super) ports: Value,
    pub(super) endpoints: Vec<Value>,
}

/// What becomes of the slices.
#[derive(Debug, Default)]
pub(super) struct Packed<'a> {
    /// Those that stay, with their endpoints; they may have changed.
    pub(super) kept: Vec<(&'a Value, Vec<Value>)>,
    pub(super) removed: Vec<&'a Value>,
    pub(super) fresh: Vec<Fresh>,
}

/// What tells an endpoint from the others of its slice, and stays while it changes.
pub(super) fn identity(endpoint: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let uid = text(&endpoint["targetRef"]["uid"]);
    format!("{uid}/{}", text(&endpoint["addresses"][0]))
}

/// Packs the endpoints of one address family.
pub(super) fn pack(slices: Vec<&Value>, groups: Groups) -> Packed<'_> {
    let mut by_ports: BTreeMap<String, Vec<&Value>> = BTreeMap::new();
    for slice in slices {
        let ports = slice["ports"].as_array().cloned().unwrap_or_default();
        let ports = Value::Array(ports).to_string();
        by_ports.entry(ports).or_default().push(slice);
    }
    let mut packed = Packed::default();
    for (ports, endpoints) in groups {
        let slices = by_ports.remove(&ports).unwrap_or_default();
        pack_group(&ports, slices, endpoints, &mut packed);
    }
    packed.removed.extend(by_ports.into_values().flatten());
    packed
}

struct Open<'a> {
    slice: &'a Value,
    endpoints: Vec<Value>,
    is_changed: bool,
}

fn pack_group<'a>(
    ports: &str,
    slices: Vec<&'a Value>,
    mut wanted: BTreeMap<String, Value>,
    packed: &mut Packed<'a>,
) {
    let is_placeholder = wanted.is_empty();
    let mut open: Vec<Open<'a>> = slices
        .into_iter()
        .map(|slice| keep(slice, &mut wanted))
        .collect();
    let mut rest = wanted.into_values().peekable();
    // The fullest first: so the others may become empty.
    open.sort_by_key(|open| (!open.is_changed, std::cmp::Reverse(open.endpoints.len())));
    for open in &mut open {
        let room = SLICE_ENDPOINTS_MAX.saturating_sub(open.endpoints.len());
        open.endpoints.extend(rest.by_ref().take(room));
    }
    while rest.peek().is_some() {
        packed.fresh.push(Fresh {
            ports: ports_of(ports),
            endpoints: rest.by_ref().take(SLICE_ENDPOINTS_MAX).collect(),
        });
    }
    let mut needs_placeholder = is_placeholder;
    for open in open {
        if !open.endpoints.is_empty() || needs_placeholder {
            needs_placeholder = false;
            packed.kept.push((open.slice, open.endpoints));
        } else {
            packed.removed.push(open.slice);
        }
    }
    if needs_placeholder {
        packed.fresh.push(Fresh {
            ports: ports_of(ports),
            endpoints: Vec::new(),
        });
    }
}

fn ports_of(text: &str) -> Value {
    serde_json::from_str(text).expect("it was written from JSON")
}

/// A slice's endpoints that are still wanted, as they are now, in their places.
fn keep<'a>(slice: &'a Value, wanted: &mut BTreeMap<String, Value>) -> Open<'a> {
    let before = slice["endpoints"].as_array();
    let mut endpoints = Vec::new();
    for endpoint in before.into_iter().flatten() {
        endpoints.extend(wanted.remove(&identity(endpoint)));
    }
    Open {
        slice,
        is_changed: before.is_none_or(|before| *before != endpoints),
        endpoints,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn endpoint(number: usize) -> Value {
        json!({"targetRef": {"uid": format!("u-{number:04}")}})
    }

    fn groups(numbers: impl Iterator<Item = usize>) -> Groups {
        let endpoints = numbers.map(|number| (identity(&endpoint(number)), endpoint(number)));
        BTreeMap::from([("[]".to_owned(), endpoints.collect())])
    }

    fn slices_of(packed: &Packed<'_>) -> Vec<Value> {
        let kept = packed.kept.iter().map(|(_, endpoints)| endpoints);
        let all = kept.chain(packed.fresh.iter().map(|fresh| &fresh.endpoints));
        all.map(|endpoints| json!({"ports": [], "endpoints": endpoints}))
            .collect()
    }

    #[test]
    fn few_slices_are_written_when_few_pods_change() {
        let packed = pack(Vec::new(), groups(0..250));
        let slices = slices_of(&packed);
        assert_eq!(slices.len(), 3);
        let full = |packed: &Packed<'_>| {
            let changed =
                |(slice, endpoints): &&(&Value, Vec<Value>)| slice["endpoints"] != json!(endpoints);
            packed.kept.iter().filter(changed).count()
        };
        // The same again: nothing is written.
        let same = pack(slices.iter().collect(), groups(0..250));
        assert_eq!(
            (full(&same), same.fresh.len(), same.removed.len()),
            (0, 0, 0)
        );
        // One goes, one comes: one slice is written.
        let one = pack(
            slices.iter().collect(),
            groups((0..250).filter(|n| *n != 5).chain([900])),
        );
        assert_eq!((full(&one), one.fresh.len(), one.removed.len()), (1, 0, 0));
        // All of one slice go: it is removed, and no other is written.
        let less = pack(slices.iter().collect(), groups(100..250));
        assert_eq!(
            (full(&less), less.fresh.len(), less.removed.len()),
            (0, 0, 1)
        );
        // None is left: one slice says so.
        let none = pack(slices.iter().collect(), groups(0..0));
        assert_eq!(
            (none.kept.len(), none.fresh.len(), none.removed.len()),
            (1, 0, 2)
        );
        assert_eq!(pack(Vec::new(), groups(0..0)).fresh.len(), 1);
    }

    #[test]
    fn other_ports_are_in_other_slices() {
        let mut groups = groups(0..2);
        groups.insert(
            r#"[{"port":80}]"#.to_owned(),
            BTreeMap::from([(identity(&endpoint(9)), endpoint(9))]),
        );
        let packed = pack(Vec::new(), groups);
        assert_eq!(packed.fresh.len(), 2);
        let stale = json!({"ports": [{"port": 81}], "endpoints": [endpoint(9)]});
        let packed = pack(vec![&stale], BTreeMap::new());
        assert_eq!(packed.removed.len(), 1);
    }
}
