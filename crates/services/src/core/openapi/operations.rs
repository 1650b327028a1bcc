//! The operations on kinds, as both versions of the documents tell them.

use super::{
    GroupVersionKind,
    definitions::Definition,
    parameters::{ATTACH, DELETE, EXEC, LIST, LOG, PATCH, PORT_FORWARD, Parameter, WRITE},
    path,
};
use crate::core::{
    discovery::VIRTUALS,
    kinds::{Kind, Subresource},
    versions,
};

/// Forms of patches, by their media types.
pub(super) const PATCH_TYPES: &[&str] = &[
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
    "application/apply-patch+yaml",
];
/// How objects are written, by media types.
pub(super) const OBJECT_TYPES: &[&str] = &[
    "application/json",
    "application/yaml",
    "application/vnd.kubernetes.protobuf",
];
/// The media type of a log.
pub(super) const TEXT_TYPES: &[&str] = &["text/plain"];

/// A path with its operations.
pub(super) struct Path {
    /// As `/api/v1/namespaces/{namespace}/pods/{name}`.
    pub(super) template: String,
    pub(super) operations: Vec<Operation>,
}

impl Path {
    /// The parts of the template that are names, and what they are.
    pub(super) fn parameters(&self) -> Vec<(&'static str, &'static str)> {
        let known = [
            ("name", "The object's name."),
            ("namespace", "The object's namespace."),
        ];
        let is_there = |(name, _): &(&str, &str)| self.template.contains(&format!("{{{name}}}"));
        known.into_iter().filter(is_there).collect()
    }
}

/// What a request brings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Body {
    None,
    Object(Definition),
    /// Options; they may be left out.
    Delete,
    Patch,
}

/// What an operation does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    List,
    Post,
    DeleteCollection,
    Get,
    Put,
    Patch,
    Delete,
}

impl Action {
    pub(super) fn method(self) -> &'static str {
        match self {
            Action::List | Action::Get => "get",
            Action::Post => "post",
            Action::Put => "put",
            Action::Patch => "patch",
            Action::DeleteCollection | Action::Delete => "delete",
        }
    }

    /// `x-kubernetes-action`.
    pub(super) fn name(self) -> &'static str {
        match self {
            Action::List => "list",
            Action::DeleteCollection => "deletecollection",
            other => other.method(),
        }
    }

    /// What an operation's id begins with.
    fn verb(self) -> &'static str {
        match self {
            Action::List => "list",
            Action::Post => "create",
            Action::Get => "read",
            Action::Put => "replace",
            Action::Patch => "patch",
            Action::DeleteCollection | Action::Delete => "delete",
        }
    }

    /// The HTTP statuses of success.
    pub(super) fn statuses(self) -> &'static [(&'static str, &'static str)] {
        const OK: (&str, &str) = ("200", "OK");
        const CREATED: (&str, &str) = ("201", "Created");
        const ACCEPTED: (&str, &str) = ("202", "Accepted");
        match self {
            Action::List | Action::Get | Action::DeleteCollection => &[OK],
            Action::Post => &[OK, CREATED, ACCEPTED],
            Action::Put | Action::Patch => &[OK, CREATED],
            Action::Delete => &[OK, ACCEPTED],
        }
    }

    fn parameters(self) -> Vec<&'static Parameter> {
        match self {
            Action::List => LIST.iter().collect(),
            Action::Get => Vec::new(),
            Action::Post | Action::Put => WRITE.iter().collect(),
            Action::Patch => PATCH.iter().collect(),
            Action::Delete => DELETE.iter().collect(),
            Action::DeleteCollection => DELETE.iter().chain(LIST).collect(),
        }
    }
}

/// An operation.
pub(super) struct Operation {
    pub(super) action: Action,
    pub(super) id: String,
    pub(super) tag: String,
    pub(super) kind: GroupVersionKind,
    pub(super) parameters: Vec<&'static Parameter>,
    pub(super) body: Body,
    /// What comes back; none if it is text.
    pub(super) response: Option<Definition>,
}

impl Operation {
    /// In words.
    pub(super) fn description(&self) -> String {
        format!("{} {}", self.action.verb(), self.kind.kind)
    }

    /// In which forms the answer can be had.
    pub(super) fn produces(&self) -> &'static [&'static str] {
        match self.response {
            Some(_) => OBJECT_TYPES,
            None => TEXT_TYPES,
        }
    }
}

/// The paths of a group version.
pub(super) fn paths(group: &str, version: &str) -> Vec<Path> {
    let of_kinds = versions::served().filter(|kind| (kind.group, kind.version) == (group, version));
    let mut paths: Vec<Path> = of_kinds.flat_map(of_kind).collect();
    for one in VIRTUALS
        .iter()
        .filter(|one| (one.group, one.version) == (group, version))
    {
        let names = Names {
            group: one.group,
            version: one.version,
            place: "",
            kind: one.kind,
        };
        let definition = Definition::Type(one.type_name);
        let kind = GroupVersionKind::new(one.group, one.version, one.kind);
        let create = names.operation(Action::Post, "", kind, definition);
        let template = format!("/{}/{}", path(group, version), one.plural);
        paths.push(Path {
            template,
            operations: vec![create],
        });
    }
    paths
}

/// What the ids of a kind's operations are made of.
struct Names {
    group: &'static str,
    version: &'static str,
    /// `Namespaced`, if it is.
    place: &'static str,
    kind: &'static str,
}

impl Names {
    /// `CoreV1`, `AppsV1`, `DiscoveryV1`.
    fn group_version(&self) -> String {
        let (group, version) = (self.short_group(), self.version);
        format!("{}{}", capital(group), capital(version))
    }

    fn short_group(&self) -> &'static str {
        match self.group.split('.').next() {
            None | Some("") => "core",
            Some(first) => first,
        }
    }

    /// An operation on objects of a definition; `part` is the subresource.
    fn operation(
        &self,
        action: Action,
        part: &str,
        kind: GroupVersionKind,
        definition: Definition,
    ) -> Operation {
        let collection = if action == Action::DeleteCollection {
            "Collection"
        } else {
            ""
        };
        let id = format!(
            "{}{}{collection}{}{}{}",
            action.verb(),
            self.group_version(),
            self.place,
            self.kind,
            capital(part),
        );
        let status = Definition::Type("meta.v1.Status");
        let (body, response) = match action {
            Action::List | Action::Get => (Body::None, definition),
            Action::Post | Action::Put => (Body::Object(definition), definition),
            Action::Patch => (Body::Patch, definition),
            Action::Delete | Action::DeleteCollection => (Body::Delete, status),
        };
        Operation {
            action,
            id,
            tag: format!("{}_{}", self.short_group(), self.version),
            kind,
            parameters: action.parameters(),
            body,
            response: Some(response),
        }
    }
}

fn capital(text: &str) -> String {
    let mut letters = text.chars();
    let first = letters.next().map(|letter| letter.to_ascii_uppercase());
    first.into_iter().chain(letters).collect()
}

fn of_kind(kind: &'static Kind) -> Vec<Path> {
    let place = if kind.is_namespaced { "Namespaced" } else { "" };
    let names = Names {
        group: kind.group,
        version: kind.version,
        place,
        kind: kind.kind,
    };
    let own = GroupVersionKind::new(kind.group, kind.version, kind.kind);
    let one = Definition::Type(kind.type_name);
    let list = Definition::List(kind.type_name);
    let root = format!("/{}", path(kind.group, kind.version));
    let mut paths = Vec::new();

    let collection = match kind.is_namespaced {
        true => {
            let mut everywhere = names.operation(Action::List, "", own, list);
            everywhere.id = format!("list{}{}ForAllNamespaces", names.group_version(), kind.kind);
            let template = format!("{root}/{}", kind.plural);
            paths.push(Path {
                template,
                operations: vec![everywhere],
            });
            format!("{root}/namespaces/{{namespace}}/{}", kind.plural)
        }
        false => format!("{root}/{}", kind.plural),
    };
    let operation = |action| {
        let definition = if action == Action::List { list } else { one };
        names.operation(action, "", own, definition)
    };
    let object = format!("{collection}/{{name}}");
    let operations = [Action::List, Action::Post, Action::DeleteCollection]
        .map(operation)
        .into();
    paths.push(Path {
        template: collection,
        operations,
    });
    let actions = [Action::Get, Action::Put, Action::Patch, Action::Delete];
    paths.push(Path {
        template: object.clone(),
        operations: actions.map(operation).into(),
    });
    for &part in kind.subresources {
        let operations = of_part(&names, own, one, part);
        paths.push(Path {
            template: format!("{object}/{}", part.name()),
            operations,
        });
    }
    paths
}

fn of_part(
    names: &Names,
    own: GroupVersionKind,
    one: Definition,
    part: Subresource,
) -> Vec<Operation> {
    let of = |actions: &[Action], kind, definition| {
        let operation = |&action: &Action| names.operation(action, part.name(), kind, definition);
        actions.iter().map(operation).collect::<Vec<Operation>>()
    };
    let read_and_write = &[Action::Get, Action::Put, Action::Patch];
    let connect = &[Action::Get, Action::Post];
    match part {
        Subresource::Status => of(read_and_write, own, one),
        Subresource::Scale => {
            let scale = GroupVersionKind::new("autoscaling", "v1", "Scale");
            of(
                read_and_write,
                scale,
                Definition::Type("autoscaling.v1.Scale"),
            )
        }
        Subresource::Binding => {
            let binding = GroupVersionKind::new("", "v1", "Binding");
            of(
                &[Action::Post],
                binding,
                Definition::Type("core.v1.Binding"),
            )
        }
        Subresource::Eviction => {
            let eviction = GroupVersionKind::new("policy", "v1", "Eviction");
            of(
                &[Action::Post],
                eviction,
                Definition::Type("policy.v1.Eviction"),
            )
        }
        Subresource::Finalize => of(&[Action::Put], own, one),
        Subresource::Log => streamed(of(&[Action::Get], own, one), LOG),
        Subresource::Exec => streamed(of(connect, own, one), EXEC),
        Subresource::Attach => streamed(of(connect, own, one), ATTACH),
        Subresource::PortForward => streamed(of(connect, own, one), PORT_FORWARD),
    }
}

/// What is answered is no object.
fn streamed(mut operations: Vec<Operation>, parameters: &'static [Parameter]) -> Vec<Operation> {
    for operation in &mut operations {
        operation.parameters = parameters.iter().collect();
        operation.response = None;
        operation.body = Body::None;
    }
    operations
}
