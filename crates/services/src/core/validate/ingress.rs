//! Ingresses: which requests from outside go to which services.

use super::{
    super::names,
    RULES_MAX,
    at::{At, Errors},
    container::port_number,
};

/// An Ingress's spec.
pub(super) fn ingress(spec: &At<'_>, errors: &mut Errors) {
    let (rules, default) = (spec.child("rules"), spec.child("defaultBackend"));
    if rules.count() == 0 && !default.is_present() {
        let why = "either `defaultBackend` or `rules` must be specified";
        spec.invalid(errors, why);
    }
    if default.is_present() {
        backend(&default, errors);
    }
    spec.child("ingressClassName")
        .named_if_any(errors, names::dns1123_subdomain);
    if !rules.at_most(errors, RULES_MAX) {
        return;
    }
    for rule in rules.items() {
        host(&rule.child("host"), errors);
        let paths = rule.under(&["http", "paths"]);
        if rule.child("http").is_present() && paths.count() == 0 {
            paths.required(errors, "");
        }
        if paths.at_most(errors, RULES_MAX) {
            paths.items().for_each(|path| ingress_path(&path, errors));
        }
    }
    for tls in spec.child("tls").items() {
        for name in tls.child("hosts").items() {
            host(&name, errors);
        }
    }
}

fn host(at: &At<'_>, errors: &mut Errors) {
    if at.text().parse::<std::net::IpAddr>().is_ok() {
        at.invalid(errors, "must be a DNS name, not an IP address");
    } else if at.text().contains('*') {
        at.named(errors, names::wildcard_subdomain);
    } else {
        at.named_if_any(errors, names::dns1123_subdomain);
    }
}

fn ingress_path(path: &At<'_>, errors: &mut Errors) {
    let (kind, text) = (path.child("pathType"), path.child("path"));
    if kind.text().is_empty() {
        kind.required(errors, "pathType must be specified");
    } else {
        kind.one_of(errors, &["Exact", "ImplementationSpecific", "Prefix"]);
    }
    let is_needed = matches!(kind.text(), "Exact" | "Prefix");
    if (is_needed || !text.text().is_empty()) && !text.text().starts_with('/') {
        text.invalid(errors, "must be an absolute path");
    }
    if is_needed {
        for part in ["//", "/./", "/../", "%2f", "%2F"] {
            if text.text().contains(part) {
                text.invalid(errors, format!("must not contain '{part}'"));
            }
        }
        for end in ["/..", "/."] {
            if text.text().ends_with(end) {
                text.invalid(errors, format!("cannot end with '{end}'"));
            }
        }
    }
    backend(&path.child("backend"), errors);
}

fn backend(backend: &At<'_>, errors: &mut Errors) {
    let (service, resource) = (backend.child("service"), backend.child("resource"));
    if service.is_present() && resource.is_present() {
        backend.invalid(errors, "cannot set both resource and service backends");
    } else if !service.is_present() && !resource.is_present() {
        backend.required(errors, "resource or service backend is required");
    }
    if !service.is_present() {
        return;
    }
    let (name, port) = (service.child("name"), service.child("port"));
    name.needed(errors);
    name.named_if_any(errors, names::dns1035_label);
    let number = port.child("number");
    match (
        port.child("name").text(),
        number.number().unwrap_or_default(),
    ) {
        ("", 0) => port.required(errors, "port name or number is required"),
        ("", of_port) => port_number(&number, of_port, errors),
        (_, 0) => port.child("name").named(errors, names::port_name),
        _ => port.invalid(errors, "cannot set both port name & port number"),
    }
}
