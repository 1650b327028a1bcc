//! What a container wrote: `kubectl logs`.

use atoll_control::api::ControlApi;
use atoll_world::clock;
use axum::body::Body;
use bytes::Bytes;
use futures_util::stream;
use serde_json::Value;

use super::{
    Api, Asked, identity::Right, objects, options::Options, render::Answer, route::Resource,
};
use crate::{
    api::{LogQuery, LogStream},
    core::{object, status::Failure, time::parse_rfc3339},
};

const TEXT: &str = "text/plain; charset=utf-8";

impl<C: ControlApi> Api<C> {
    pub(super) async fn get_log(
        &self,
        asked: &Asked,
        resource: &Resource,
    ) -> Result<Answer, Failure> {
        let name = objects::name(resource)?;
        let pod = self.objects.get(&name).await?.object;
        let mut query = query(&asked.options)?;
        query.container = container(&pod, &query.container)?;
        let node = pod["spec"]["nodeName"].as_str().unwrap_or_default();
        if node.is_empty() {
            return Err(Failure::bad_request(format!(
                "pod {} does not have a host assigned",
                name.name
            )));
        }
        has_begun(&pod, &query)?;
        let uid = object::uid(&pod).to_owned();
        let log = self.logs.open(name, uid, node.to_owned(), query).await?;
        let (right, control) = (asked.right.clone(), self.objects.store.control().clone());
        Ok(Answer::stream(
            TEXT,
            Body::from_stream(stream::unfold((log, right, control), step)),
        ))
    }
}

/// A log, and what it takes to go on reading it.
type Reading<C> = (Box<dyn LogStream>, Right, C);

async fn step<C: ControlApi>(
    (mut log, mut right, control): Reading<C>,
) -> Option<(Result<Bytes, std::convert::Infallible>, Reading<C>)> {
    let next = log.next().await?;
    right.check(&control).ok()?;
    Some((Ok(next), (log, right, control)))
}

fn query(options: &Options) -> Result<LogQuery, Failure> {
    let seconds = options.number("sinceSeconds")?;
    let since_ms = match (seconds, options.text("sinceTime")) {
        (Some(_), Some(_)) => {
            return Err(Failure::bad_request(
                "at most one of `sinceTime` or `sinceSeconds` may be specified",
            ));
        }
        (Some(0), None) => {
            return Err(Failure::bad_request(
                "sinceSeconds: Invalid value: 0: must be greater than 0",
            ));
        }
        (Some(seconds), None) => {
            Some(clock::wall_ms().saturating_sub(seconds.saturating_mul(1_000)))
        }
        (None, Some(time)) => Some(parse_rfc3339(time).ok_or_else(|| {
            Failure::bad_request(format!(
                "sinceTime: Invalid value: {time:?}: it is no time as RFC 3339 writes it"
            ))
        })?),
        (None, None) => None,
    };
    Ok(LogQuery {
        container: options.text("container").unwrap_or_default().to_owned(),
        previous: options.flag("previous")?,
        follow: options.flag("follow")?,
        since_ms,
        tail_lines: options.number("tailLines")?,
        limit_bytes: options.number("limitBytes")?,
        timestamps: options.flag("timestamps")?,
    })
}

/// The container that is meant: the only one, where none is named.
pub(super) fn container(pod: &Value, wanted: &str) -> Result<String, Failure> {
    let names = |field: &str| -> Vec<&str> {
        let list = pod["spec"][field].as_array().into_iter().flatten();
        list.filter_map(|it| it["name"].as_str()).collect()
    };
    let (main, first) = (names("containers"), names("initContainers"));
    let pod = object::name(pod);
    if !wanted.is_empty() {
        return match main.contains(&wanted) || first.contains(&wanted) {
            true => Ok(wanted.to_owned()),
            false => Err(Failure::bad_request(format!(
                "container {wanted} is not valid for pod {pod}"
            ))),
        };
    }
    match &main[..] {
        [one] => Ok((*one).to_owned()),
        many => {
            let init = match &first[..] {
                [] => String::new(),
                first => format!(" or one of the init containers: [{}]", first.join(" ")),
            };
            Err(Failure::bad_request(format!(
                "a container name must be specified for pod {pod}, choose one of: [{}]{init}",
                many.join(" ")
            )))
        }
    }
}

/// A container that has not run has written nothing.
fn has_begun(pod: &Value, query: &LogQuery) -> Result<(), Failure> {
    let (container, name) = (&query.container, object::name(pod));
    let statuses = ["containerStatuses", "initContainerStatuses"];
    let status = statuses
        .iter()
        .filter_map(|field| pod["status"][field].as_array())
        .flatten()
        .find(|status| status["name"] == **container);
    let Some(status) = status else {
        return Err(Failure::bad_request(format!(
            "container {container:?} in pod {name:?} is not available"
        )));
    };
    let had_life = !status["lastState"]["terminated"].is_null();
    if query.previous && !had_life {
        return Err(Failure::bad_request(format!(
            "previous terminated container {container:?} in pod {name:?} not found"
        )));
    }
    let waiting = &status["state"]["waiting"];
    if !waiting.is_null() && !had_life {
        let reason = waiting["reason"].as_str().unwrap_or("ContainerCreating");
        return Err(Failure::bad_request(format!(
            "container {container:?} in pod {name:?} is waiting to start: {reason}"
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_only_container_is_meant() {
        let mut pod = json!({"metadata": {"name": "web"}, "spec": {"containers": [{"name": "a"}]}});
        assert_eq!(container(&pod, ""), Ok("a".to_owned()));
        pod["spec"]["containers"] = json!([{"name": "a"}, {"name": "b"}]);
        assert_eq!(
            container(&pod, "").unwrap_err().message,
            "a container name must be specified for pod web, choose one of: [a b]"
        );
        assert!(container(&pod, "c").is_err());
        assert_eq!(container(&pod, "b"), Ok("b".to_owned()));
    }

    #[test]
    fn who_has_not_run_has_no_log() {
        let query = LogQuery {
            container: "a".to_owned(),
            ..LogQuery::default()
        };
        let waiting = json!({"metadata": {"name": "web"}, "status": {"containerStatuses": [
            {"name": "a", "state": {"waiting": {"reason": "ErrImagePull"}}}]}});
        assert!(has_begun(&waiting, &query).is_err());
        let again = json!({"status": {"containerStatuses": [
            {"name": "a", "state": {"waiting": {}}, "lastState": {"terminated": {"exitCode": 1}}}]}});
        assert!(has_begun(&again, &query).is_ok());
    }
}
