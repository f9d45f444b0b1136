//! Services, checks, maintenance, aliases, nodes of others: rows as Consul 1.8.7 prints them.

mod common;

use std::time::Duration;

use common::{ONE, Registry, register, request, service, ttl};
use weir_registry::{
    CheckDefinition, CheckKind, Command, Deregistration, Filter, Registration, ServiceDefinition,
    SessionRequest, Status, Topic,
};

fn update(id: &str, status: Status) -> Command {
    Command::CheckUpdate { id: id.to_owned(), status, output: "note".to_owned() }
}

fn web() -> ServiceDefinition {
    ServiceDefinition {
        tags: vec!["a".to_owned(), "b".to_owned()],
        address: "198.51.100.7".to_owned(),
        port: 80,
        meta: [("k".to_owned(), "v".to_owned())].into(),
        ..service("web")
    }
}

fn passing(registry: &Registry, name: &str) -> usize {
    registry.state.health(name, &[], true).data.len()
}

#[test]
fn rows_are_consuls() {
    let mut registry = Registry::new();
    registry.done(register(web(), vec![ttl(30)]));
    let index = registry.state.index();
    let tagged = r#"{"lan_ipv4":{"Address":"198.51.100.7","Port":80},"wan_ipv4":{"Address":"198.51.100.7","Port":80}}"#;
    let node_tagged =
        r#"{"lan":"192.0.2.1","lan_ipv4":"192.0.2.1","wan":"192.0.2.1","wan_ipv4":"192.0.2.1"}"#;
    assert_eq!(
        registry.json(&registry.state.service("web", &["B"]).data),
        format!(
            r#"[{{"ID":"{ONE}","Node":"Node-A","Address":"192.0.2.1","Datacenter":"dc1","TaggedAddresses":{node_tagged},"NodeMeta":{{"consul-network-segment":""}},"ServiceKind":"","ServiceID":"web","ServiceName":"web","ServiceTags":["a","b"],"ServiceAddress":"198.51.100.7","ServiceTaggedAddresses":{tagged},"ServiceWeights":{{"Passing":1,"Warning":1}},"ServiceMeta":{{"k":"v"}},"ServicePort":80,"ServiceEnableTagOverride":false,"ServiceProxy":{{"MeshGateway":{{}},"Expose":{{}}}},"ServiceConnect":{{}},"CreateIndex":{index},"ModifyIndex":{index}}}]"#
        )
    );
    assert_eq!(
        registry.json(&registry.state.agent_services()),
        format!(
            r#"{{"web":{{"ID":"web","Service":"web","Tags":["a","b"],"Meta":{{"k":"v"}},"Port":80,"Address":"198.51.100.7","TaggedAddresses":{tagged},"Weights":{{"Passing":1,"Warning":1}},"EnableTagOverride":false}}}}"#
        )
    );
    assert_eq!(
        registry.json(&registry.state.service_checks("web").data),
        format!(
            r#"[{{"Node":"Node-A","CheckID":"service:web","Name":"Service 'web' check","Status":"critical","Notes":"","Output":"","ServiceID":"web","ServiceName":"web","ServiceTags":["a","b"],"Type":"ttl","Definition":{{}},"CreateIndex":{index},"ModifyIndex":{index}}}]"#
        )
    );
    let health = registry.state.health("web", &[], false).data;
    let ids: Vec<_> = health[0].checks.iter().map(|check| check.check_id.as_str()).collect();
    assert_eq!(ids, ["serfHealth", "service:web"]);
    assert_eq!(registry.json(&registry.state.services().data), r#"{"consul":[],"web":["a","b"]}"#);
    assert!(registry.state.service("web", &["a", "c"]).data.is_empty());
}

#[test]
fn a_ttl_check_passes_as_long_as_it_is_told_so() {
    let mut registry = Registry::new();
    registry.done(register(web(), vec![ttl(10)]));
    assert_eq!(passing(&registry, "web"), 0);
    registry.done(update("service:web", Status::Passing));
    assert_eq!(passing(&registry, "web"), 1);
    let index = registry.state.index();
    registry.wait(Duration::from_secs(9));
    registry.done(update("service:web", Status::Passing));
    assert_eq!(registry.state.index(), index, "a heartbeat is no change");
    let mut again = registry.reopened();
    again.wait(Duration::from_secs(9));
    assert_eq!(passing(&again, "web"), 1, "the time begins anew");
    registry.wait(Duration::from_secs(10));
    assert_eq!(passing(&registry, "web"), 0);
    assert!(registry.topics.contains(&Topic::service("web")));
    let refused = registry.apply(update("none", Status::Passing)).expect_err("refused");
    assert_eq!(refused.to_string(), "CheckID \"none\" does not have associated TTL");
}

#[test]
fn registering_again_keeps_what_a_check_saw_and_replaces_checks_when_told() {
    let mut registry = Registry::new();
    registry.done(register(web(), vec![ttl(10), ttl(20)]));
    registry.done(update("service:web:1", Status::Passing));
    registry.done(register(web(), vec![ttl(10), ttl(20)]));
    let checks = registry.state.agent_checks();
    assert_eq!(checks["service:web:1"].0.status, Status::Passing);
    let command =
        Command::AgentServiceRegister { service: web(), checks: vec![ttl(10)], replace_checks: true };
    registry.done(command);
    let ids: Vec<_> = registry.state.agent_checks().into_keys().collect();
    assert_eq!(ids, ["service:web"]);
}

fn http() -> CheckDefinition {
    CheckDefinition {
        kind: CheckKind::Http {
            url: "http://192.0.2.1/".to_owned(),
            method: String::new(),
            header: [].into(),
            body: String::new(),
            tls_skip_verify: false,
        },
        interval: Duration::from_secs(1),
        success_before_passing: 2,
        failures_before_critical: 3,
        deregister_after: Duration::from_secs(5),
        ..CheckDefinition::default()
    }
}

#[test]
fn thresholds_count_results_in_a_row() {
    let mut registry = Registry::new();
    registry.done(register(web(), vec![http()]));
    let mut result = |status, wanted| {
        let id = "service:web".to_owned();
        registry.done(Command::CheckResult { id, status, output: String::new() });
        assert_eq!(registry.state.agent_checks()["service:web"].0.status, wanted);
    };
    result(Status::Passing, Status::Critical);
    result(Status::Critical, Status::Critical);
    result(Status::Passing, Status::Critical);
    result(Status::Passing, Status::Passing);
    result(Status::Critical, Status::Passing);
    result(Status::Critical, Status::Passing);
    result(Status::Critical, Status::Critical);
    let refused = registry.apply(Command::AgentCheckRegister(CheckDefinition {
        interval: Duration::ZERO,
        name: "x".to_owned(),
        ..http()
    }));
    let refused = refused.expect_err("no interval");
    assert_eq!(
        format!("{} {refused}", refused.status()),
        "400 Invalid check: Interval must be > 0 for Script, HTTP, or TCP checks"
    );
}

#[test]
fn a_service_that_is_critical_for_too_long_goes() {
    let mut registry = Registry::new();
    registry.done(register(web(), vec![http()]));
    registry.wait(Duration::from_millis(4999));
    let mut again = registry.reopened();
    again.wait(Duration::from_millis(4999));
    assert_eq!(again.state.agent_services().len(), 1, "the time begins anew");
    again.wait(Duration::from_millis(1));
    assert!(again.state.agent_services().is_empty());
    let before = registry.state.health("web", &[], false).index;
    registry.wait(Duration::from_millis(1));
    let gone = registry.state.health("web", &[], false);
    assert!(gone.data.is_empty() && gone.index > before);
    assert!(registry.state.agent_checks().is_empty());
    assert_eq!(registry.state.poll_timeout(), None);
}

#[test]
fn maintenance_is_a_critical_check() {
    let mut registry = Registry::new();
    registry.done(register(web(), vec![]));
    assert_eq!(registry.state.agent_health("web").expect("web").status, "passing");
    let on = |id: &str| Command::ServiceMaintenance { id: id.to_owned(), reason: Some(String::new()) };
    registry.done(on("web"));
    let check = registry.state.agent_checks()["_service_maintenance:web"].0.clone();
    assert_eq!(check.name, "Service Maintenance Mode");
    assert_eq!(
        check.notes,
        "Maintenance mode is enabled for this service, but no reason was provided. This is a default message."
    );
    let health = registry.state.agent_health("web").expect("web");
    assert_eq!((health.status, health.code()), ("maintenance", 503));
    registry.done(Command::ServiceMaintenance { id: "web".to_owned(), reason: None });
    assert_eq!(passing(&registry, "web"), 1);
    registry.done(Command::NodeMaintenance { reason: Some("why".to_owned()) });
    assert_eq!(passing(&registry, "web"), 0);
    assert!(registry.topics.contains(&Topic::service("web")));
    let refused = registry.apply(on("none")).expect_err("refused");
    assert_eq!(format!("{} {refused}", refused.status()), "404 No service registered with ID \"none\"");
}

#[test]
fn an_alias_follows_its_service() {
    let mut registry = Registry::new();
    registry.done(register(web(), vec![ttl(10)]));
    let kind = CheckKind::Alias { node: String::new(), service: "web".to_owned() };
    let alias = CheckDefinition { kind, ..CheckDefinition::default() };
    registry.done(register(service("front"), vec![alias]));
    let check = registry.state.agent_checks()["service:front"].0.clone();
    assert_eq!(check.status, Status::Critical);
    assert_eq!(check.output, "Aliased check \"Service 'web' check\" failing: ");
    registry.done(update("service:web", Status::Passing));
    let check = registry.state.agent_checks()["service:front"].0.clone();
    assert_eq!((check.status, check.output.as_str()), (Status::Passing, "All checks passing."));
    assert_eq!(passing(&registry, "front"), 1);
}

#[test]
fn a_critical_check_ends_the_sessions_that_depend_on_it() {
    let mut registry = Registry::new();
    registry.done(register(web(), vec![ttl(60)]));
    registry.done(update("service:web", Status::Passing));
    let checks = vec!["service:web".to_owned()];
    registry.session(SessionRequest { node_checks: checks.clone(), ..request(ONE) });
    registry.done(update("service:web", Status::Warning));
    assert_eq!(registry.state.sessions().data.len(), 1);
    registry.done(update("service:web", Status::Critical));
    assert_eq!(registry.state.sessions().data.len(), 0);
    let refused =
        registry.apply(Command::SessionCreate(SessionRequest { node_checks: checks, ..request(ONE) }));
    let refused = refused.expect_err("refused").to_string();
    assert_eq!(refused, "Check 'service:web' is in critical state");
}

#[test]
fn nodes_of_others_come_and_go() {
    let mut registry = Registry::new();
    let foreign = Registration {
        node: "Other".to_owned(),
        address: "192.0.2.9".to_owned(),
        service: Some(web()),
        checks: vec![CheckDefinition {
            name: "alive".to_owned(),
            service_id: "web".to_owned(),
            status: Some(Status::Passing),
            ..CheckDefinition::default()
        }],
        ..Registration::default()
    };
    let refused =
        registry.apply(Command::Register(Registration { address: String::new(), ..foreign.clone() }));
    assert_eq!(
        refused.expect_err("refused").to_string(),
        "Must provide address if SkipNodeUpdate is not set"
    );
    registry.done(Command::Register(foreign.clone()));
    let index = registry.state.index();
    registry.done(Command::Register(foreign));
    assert_eq!(registry.state.index(), index, "the same again changes nothing");
    assert_eq!(passing(&registry, "WEB"), 1);
    assert!(registry.state.agent_services().is_empty());
    assert_eq!(registry.state.node("other").data.expect("the node").services.len(), 1);
    let again = registry.reopened();
    assert_eq!(passing(&again, "web"), 1);
    let gone = Deregistration { node: "OTHER".to_owned(), ..Deregistration::default() };
    registry.done(Command::Deregister(gone));
    assert!(registry.state.node("other").data.is_none());
    assert!(registry.state.service("web", &[]).data.is_empty());
    let own = Deregistration { node: "Node-A".to_owned(), ..Deregistration::default() };
    registry.done(Command::Deregister(own));
    assert_eq!(registry.state.nodes().data.len(), 1, "the own node stays");
}

#[test]
fn a_new_name_of_the_own_node_takes_its_services_along() {
    let mut registry = Registry::new();
    registry.done(register(web(), vec![ttl(10)]));
    registry.session(request(ONE));
    let records: Vec<_> = registry.rows.values().cloned().collect();
    let identity = weir_registry::Identity { node: "node-b".to_owned(), ..common::identity() };
    let mut state = weir_registry::State::restore(identity, records, registry.now).expect("records");
    state.start(registry.now);
    let nodes: Vec<_> = state.nodes().data.iter().map(|node| node.node.clone()).collect();
    assert_eq!(nodes, ["node-b"]);
    assert_eq!(state.agent_services().into_keys().collect::<Vec<_>>(), ["web"]);
    assert_eq!(state.sessions().data[0].node, "node-b");
    assert_eq!(state.service("consul", &[]).data.len(), 1);
}

#[test]
fn filters_are_those_of_consul() {
    let row = serde_json::json!({
        "Service": {"Tags": ["a", "b"], "Port": 80, "Meta": {"x": "y", "a.b": "c"}, "Address": ""},
        "Node": {"Node": "node-1"}
    });
    for (text, wanted) in [
        ("Service.Meta.x == y", true),
        ("Service.Meta[\"a.b\"] == `c`", true),
        ("Service.Port == 80 and Node.Node matches \"^node-\"", true),
        ("\"a\" in Service.Tags and not (\"c\" in Service.Tags)", true),
        ("b not in Service.Tags", false),
        ("Service.Tags contains \"b\"", true),
        ("Service.Address is empty or Service.Port != 80", true),
        ("Service.Meta is not empty", true),
        ("Service.Meta.none == \"\"", false),
        ("Node.Node not matches \"^x\"", true),
        ("x in Service.Meta", true),
    ] {
        assert_eq!(Filter::parse(text).expect(text).matches(&row), wanted, "{text}");
    }
    for (text, reason) in [
        ("Service.Port ==", "16: expected a value"),
        ("(Service.Port == 1", "19: expected \")\""),
        ("a == \"b", "6: the quoted text does not end"),
        ("a == b c", "8: expected \"and\", \"or\" or the end"),
    ] {
        let error = Filter::parse(text).expect_err(text).to_string();
        assert_eq!(error, format!("Failed to create boolean expression evaluator: {reason}"));
    }
    assert!(Filter::parse(&"(".repeat(100_000)).is_err());
}
