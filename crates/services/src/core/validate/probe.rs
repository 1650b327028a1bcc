//! Probes and lifecycle hooks: what is done to a container.

use super::{
    super::{names, status::FieldError},
    NEGATIVE,
    at::{At, Errors},
};

/// A probe, which one its field says.
pub(super) fn probe(probe: &At<'_>, field: &str, errors: &mut Errors) {
    handler(probe, None, errors);
    let counts = [
        "initialDelaySeconds",
        "timeoutSeconds",
        "periodSeconds",
        "successThreshold",
        "failureThreshold",
    ];
    for count in counts {
        probe.child(count).not_negative(errors);
    }
    let grace = probe.child("terminationGracePeriodSeconds");
    if grace.number().is_some_and(|seconds| seconds <= 0) {
        grace.invalid(errors, "must be greater than 0");
    }
    if field == "readinessProbe" {
        if grace.is_present() {
            grace.invalid(errors, "must not be set for readinessProbes");
        }
        return;
    }
    let successes = probe.child("successThreshold");
    if successes.number().is_some_and(|count| count != 1) {
        successes.invalid(errors, "must be 1");
    }
}

/// Exactly one thing that is done.
pub(super) fn handler(at: &At<'_>, grace_s: Option<i64>, errors: &mut Errors) {
    let kinds = ["exec", "httpGet", "tcpSocket", "grpc", "sleep"];
    let present = kinds.into_iter().filter(|kind| at.child(kind).is_present());
    let mut count = 0;
    for kind in present {
        count += 1;
        let one = at.child(kind);
        if count > 1 {
            one.forbidden(errors, "may not specify more than 1 handler type");
            continue;
        }
        match kind {
            "exec" if one.child("command").count() == 0 => {
                one.child("command").required(errors, "");
            }
            "httpGet" => http_get(&one, errors),
            "tcpSocket" | "grpc" => port(&one.child("port"), errors),
            "sleep" => sleep(&one, grace_s, errors),
            _ => {}
        }
    }
    if count == 0 {
        at.required(errors, "must specify a handler type");
    }
}

fn http_get(get: &At<'_>, errors: &mut Errors) {
    port(&get.child("port"), errors);
    get.child("scheme").one_of(errors, &["HTTP", "HTTPS"]);
    for header in get.child("httpHeaders").items() {
        let name = header.child("name");
        name.at(get.child("httpHeaders").path())
            .named(errors, names::http_header);
    }
}

fn sleep(at: &At<'_>, grace_s: Option<i64>, errors: &mut Errors) {
    let seconds = at.child("seconds");
    let Some(grace_s) = grace_s else {
        return;
    };
    let asked = seconds.number().unwrap_or_default();
    if !(0..=grace_s).contains(&asked) {
        let why =
            format!("must be non-negative and less than terminationGracePeriodSeconds ({grace_s})");
        errors.push(FieldError::invalid(at.path(), &asked.into(), why));
    }
}

/// The number of a port, or the name of one.
pub(super) fn port(at: &At<'_>, errors: &mut Errors) {
    if at.value().is_string() {
        return at.named(errors, names::port_name);
    }
    let number = at.number().unwrap_or_default();
    for why in names::port_number(number) {
        errors.push(FieldError::invalid(at.path(), &number.into(), why));
    }
}

/// A number that is at least 0, or a percentage.
pub(super) fn count_or_percent(at: &At<'_>, errors: &mut Errors) {
    if at.value().is_string() {
        at.named(errors, names::percent);
    } else if at.number().is_some_and(|number| number < 0) {
        at.invalid(errors, NEGATIVE);
    }
}
