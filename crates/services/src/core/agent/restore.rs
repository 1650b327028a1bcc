//! What an agent that starts again takes over: the attempts that the runtime still has, and the
//! past that the pod's status tells. Runs go on, counts go on; a run that the status tells of and
//! that the runtime has lost has ended in an unknown way.

use serde_json::Value;

use super::{
    container::{Container, End, Life},
    messages::{AttemptId, Found, ProbeKind},
};
use crate::core::{object, time::parse_rfc3339};

const UNKNOWN_CODE: i32 = 137;
const UNKNOWN_REASON: &str = "ContainerStatusUnknown";
const UNKNOWN_MESSAGE: &str = "The container could not be located when the pod was terminated";

/// The attempts that are alive.
pub(super) fn live<'a>(found: impl IntoIterator<Item = &'a Found>) -> Vec<AttemptId> {
    let live = found.into_iter().filter(|one| one.state.is_ok());
    live.map(|one| one.id.clone()).collect()
}

/// Gives each container what was found of it; returns what is alive and belongs to none.
pub(super) fn take_over(
    containers: &mut [Container],
    status: &Value,
    mut found: Vec<Found>,
    now_ms: u64,
) -> Vec<AttemptId> {
    found.sort_by_key(|one| one.id.number);
    let mut strays = Vec::new();
    for one in containers {
        let (its, others) = found
            .into_iter()
            .partition(|of| of.id.container == one.name);
        found = others;
        let lists = ["initContainerStatuses", "containerStatuses"];
        let mut statuses = lists
            .into_iter()
            .flat_map(|list| object::items(&status[list]));
        let told = statuses.find(|status| status["name"] == one.name.as_str());
        let told = Told::read(told.unwrap_or(&Value::Null), now_ms);
        strays.extend(take_over_one(one, told, its, now_ms));
    }
    strays.extend(live(&found));
    strays
}

/// What a container's status tells.
struct Told {
    number: u32,
    running_since_ms: Option<u64>,
    ends: Vec<End>,
    is_started: bool,
    is_ready: bool,
    image_id: Option<String>,
}

impl Told {
    fn read(status: &Value, now_ms: u64) -> Told {
        let number = status["restartCount"].as_u64().unwrap_or(0);
        let number = u32::try_from(number).unwrap_or(u32::MAX);
        let (state, last) = (&status["state"], &status["lastState"]["terminated"]);
        let has_moved_on = state["running"].is_object() || state["terminated"].is_object();
        let last_number = if has_moved_on {
            number.saturating_sub(1)
        } else {
            number
        };
        let ends = [(last, last_number), (&state["terminated"], number)];
        let ends = ends.into_iter().filter(|(end, _)| end.is_object());
        let since_ms = time_ms(&state["running"]["startedAt"], now_ms);
        Told {
            number,
            running_since_ms: state["running"].is_object().then_some(since_ms),
            ends: ends
                .map(|(end, number)| read_end(end, number, now_ms))
                .collect(),
            is_started: status["started"] == true,
            is_ready: status["ready"] == true,
            image_id: status["imageID"].as_str().map(str::to_owned),
        }
    }
}

fn time_ms(time: &Value, now_ms: u64) -> u64 {
    let time_ms = time.as_str().and_then(parse_rfc3339);
    time_ms.unwrap_or(now_ms).min(now_ms)
}

fn read_end(end: &Value, number: u32, now_ms: u64) -> End {
    let text = |field: &str| end[field].as_str().unwrap_or_default().to_owned();
    let finished_ms = time_ms(&end["finishedAt"], now_ms);
    End {
        number,
        code: end["exitCode"]
            .as_i64()
            .and_then(|code| i32::try_from(code).ok())
            .unwrap_or(0),
        reason: text("reason"),
        message: text("message"),
        started_ms: time_ms(&end["startedAt"], finished_ms),
        finished_ms,
        is_fenced: false,
    }
}

fn take_over_one(
    one: &mut Container,
    told: Told,
    found: Vec<Found>,
    now_ms: u64,
) -> Vec<AttemptId> {
    let (old, mut new): (Vec<Found>, Vec<Found>) = found
        .into_iter()
        .partition(|found| found.id.number < told.number);
    let latest = new.pop();
    let number = latest
        .as_ref()
        .map_or(told.number, |latest| latest.id.number);
    let mut ends = told.ends;
    let lost_since_ms = told.running_since_ms.filter(|_| latest.is_none());
    ends.extend(lost_since_ms.map(|started_ms| unknown_end(number, started_ms, now_ms)));
    let latest_exit = latest
        .iter()
        .filter_map(|latest| latest.state.as_ref().err());
    let exits = new
        .iter()
        .filter_map(|found| Some((found.id.number, found.state.as_ref().err()?)));
    for (number, exit) in exits.chain(latest_exit.map(|exit| (number, exit))) {
        ends.retain(|end| end.number != number);
        ends.push(End::of(number, exit.clone(), now_ms));
    }
    for end in ends {
        one.end_with(end);
    }
    one.number = number;
    one.restart_count = number;
    one.image_id = told.image_id.filter(|id| !id.is_empty());
    if let Some(Ok(since_ms)) = latest.map(|latest| latest.state) {
        let is_known = number == told.number;
        take_over_run(
            one,
            since_ms.min(now_ms),
            is_known.then_some((told.is_started, told.is_ready)),
        );
    }
    // Two at once can't have been; if they were, the newest stays.
    live(old.iter().chain(&new))
}

fn take_over_run(one: &mut Container, since_ms: u64, told: Option<(bool, bool)>) {
    let (is_started, is_ready) = told.unwrap_or_default();
    for probe in &mut one.probes {
        let has_passed = match probe.kind {
            ProbeKind::Startup => is_started,
            ProbeKind::Liveness => false,
            ProbeKind::Readiness => is_ready,
        };
        probe.begin(since_ms, has_passed);
    }
    one.life = Life::Running {
        since_ms,
        is_hooked: false,
    };
}

fn unknown_end(number: u32, started_ms: u64, now_ms: u64) -> End {
    End {
        number,
        code: UNKNOWN_CODE,
        reason: UNKNOWN_REASON.to_owned(),
        message: UNKNOWN_MESSAGE.to_owned(),
        started_ms,
        finished_ms: now_ms,
        is_fenced: false,
    }
}
