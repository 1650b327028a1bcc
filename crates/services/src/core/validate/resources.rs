//! What containers ask of resources.

use std::cmp::Ordering;

use super::{
    super::{names, quantity, status::FieldError},
    NEGATIVE, RESOURCES_MAX,
    at::{At, Errors},
};

/// Requests and limits.
pub(super) fn requirements(at: &At<'_>, errors: &mut Errors) {
    let (limits, requests) = (at.child("limits"), at.child("requests"));
    quantities(&limits, errors);
    quantities(&requests, errors);
    for (name, request) in requests.entries() {
        let Some(request) = quantity::of(request.value()) else {
            continue;
        };
        let Some(limit) = quantity::of(limits.child(name).value()) else {
            if !may_differ(name) {
                limits.required(errors, "Limit must be set for non overcommitable resources");
            }
            continue;
        };
        let relation = match request.cmp(&limit) {
            Ordering::Greater if may_differ(name) => "less than or equal",
            Ordering::Greater | Ordering::Less if !may_differ(name) => "equal",
            _ => continue,
        };
        let why = format!("must be {relation} to {name} limit of {limit}");
        let value = request.to_string().into();
        errors.push(FieldError::invalid(requests.path(), &value, why));
    }
}

/// A map of quantities.
pub(super) fn quantities(list: &At<'_>, errors: &mut Errors) {
    if !list.at_most(errors, RESOURCES_MAX) {
        return;
    }
    for (name, at) in list.entries() {
        resource_name(name, &at, errors);
        amount(name, &at, errors);
    }
}

/// One quantity: not negative, and whole where there are no halves.
pub(super) fn amount(name: &str, at: &At<'_>, errors: &mut Errors) {
    let Some(quantity) = quantity::of(at.value()) else {
        return at.invalid(errors, "must be a valid resource quantity");
    };
    let written = quantity.to_string().into();
    let mut wrong = |why: &str| errors.push(FieldError::invalid(at.path(), &written, why));
    if quantity.is_negative() {
        wrong(NEGATIVE);
    }
    if is_extended(name) && !quantity.is_whole() {
        wrong("must be an integer");
    }
}

fn is_huge_pages(name: &str) -> bool {
    name.starts_with("hugepages-")
}

/// One of the machine itself.
fn is_native(name: &str) -> bool {
    name.split_once('/')
        .is_none_or(|(domain, _)| domain == "kubernetes.io" || domain.ends_with(".kubernetes.io"))
}

/// One that somebody else counts: whole ones, such as devices.
fn is_extended(name: &str) -> bool {
    !is_native(name) && !name.starts_with("requests.")
}

/// Whether more of it can be promised than there is.
fn may_differ(name: &str) -> bool {
    is_native(name) && !is_huge_pages(name)
}

fn resource_name(name: &str, at: &At<'_>, errors: &mut Errors) {
    let value = name.into();
    let mut wrong = |why: &str| errors.push(FieldError::invalid(at.path(), &value, why));
    let of_name = names::qualified_name(name);
    if !of_name.is_empty() {
        return of_name.iter().for_each(|why| wrong(why));
    }
    let is_known = matches!(name, "cpu" | "memory" | "ephemeral-storage") || is_huge_pages(name);
    match name.split_once('/') {
        None if is_known => {}
        None => {
            if !matches!(name, "storage" | "pods") {
                wrong("must be a standard resource type or fully qualified");
            }
            wrong("must be a standard resource for containers");
        }
        Some(_) if is_native(name) || is_extended(name) => {}
        Some(_) => wrong("doesn't follow extended resource name standard"),
    }
}
