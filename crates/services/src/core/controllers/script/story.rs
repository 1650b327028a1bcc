//! A tiny language for stories: one step a line, `what is done -> what is answered`.
//!
//! Paths are as `spec.ports.0`; a `~` in them is a dot.
//!
//! - `deploy NAME IMAGE REPLICAS [FIELD=JSON…]` writes a Deployment, as `kubectl apply` would, and
//!   `stateful` a StatefulSet;
//!   `job NAME [PATH=JSON…]` makes a Job (of its spec), `cron NAME SCHEDULE [PATH=JSON…]` a CronJob,
//!   with `_` for the spaces of its schedule; `create OBJECT [PATH=JSON…]` makes an
//!   object; `set OBJECT PATH=JSON…` changes its fields, and `null` takes one out; `owners=A,B!` are its owners, those with `!` wait for it.
//! - `work` lets the controllers plan until they rest, and answers what they did: `+p1` made,
//!   `-p1` deleted, `r1 3>2` scaled, `p1*` otherwise changed.
//! - `agents` lets each pod take a step (a node, running, ready, gone); `agents p1` one pod;
//!   `until-ready` both by turns until nothing changes.
//! - `fail`, `end`, `exit CODE`, `unready`, `delete [foreground|orphan]` OBJECT…; `time SECONDS`;
//!   `refuse WHY`, `allow`; `restart` (a new leader).
//! - `tally JOB` looks at what a Job's status counts, `events` at what people were told since.
//! - `pods`, `sets`, `daemons`, `slices`, `subsets ENDPOINTS`, `status OBJECT`, `conditions OBJECT`, `messages OBJECT`,
//!   `get PATH OBJECT`, `exists OBJECT…` look.
//! - Budgets and autoscalers: see [`super::scaling`].

use std::sync::Arc;

use serde_json::{Value, json};

use super::{
    cluster::{Cluster, cron_job, deployment, job, set_exit, set_ready, stateful_set},
    show::{self, Names},
};
use crate::core::{
    controllers::world::View,
    kinds::{self, CRON_JOBS, DEPLOYMENTS, JOBS, PODS, STATEFUL_SETS},
    lifecycle::{Deletion, Propagation},
    object,
    time::format_rfc3339,
};

pub(super) struct Story {
    pub(super) cluster: Cluster,
    pub(super) names: Names,
    /// What was told people since somebody looked.
    events: Vec<String>,
}

fn parse(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|_| json!(text))
}

impl Story {
    pub(super) fn new() -> Story {
        Story {
            cluster: Cluster::new(),
            names: Names::default(),
            events: Vec::new(),
        }
    }

    pub(super) fn step(&mut self, step: &str) -> String {
        let words: Vec<&str> = step.split_whitespace().collect();
        let (verb, args) = words.split_first().unwrap();
        let told = self
            .write(verb, args)
            .or_else(|| self.happen(verb, args))
            .or_else(|| self.look(verb, args))
            .or_else(|| self.scaling(verb, args));
        told.unwrap_or_else(|| panic!("{verb} is no step"))
    }

    fn write(&mut self, verb: &str, args: &[&str]) -> Option<String> {
        match (verb, args) {
            ("deploy" | "stateful", [name, image, replicas, fields @ ..]) => {
                let replicas = replicas.parse().unwrap();
                let fields: Vec<(&str, Value)> = fields
                    .iter()
                    .map(|field| field.split_once('=').unwrap())
                    .map(|(field, value)| (field, parse(value)))
                    .collect();
                let (kind, new) = match verb {
                    "deploy" => (&DEPLOYMENTS, deployment(name, image, replicas, &fields)),
                    _ => (&STATEFUL_SETS, stateful_set(name, image, replicas, &fields)),
                };
                match self.cluster.get(kind, "default", name) {
                    None => self.cluster.create(kind, new).unwrap(),
                    Some(_) => self.cluster.change(kind, name, |old| {
                        old["spec"] = new["spec"].clone();
                    }),
                }
            }
            ("cron", [name, schedule, fields @ ..]) => {
                let mut new = cron_job(name, &schedule.replace('_', " "));
                for field in fields {
                    let (path, value) = field.split_once('=').unwrap();
                    self.put_field(&mut new, &format!("spec.{path}"), value);
                }
                self.cluster.create(&CRON_JOBS, new).unwrap();
            }
            ("job", [name, fields @ ..]) => {
                let mut new = job(name);
                for field in fields {
                    let (path, value) = field.split_once('=').unwrap();
                    self.put_field(&mut new, &format!("spec.{path}"), value);
                }
                self.cluster.create(&JOBS, new).unwrap();
            }
            ("create", [what, fields @ ..]) => {
                let name = self.names.find(what);
                let mut object = json!({
                    "metadata": {"name": name.name, "namespace": name.namespace},
                });
                if name.kind == &PODS {
                    object["spec"] = json!({"containers": [{"name": "main", "image": "a"}]});
                }
                for field in fields {
                    let (path, value) = field.split_once('=').unwrap();
                    self.put_field(&mut object, path, value);
                }
                if let Err(failure) = self.cluster.create(name.kind, object) {
                    return Some(format!("{:?}", failure.reason));
                }
            }
            ("set", [what, fields @ ..]) => {
                let name = self.names.find(what);
                let fields: Vec<(&str, &str)> = fields
                    .iter()
                    .map(|field| field.split_once('=').unwrap())
                    .collect();
                let found = self.cluster.get(name.kind, &name.namespace, &name.name);
                let mut object = (*found.expect("it is there")).clone();
                for (path, value) in fields {
                    self.put_field(&mut object, path, value);
                }
                self.cluster
                    .change(name.kind, &name.name, |old| *old = object);
            }
            ("delete", [how @ ("foreground" | "orphan"), all @ ..]) => {
                let propagation = match *how {
                    "orphan" => Propagation::Orphan,
                    _ => Propagation::Foreground,
                };
                all.iter()
                    .for_each(|one| self.delete(one, Some(propagation)));
            }
            ("delete", all) => all.iter().for_each(|one| self.delete(one, None)),
            _ => return None,
        }
        Some(String::new())
    }

    fn put_field(&self, object: &mut Value, path: &str, value: &str) {
        if path == "owners" {
            let references = value.split(',').map(|owner| {
                let name = self.names.find(owner.trim_end_matches('!'));
                let found = self.cluster.get(name.kind, &name.namespace, &name.name);
                let uid =
                    found.map_or_else(|| "u-gone".to_owned(), |it| object::uid(&it).to_owned());
                json!({
                    "apiVersion": name.kind.api_version(),
                    "kind": name.kind.kind,
                    "name": name.name,
                    "uid": uid,
                    "blockOwnerDeletion": owner.ends_with('!'),
                })
            });
            object["metadata"]["ownerReferences"] = references.collect();
            return;
        }
        let mut at = object;
        let mut fields = path.split('.').peekable();
        while let Some(field) = fields.next() {
            if fields.peek().is_none() && value == "null" {
                let field = field.replace('~', ".");
                at.as_object_mut().unwrap().remove(&field);
                return;
            }
            at = match field.parse::<usize>() {
                Ok(number) => &mut at[number],
                Err(_) => &mut at[field.replace('~', ".").as_str()],
            };
        }
        *at = parse(value);
    }

    fn delete(&mut self, what: &str, propagation: Option<Propagation>) {
        let deletion = Deletion {
            propagation,
            ..Deletion::default()
        };
        let name = self.names.find(what);
        self.cluster.delete(&name, &deletion).unwrap();
    }

    fn happen(&mut self, verb: &str, args: &[&str]) -> Option<String> {
        let now = format_rfc3339(self.cluster.now_ms);
        match (verb, args) {
            ("work", []) => return Some(self.work()),
            ("until-ready", []) => return Some(self.until_ready()),
            ("agents", []) => {
                for pod in self.cluster.list(&PODS, None) {
                    self.cluster.agent(&pod);
                }
            }
            ("agents", all) => {
                for pod in self.pods_of(all) {
                    self.cluster.agent(&pod);
                }
            }
            ("fail" | "end" | "unready", all) => {
                for pod in self.pods_of(all) {
                    self.cluster
                        .change(&PODS, object::name(&pod), |pod| match verb {
                            "fail" => pod["status"]["phase"] = json!("Failed"),
                            "end" => pod["status"]["phase"] = json!("Succeeded"),
                            _ => set_ready(pod, false, &now),
                        });
                }
            }
            ("exit", [code, all @ ..]) => {
                for pod in self.pods_of(all) {
                    let code: i64 = code.parse().unwrap();
                    let name = object::name(&pod);
                    self.cluster
                        .change(&PODS, name, |pod| set_exit(pod, code, &now));
                }
            }
            ("time", [seconds]) => {
                let seconds: u64 = seconds.parse().unwrap();
                self.cluster.pass(seconds * 1_000);
            }
            ("refuse", why) => self.cluster.refusal = Some(why.join(" ")),
            ("allow", []) => self.cluster.refusal = None,
            ("restart", []) => self.cluster.restart(),
            _ => return None,
        }
        Some(String::new())
    }

    fn pods_of(&self, all: &[&str]) -> Vec<Arc<Value>> {
        let find = |one: &&str| {
            let name = self.names.find(one);
            let pod = self.cluster.get(&PODS, &name.namespace, &name.name);
            pod.expect("the pod is there")
        };
        all.iter().map(find).collect()
    }

    fn work(&mut self) -> String {
        self.cluster.work();
        let done = std::mem::take(&mut self.cluster.done);
        self.events.extend(done.iter().filter_map(show::event));
        let told: Vec<String> = done
            .iter()
            .filter_map(|done| self.names.done(done))
            .collect();
        match told.is_empty() {
            true => "nothing".to_owned(),
            false => told.join(" "),
        }
    }

    fn until_ready(&mut self) -> String {
        for _ in 0..1_000 {
            self.work();
            let before = self.cluster.list(&PODS, None);
            for pod in &before {
                self.cluster.agent(pod);
            }
            if before == self.cluster.list(&PODS, None) {
                return String::new();
            }
        }
        panic!("it never rests");
    }

    fn look(&mut self, verb: &str, args: &[&str]) -> Option<String> {
        let object = |what: &str| {
            let name = self.names.find(what);
            let found = self.cluster.get(name.kind, &name.namespace, &name.name);
            found.unwrap_or_else(|| panic!("there is no {what}"))
        };
        Some(match (verb, args) {
            ("pods", []) => match show::pods(&self.cluster, &mut self.names) {
                none if none.is_empty() => "none".to_owned(),
                pods => pods,
            },
            ("sets", []) => show::sets(&self.cluster, &mut self.names),
            ("daemons", []) => show::daemons(&self.cluster, &mut self.names),
            ("slices", []) => show::slices(&self.cluster, &mut self.names),
            ("subsets", [what]) => show::subsets(&object(what), &self.names),
            ("status", [what]) => show::status(&object(what)),
            ("events", []) => match std::mem::take(&mut self.events) {
                none if none.is_empty() => "none".to_owned(),
                events => events.join("; "),
            },
            ("tally", [what]) => show::tally(&object(&format!("job/{what}")), &self.names),
            ("conditions", [what]) => match show::conditions(&object(what), false) {
                none if none.is_empty() => "none".to_owned(),
                conditions => conditions,
            },
            ("messages", [what]) => {
                let told = show::conditions(&object(what), true);
                self.names.shorten(&told)
            }
            ("get", [path, what]) => {
                let found = object(what);
                let step = |at: &Value, field: &str| match field.parse::<usize>() {
                    Ok(number) => at[number].clone(),
                    Err(_) => at[field.replace('~', ".").as_str()].clone(),
                };
                path.split('.')
                    .fold((*found).clone(), |at, field| step(&at, field))
                    .to_string()
            }
            ("exists", all) => {
                let exists = |one: &&&str| {
                    let name = self.names.find(one);
                    let found = self.cluster.get(name.kind, &name.namespace, &name.name);
                    found.is_some()
                };
                let found: Vec<&str> = all.iter().filter(exists).copied().collect();
                match found.is_empty() {
                    true => "none".to_owned(),
                    false => found.join(" "),
                }
            }
            ("list", [plural]) => {
                let kind = kinds::KINDS
                    .iter()
                    .find(|kind| kind.plural == *plural)
                    .unwrap();
                let found = self.cluster.list(kind, None);
                let found: Vec<&str> = found.iter().map(|object| object::name(object)).collect();
                found.join(" ")
            }
            _ => return None,
        })
    }
}
