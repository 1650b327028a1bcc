//! Volumes, and where containers have them.

use std::collections::BTreeSet;

use super::{
    super::{names, quantity},
    ITEMS_MAX, VOLUMES_MAX,
    at::{At, Errors},
    env,
};

const MODE_MESSAGE: &str = "must be a number between 0 and 0777 (octal), both inclusive";
const HOST_PATH_TYPES: [&str; 8] = [
    "",
    "BlockDevice",
    "CharDevice",
    "Directory",
    "DirectoryOrCreate",
    "File",
    "FileOrCreate",
    "Socket",
];

/// The volumes of a pod; their names come back.
pub(super) fn volumes<'a>(list: &At<'a>, errors: &mut Errors) -> BTreeSet<&'a str> {
    let mut found = BTreeSet::new();
    if !list.at_most(errors, VOLUMES_MAX) {
        return found;
    }
    for volume in list.items() {
        source(&volume, errors);
        let name = volume.child("name");
        name.needed(errors);
        name.named_if_any(errors, names::dns1123_label);
        if !name.text().is_empty() && !found.insert(name.text()) {
            name.duplicate(errors);
        }
    }
    found
}

fn source(volume: &At<'_>, errors: &mut Errors) {
    let fields = volume.value().as_object().into_iter().flatten();
    let fields = fields.filter(|(field, source)| *field != "name" && !source.is_null());
    let mut count = 0;
    for (field, _) in fields {
        count += 1;
        let source = volume.child(field);
        if count > 1 {
            source.forbidden(errors, "may not specify more than 1 volume type");
            continue;
        }
        match field.as_str() {
            "emptyDir" => empty_dir(&source, errors),
            "hostPath" => host_path(&source, errors),
            "configMap" => {
                source.child("name").needed(errors);
                mode(&source.child("defaultMode"), errors);
                key_items(&source, errors);
            }
            "secret" => {
                source.child("secretName").needed(errors);
                mode(&source.child("defaultMode"), errors);
                key_items(&source, errors);
            }
            "downwardAPI" => {
                mode(&source.child("defaultMode"), errors);
                downward(&source, errors);
            }
            "projected" => projected(&source, errors),
            "persistentVolumeClaim" => source.child("claimName").needed(errors),
            _ => {}
        }
    }
    if count == 0 {
        volume.required(errors, "must specify a volume type");
    }
}

fn empty_dir(source: &At<'_>, errors: &mut Errors) {
    let limit = source.child("sizeLimit");
    if quantity::of(limit.value()).is_some_and(quantity::Quantity::is_negative) {
        limit.forbidden(errors, "SizeLimit field must be a valid resource quantity");
    }
}

fn host_path(source: &At<'_>, errors: &mut Errors) {
    let path = source.child("path");
    if path.text().is_empty() {
        return path.required(errors, "");
    }
    no_backsteps(&path, errors);
    source.child("type").one_of(errors, &HOST_PATH_TYPES);
}

fn mode(at: &At<'_>, errors: &mut Errors) {
    if at.number().is_some_and(|mode| !(0..=0o777).contains(&mode)) {
        at.invalid(errors, MODE_MESSAGE);
    }
}

/// Which keys become which files.
fn key_items(source: &At<'_>, errors: &mut Errors) {
    let items = source.child("items");
    if !items.at_most(errors, ITEMS_MAX) {
        return;
    }
    for item in items.items() {
        item.child("key").needed(errors);
        file_path(&item.child("path"), errors);
        mode(&item.child("mode"), errors);
    }
}

fn downward(source: &At<'_>, errors: &mut Errors) {
    let items = source.child("items");
    if !items.at_most(errors, ITEMS_MAX) {
        return;
    }
    for item in items.items() {
        file_path(&item.child("path"), errors);
        let (field, resource) = (item.child("fieldRef"), item.child("resourceFieldRef"));
        match (field.is_present(), resource.is_present()) {
            (true, true) => {
                item.invalid(
                    errors,
                    "fieldRef and resourceFieldRef can not be specified simultaneously",
                );
            }
            (true, false) => env::field_ref(&field, env::Place::File, errors),
            (false, true) => env::resource_ref(&resource, env::Place::File, errors),
            (false, false) => {
                item.required(errors, "one of fieldRef and resourceFieldRef is required");
            }
        }
        mode(&item.child("mode"), errors);
    }
}

fn projected(projected: &At<'_>, errors: &mut Errors) {
    mode(&projected.child("defaultMode"), errors);
    let sources = projected.child("sources");
    if !sources.at_most(errors, ITEMS_MAX) {
        return;
    }
    for source in sources.items() {
        let fields = source.value().as_object().into_iter().flatten();
        let fields = fields.filter(|(_, one)| !one.is_null());
        let mut count = 0;
        for (field, _) in fields {
            count += 1;
            let one = source.child(field);
            if count > 1 {
                one.forbidden(errors, "may not specify more than 1 volume type");
                continue;
            }
            match field.as_str() {
                "configMap" | "secret" => {
                    one.child("name").needed(errors);
                    key_items(&one, errors);
                }
                "downwardAPI" => downward(&one, errors),
                "serviceAccountToken" => token(&one, errors),
                _ => {}
            }
        }
        if count == 0 {
            source.required(errors, "must specify a volume type");
        }
    }
}

fn token(token: &At<'_>, errors: &mut Errors) {
    const LIFE_S_MIN: i64 = 600;
    const LIFE_S_MAX: i64 = 1 << 32;
    let life = token.child("expirationSeconds");
    match life.number() {
        Some(seconds) if seconds < LIFE_S_MIN => {
            life.invalid(errors, "may not specify a duration less than 10 minutes");
        }
        Some(seconds) if seconds > LIFE_S_MAX => {
            life.invalid(
                errors,
                "may not specify a duration larger than 2^32 seconds",
            );
        }
        _ => {}
    }
    file_path(&token.child("path"), errors);
}

/// Where a file is put: below the volume, and not where the files of the system are.
fn file_path(at: &At<'_>, errors: &mut Errors) {
    at.needed(errors);
    local_path(at, errors);
    if at.text().starts_with("..") && !at.text().starts_with("../") {
        at.invalid(errors, "must not start with '..'");
    }
}

/// A path below something.
fn local_path(at: &At<'_>, errors: &mut Errors) {
    if at.text().starts_with('/') {
        at.invalid(errors, "must be a relative path");
    }
    no_backsteps(at, errors);
}

fn no_backsteps(at: &At<'_>, errors: &mut Errors) {
    if at.text().split('/').any(|part| part == "..") {
        at.invalid(errors, "must not contain '..'");
    }
}

/// Where a container has volumes.
pub(super) fn mounts(container: &At<'_>, volumes: &BTreeSet<&str>, errors: &mut Errors) {
    let list = container.child("volumeMounts");
    if !list.at_most(errors, VOLUMES_MAX) {
        return;
    }
    let mut paths = BTreeSet::new();
    for mount in list.items() {
        let (name, path) = (mount.child("name"), mount.child("mountPath"));
        name.needed(errors);
        if !volumes.contains(name.text()) {
            name.not_found(errors);
        }
        path.needed(errors);
        if !paths.insert(path.text()) {
            path.invalid(errors, "must be unique");
        }
        let (sub, expression) = (mount.child("subPath"), mount.child("subPathExpr"));
        local_path(&sub, errors);
        local_path(&expression, errors);
        if !sub.text().is_empty() && !expression.text().is_empty() {
            expression.invalid(errors, "subPathExpr and subPath are mutually exclusive");
        }
        let propagation = mount.child("mountPropagation");
        propagation.one_of(errors, &["Bidirectional", "HostToContainer", "None"]);
    }
}
