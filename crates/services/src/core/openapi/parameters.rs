//! The parameters that operations know. That `fieldValidation` and `dryRun` stand among those of a
//! kind's PATCH is what clients look for before they leave checks to the server.

/// A parameter of a query.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Parameter {
    pub(super) name: &'static str,
    /// As in OpenAPI.
    pub(super) kind: &'static str,
    pub(super) description: &'static str,
}

const fn text(name: &'static str, description: &'static str) -> Parameter {
    Parameter {
        name,
        kind: "string",
        description,
    }
}

const fn flag(name: &'static str, description: &'static str) -> Parameter {
    Parameter {
        name,
        kind: "boolean",
        description,
    }
}

const fn count(name: &'static str, description: &'static str) -> Parameter {
    Parameter {
        name,
        kind: "integer",
        description,
    }
}

const DRY_RUN: Parameter = text(
    "dryRun",
    "All: everything is done but the change itself is not kept.",
);
const FIELD_MANAGER: Parameter = text(
    "fieldManager",
    "Who makes the change, as `managedFields` tells it then.",
);
const FIELD_VALIDATION: Parameter = text(
    "fieldValidation",
    "What is done about fields that are unknown or there twice: Ignore, Warn or Strict.",
);

pub(super) const WRITE: &[Parameter] = &[DRY_RUN, FIELD_MANAGER, FIELD_VALIDATION];

pub(super) const PATCH: &[Parameter] = &[
    DRY_RUN,
    FIELD_MANAGER,
    FIELD_VALIDATION,
    flag("force", "For apply: take over fields that others own."),
];

pub(super) const DELETE: &[Parameter] = &[
    DRY_RUN,
    count(
        "gracePeriodSeconds",
        "How long it may take to end; 0 ends it at once.",
    ),
    flag("orphanDependents", "Deprecated: use propagationPolicy."),
    text(
        "propagationPolicy",
        "What is done about its dependents: Orphan, Background, Foreground.",
    ),
];

pub(super) const LIST: &[Parameter] = &[
    flag(
        "allowWatchBookmarks",
        "A watch may have events of type BOOKMARK.",
    ),
    text("continue", "Where the list before ended."),
    text("fieldSelector", "Only objects whose fields are so."),
    text("labelSelector", "Only objects whose labels are so."),
    count(
        "limit",
        "How many objects at most; more are left for later lists.",
    ),
    text(
        "resourceVersion",
        "How new the answer has to be, or where a watch begins.",
    ),
    text(
        "resourceVersionMatch",
        "Exact or NotOlderThan: what resourceVersion means for a list.",
    ),
    flag("sendInitialEvents", "A watch begins with what is there."),
    count("timeoutSeconds", "How long the request may take."),
    flag("watch", "Tell of changes as they come, in place of a list."),
];

/// Of `exec`.
pub(super) const EXEC: &[Parameter] = &[
    text("command", "The program and its arguments, each of its own."),
    text("container", "In which container, if there are several."),
    flag("stderr", "Send what it tells as errors."),
    flag("stdin", "Hand it what is sent."),
    flag("stdout", "Send what it prints."),
    flag("tty", "Give it a terminal."),
];

/// Of `attach`.
pub(super) const ATTACH: &[Parameter] = &[
    text("container", "Which container, if there are several."),
    flag("stderr", "Send what it tells as errors."),
    flag("stdin", "Hand it what is sent."),
    flag("stdout", "Send what it prints."),
    flag("tty", "It has a terminal."),
];

/// Of `portforward`.
pub(super) const PORT_FORWARD: &[Parameter] =
    &[count("ports", "To which ports, separated by commas.")];

pub(super) const LOG: &[Parameter] = &[
    text("container", "Which container's log, if there are several."),
    flag("follow", "Go on as it is written."),
    count("limitBytes", "How many bytes at most."),
    flag("previous", "That of the container before it was restarted."),
    count("sinceSeconds", "Only what is not older than this."),
    text(
        "sinceTime",
        "Only what is not older than this time (RFC 3339).",
    ),
    count("tailLines", "Only so many lines of the end."),
    flag("timestamps", "Put the time before each line."),
];
