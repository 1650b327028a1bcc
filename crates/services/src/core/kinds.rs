//! The kinds that are served: one table, from which discovery, routes, keys and documents follow.
//! Their older versions are in [`versions`](super::versions).
//! A kind stands here when something is done about its objects.

/// What can be asked of one object beside reading and writing it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subresource {
    /// What has been observed, written by controllers and agents.
    Status,
    /// How many replicas there are to be, as `autoscaling/v1 Scale`.
    Scale,
    /// What a container wrote.
    Log,
    /// Runs a program in a container.
    Exec,
    /// What a container writes from now on, and what it reads.
    Attach,
    /// Connections to ports of a pod.
    PortForward,
    /// Which node a pod runs on.
    Binding,
    /// Deletes a pod, as far as disruption budgets allow.
    Eviction,
    /// Ends a namespace.
    Finalize,
}

impl Subresource {
    /// The one of a name; none if there is none.
    pub fn named(name: &str) -> Option<Subresource> {
        let all = [
            Subresource::Status,
            Subresource::Scale,
            Subresource::Log,
            Subresource::Exec,
            Subresource::Attach,
            Subresource::PortForward,
            Subresource::Binding,
            Subresource::Eviction,
            Subresource::Finalize,
        ];
        all.into_iter().find(|it| it.name() == name)
    }

    /// Whether it is no document: the connection is upgraded and carries a session.
    pub fn is_session(self) -> bool {
        let sessions = [
            Subresource::Exec,
            Subresource::Attach,
            Subresource::PortForward,
        ];
        sessions.contains(&self)
    }

    /// Its last part of a path.
    pub fn name(self) -> &'static str {
        match self {
            Subresource::Status => "status",
            Subresource::Scale => "scale",
            Subresource::Log => "log",
            Subresource::Exec => "exec",
            Subresource::Attach => "attach",
            Subresource::PortForward => "portforward",
            Subresource::Binding => "binding",
            Subresource::Eviction => "eviction",
            Subresource::Finalize => "finalize",
        }
    }
}

/// A kind of objects.
#[derive(Debug, PartialEq, Eq)]
pub struct Kind {
    /// Its API group; empty for the core's.
    pub group: &'static str,
    /// Its version.
    pub version: &'static str,
    /// Its name, as `Pod`.
    pub kind: &'static str,
    /// Its resource, as `pods`.
    pub plural: &'static str,
    /// As `pod`.
    pub singular: &'static str,
    /// As `po`.
    pub short_names: &'static [&'static str],
    /// Whether its objects are in namespaces.
    pub is_namespaced: bool,
    /// Whether `kubectl get all` shows it.
    pub is_in_all: bool,
    /// Its type in the [`super::schema`].
    pub type_name: &'static str,
    /// What can be asked of one object besides.
    pub subresources: &'static [Subresource],
}

impl Kind {
    /// `apps/v1`; `v1`.
    pub fn api_version(&self) -> String {
        match self.group {
            "" => self.version.to_owned(),
            group => format!("{group}/{}", self.version),
        }
    }

    /// Whether it has a subresource.
    pub fn has(&self, subresource: Subresource) -> bool {
        self.subresources.contains(&subresource)
    }
}

macro_rules! kinds {
    ($($constant:ident: $group:literal $version:literal $kind:literal $plural:literal $singular:literal
        [$($short:literal)*] $scope:ident $all:ident $type:literal [$($sub:ident)*];)*) => {
        $(
            #[doc = $kind]
            pub static $constant: Kind = Kind {
                group: $group,
                version: $version,
                kind: $kind,
                plural: $plural,
                singular: $singular,
                short_names: &[$($short),*],
                is_namespaced: kinds!(@ $scope),
                is_in_all: kinds!(@ $all),
                type_name: $type,
                subresources: &[$(Subresource::$sub),*],
            };
        )*
        /// Every kind that is served, in the order of discovery.
        pub static KINDS: &[&Kind] = &[$(&$constant),*];
    };
    (@ namespaced) => { true };
    (@ cluster) => { false };
    (@ all) => { true };
    (@ apart) => { false };
}

kinds! {
    CONFIG_MAPS: "" "v1" "ConfigMap" "configmaps" "configmap" ["cm"] namespaced apart "core.v1.ConfigMap" [];
    ENDPOINTS: "" "v1" "Endpoints" "endpoints" "endpoints" ["ep"] namespaced apart "core.v1.Endpoints" [];
    EVENTS: "" "v1" "Event" "events" "event" ["ev"] namespaced apart "core.v1.Event" [];
    NAMESPACES: "" "v1" "Namespace" "namespaces" "namespace" ["ns"] cluster apart "core.v1.Namespace" [Status Finalize];
    NODES: "" "v1" "Node" "nodes" "node" ["no"] cluster apart "core.v1.Node" [Status];
    PODS: "" "v1" "Pod" "pods" "pod" ["po"] namespaced all "core.v1.Pod" [Status Log Exec Attach PortForward Binding Eviction];
    REPLICATION_CONTROLLERS: "" "v1" "ReplicationController" "replicationcontrollers" "replicationcontroller" ["rc"] namespaced all "core.v1.ReplicationController" [Status Scale];
    SECRETS: "" "v1" "Secret" "secrets" "secret" [] namespaced apart "core.v1.Secret" [];
    SERVICES: "" "v1" "Service" "services" "service" ["svc"] namespaced all "core.v1.Service" [Status];
    SERVICE_ACCOUNTS: "" "v1" "ServiceAccount" "serviceaccounts" "serviceaccount" ["sa"] namespaced apart "core.v1.ServiceAccount" [];
    CONTROLLER_REVISIONS: "apps" "v1" "ControllerRevision" "controllerrevisions" "controllerrevision" [] namespaced apart "apps.v1.ControllerRevision" [];
    DAEMON_SETS: "apps" "v1" "DaemonSet" "daemonsets" "daemonset" ["ds"] namespaced all "apps.v1.DaemonSet" [Status];
    DEPLOYMENTS: "apps" "v1" "Deployment" "deployments" "deployment" ["deploy"] namespaced all "apps.v1.Deployment" [Status Scale];
    REPLICA_SETS: "apps" "v1" "ReplicaSet" "replicasets" "replicaset" ["rs"] namespaced all "apps.v1.ReplicaSet" [Status Scale];
    STATEFUL_SETS: "apps" "v1" "StatefulSet" "statefulsets" "statefulset" ["sts"] namespaced all "apps.v1.StatefulSet" [Status Scale];
    AUTOSCALERS: "autoscaling" "v2" "HorizontalPodAutoscaler" "horizontalpodautoscalers" "horizontalpodautoscaler" ["hpa"] namespaced all "autoscaling.v2.HorizontalPodAutoscaler" [Status];
    CRON_JOBS: "batch" "v1" "CronJob" "cronjobs" "cronjob" ["cj"] namespaced all "batch.v1.CronJob" [Status];
    JOBS: "batch" "v1" "Job" "jobs" "job" [] namespaced all "batch.v1.Job" [Status];
    LEASES: "coordination.k8s.io" "v1" "Lease" "leases" "lease" [] namespaced apart "coordination.v1.Lease" [];
    ENDPOINT_SLICES: "discovery.k8s.io" "v1" "EndpointSlice" "endpointslices" "endpointslice" [] namespaced apart "discovery.v1.EndpointSlice" [];
    INGRESSES: "networking.k8s.io" "v1" "Ingress" "ingresses" "ingress" ["ing"] namespaced apart "networking.v1.Ingress" [Status];
    DISRUPTION_BUDGETS: "policy" "v1" "PodDisruptionBudget" "poddisruptionbudgets" "poddisruptionbudget" ["pdb"] namespaced apart "policy.v1.PodDisruptionBudget" [Status];
    PRIORITY_CLASSES: "scheduling.k8s.io" "v1" "PriorityClass" "priorityclasses" "priorityclass" ["pc"] cluster apart "scheduling.v1.PriorityClass" [];
}
