//! Lists of experiments, and the paths of the surface.

use serde_json::{Value, json};

use crate::support::{Api, EXPERIMENTS, stop_with, treatment};

/// Four experiments: `draft`, `running` (on `seg_beta`, reads errors), `stopped` and `archived`;
/// and `colour`, on the other flag.
fn many() -> Api {
    let api = Api::new();
    api.create("draft");
    let mut body = api.experiment("running");
    body["iteration"]["flags"]["button"]["ruleId"] = json!("seg_beta");
    body["iteration"]["metrics"] = json!([{"key": "clicks"}, {"key": "errors"}]);
    api.create_from(&body);
    api.start("running");
    api.run("stopped");
    api.stop("stopped");
    api.run("archived");
    let away = json!([stop_with("var_a"), {"kind": "archiveExperiment"}]);
    api.patch("archived", away).ok();
    let mut body = api.experiment("colour");
    let version = api.version("colour");
    body["iteration"]["flags"] =
        json!({"colour": {"ruleId": "fallthrough", "flagConfigVersion": version}});
    let mut arms = [treatment("var_x", "50", true), treatment("var_y", "50", false)];
    for arm in &mut arms {
        arm["parameters"][0]["flagKey"] = json!("colour");
    }
    body["iteration"]["treatments"] = json!(arms);
    api.create_from(&body);
    api
}

fn keys(page: &Value) -> Vec<&str> {
    page["items"].as_array().unwrap().iter().map(|own| own["key"].as_str().unwrap()).collect()
}

#[test]
fn filters() {
    let api = many();
    let check = |query: &str, expected: &[&str]| {
        let page = api.get(&format!("{EXPERIMENTS}{query}")).ok();
        assert_eq!(keys(&page), expected, "{query}");
        assert_eq!(page["total_count"], expected.len(), "{query}");
    };
    let active = ["draft", "running", "stopped", "colour"];
    check("", &active);
    check("?filter=", &active);
    check("?unknown=1", &active);
    check("?filter=flagKey:colour", &["colour"]);
    check("?filter=flagKey:none", &[]);
    check("?filter=flagKey:colour,flagKey:button", &active);
    check("?filter=flagKey:colour&filter=flagKey:button", &active);
    check("?filter=metricKey:errors", &["running"]);
    check("?filter=metricKey:clicks", &active);
    check("?filter=metricKey:none", &[]);
    check("?filter=status:not_started", &["draft", "colour"]);
    check("?filter=status:running", &["running"]);
    check("?filter=status:stopped", &["stopped"]);
    check("?filter=status:running,status:stopped", &["running", "stopped"]);
    check("?filter=flagKey:button,status:not_started", &["draft"]);
    check("?filter=flagKey:button,metricKey:errors,status:stopped", &[]);
    check("?lifecycleState=active", &active);
    check("?lifecycleState=", &active);
    check("?lifecycleState=archived", &["archived"]);
    let all = ["draft", "running", "stopped", "archived", "colour"];
    check("?lifecycleState=archived,active", &all);
    check("?lifecycleState=archived&filter=status:stopped", &["archived"]);
    check("?lifecycleState=archived&filter=status:running", &[]);

    let refused = |query: &str, attribute: &str| {
        api.get(&format!("{EXPERIMENTS}{query}")).refused(400, "invalid_request", attribute);
    };
    refused("?filter=status:paused", "filter");
    refused("?filter=name:cta", "filter");
    refused("?filter=flagKey", "filter");
    refused("?lifecycleState=deleted", "lifecycleState");
    refused("?expand=everything", "expand");
    refused("?limit=0", "limit");
    refused("?limit=-1", "limit");
    refused("?limit=ten", "limit");
    refused("?offset=-1", "offset");
}

#[test]
fn pages() {
    let api = many();
    let all = "?lifecycleState=archived,active";
    let whole = api.get(&format!("{EXPERIMENTS}{all}")).ok();
    assert_eq!(whole["_links"].get("next"), None);
    assert_eq!(whole["_links"].get("prev"), None);
    // Whoever follows the links sees everything once, and keeps the filter.
    for limit in 1..=6 {
        let mut path = format!("{EXPERIMENTS}{all}&filter=metricKey:clicks&limit={limit}");
        let mut seen = Vec::new();
        let mut pages = 0;
        loop {
            let page = api.get(&path).ok();
            assert_eq!(page["total_count"], 5);
            assert!(page["items"].as_array().unwrap().len() <= limit);
            seen.extend(keys(&page).into_iter().map(str::to_owned));
            pages += 1;
            let href = |name: &str| page["_links"][name]["href"].as_str().map(str::to_owned);
            assert_eq!(page["_links"]["self"]["type"], "application/json");
            let own = href("self").unwrap();
            assert_eq!(keys(&api.get(own.strip_prefix("/api/v2").unwrap()).ok()), keys(&page));
            assert_eq!(href("prev").is_some(), pages > 1);
            let Some(next) = href("next") else { break };
            path = next.strip_prefix("/api/v2").unwrap().to_owned();
        }
        assert_eq!(pages, 5_usize.div_ceil(limit));
        assert_eq!(seen, keys(&whole), "limit {limit}");
    }
    let beyond = api.get(&format!("{EXPERIMENTS}?offset=100")).ok();
    assert_eq!((keys(&beyond), &beyond["total_count"]), (Vec::new(), &json!(4)));
    let huge = api.get(&format!("{EXPERIMENTS}?limit=18446744073709551615&offset=2")).ok();
    assert_eq!(keys(&huge).len(), 2);
}

#[test]
fn across_environments() {
    let api = many();
    let page =
        api.get("/projects/default/experiments?filter=status:running&expand=treatments").ok();
    assert_eq!(keys(&page), ["running"]);
    assert_eq!(page["items"][0]["environmentKey"], "production");
    assert!(page["items"][0]["currentIteration"]["treatments"].is_array());
    let own = page["_links"]["self"]["href"].as_str().unwrap();
    assert!(own.starts_with("/api/v2/projects/default/experiments?"), "{own}");
}

#[test]
fn there_is_one_project_and_one_environment() {
    let api = Api::with(|surface| surface.project("shop").environment("test stage"));
    let environment = "/projects/shop/environments/test%20stage/experiments";
    assert_eq!(api.get(environment).ok()["total_count"], 0);
    let none = |path: &str| _ = api.get(path).refused(404, "not_found", "");
    none("/projects/default/environments/test%20stage/experiments");
    none("/projects/shop/environments/production/experiments");
    none("/projects/default/experiments");
    none("/flags/default");
    none("/metrics/default");
    none(&format!("{environment}/none"));
    none("/projects/shop/environments/test%20stage/experiments/");
    none("/projects//experiments");
    none("/projects/shop/environments/test%20stage");
    none("/members");
}

#[test]
fn methods() {
    let api = many();
    let check = |method: &str, path: &str, allow: &str| {
        let answer = api.request(method, path, Vec::new());
        answer.refused(405, "method_not_allowed", "");
        assert_eq!(answer.headers["allow"], allow, "{path}");
    };
    check("DELETE", &format!("{EXPERIMENTS}/draft"), "GET, PATCH");
    check("PUT", &format!("{EXPERIMENTS}/draft"), "GET, PATCH");
    check("PATCH", EXPERIMENTS, "GET, POST");
    check("GET", &format!("{EXPERIMENTS}/draft/iterations"), "POST");
    check("POST", "/projects/default/experiments", "GET");
    check("DELETE", "/flags/default/button", "GET, PATCH");
    check("DELETE", "/metrics/default/clicks", "GET");
}
