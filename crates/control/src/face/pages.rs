//! The pages beside the API: health checks in etcd's form, the version, the metrics.

use std::{fmt::Write as _, sync::Arc};

use atoll_base::id::NodeId;
use axum::{
    Json, Router,
    extract::{Query, State},
    http::{HeaderName, HeaderValue, StatusCode, header::CONTENT_TYPE},
    response::{IntoResponse, Response},
    routing::get,
};
use serde_json::json;

use super::{Face, router::Metrics, status::ETCD_VERSION};
use crate::{
    api::ControlApi,
    core::error::Error,
    driver::system_identity,
    proto::etcdserverpb::{self as pb, AlarmType},
};

type Pairs = Query<Vec<(String, String)>>;

/// One named check.
#[derive(Clone, Copy)]
enum Check {
    DataCorruption,
    SerializableRead,
    LinearizableRead,
    NonLearner,
}

const LIVE: &[Check] = &[Check::SerializableRead];
const READY: &[Check] = &[
    Check::DataCorruption,
    Check::SerializableRead,
    Check::LinearizableRead,
    Check::NonLearner,
];

impl Check {
    fn name(self) -> &'static str {
        match self {
            Check::DataCorruption => "data_corruption",
            Check::SerializableRead => "serializable_read",
            Check::LinearizableRead => "linearizable_read",
            Check::NonLearner => "non_learner",
        }
    }

    async fn run<C: ControlApi>(self, face: &Face<C>) -> Result<(), String> {
        match self {
            Check::DataCorruption => {
                let corrupt = |alarm: &pb::AlarmMember| alarm.alarm == AlarmType::Corrupt as i32;
                if face.control.status().alarms.iter().any(corrupt) {
                    return Err("alarm activated: CORRUPT".to_owned());
                }
                Ok(())
            }
            Check::SerializableRead => read(face, true).await.map_err(|e| e.to_string()),
            Check::LinearizableRead => read(face, false).await.map_err(|e| e.to_string()),
            Check::NonLearner => match face.control.standing().learner {
                true => Err("not supported for learner".to_owned()),
                false => Ok(()),
            },
        }
    }
}

/// Reads a key that is not there, as far as the whole system.
async fn read<C: ControlApi>(face: &Face<C>, serializable: bool) -> Result<(), Error> {
    let request = pb::RangeRequest {
        key: vec![0].into(),
        limit: 1,
        keys_only: true,
        serializable,
        ..Default::default()
    };
    let read = face.control.range(system_identity(), request);
    match tokio::time::timeout(face.limits.health_timeout, read).await {
        Ok(answer) => answer.map(drop),
        Err(_) => Err(Error::Timeout),
    }
}

pub(crate) fn router<C: ControlApi>(face: Arc<Face<C>>, metrics: Metrics) -> Router {
    let mut router = Router::new()
        .route("/health", get(health::<C>))
        .route("/version", get(version::<C>));
    for (path, checks) in [("/livez", LIVE), ("/readyz", READY)] {
        router = router.route(
            path,
            get(
                move |State(face): State<Arc<Face<C>>>, Query(query): Pairs| async move {
                    let wanted = checks
                        .iter()
                        .filter(|check| !excluded(&query, check.name()));
                    run_checks(&face, wanted.copied().collect(), &query).await
                },
            ),
        );
        for &check in checks {
            router = router.route(
                &format!("{path}/{}", check.name()),
                get(
                    move |State(face): State<Arc<Face<C>>>, Query(query): Pairs| async move {
                        run_checks(&face, vec![check], &query).await
                    },
                ),
            );
        }
    }
    router
        .route(
            "/metrics",
            get(move || async move {
                let kind = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
                ([(CONTENT_TYPE, kind)], metrics())
            }),
        )
        .with_state(face)
}

fn excluded(query: &[(String, String)], name: &str) -> bool {
    query
        .iter()
        .any(|(key, value)| key == "exclude" && value == name)
}

/// Text that a browser must take as text.
fn text(status: StatusCode, body: String) -> Response {
    let headers = [
        (CONTENT_TYPE, "text/plain; charset=utf-8"),
        (HeaderName::from_static("x-content-type-options"), "nosniff"),
    ];
    (status, headers, body).into_response()
}

/// Runs checks. A failed one is always told, the others on `?verbose`.
async fn run_checks<C: ControlApi>(
    face: &Face<C>,
    checks: Vec<Check>,
    query: &[(String, String)],
) -> Response {
    let mut report = String::new();
    let mut failed = false;
    for check in checks {
        let name = check.name();
        let _ = match check.run(face).await {
            Ok(()) => writeln!(report, "[+]{name} ok"),
            Err(reason) => {
                failed = true;
                writeln!(report, "[-]{name} failed: {reason}")
            }
        };
    }
    if failed {
        report.push('\n');
        return text(StatusCode::SERVICE_UNAVAILABLE, report);
    }
    if !query.iter().any(|(key, _)| key == "verbose") {
        report.clear();
    }
    report.push_str("ok\n");
    text(StatusCode::OK, report)
}

/// Why this node is not healthy, in etcd's words.
async fn unhealthy<C: ControlApi>(face: &Face<C>, query: &[(String, String)]) -> Option<String> {
    let serializable = query
        .iter()
        .find(|(key, _)| key == "serializable")
        .is_some_and(|(_, value)| value == "true");
    let status = face.control.status();
    for alarm in &status.alarms {
        let name = AlarmType::try_from(alarm.alarm).map_or("UNKNOWN", |kind| kind.as_str_name());
        if !excluded(query, name) {
            return Some(format!("ALARM {name}"));
        }
    }
    if !serializable && status.leader.unwrap_or(NodeId(0)) == NodeId(0) {
        return Some("RAFT NO LEADER".to_owned());
    }
    let read = read(face, serializable).await;
    read.err().map(|error| format!("RANGE ERROR:{error}"))
}

async fn health<C: ControlApi>(State(face): State<Arc<Face<C>>>, Query(query): Pairs) -> Response {
    let reason = unhealthy(&face, &query).await;
    let healthy = reason.is_none();
    let body = json!({
        "health": if healthy { "true" } else { "false" },
        "reason": reason.unwrap_or_default(),
    });
    match healthy {
        true => (StatusCode::OK, body.to_string()).into_response(),
        false => text(StatusCode::SERVICE_UNAVAILABLE, format!("{body}\n")),
    }
}

async fn version<C: ControlApi>(State(face): State<Arc<Face<C>>>) -> Json<serde_json::Value> {
    Json(json!({
        "etcdserver": ETCD_VERSION,
        "etcdcluster": ETCD_VERSION,
        "storage": ETCD_VERSION,
        "atoll": env!("CARGO_PKG_VERSION"),
        "atoll_feature_level": face.control.status().feature_level.0,
    }))
}
