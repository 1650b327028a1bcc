//! The text by which programs find their resolvers: `/etc/resolv.conf` (resolv.conf(5)), the
//! machine's to be read, and a pod's to be written, as its `dnsPolicy` and `dnsConfig` say.

use std::{fmt::Write as _, net::IpAddr};

use serde_json::Value;

use crate::core::object;

/// So many name servers libraries ask.
const SERVERS_MAX: usize = 3;
/// So many domains are searched, and so many bytes they have together (Kubernetes' limits).
const SEARCHES_MAX: usize = 32;
const SEARCH_BYTES_MAX: usize = 2_048;
/// So many options are written.
const OPTIONS_MAX: usize = 32;
/// A name with fewer dots is first looked for in the domains that are searched.
const CLUSTER_OPTION: &str = "ndots:5";

/// What a text says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resolvers {
    /// Whom to ask.
    pub servers: Vec<IpAddr>,
    /// Domains in which names without dots are looked for.
    pub searches: Vec<String>,
    /// Options, as `ndots:5`.
    pub options: Vec<String>,
}

impl Resolvers {
    /// Reads a text. What can't be read is left out.
    pub fn read(text: &str) -> Resolvers {
        let mut found = Resolvers::default();
        for line in text.lines() {
            let mut words = line.split_whitespace();
            match words.next() {
                Some("nameserver") => {
                    let server = words.next().and_then(|word| word.parse().ok());
                    add(&mut found.servers, server);
                }
                // The last one counts.
                Some("search" | "domain") => {
                    found.searches.clear();
                    add(&mut found.searches, words.map(str::to_owned));
                }
                Some("options") => found.add_options(words.map(str::to_owned)),
                _ => {}
            }
        }
        found
    }

    /// An option of the same name is replaced.
    fn add_options(&mut self, more: impl Iterator<Item = String>) {
        let name = |option: &str| option.split(':').next().unwrap_or_default().to_owned();
        for option in more {
            self.options.retain(|it| name(it) != name(&option));
            self.options.push(option);
        }
    }

    /// What the pod says itself comes behind.
    fn add_config(&mut self, config: &Value) {
        let words = |field: &str| {
            let words = object::items(&config[field]).filter_map(Value::as_str);
            words.filter(|word| is_word(word)).map(str::to_owned)
        };
        let servers = words("nameservers").filter_map(|word| word.parse().ok());
        add(&mut self.servers, servers);
        add(&mut self.searches, words("searches"));
        let options = object::items(&config["options"]).filter_map(|option| {
            let name = option["name"].as_str().filter(|name| is_word(name))?;
            match option["value"].as_str() {
                None | Some("") => Some(name.to_owned()),
                Some(value) => is_word(value).then(|| format!("{name}:{value}")),
            }
        });
        self.add_options(options);
    }

    fn written(mut self) -> String {
        self.servers.truncate(SERVERS_MAX);
        let mut bytes = 0;
        self.searches.truncate(SEARCHES_MAX);
        self.searches.retain(|domain| {
            bytes += domain.len() + 1;
            bytes <= SEARCH_BYTES_MAX
        });
        self.options.truncate(OPTIONS_MAX);
        let mut text = String::new();
        if !self.searches.is_empty() {
            let _ = writeln!(text, "search {}", self.searches.join(" "));
        }
        for server in self.servers {
            let _ = writeln!(text, "nameserver {server}");
        }
        if !self.options.is_empty() {
            let _ = writeln!(text, "options {}", self.options.join(" "));
        }
        text
    }
}

/// Each once; the first place counts.
fn add<T: PartialEq>(list: &mut Vec<T>, more: impl IntoIterator<Item = T>) {
    for one in more {
        if !list.contains(&one) {
            list.push(one);
        }
    }
}

fn is_word(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic())
}

/// The text for a pod's programs. `server` is the cluster's name server, if it can be asked on port
/// 53, the only one that such a text can mean; without it, names of the cluster are not resolved.
/// `host` is the machine's own text.
pub fn resolv_conf(pod: &Value, zone: &str, server: Option<IpAddr>, host: &str) -> String {
    let spec = &pod["spec"];
    let config = &spec["dnsConfig"];
    let is_of_host = spec["hostNetwork"] == true;
    let server = match spec["dnsPolicy"].as_str().unwrap_or("ClusterFirst") {
        "None" => {
            let mut said = Resolvers::default();
            said.add_config(config);
            return said.written();
        }
        "Default" => None,
        // Pods in their machine's network are its programs, unless they say otherwise.
        "ClusterFirst" if is_of_host => None,
        _ => server,
    };
    let host_says = || Resolvers::read(host);
    let Some(server) = server else {
        if config.is_null() {
            return host.to_owned();
        }
        let mut said = host_says();
        said.add_config(config);
        return said.written();
    };
    let mut said = Resolvers {
        servers: vec![server],
        searches: vec![
            format!("{}.svc.{zone}", object::namespace(pod)),
            format!("svc.{zone}"),
            zone.to_owned(),
        ],
        options: vec![CLUSTER_OPTION.to_owned()],
    };
    add(&mut said.searches, host_says().searches);
    said.add_config(config);
    said.written()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const HOST: &str = "# the machine's\nnameserver 10.0.0.2\nnameserver fe80::1%eth0\n\
        nameserver 10.0.0.3\nsearch old.example\ndomain example\noptions timeout:1 ndots:2\n";

    fn text(spec: Value) -> String {
        let pod = json!({"metadata": {"namespace": "shop"}, "spec": spec});
        let server = "127.64.0.10".parse().ok();
        resolv_conf(&pod, "cluster.local", server, HOST)
    }

    #[test]
    fn the_machines_text_is_read() {
        let read = Resolvers::read(HOST);
        assert_eq!(read.servers.len(), 2);
        assert_eq!(read.searches, ["example"]);
        assert_eq!(read.options, ["timeout:1", "ndots:2"]);
        assert_eq!(
            Resolvers::read("nameserver\nsearch\n\0"),
            Resolvers::default()
        );
    }

    #[test]
    fn a_pod_is_told_as_its_policy_says() {
        let cluster = "search shop.svc.cluster.local svc.cluster.local cluster.local example\n\
            nameserver 127.64.0.10\noptions ndots:5\n";
        let config = json!({
            "nameservers": ["10.9.9.9", "10.0.0.2"],
            "searches": ["more.example", "cluster.local", "two words"],
            "options": [{"name": "ndots", "value": "1"}, {"name": "rotate"}],
        });
        for (spec, expected) in [
            (json!({}), cluster),
            (json!({"dnsPolicy": "ClusterFirst"}), cluster),
            (
                json!({"dnsPolicy": "ClusterFirst", "hostNetwork": true}),
                HOST,
            ),
            (
                json!({"dnsPolicy": "ClusterFirstWithHostNet", "hostNetwork": true}),
                cluster,
            ),
            (json!({"dnsPolicy": "Default"}), HOST),
            (json!({"dnsPolicy": "None"}), ""),
            (
                json!({"dnsPolicy": "None", "dnsConfig": config}),
                "search more.example cluster.local\nnameserver 10.9.9.9\nnameserver 10.0.0.2\n\
                    options ndots:1 rotate\n",
            ),
            (
                json!({"dnsPolicy": "Default", "dnsConfig": config}),
                "search example more.example cluster.local\nnameserver 10.0.0.2\n\
                    nameserver 10.0.0.3\nnameserver 10.9.9.9\noptions timeout:1 ndots:1 rotate\n",
            ),
            (
                json!({"dnsConfig": config}),
                "search shop.svc.cluster.local svc.cluster.local cluster.local example \
                    more.example\nnameserver 127.64.0.10\nnameserver 10.9.9.9\n\
                    nameserver 10.0.0.2\noptions ndots:1 rotate\n",
            ),
        ] {
            assert_eq!(text(spec.clone()), expected, "{spec}");
        }
        let pod = json!({"metadata": {"namespace": "shop"}});
        assert_eq!(resolv_conf(&pod, "cluster.local", None, HOST), HOST);
    }

    #[test]
    fn a_text_is_bounded() {
        let long: Vec<String> = (0..100)
            .map(|it| format!("{it}.{}", "a".repeat(200)))
            .collect();
        let written = text(json!({"dnsConfig": {"searches": long}}));
        let search = written.lines().next().unwrap_or_default();
        assert!(
            search.len() <= SEARCH_BYTES_MAX + "search ".len(),
            "{search}"
        );
        assert!(search.contains(" 3."));
    }
}
