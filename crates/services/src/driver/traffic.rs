//! Services and their endpoints, and this node's pods with host ports, for whoever leads requests to
//! them: told anew whenever one of them has changed.

use std::sync::Arc;

use atoll_world::task;
use serde_json::Value;
use tokio::sync::watch;

use super::{
    agent::registration::OwnNode,
    mirror::{Changed, Mirror, Standing},
};
use crate::{
    api::Traffic,
    core::{controllers::world::View as _, kinds, object, ports},
};

/// Begins to follow, for the node of this Node.
pub(super) fn follow(mirror: Mirror, node: OwnNode) -> watch::Receiver<Arc<Traffic>> {
    let (sender, receiver) = watch::channel(Arc::default());
    task::spawn(async move {
        let mut news = mirror.news();
        let follower = mirror.follower();
        follower.has_looked(tell(&mirror, &node, &sender));
        while news.changed().await.is_ok() {
            let changes = follower.changes();
            if changes.is_none_or(|changes| changes.iter().any(is_news)) {
                follower.has_looked(tell(&mirror, &node, &sender));
            }
        }
    });
    receiver
}

/// Whether a change is one of traffic. Of pods there are many, and few have host ports.
fn is_news(changed: &Changed) -> bool {
    let whole = [
        &kinds::SERVICES,
        &kinds::ENDPOINT_SLICES,
        &kinds::INGRESSES,
        &kinds::SECRETS,
    ];
    let has_ports =
        |pod: &Option<Arc<Value>>| pod.as_ref().is_some_and(|it| ports::has_host_ports(it));
    let is_pod = std::ptr::eq(changed.name.kind, &kinds::PODS);
    whole.contains(&changed.name.kind)
        || is_pod && (has_ports(&changed.old) || has_ports(&changed.new))
}

/// Tells what there is; where the mirror stood then.
fn tell(mirror: &Mirror, node: &OwnNode, sender: &watch::Sender<Arc<Traffic>>) -> Standing {
    let look = mirror.look();
    let own = node.find(&look);
    let pods = own.iter().flat_map(|node| look.on_node(object::name(node)));
    let traffic = Traffic {
        services: look.list(&kinds::SERVICES, None),
        slices: look.list(&kinds::ENDPOINT_SLICES, None),
        ingresses: look.list(&kinds::INGRESSES, None),
        secrets: look.list(&kinds::SECRETS, None),
        pods: pods
            .filter(|pod| ports::has_host_ports(pod))
            .filter_map(as_it_runs)
            .collect(),
    };
    sender.send_replace(Arc::new(traffic));
    look.standing()
}

/// A pod with the ports that it has; none as long as they are not known.
fn as_it_runs(pod: Arc<Value>) -> Option<Arc<Value>> {
    match ports::are_free(&pod) {
        true => ports::with_real(&pod).map(Arc::new),
        false => Some(pod),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::core::object::Name;

    fn pod(host_port: u16) -> Arc<Value> {
        Arc::new(json!({
            "metadata": {"namespace": "default", "name": "p"},
            "spec": {"nodeName": "a", "containers": [
                {"name": "c", "ports": [{"containerPort": 80, "hostPort": host_port}]}]},
        }))
    }

    fn news(old: Option<Arc<Value>>, new: Option<Arc<Value>>) -> bool {
        let some = old.as_ref().or(new.as_ref()).unwrap();
        let name = Name::of(&kinds::PODS, some);
        is_news(&Changed { name, old, new })
    }

    #[test]
    fn pods_count_where_they_have_host_ports() {
        assert!(news(None, Some(pod(80))));
        assert!(news(Some(pod(80)), None));
        assert!(!news(Some(pod(0)), Some(pod(0))));
    }

    #[test]
    fn free_ports_are_led_to_as_they_were_found() {
        let mut free = Value::clone(&pod(80));
        free["metadata"]["annotations"] = json!({ports::FREE: "true"});
        assert_eq!(as_it_runs(Arc::new(free.clone())), None);
        free["metadata"]["annotations"][ports::REAL] = json!(r#"{"80":5000}"#);
        let runs = as_it_runs(Arc::new(free)).unwrap();
        let port = &runs["spec"]["containers"][0]["ports"][0];
        assert_eq!(
            (&port["containerPort"], &port["hostPort"]),
            (&json!(5000), &json!(80))
        );
        assert_eq!(as_it_runs(pod(80)), Some(pod(80)));
    }
}
