//! Requests about objects: each becomes one call of [`Objects`].

use std::time::Duration;

use atoll_control::api::ControlApi;
use atoll_world::{clock, random};
use axum::http::{HeaderMap, Method, StatusCode, header::USER_AGENT};
use parking_lot::Mutex;
use serde_json::{Value, json};

use super::{
    Api, Asked, body, continuing,
    identity::Verb,
    options::{self, Options},
    render::Answer,
    route::Resource,
    scale,
    select::Selection,
    watch::{self, Wanted},
};
use crate::{
    core::{
        binding,
        kinds::{Kind, Subresource},
        lifecycle::{Deletion, Propagation},
        names,
        object::{self, Name},
        patch::{self, PatchType, apply},
        schema::{check, schema},
        status::{Cause, Failure, Reason},
        time::format_rfc3339,
        versions,
    },
    driver::{
        objects::{self, Removed, Writer},
        store::{self, Page, Stored},
    },
};

/// So many objects are read at a time.
const PAGE: i64 = 500;
/// The longest name of a field manager, in bytes.
const MANAGER_BYTES_MAX: usize = 128;
/// The shortest and the longest watch of a client that does not say how long, in seconds.
const WATCH_S: std::ops::Range<u64> = 1_800..3_600;
/// The longest of one that does.
const WATCH_S_MAX: u64 = 24 * 3_600;

/// What a request wants, by its method and path.
pub(super) fn verb(
    method: &Method,
    resource: &Resource,
    options: &Options,
) -> Result<Verb, Failure> {
    let is_one = resource.name.is_some();
    if resource.subresource.is_some_and(Subresource::is_session) {
        return match *method {
            // WebSockets begin with a GET, which must not need less than the others' POST.
            Method::GET | Method::POST => Ok(Verb("create")),
            _ => Err(not_allowed()),
        };
    }
    let verb = match (method, is_one) {
        (&Method::GET | &Method::HEAD, true) => "get",
        (&Method::GET | &Method::HEAD, false) if options.flag("watch")? => "watch",
        (&Method::GET | &Method::HEAD, false) => "list",
        (&Method::POST, false) => "create",
        (&Method::POST, true) if resource.subresource.is_some() => "create",
        (&Method::PUT, true) => "update",
        (&Method::PATCH, true) => "patch",
        (&Method::DELETE, true) if resource.subresource.is_none() => "delete",
        (&Method::DELETE, false) => "deletecollection",
        _ => return Err(not_allowed()),
    };
    Ok(Verb(verb))
}

fn not_allowed() -> Failure {
    Failure::new(
        Reason::MethodNotAllowed,
        "the server does not allow this method on the requested resource",
    )
}

impl<C: ControlApi> Api<C> {
    /// Answers a request about objects, whose sender may ask it.
    pub(super) async fn answer_objects(
        &self,
        asked: Asked,
        resource: &Resource,
        verb: Verb,
    ) -> Result<Answer, Failure> {
        match (verb.0, resource.subresource) {
            ("list", None) => self.list(&asked, resource).await,
            ("watch", None) => self.watch(&asked, resource).await,
            ("create", None) => self.create(asked, resource).await,
            ("deletecollection", None) => self.delete_all(asked, resource).await,
            ("get", None | Some(Subresource::Status)) => self.get(&asked, resource).await,
            ("get", Some(Subresource::Scale)) => self.get_scale(resource).await,
            ("get", Some(Subresource::Log)) => self.get_log(&asked, resource).await,
            ("update", Some(Subresource::Scale)) => self.update_scale(asked, resource).await,
            ("patch", Some(Subresource::Scale)) => self.patch_scale(asked, resource).await,
            ("update", None | Some(Subresource::Status | Subresource::Finalize)) => {
                self.update(asked, resource).await
            }
            ("patch", None | Some(Subresource::Status)) => self.patch(asked, resource).await,
            ("delete", None) => self.delete(asked, resource).await,
            ("create", Some(Subresource::Eviction)) => self.evict(asked, resource).await,
            ("create", Some(Subresource::Binding)) => self.bind(asked, resource).await,
            _ => Err(not_allowed()),
        }
    }

    async fn get(&self, asked: &Asked, resource: &Resource) -> Result<Answer, Failure> {
        let found = self.objects.get(&name(resource)?).await?;
        Ok(asked.rendered.one(&found.object))
    }

    async fn list(&self, asked: &Asked, resource: &Resource) -> Result<Answer, Failure> {
        let (kind, options) = (resource.kind, &asked.options);
        let namespace = resource.namespace.as_deref();
        let selection = Selection::of(kind, options)?;
        let limit = options.number("limit")?.filter(|limit| *limit > 0);
        let limit = limit.map_or(usize::MAX, |limit| {
            usize::try_from(limit).unwrap_or(usize::MAX)
        });
        let (mut revision, mut from) = match options.text("continue") {
            Some(token) => {
                let (revision, from) = continuing::read(token, kind, namespace)?;
                (revision, Some(from))
            }
            None => (exact_revision(options)?, None),
        };
        let mut shown: Vec<Value> = Vec::new();
        let mut left;
        loop {
            // Few are asked for where all are shown; else many are looked at for one.
            let wanted = match selection.is_everything() {
                true => i64::try_from(limit - shown.len()).unwrap_or(PAGE).min(PAGE),
                false => PAGE,
            };
            let store = &self.objects.store;
            let page = store
                .list(kind, namespace, from.take(), revision, wanted)
                .await;
            let page = page.map_err(|failure| expired(failure, options))?;
            revision = page.revision;
            (from, left) = (page.next.clone(), page.left);
            let objects = page.objects.into_iter().map(|stored| stored.object);
            let mut chosen = objects.filter(|object| selection.chooses(object));
            shown.extend(chosen.by_ref().take(limit - shown.len()));
            if let (true, Some(last)) = (chosen.next().is_some(), shown.last()) {
                // The rest begins behind what is shown.
                from = Some(store::key_after(kind, last));
            }
            if from.is_none() || shown.len() >= limit {
                break;
            }
        }
        if let Some(asked_for) = options.revision()?
            && asked_for > revision
        {
            return Err(too_large(asked_for, revision));
        }
        let mut meta = json!({"resourceVersion": revision.to_string()});
        if let Some(next) = from {
            meta["continue"] = json!(continuing::write(revision, &next));
            if selection.is_everything() {
                meta["remainingItemCount"] = json!(left);
            }
        }
        Ok(asked.rendered.list(shown, meta))
    }

    async fn watch(&self, asked: &Asked, resource: &Resource) -> Result<Answer, Failure> {
        let (kind, options) = (resource.kind, &asked.options);
        let sends_initial = options.flag("sendInitialEvents")?;
        let revision = options.revision()?.filter(|revision| *revision > 0);
        if let Some(revision) = revision {
            let present = self.objects.store.revision().await?;
            if revision > present {
                return Err(too_large(revision, present));
            }
        }
        let default_s = random::range(WATCH_S);
        let seconds = options.number("timeoutSeconds")?.filter(|it| *it > 0);
        let wants_bookmarks = options.flag("allowWatchBookmarks")?;
        let wanted = Wanted {
            kind,
            namespace: resource.namespace.clone(),
            selection: Selection::of(kind, options)?,
            after: if sends_initial { None } else { revision },
            tells_end_of_initial: sends_initial && wants_bookmarks,
            wants_bookmarks,
            timeout: Duration::from_secs(seconds.unwrap_or(default_s).min(WATCH_S_MAX)),
            rendered: asked.rendered.clone(),
        };
        let body = watch::begin(self.objects.store.clone(), wanted, asked.right.clone()).await?;
        Ok(Answer::stream("application/json", body))
    }

    async fn create(&self, asked: Asked, resource: &Resource) -> Result<Answer, Failure> {
        let kind = resource.kind;
        let namespace = resource.namespace.clone().unwrap_or_default();
        if kind.is_namespaced && resource.namespace.is_none() {
            return Err(not_allowed());
        }
        let writer = asked.writer()?;
        let parsed = body::parse(&asked.media_type, &asked.sent.bytes)?;
        let mut object = parsed.object;
        let version = resource.version;
        let warnings = body::check(version, &object, &parsed.duplicates, &asked.options)?;
        check::prune(version.type_name, &mut object);
        body::to_kept(version, &mut object)?;
        let made = self
            .objects
            .create(kind, &namespace, object, &writer)
            .await?;
        let answer = asked.rendered.one(&made.object);
        Ok(answer
            .with_status(StatusCode::CREATED)
            .with_warnings(warnings))
    }

    async fn update(&self, asked: Asked, resource: &Resource) -> Result<Answer, Failure> {
        let writer = asked.writer()?;
        let parsed = body::parse(&asked.media_type, &asked.sent.bytes)?;
        let mut object = parsed.object;
        let version = resource.version;
        let warnings = body::check(version, &object, &parsed.duplicates, &asked.options)?;
        check::prune(version.type_name, &mut object);
        body::to_kept(version, &mut object)?;
        let updated = self
            .objects
            .update(&name(resource)?, resource.subresource, &writer, |_| {
                Ok(object.clone())
            })
            .await?;
        Ok(asked.rendered.one(&updated.object).with_warnings(warnings))
    }

    async fn patch(&self, asked: Asked, resource: &Resource) -> Result<Answer, Failure> {
        let version = resource.version;
        let writer = asked.writer()?;
        let patch_type = asked.patch_type()?;
        if patch_type == PatchType::Apply {
            return self.apply(asked, resource).await;
        }
        let patch = patch::decode(&asked.sent.bytes)?;
        let warnings = Mutex::new(Vec::new());
        let change = |old: &Value| {
            let type_name = version.type_name;
            let mut old = old.clone();
            versions::to_shown(version, &mut old);
            let mut new = patch::patch(schema(), type_name, patch_type, &old, &patch)?;
            *warnings.lock() = body::check(version, &new, &[], &asked.options)?;
            check::prune(type_name, &mut new);
            body::to_kept(version, &mut new)?;
            Ok(new)
        };
        let updated = self
            .objects
            .update(&name(resource)?, resource.subresource, &writer, change)
            .await?;
        let warnings = warnings.into_inner();
        Ok(asked.rendered.one(&updated.object).with_warnings(warnings))
    }

    /// Server-side apply: what this manager wants of the object, whether it is there or not.
    async fn apply(&self, asked: Asked, resource: &Resource) -> Result<Answer, Failure> {
        let (kind, options) = (resource.kind, &asked.options);
        let writer = Writer {
            has_owners: true,
            ..asked.writer()?
        };
        if options.text("fieldManager").is_none() {
            return Err(Failure::bad_request(
                "PatchOptions.meta.k8s.io \"\" is invalid: fieldManager: Required value: is required for apply patch",
            ));
        }
        let force = options.flag("force")?;
        let parsed = body::parse("application/apply-patch+yaml", &asked.sent.bytes)?;
        // What is not known stays in it: who applies a field owns it, even where it says null.
        let mut applied = parsed.object;
        let warnings = body::check(resource.version, &applied, &parsed.duplicates, options)?;
        // It is merged in the version that is kept, in which owners of fields are noted.
        body::to_kept(resource.version, &mut applied)?;
        let part = resource.subresource.map_or("", Subresource::name);
        let name = name(resource)?;
        let told = object::name(&applied);
        if !told.is_empty() && told != name.name {
            // Whoever asks may write the one that the path names.
            return Err(Failure::bad_request(format!(
                "the name of the object ({told}) does not match the name on the URL ({})",
                name.name
            )));
        }
        let merged = |live: Option<&Value>| {
            let owner = apply::Writer {
                manager: &writer.manager,
                subresource: part,
                now: &format_rfc3339(atoll_world::clock::wall_ms()),
            };
            let type_name = kind.type_name;
            let mut merged = apply::apply(schema(), type_name, live, &applied, &owner, force)?;
            check::prune(type_name, &mut merged);
            Ok(merged)
        };
        let updated = self
            .objects
            .update(&name, resource.subresource, &writer, |old| {
                merged(Some(old))
            })
            .await;
        let (stored, status) = match updated {
            Err(failure) if failure.reason == Reason::NotFound && part.is_empty() => {
                if !object::uid(&applied).is_empty() {
                    return Err(objects::not_found(&name));
                }
                let mut made = merged(None)?;
                object::meta_mut(&mut made).insert("name".to_owned(), json!(name.name));
                let made = self
                    .objects
                    .create(kind, &name.namespace, made, &writer)
                    .await?;
                (made, StatusCode::CREATED)
            }
            updated => (updated?, StatusCode::OK),
        };
        let answer = asked.rendered.one(&stored.object);
        Ok(answer.with_status(status).with_warnings(warnings))
    }

    async fn delete(&self, asked: Asked, resource: &Resource) -> Result<Answer, Failure> {
        let (deletion, writer) = asked.deletion()?;
        let name = name(resource)?;
        let removed = self.objects.delete(&name, &deletion, &writer).await?;
        match removed {
            Removed::Going(object) => Ok(asked.rendered.one(&object)),
            Removed::Gone(object) => Ok(Answer::json(&gone(resource.kind, &object))),
        }
    }

    async fn delete_all(&self, asked: Asked, resource: &Resource) -> Result<Answer, Failure> {
        let kind = resource.kind;
        let (deletion, writer) = asked.deletion()?;
        let selection = Selection::of(kind, &asked.options)?;
        let (mut from, mut revision, mut removed) = (None, 0, Vec::new());
        loop {
            let (store, namespace) = (&self.objects.store, resource.namespace.as_deref());
            let page: Page = store.list(kind, namespace, from, revision, PAGE).await?;
            revision = page.revision;
            for Stored { object, .. } in page.objects {
                if !selection.chooses(&object) {
                    continue;
                }
                let name = Name::of(kind, &object);
                match self.objects.delete(&name, &deletion, &writer).await {
                    Ok(Removed::Gone(object) | Removed::Going(object)) => removed.push(object),
                    Err(failure) if failure.reason == Reason::NotFound => {}
                    Err(failure) => return Err(failure),
                }
            }
            from = page.next;
            if from.is_none() {
                break;
            }
        }
        let meta = json!({"resourceVersion": revision.to_string()});
        Ok(asked.rendered.list(removed, meta))
    }

    async fn get_scale(&self, resource: &Resource) -> Result<Answer, Failure> {
        let found = self.objects.get(&name(resource)?).await?;
        Ok(Answer::json(&scale::of(resource.kind, &found.object)))
    }

    async fn update_scale(&self, asked: Asked, resource: &Resource) -> Result<Answer, Failure> {
        let sent = body::parse(&asked.media_type, &asked.sent.bytes)?.object;
        self.scale(&asked, resource, |_| Ok(sent.clone())).await
    }

    async fn patch_scale(&self, asked: Asked, resource: &Resource) -> Result<Answer, Failure> {
        let patch_type = asked.patch_type()?;
        let patch = patch::decode(&asked.sent.bytes)?;
        let type_name = "autoscaling.v1.Scale";
        let sent = |present: &Value| match patch_type {
            PatchType::Apply => Err(Failure::new(
                Reason::UnsupportedMediaType,
                "a scale is changed by a merge patch or a JSON patch, not applied",
            )),
            other => patch::patch(schema(), type_name, other, present, &patch),
        };
        self.scale(&asked, resource, sent).await
    }

    async fn scale(
        &self,
        asked: &Asked,
        resource: &Resource,
        sent: impl Fn(&Value) -> Result<Value, Failure>,
    ) -> Result<Answer, Failure> {
        let kind = resource.kind;
        let change = |old: &Value| scale::with(kind, old, &sent(&scale::of(kind, old))?);
        let scaled = self
            .objects
            .update(
                &name(resource)?,
                Some(Subresource::Scale),
                &asked.writer()?,
                change,
            )
            .await?;
        Ok(Answer::json(&scale::of(resource.kind, &scaled.object)))
    }

    /// Deletes a pod at somebody's wish who would rather not break anything.
    async fn evict(&self, asked: Asked, resource: &Resource) -> Result<Answer, Failure> {
        let sent = body::parse(&asked.media_type, &asked.sent.bytes)?.object;
        let wanted = &sent["deleteOptions"];
        let (deletion, writer) = (deletion(wanted, &asked.options)?, asked.writer_of(wanted)?);
        self.objects
            .evict(&name(resource)?, &deletion, &writer)
            .await?;
        Ok(Answer::json(&success()).with_status(StatusCode::CREATED))
    }

    /// Says on which node a pod runs.
    async fn bind(&self, asked: Asked, resource: &Resource) -> Result<Answer, Failure> {
        let sent = body::parse(&asked.media_type, &asked.sent.bytes)?.object;
        let node = sent["target"]["name"].as_str().unwrap_or_default();
        if node.is_empty() {
            return Err(Failure::bad_request("target.name: Required value"));
        }
        let errors = names::dns1123_subdomain(node);
        if let Some(error) = errors.first() {
            return Err(Failure::bad_request(format!(
                "target.name: Invalid value: {node:?}: {error}"
            )));
        }
        let (uid, version) = (object::uid(&sent), object::meta(&sent, "resourceVersion"));
        let name = name(resource)?;
        let change = |old: &Value| {
            if !uid.is_empty() && uid != object::uid(old) {
                let why = format!(
                    "Precondition failed: UID in precondition: {uid}, UID in object meta: {}",
                    object::uid(old)
                );
                return Err(Failure::conflict("", "pods/binding", &name.name, &why));
            }
            if object::is_being_deleted(old) {
                let why = format!(
                    "pod {} is being deleted, cannot be assigned to a host",
                    name.name
                );
                return Err(Failure::conflict("", "pods/binding", &name.name, &why));
            }
            let present = old["spec"]["nodeName"].as_str().unwrap_or_default();
            if !present.is_empty() {
                let why = format!("pod {} is already assigned to node {present:?}", name.name);
                return Err(Failure::conflict("", "pods/binding", &name.name, &why));
            }
            let mut bound = old.clone();
            if !version.is_empty() {
                let meta = object::meta_mut(&mut bound);
                meta.insert("resourceVersion".to_owned(), json!(version));
            }
            binding::bind(&mut bound, node, &format_rfc3339(clock::wall_ms()));
            Ok(bound)
        };
        let part = Some(Subresource::Binding);
        self.objects
            .update(&name, part, &asked.writer()?, change)
            .await?;
        Ok(Answer::json(&success()).with_status(StatusCode::CREATED))
    }
}

impl Asked {
    /// Who writes, as field ownership notes it.
    pub(super) fn writer(&self) -> Result<Writer, Failure> {
        let manager = match self.options.text("fieldManager") {
            Some(manager) => manager.to_owned(),
            None => agent(&self.headers),
        };
        if manager.len() > MANAGER_BYTES_MAX || manager.chars().any(char::is_control) {
            return Err(Failure::bad_request(format!(
                "fieldManager: Invalid value: it takes at most {MANAGER_BYTES_MAX} printable bytes"
            )));
        }
        Ok(Writer {
            manager,
            is_dry_run: self.options.is_dry_run()?,
            has_owners: false,
        })
    }

    fn patch_type(&self) -> Result<PatchType, Failure> {
        PatchType::from_content_type(&self.media_type)
    }

    /// How something is to be deleted, and by whom: the body says it, or the query.
    fn deletion(&self) -> Result<(Deletion, Writer), Failure> {
        let sent = match self.sent.bytes.is_empty() {
            true => Value::Null,
            false => body::parse(&self.media_type, &self.sent.bytes)?.object,
        };
        Ok((deletion(&sent, &self.options)?, self.writer_of(&sent)?))
    }

    /// Who writes, where the options of a deletion may say that nothing is to be written.
    fn writer_of(&self, wanted: &Value) -> Result<Writer, Failure> {
        let mut writer = self.writer()?;
        for one in wanted["dryRun"].as_array().into_iter().flatten() {
            if one != "All" {
                return Err(Failure::bad_request(format!(
                    "Invalid value: {one}: dryRun is All or nothing"
                )));
            }
            writer.is_dry_run = true;
        }
        Ok(writer)
    }
}

fn deletion(sent: &Value, options: &Options) -> Result<Deletion, Failure> {
    let policy = sent["propagationPolicy"].as_str();
    let policy = policy.map(options::propagation).transpose()?;
    let orphans = match sent["orphanDependents"].as_bool() {
        Some(true) => Some(Propagation::Orphan),
        Some(false) => Some(Propagation::Background),
        None => None,
    };
    let text = |field: &str| sent["preconditions"][field].as_str().map(str::to_owned);
    let grace = &sent["gracePeriodSeconds"];
    if grace.as_i64().is_some_and(|seconds| seconds < 0) {
        return Err(Failure::bad_request(
            "gracePeriodSeconds: Invalid value: must be greater than or equal to 0",
        ));
    }
    Ok(Deletion {
        grace_s: match grace.as_u64() {
            Some(seconds) => Some(seconds),
            None => options.number("gracePeriodSeconds")?,
        },
        propagation: policy.or(orphans).or(options.propagation()?),
        uid: text("uid"),
        resource_version: text("resourceVersion"),
        disruption: None,
    })
}

/// The object that a path names.
pub(super) fn name(resource: &Resource) -> Result<Name, Failure> {
    let name = resource.name.clone().ok_or_else(not_allowed)?;
    Ok(Name {
        kind: resource.kind,
        namespace: resource.namespace.clone().unwrap_or_default(),
        name,
    })
}

/// A revision that has not been yet.
fn too_large(asked_for: i64, present: i64) -> Failure {
    let message = format!("Too large resource version: {asked_for}, current: {present}");
    let mut failure = Failure::new(Reason::Timeout, message).retry_after(1);
    failure.details.causes.push(Cause {
        reason: "ResourceVersionTooLarge",
        message: "Too large resource version".to_owned(),
        field: String::new(),
    });
    failure
}

/// The revision that a list is to show: 0 is the present.
fn exact_revision(options: &Options) -> Result<i64, Failure> {
    match options.text("resourceVersionMatch") {
        Some("Exact") => Ok(options.revision()?.unwrap_or(0)),
        None | Some("NotOlderThan") => Ok(0),
        Some(other) => Err(Failure::bad_request(format!(
            "resourceVersionMatch: Unsupported value: {other:?}: supported values: \"Exact\", \"NotOlderThan\""
        ))),
    }
}

/// A client that asks for the rest too late hears what to do.
fn expired(failure: Failure, options: &Options) -> Failure {
    match failure.reason {
        Reason::Expired if options.text("continue").is_some() => Failure::new(
            Reason::Expired,
            "The provided continue parameter is too old to display a consistent list result. You must start a new list without the continue parameter.",
        ),
        _ => failure,
    }
}

/// The first word of what a client calls itself.
fn agent(headers: &HeaderMap) -> String {
    let agent = headers.get(USER_AGENT).and_then(|it| it.to_str().ok());
    let agent = agent.unwrap_or("unknown");
    let first = agent.split(['/', ' ']).next().unwrap_or_default();
    first.chars().take(MANAGER_BYTES_MAX).collect()
}

/// What is told of an object that is gone.
fn gone(kind: &'static Kind, object: &Value) -> Value {
    let mut status = success();
    status["details"] = json!({
        "name": object::name(object), "kind": kind.plural, "uid": object::uid(object),
    });
    if !kind.group.is_empty() {
        status["details"]["group"] = json!(kind.group);
    }
    status
}

fn success() -> Value {
    json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"})
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::kinds;

    #[test]
    fn a_session_needs_the_right_to_write_whatever_the_method() {
        let options = Options::parse(None);
        for part in [
            Subresource::Exec,
            Subresource::Attach,
            Subresource::PortForward,
        ] {
            let resource = Resource {
                kind: &kinds::PODS,
                version: &kinds::PODS,
                namespace: Some("shop".to_owned()),
                name: Some("web".to_owned()),
                subresource: Some(part),
            };
            let verb = |method: &Method| verb(method, &resource, &options);
            for method in [Method::GET, Method::POST] {
                assert_eq!(verb(&method).unwrap(), Verb("create"));
            }
            for method in [Method::HEAD, Method::PUT, Method::PATCH, Method::DELETE] {
                assert_eq!(verb(&method).unwrap_err().code(), 405, "{method}");
            }
        }
    }
}
