//! The resources of `contrib/kubernetes/`: `tests/scripts/kubernetes.sh` builds them, and the tests compare them with
//! the restricted pod security standard, with each other, and with the exporter itself.
//!
//! No cluster is used here: only the schemas of the API show that a cluster accepts them.

use std::collections::BTreeMap;
use std::fs;
use std::sync::OnceLock;

use serde_json::{Value, json};

use crate::harness::{Exporter, Fake, good_report, has, run, skipped, top};
use crate::prometheus::Prometheus;

/// The resources as shipped, and those of another namespace with every optional part.
struct Built {
    shipped: Vec<Value>,
    all: Vec<Value>,
}

/// The script's output, or the reason why it cannot run here.
fn script(environment: &[&str]) -> Result<String, String> {
    let script = top()
        .join("tests/scripts/kubernetes.sh")
        .display()
        .to_string();
    let (is_well, said) = run("env", &[environment, &["sh", &script]].concat(), "");
    assert!(is_well, "{said}");
    match said.trim().strip_prefix("SKIPPED: ") {
        Some(why) => Err(why.to_owned()),
        None => Ok(said),
    }
}

/// Built once for all tests of a process. `None` where there is no kubectl; `test` is then reported as skipped.
fn built(test: &str) -> Option<&'static Built> {
    static BUILT: OnceLock<Result<Built, String>> = OnceLock::new();
    let built = BUILT.get_or_init(|| {
        let said = script(&[])?;
        let mut lists: BTreeMap<String, Vec<Value>> =
            serde_json::from_str(&said).unwrap_or_else(|error| panic!("{error}: {said}"));
        Ok(Built {
            shipped: lists.remove("shipped").unwrap(),
            all: lists.remove("all").unwrap(),
        })
    });
    match built {
        Ok(built) => Some(built),
        Err(why) => {
            skipped(test, why);
            None
        }
    }
}

impl Built {
    /// One resource.
    fn get(&self, kind: &str, name: &str) -> &Value {
        let is_it = |one: &&Value| one["kind"] == kind && one["metadata"]["name"] == name;
        let found = self.all.iter().find(is_it);
        found.unwrap_or_else(|| panic!("there is no {kind} {name}"))
    }

    /// The pods of Deployment and `DaemonSet`, each with its owner's name.
    fn pods(&self) -> Vec<(&str, &Value)> {
        let owners = self
            .all
            .iter()
            .filter(|one| one["spec"]["template"] != json!(null));
        let pods: Vec<_> = owners
            .map(|owner| {
                (
                    text(&owner["metadata"]["name"]),
                    &owner["spec"]["template"]["spec"],
                )
            })
            .collect();
        assert_eq!(pods.len(), 2, "{pods:?}");
        pods
    }
}

fn text(value: &Value) -> &str {
    value
        .as_str()
        .unwrap_or_else(|| panic!("{value} is not a string"))
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

#[test]
fn the_shipped_resources_need_no_definition_of_the_operator() {
    let test = "the_shipped_resources_need_no_definition_of_the_operator";
    let Some(built) = built(test) else { return };
    let kinds = |all: &[Value]| -> Vec<String> {
        let kind = |one: &Value| format!("{} {}", text(&one["apiVersion"]), text(&one["kind"]));
        all.iter().map(kind).collect()
    };
    assert_eq!(
        kinds(&built.shipped),
        ["v1 Namespace", "v1 Service", "apps/v1 Deployment"]
    );
    let kinds = kinds(&built.all);
    for kind in ["ServiceMonitor", "Probe", "PodMonitor"] {
        let kind = format!("monitoring.coreos.com/v1 {kind}");
        assert!(kinds.contains(&kind), "{kind} is not in {kinds:?}");
    }
    let policy = "networking.k8s.io/v1 NetworkPolicy".to_owned();
    assert!(kinds.contains(&policy), "{policy} is not in {kinds:?}");
}

#[test]
fn each_pod_meets_the_restricted_pod_security_standard() {
    let test = "each_pod_meets_the_restricted_pod_security_standard";
    let Some(built) = built(test) else { return };
    for (name, pod) in built.pods() {
        for key in ["hostNetwork", "hostPID", "hostIPC"] {
            assert_eq!(pod[key], json!(null), "{name}: {key}");
        }
        let own = &pod["securityContext"];
        assert_eq!(own["runAsNonRoot"], true, "{name}");
        assert!(own["runAsUser"].as_u64().unwrap() > 0, "{name}");
        assert_eq!(own["seccompProfile"]["type"], "RuntimeDefault", "{name}");
        for key in ["sysctls", "seLinuxOptions", "appArmorProfile"] {
            assert_eq!(own[key], json!(null), "{name}: {key}");
        }
        for volume in list(&pod["volumes"]) {
            assert!(volume["emptyDir"].is_object(), "{name}: {volume}");
        }
        assert_eq!(pod["initContainers"], json!(null), "{name}");
        let containers = list(&pod["containers"]);
        assert_eq!(containers.len(), 1, "{name}");
        for container in containers {
            // No other key: each could remove a restriction.
            assert_eq!(
                container["securityContext"],
                json!({
                    "allowPrivilegeEscalation": false,
                    "readOnlyRootFilesystem": true,
                    "capabilities": {"drop": ["ALL"]},
                }),
                "{name}"
            );
            for port in list(&container["ports"]) {
                assert_eq!(port["hostPort"], json!(null), "{name}");
            }
            let resources = &container["resources"];
            assert!(resources["requests"]["memory"].is_string(), "{name}");
            assert!(resources["limits"]["memory"].is_string(), "{name}");
        }
        // It requests nothing from the cluster.
        assert_eq!(pod["automountServiceAccountToken"], false, "{name}");
    }
    let labels = &built.get("Namespace", "elsewhere")["metadata"]["labels"];
    assert_eq!(labels["pod-security.kubernetes.io/enforce"], "restricted");
}

/// A read-only container has a writable folder where its iperf3 puts temporary files.
#[test]
fn iperf3s_temporary_folder_of_each_pod_can_be_written() {
    let test = "iperf3s_temporary_folder_of_each_pod_can_be_written";
    let Some(built) = built(test) else { return };
    for (name, pod) in built.pods() {
        let container = &pod["containers"][0];
        let folder = list(&container["env"])
            .iter()
            .find(|one| one["name"] == "TMPDIR");
        let mount = &container["volumeMounts"][0];
        assert_eq!(folder.unwrap()["value"], mount["mountPath"], "{name}");
        assert_eq!(mount["readOnly"], json!(null), "{name}");
        assert_eq!(mount["name"], pod["volumes"][0]["name"], "{name}");
    }
}

#[test]
fn the_exporter_takes_the_flags_and_answers_the_probes_of_the_pod() {
    let test = "the_exporter_takes_the_flags_and_answers_the_probes_of_the_pod";
    let Some(built) = built(test) else { return };
    let container =
        &built.get("Deployment", "iperf3-exporter")["spec"]["template"]["spec"]["containers"][0];

    // Also the flags in comments.
    let manifest = fs::read_to_string(top().join("contrib/kubernetes/deployment.yaml")).unwrap();
    let examples: Vec<&str> = manifest
        .lines()
        .filter_map(|line| line.trim_start().strip_prefix("#- "))
        .collect();
    assert!(examples.len() > 2, "{examples:?}");
    let mut flags: Vec<&str> = list(&container["args"]).iter().map(text).collect();
    flags.extend(examples);
    flags.push("--config.check");
    let (is_taken, said) = run(env!("CARGO_BIN_EXE_iperf3-exporter"), &flags, "");
    assert!(is_taken, "{flags:?}: {said}");

    // No flag sets another port than the default of the exporter and the image.
    let port = &container["ports"][0];
    let dockerfile = fs::read_to_string(top().join("contrib/Dockerfile")).unwrap();
    let exposed = format!("EXPOSE {}", port["containerPort"]);
    assert!(dockerfile.lines().any(|line| line == exposed), "{exposed}");

    let exporter = Exporter::start(&["--log.level=info"]);
    for probe in ["readinessProbe", "livenessProbe"] {
        let get = &container[probe]["httpGet"];
        assert_eq!(get["port"], port["name"], "{probe}");
        assert_eq!(exporter.get(text(&get["path"])).code, 200, "{probe}");
    }
    assert_ne!(
        container["readinessProbe"]["httpGet"]["path"],
        container["livenessProbe"]["httpGet"]["path"]
    );
}

#[test]
fn the_resources_select_each_other() {
    let Some(built) = built("the_resources_select_each_other") else {
        return;
    };
    for (kind, name) in [
        ("Deployment", "iperf3-exporter"),
        ("DaemonSet", "iperf3-server"),
    ] {
        let owner = &built.get(kind, name)["spec"];
        assert_eq!(
            owner["selector"]["matchLabels"],
            owner["template"]["metadata"]["labels"]
        );
    }
    let deployment = &built.get("Deployment", "iperf3-exporter")["spec"]["template"];
    let service = built.get("Service", "iperf3-exporter");
    assert_eq!(
        service["spec"]["selector"],
        deployment["metadata"]["labels"]
    );
    let port = &service["spec"]["ports"][0];
    let container_port = &deployment["spec"]["containers"][0]["ports"][0];
    assert_eq!(port["targetPort"], container_port["name"]);

    // The Service also has the label that one Prometheus selects.
    let monitor = &built.get("ServiceMonitor", "iperf3-exporter")["spec"];
    for (label, value) in monitor["selector"]["matchLabels"].as_object().unwrap() {
        assert_eq!(service["metadata"]["labels"][label], *value, "{label}");
    }
    assert_eq!(monitor["endpoints"][0]["port"], port["name"]);

    let nodes = &built.get("PodMonitor", "iperf3-nodes")["spec"];
    let server = &built.get("DaemonSet", "iperf3-server")["spec"]["template"];
    assert_eq!(
        nodes["selector"]["matchLabels"],
        server["metadata"]["labels"]
    );
    let server_port = &server["spec"]["containers"][0]["ports"][0];
    assert_eq!(nodes["podMetricsEndpoints"][0]["port"], server_port["name"]);
    // The server's container uses the exporter's image with another command.
    let image = &server["spec"]["containers"][0]["image"];
    assert_eq!(*image, deployment["spec"]["containers"][0]["image"]);
    assert_eq!(server["spec"]["containers"][0]["command"][0], "iperf3");

    // The namespace is set once and appears in each address.
    let address = format!("iperf3-exporter.elsewhere.svc:{}", port["port"]);
    for name in ["iperf3", "iperf3-download", "iperf3-udp"] {
        let prober = &built.get("Probe", name)["spec"]["prober"];
        assert_eq!(*prober, json!({"url": address, "path": "/probe"}), "{name}");
    }
    let asked = list(&nodes["podMetricsEndpoints"][0]["relabelings"]);
    let asked = asked.iter().find(|one| one["targetLabel"] == "__address__");
    assert_eq!(asked.unwrap()["replacement"], address);
}

#[test]
fn the_network_policy_lets_only_the_pods_of_one_namespace_in_and_only_to_the_exporters_port() {
    let test =
        "the_network_policy_lets_only_the_pods_of_one_namespace_in_and_only_to_the_exporters_port";
    let Some(built) = built(test) else { return };
    let policy = built.get("NetworkPolicy", "iperf3-exporter");
    let deployment = built.get("Deployment", "iperf3-exporter");
    // In the pod's namespace, or it would select nothing.
    assert_eq!(
        policy["metadata"]["namespace"],
        deployment["metadata"]["namespace"]
    );
    let template = &deployment["spec"]["template"];
    let port = &template["spec"]["containers"][0]["ports"][0];
    // Whole: one more entry in `from` would let others in. Without `Egress`, tests to any target stay allowed.
    assert_eq!(
        policy["spec"],
        json!({
            "podSelector": {"matchLabels": template["metadata"]["labels"]},
            "policyTypes": ["Ingress"],
            "ingress": [{
                "from": [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}],
                "ports": [{"protocol": "TCP", "port": port["name"]}],
            }],
        })
    );
    // It does not apply to the iperf3 servers, to which other clients may also test.
    let server = &built.get("DaemonSet", "iperf3-server")["spec"]["template"];
    assert_ne!(server["metadata"]["labels"], template["metadata"]["labels"]);
}

/// The parameters of a Probe: Prometheus makes them from the labels `__param_NAME`.
fn parameters(probe: &Value) -> BTreeMap<String, String> {
    let rules = list(&probe["spec"]["targets"]["staticConfig"]["relabelingConfigs"]);
    let parameter = |rule: &Value| {
        let name = text(&rule["targetLabel"]).strip_prefix("__param_")?;
        Some((name.to_owned(), text(&rule["replacement"]).to_owned()))
    };
    rules.iter().filter_map(parameter).collect()
}

/// The `params` of a job in `contrib/prometheus.yml`.
fn parameters_of_job(configuration: &str, name: &str) -> BTreeMap<String, String> {
    let job = configuration
        .split("- job_name: ")
        .find(|job| job.lines().next() == Some(name));
    let params = job.unwrap().split_once("    params:\n").unwrap().1;
    let lines = params.lines().take_while(|line| line.starts_with("      "));
    let parameter = |line: &str| {
        let (name, value) = line.trim().split_once(": ['").unwrap();
        (
            name.to_owned(),
            value.split('\'').next().unwrap().to_owned(),
        )
    };
    lines.map(parameter).collect()
}

#[test]
fn each_probe_sends_the_parameters_of_the_shipped_prometheus_configuration() {
    let test = "each_probe_sends_the_parameters_of_the_shipped_prometheus_configuration";
    let Some(built) = built(test) else { return };
    let configuration = fs::read_to_string(top().join("contrib/prometheus.yml")).unwrap();
    let fake = Fake::replay(&good_report(), "/dev/null".as_ref(), "exit 0");
    let exporter = Exporter::start(&[fake.flag()]);
    for name in ["iperf3", "iperf3-download", "iperf3-udp"] {
        let probe = built.get("Probe", name);
        let own = parameters(probe);
        assert_eq!(own, parameters_of_job(&configuration, name), "{name}");
        // The alerts and the dashboard distinguish jobs by their names.
        assert_eq!(probe["spec"]["jobName"], name);
        let timeout = text(&probe["spec"]["scrapeTimeout"]).trim_end_matches('s');
        let path = text(&probe["spec"]["prober"]["path"]);
        let mut url = format!("{path}?target=192.0.2.1");
        for (name, value) in &own {
            url += &format!("&{name}={value}");
        }
        let reply = exporter.scrape(&url, timeout);
        assert_eq!(reply.code, 200, "{url}: {}", reply.body);
    }
    let nodes = &built.get("PodMonitor", "iperf3-nodes")["spec"]["podMetricsEndpoints"][0];
    let params: BTreeMap<String, Vec<String>> =
        serde_json::from_value(nodes["params"].clone()).unwrap();
    let params: BTreeMap<String, String> = params
        .into_iter()
        .map(|(name, values)| (name, values.concat()))
        .collect();
    assert_eq!(params, parameters_of_job(&configuration, "iperf3"));
}

/// The operator's relabelling rules, as Prometheus writes them.
fn relabel_configs(rules: &[Value]) -> Vec<Value> {
    let rule = |rule: &Value| {
        let mut written = serde_json::Map::new();
        for (key, value) in rule.as_object().unwrap() {
            let key = match key.as_str() {
                "sourceLabels" => "source_labels",
                "targetLabel" => "target_label",
                "replacement" | "regex" => key,
                other => panic!("{other} in {rule}"),
            };
            written.insert(key.to_owned(), value.clone());
        }
        Value::Object(written)
    };
    rules.iter().map(rule).collect()
}

/// The rules that the operator writes before a Probe's own, and those that it makes for a pod, according to its source.
fn scrape_configs(built: &Built, exporter: &str) -> Value {
    let probe = &built.get("Probe", "iperf3")["spec"];
    let nodes = &built.get("PodMonitor", "iperf3-nodes")["spec"]["podMetricsEndpoints"][0];
    let statics = &probe["targets"]["staticConfig"];
    let mut rules = vec![
        json!({"target_label": "job", "replacement": probe["jobName"]}),
        json!({"source_labels": ["__address__"], "target_label": "__param_target"}),
        json!({"source_labels": ["__param_target"], "target_label": "instance"}),
        json!({"target_label": "__address__", "replacement": probe["prober"]["url"]}),
    ];
    rules.extend(relabel_configs(list(&statics["relabelingConfigs"])));
    let mut pod_rules =
        vec![json!({"target_label": "job", "replacement": "elsewhere/iperf3-nodes"})];
    pod_rules.extend(relabel_configs(list(&nodes["relabelings"])));
    let monitor = &built.get("ServiceMonitor", "iperf3-exporter")["spec"]["endpoints"][0];
    let own_rules = relabel_configs(list(&monitor["relabelings"]));
    // Short times: the iperf3 here ends at once, whatever its `period`.
    let configuration = json!({
        "global": {"scrape_interval": "3s", "scrape_timeout": "3s"},
        "scrape_configs": [
            {
                "job_name": "probe/elsewhere/iperf3",
                "metrics_path": probe["prober"]["path"],
                "static_configs": [
                    {"targets": statics["static"], "labels": {"namespace": "elsewhere"}},
                ],
                "relabel_configs": rules,
            },
            {
                "job_name": "podMonitor/elsewhere/iperf3-nodes/0",
                "metrics_path": nodes["path"],
                "params": nodes["params"],
                "static_configs": [{
                    "targets": ["10.0.0.7:5201"],
                    "labels": {"__meta_kubernetes_pod_node_name": "node-7"},
                }],
                "relabel_configs": pod_rules,
            },
            {
                "job_name": "iperf3-exporter",
                "metrics_path": monitor["path"],
                "static_configs": [{
                    "targets": [exporter],
                    "labels": {
                        "__meta_kubernetes_service_name": "iperf3-exporter",
                        "__meta_kubernetes_namespace": "elsewhere",
                    },
                }],
                "relabel_configs": own_rules,
            },
        ],
    });
    let address = "iperf3-exporter.elsewhere.svc:9579";
    let text = configuration.to_string();
    assert_eq!(text.matches(address).count(), 2, "{text}");
    serde_json::from_str(&text.replace(address, exporter)).unwrap()
}

#[test]
fn a_prometheus_with_the_operators_configuration_scrapes_each_target() {
    let test = "a_prometheus_with_the_operators_configuration_scrapes_each_target";
    if !has("prometheus", test) {
        return;
    }
    let Some(built) = built(test) else { return };
    let fake = Fake::replay(&good_report(), "/dev/null".as_ref(), "exit 0");
    let exporter = Exporter::start(&[fake.flag()]);
    let address = format!("127.0.0.1:{}", exporter.port());
    let prometheus = Prometheus::start(&scrape_configs(built, &address).to_string());
    for (target, port, more) in [
        ("iperf3.example.net", "5201", ("namespace", "elsewhere")),
        ("10.0.0.7", "5201", ("node", "node-7")),
    ] {
        let query = format!("iperf3_up{{target=\"{target}\"}}");
        let (_, labels) = prometheus.until(&query, |up| up == 1.0);
        assert_eq!(labels["job"], "iperf3", "{labels}");
        assert_eq!(labels["exporter"], address, "{labels}");
        assert_eq!(labels["port"], port, "{labels}");
        assert_eq!(labels[more.0], more.1, "{labels}");
        assert!(text(&labels["instance"]).starts_with(target), "{labels}");
    }
    // The alerts join the probes' label `exporter` with this one: in a cluster both are the Service's address.
    let (_, labels) = prometheus.until("up{job=\"iperf3-exporter\"}", |up| up == 1.0);
    let url = &built.get("Probe", "iperf3")["spec"]["prober"]["url"];
    assert_eq!(labels["instance"], *url, "{labels}");
}

/// A release publishes the image under its version.
#[test]
fn the_image_has_this_version_and_a_placeholder_registry() {
    let test = "the_image_has_this_version_and_a_placeholder_registry";
    let Some(built) = built(test) else { return };
    let image = format!(
        "registry.example.net/iperf3-exporter:{}",
        env!("CARGO_PKG_VERSION")
    );
    for (name, pod) in built.pods() {
        assert_eq!(
            pod["containers"][0]["image"], image,
            "{name}: newTag in kustomization.yaml"
        );
    }
}

#[test]
#[ignore = "make test-all: 30 MB of packages, and 13 s of Python; guards contrib/kubernetes against the API's schemas"]
fn the_resources_are_valid_for_kubernetes_and_the_prometheus_operator() {
    let test = "the_resources_are_valid_for_kubernetes_and_the_prometheus_operator";
    match script(&["SCHEMAS=yes"]) {
        Ok(said) => assert!(said.contains("10 resources are valid"), "{said}"),
        Err(why) => skipped(test, &why),
    }
}
