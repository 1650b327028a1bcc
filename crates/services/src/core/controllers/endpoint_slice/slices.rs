//! What becomes of the slices of one owner.

use serde_json::{Map, Value, json};

use super::{
    Groups, MANAGED_BY,
    endpoints::Family,
    packing::{self, Fresh},
};
use crate::core::{
    controllers::{
        owners,
        world::{self, Step, View},
    },
    kinds::{ENDPOINT_SLICES, Kind},
    object,
};

/// What all slices of an owner have in common.
pub(super) struct Slices<'a> {
    /// Slices of other managers are left alone.
    pub(super) manager: &'static str,
    pub(super) kind: &'static Kind,
    pub(super) owner: &'a Value,
    pub(super) labels: Map<String, Value>,
    /// None: they are not touched.
    pub(super) annotations: Option<Map<String, Value>>,
}

impl Slices<'_> {
    /// Makes it so that the slices hold these endpoints, and there are no others.
    pub(super) fn steps(&self, view: &dyn View, wanted: Vec<(Family, Groups)>) -> Vec<Step> {
        let mut slices = view.by_owner(&ENDPOINT_SLICES, object::uid(self.owner));
        slices.retain(|slice| object::label(slice, MANAGED_BY) == Some(self.manager));
        let is_wanted = |slice: &Value| {
            let mut families = wanted.iter();
            families.any(|(family, _)| slice["addressType"] == family.name())
        };
        let unwanted = slices.iter().filter(|slice| !is_wanted(slice));
        let mut steps: Vec<Step> = unwanted
            .map(|slice| world::delete(&ENDPOINT_SLICES, slice))
            .collect();
        let mut fresh = Vec::new();
        for (family, groups) in wanted {
            let of_family = slices
                .iter()
                .filter(|slice| slice["addressType"] == family.name());
            let packed = packing::pack(of_family.map(AsRef::as_ref).collect(), groups);
            let removed = packed.removed.iter();
            steps.extend(removed.map(|slice| world::delete(&ENDPOINT_SLICES, slice)));
            for (slice, endpoints) in packed.kept {
                let mut object = slice.clone();
                object["endpoints"] = json!(endpoints);
                self.mark(&mut object);
                if object != *slice {
                    let kind = &ENDPOINT_SLICES;
                    steps.push(Step::Update { kind, object });
                }
            }
            fresh.extend(packed.fresh.into_iter().map(|slice| (family, slice)));
        }
        let namespace = object::namespace(self.owner);
        let is_taken = |name: &str| view.get(&ENDPOINT_SLICES, namespace, name).is_some();
        let names = owners::free_names(self.owner, is_taken);
        let fresh = fresh.into_iter().zip(names);
        steps.extend(fresh.map(|((family, fresh), name)| Step::Create {
            kind: &ENDPOINT_SLICES,
            object: self.new_slice(family, fresh, &name),
        }));
        steps
    }

    fn mark(&self, slice: &mut Value) {
        let meta = object::meta_mut(slice);
        meta.insert("labels".to_owned(), Value::Object(self.labels.clone()));
        match &self.annotations {
            None => {}
            Some(none) if none.is_empty() => {
                meta.remove("annotations");
            }
            Some(all) => {
                meta.insert("annotations".to_owned(), Value::Object(all.clone()));
            }
        }
    }

    fn new_slice(&self, family: Family, fresh: Fresh, name: &str) -> Value {
        let mut slice = json!({
            "apiVersion": ENDPOINT_SLICES.api_version(),
            "kind": ENDPOINT_SLICES.kind,
            "metadata": {
                "name": name,
                "generateName": owners::base_name(self.owner),
                "namespace": object::namespace(self.owner),
                "ownerReferences": [owners::controller_reference(self.kind, self.owner)],
            },
            "addressType": family.name(),
            "ports": fresh.ports,
            "endpoints": fresh.endpoints,
        });
        self.mark(&mut slice);
        slice
    }
}
