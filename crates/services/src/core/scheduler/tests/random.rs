//! Random clusters, against a slow and simple account of the rules: nothing is decided that they
//! forbid, nothing is refused that they allow, and the same happens every time.

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::{
    super::{Decision, filter::Cycle, snapshot::Slot},
    town::{Town, node, pod},
    world::{Guest, Site, World},
};

const KEYS: [&str; 2] = ["zone", "kubernetes.io/hostname"];

#[derive(Clone, Debug)]
enum Step {
    Node(u8, Site),
    NodeGone(u8),
    Pod(u8, Guest),
    PodGone(u8),
    Later,
}

fn site() -> impl Strategy<Value = Site> {
    let zone = prop_oneof![1 => Just(None), 4 => (0..3_u8).prop_map(Some)];
    let flags = (prop::bool::weighted(0.2), prop::bool::weighted(0.1));
    (1..6_u32, zone, 0..4_u8, flags).prop_map(|(cpu, zone, machine, (is_tainted, is_cordoned))| {
        Site {
            cpu,
            zone,
            machine,
            is_tainted,
            is_cordoned,
        }
    })
}

fn guest(priorities: i32) -> impl Strategy<Value = Guest> {
    let rare = |weight: f64| prop::option::weighted(weight, (0..3_u8, 0..2_usize));
    let spread = prop::option::weighted(0.2, (1..3_u32, 0..2_usize));
    let zone = prop::option::weighted(0.15, 0..3_u8);
    let port = prop::option::weighted(0.3, 80..82_u16);
    let simple = (0..4_u32, 0..3_u8, zone, any::<bool>(), port);
    (simple, rare(0.2), rare(0.15), spread, 0..priorities).prop_map(
        |((cpu, app, zone, tolerates, port), apart, together, spread, priority)| Guest {
            cpu,
            app,
            zone,
            tolerates,
            port,
            apart,
            together,
            spread,
            priority,
        },
    )
}

fn steps(priorities: i32) -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (0..6_u8, site()).prop_map(|(name, site)| Step::Node(name, site)),
        1 => (0..6_u8).prop_map(Step::NodeGone),
        12 => (0..24_u8, guest(priorities)).prop_map(|(name, guest)| Step::Pod(name, guest)),
        4 => (0..24_u8).prop_map(Step::PodGone),
        3 => Just(Step::Later),
    ];
    prop::collection::vec(step, 1..60)
}

fn node_of(name: u8, site: &Site) -> Value {
    let mut labels = json!({"kubernetes.io/hostname": format!("m{}", site.machine)});
    if let Some(zone) = site.zone {
        labels["zone"] = json!(format!("z{zone}"));
    }
    let taints = if site.is_tainted {
        json!([{"key": "k", "effect": "NoSchedule"}])
    } else {
        json!([])
    };
    node(
        &format!("n{name}"),
        json!({
            "metadata": {"labels": labels},
            "spec": {"taints": taints, "unschedulable": site.is_cordoned},
            "status": {"allocatable": {"cpu": site.cpu}},
        }),
    )
}

fn pod_of(name: &str, guest: &Guest) -> Value {
    let ports: Vec<Value> = guest
        .port
        .iter()
        .map(|port| json!({"containerPort": port}))
        .collect();
    let term = |(app, key): &(u8, usize)| json!([{"labelSelector": {"matchLabels": {"app": app.to_string()}}, "topologyKey": KEYS[*key]}]);
    let required = "requiredDuringSchedulingIgnoredDuringExecution";
    let mut spec = json!({
        "priority": guest.priority,
        "containers": [{"name": "c", "image": "", "ports": ports,
            "resources": {"requests": {"cpu": guest.cpu}}}],
    });
    if let Some(zone) = guest.zone {
        spec["nodeSelector"] = json!({"zone": format!("z{zone}")});
    }
    if guest.tolerates {
        spec["tolerations"] = json!([{"key": "k", "operator": "Exists"}]);
    }
    if let Some(apart) = &guest.apart {
        spec["affinity"]["podAntiAffinity"] = json!({required: term(apart)});
    }
    if let Some(together) = &guest.together {
        spec["affinity"]["podAffinity"] = json!({required: term(together)});
    }
    if let Some((skew, key)) = guest.spread {
        let selector = json!({"matchLabels": {"app": guest.app.to_string()}});
        spec["topologySpreadConstraints"] = json!([{"maxSkew": skew, "topologyKey": KEYS[key],
            "whenUnsatisfiable": "DoNotSchedule", "labelSelector": selector}]);
    }
    let mut pod = pod(name, spec);
    pod["metadata"]["labels"] = json!({"app": guest.app.to_string()});
    pod
}

/// A run of steps: what was decided, in words.
struct Run {
    town: Town,
    world: World,
    /// Who waits for room that others leave.
    nominated: Vec<String>,
    /// Uids of pods that come under a name that was there before are others.
    births: u32,
    told: Vec<String>,
}

impl Run {
    fn of(steps: &[Step]) -> Result<Run, TestCaseError> {
        let mut run = Run {
            town: Town::new(),
            world: World::default(),
            nominated: Vec::new(),
            births: 0,
            told: Vec::new(),
        };
        for step in steps {
            run.step(step)?;
            run.agrees()?;
            while run.decides()? {}
        }
        Ok(run)
    }

    fn step(&mut self, step: &Step) -> Result<(), TestCaseError> {
        match step {
            Step::Node(name, site) => {
                self.town.set("Node", node_of(*name, site));
                self.world.sites.insert(format!("n{name}"), site.clone());
                self.world.machines.insert(format!("n{name}"), site.machine);
            }
            Step::NodeGone(name) => {
                self.town.gone("Node", &format!("n{name}"));
                self.world.sites.remove(&format!("n{name}"));
            }
            Step::Pod(name, guest) => {
                self.pod_gone(&format!("p{name}"));
                self.births += 1;
                let mut pod = pod_of(&format!("p{name}"), guest);
                pod["metadata"]["uid"] = json!(self.births.to_string());
                self.town.pod(pod);
                self.world.guests.insert(format!("p{name}"), guest.clone());
            }
            Step::PodGone(name) => self.pod_gone(&format!("p{name}")),
            Step::Later => self.town.now_ms += 5_000,
        }
        Ok(())
    }

    fn pod_gone(&mut self, name: &str) {
        self.town.gone("Pod", name);
        self.world.guests.remove(name);
        self.world.placed.remove(name);
        self.nominated.retain(|it| it != name);
    }

    /// One decision; whether there was one.
    fn decides(&mut self) -> Result<bool, TestCaseError> {
        let (_, active) = self.town.scheduler.waiting();
        let decisions = self.town.scheduler.schedule(1, self.town.now_ms);
        for decision in &decisions {
            self.told.push(format!("{decision:?}"));
            self.judge(decision)?;
        }
        Ok(active > 0 || !decisions.is_empty())
    }

    fn judge(&mut self, decision: &Decision) -> Result<(), TestCaseError> {
        match decision {
            Decision::Bind { pod, node } => {
                let name = &pod.name.name;
                prop_assert!(
                    self.world.fits(name, node),
                    "{name} must not come to {node}"
                );
                self.world.placed.insert(name.clone(), node.clone());
                self.nominated.retain(|it| it != name);
                self.town.scheduler.bound(pod, true, self.town.now_ms);
                self.town
                    .edit("Pod", name, |pod| pod["spec"]["nodeName"] = json!(node));
            }
            Decision::Unschedulable { pod, nominated, .. } => {
                let name = &pod.name.name;
                self.nominated
                    .retain(|it| it != name || nominated.is_some());
                // Room may be kept for others, which are not looked at here.
                let others = self.nominated.iter().any(|it| it != name);
                for node in self.world.sites.keys().filter(|_| !others) {
                    prop_assert!(!self.world.fits(name, node), "{name} could come to {node}");
                    let is_simple =
                        self.world.guests[name].together.is_none() && nominated.is_none();
                    prop_assert!(
                        !is_simple || !self.world.would_fit(name, node),
                        "{name} could preempt on {node}"
                    );
                }
            }
            Decision::Preempt {
                pod, node, victims, ..
            } => {
                let name = &pod.name.name;
                let others = self.nominated.iter().any(|it| it != name);
                let could = self
                    .world
                    .sites
                    .keys()
                    .any(|node| self.world.fits(name, node));
                prop_assert!(others || !could, "{name} need not preempt");
                prop_assert!(!victims.is_empty());
                for victim in victims {
                    let victim = &victim.name.name;
                    let priority = |name: &String| self.world.guests[name].priority;
                    prop_assert!(priority(victim) < priority(name));
                    prop_assert_eq!(&self.world.placed[victim], node);
                    self.pod_gone(victim);
                }
                prop_assert!(
                    self.world.fits(name, node),
                    "{name} preempts in vain on {node}"
                );
                self.nominated.retain(|it| it != name);
                self.nominated.push(name.clone());
            }
        }
        Ok(())
    }

    /// The fast and the telling filter agree, and so do used room and the sum of pods.
    fn agrees(&mut self) -> Result<(), TestCaseError> {
        let scheduler = &mut self.town.scheduler;
        let keys: Vec<_> = scheduler.queue.keys().cloned().collect();
        for key in keys {
            let pod = scheduler.queue.get(&key).expect("it waits").clone();
            let mut cycle = Cycle::new(&mut scheduler.snapshot, &pod, BTreeMap::new());
            for slot in (0..scheduler.snapshot.slots_end() as u32).map(Slot) {
                let Some((node, _)) = scheduler.snapshot.known(slot) else {
                    continue;
                };
                let name = node.name.clone();
                let passes = cycle.passes(&scheduler.snapshot, slot);
                prop_assert_eq!(passes, cycle.refusal(&scheduler.snapshot, slot).is_none());
                prop_assert_eq!(
                    passes,
                    self.world.fits(&key.name, &name),
                    "{:?} {}",
                    pod,
                    name
                );
            }
        }
        for node in self.world.sites.keys() {
            let on_node = self.world.placed.iter().filter(|(_, at)| *at == node);
            let cpu: u32 = on_node.map(|(name, _)| self.world.guests[name].cpu).sum();
            let used = scheduler
                .snapshot
                .room(node)
                .map(|(_, used)| used.milli_cpu);
            prop_assert_eq!(used, Some(u64::from(cpu) * 1_000));
        }
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn all_decisions_are_right(steps in steps(1)) {
        let run = Run::of(&steps)?;
        prop_assert_eq!(run.told, Run::of(&steps)?.told);
    }

    #[test]
    fn preemption_helps_and_spares(steps in steps(4)) {
        let run = Run::of(&steps)?;
        prop_assert_eq!(run.told, Run::of(&steps)?.told);
    }
}
