//! What nodes and pods use: `metrics.k8s.io/v1beta1`, for `kubectl top`. Each answer is measured by
//! the nodes themselves; those that do not answer are not in it.

use atoll_control::api::ControlApi;
use atoll_world::clock;
use serde_json::Value;

use super::{
    Api, identity::Verb, objects, options::Options, render::Answer, route::Resource,
    select::Selection,
};
use crate::{
    api::Measured,
    core::{
        kinds, object,
        status::{Failure, Reason},
        usage,
    },
};

impl<C: ControlApi> Api<C> {
    /// Answers what is asked about usage by somebody who may read the objects.
    pub(super) async fn answer_measured(
        &self,
        resource: &Resource,
        verb: Verb,
        options: &Options,
    ) -> Result<Answer, Failure> {
        let is_nodes = resource.kind == &kinds::NODES;
        match verb.0 {
            "get" => {
                let object = self.objects.get(&objects::name(resource)?).await?.object;
                let node = match is_nodes {
                    true => object::name(&object),
                    false => object["spec"]["nodeName"].as_str().unwrap_or_default(),
                };
                let measured = self.meter.measure(Some(node.to_owned())).await;
                let found = measured
                    .values()
                    .find_map(|measured| metrics(is_nodes, &object, measured));
                let plural = resource.kind.plural;
                let found = found.ok_or_else(|| {
                    let name = object::name(&object);
                    Failure::not_found("metrics.k8s.io", plural, name)
                })?;
                Ok(Answer::json(&found))
            }
            "list" => {
                let selection = Selection::of(resource.kind, options)?;
                let namespace = resource.namespace.as_deref();
                let all = self.objects.all(resource.kind, namespace).await?;
                let measured = self.meter.measure(None).await;
                let items = all.iter().filter(|object| selection.chooses(object));
                let items = items.filter_map(|object| {
                    let node = match is_nodes {
                        true => object::name(object),
                        false => object["spec"]["nodeName"].as_str()?,
                    };
                    metrics(is_nodes, object, measured.get(node)?)
                });
                let items = items.collect();
                Ok(Answer::json(&match is_nodes {
                    true => usage::node_metrics_list(items),
                    false => usage::pod_metrics_list(items),
                }))
            }
            _ => Err(Failure::new(
                Reason::MethodNotAllowed,
                "what is measured can only be read, and not be watched",
            )),
        }
    }
}

fn metrics(is_node: bool, object: &Value, measured: &Measured) -> Option<Value> {
    let now_ms = clock::wall_ms();
    if is_node {
        return Some(usage::node_metrics(object, measured.node.as_ref()?, now_ms));
    }
    let mut pods = measured.pods.iter();
    let of = pods.find(|pod| pod.uid == object::uid(object))?;
    usage::pod_metrics(object, of, now_ms)
}
