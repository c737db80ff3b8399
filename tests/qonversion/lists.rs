//! Lists, pages, and the summary.

use serde_json::{Value, json};

use crate::support::{Api, EXPERIMENTS};

/// The aliases on a page.
fn aliases(page: &Value) -> Vec<String> {
    let data = page["data"].as_array().unwrap();
    data.iter().map(|own| own["alias_id"].as_str().unwrap().to_owned()).collect()
}

fn many(count: usize) -> Api {
    let api = Api::new();
    for number in 0..count {
        api.draft(&format!("e{number}"), json!({}));
    }
    api
}

#[test]
fn pages_are_gone_through_without_a_gap() {
    let api = many(45);
    let expected: Vec<String> = (0..45).rev().map(|number| format!("e{number}")).collect();
    for limit in [1, 7, 20, 44, 45, 46, 100] {
        let (mut all, mut cursor) = (Vec::new(), String::new());
        loop {
            let page = api.get(&format!("{EXPERIMENTS}?limit={limit}{cursor}")).ok();
            assert_eq!((&page["object"], &page["url"]), (&json!("list"), &json!(EXPERIMENTS)));
            let own = aliases(&page);
            all.extend(own.iter().cloned());
            if page["has_more"] == json!(false) {
                break;
            }
            assert_eq!(own.len(), limit);
            let next = page["next_cursor"].as_str().unwrap();
            assert_eq!(page["data"][limit - 1]["id"], next);
            cursor = format!("&starting_after={next}");
        }
        assert_eq!(all, expected, "{limit}");
    }
    let whole = api.get(EXPERIMENTS).ok();
    assert_eq!((aliases(&whole).len(), &whole["has_more"]), (20, &json!(true)));
    let empty = Api::new().get(EXPERIMENTS).ok();
    assert_eq!(empty, json!({"object": "list", "url": EXPERIMENTS, "data": [], "has_more": false}));
}

#[test]
fn what_is_created_meanwhile_is_on_no_later_page() {
    let api = many(5);
    let first = api.get(&format!("{EXPERIMENTS}?limit=2")).ok();
    api.draft("new", json!({}));
    let next = first["next_cursor"].as_str().unwrap();
    let second = api.get(&format!("{EXPERIMENTS}?limit=3&starting_after={next}")).ok();
    assert_eq!(aliases(&second), ["e2", "e1", "e0"]);
}

#[test]
fn a_list_begins_anew_when_its_cursor_is_gone() {
    let api = many(5);
    let page = api.get(&format!("{EXPERIMENTS}?limit=2"));
    let next = page.body["next_cursor"].as_str().unwrap().to_owned();
    assert!(!page.headers.contains_key("x-qon-pagination-restarted"));
    let path = format!("{EXPERIMENTS}?limit=2&starting_after={next}");
    assert!(!api.get(&path).headers.contains_key("x-qon-pagination-restarted"));
    api.delete(&format!("{EXPERIMENTS}/{next}")).is(204);
    let again = api.get(&path);
    assert_eq!(again.headers["x-qon-pagination-restarted"], "true");
    assert_eq!(aliases(&again.body), ["e4", "e2"]);
    // The last one is a cursor like any other.
    let last = api.get(&format!("{EXPERIMENTS}/e0")).ok()["id"].as_str().unwrap().to_owned();
    let end = api.get(&format!("{EXPERIMENTS}?starting_after={last}"));
    assert_eq!((aliases(&end.body).len(), &end.body["has_more"]), (0, &json!(false)));
}

#[test]
fn queries_that_are_wrong() {
    let api = many(3);
    for limit in ["0", "101", "-1", "x", "", "1.5", "99999999999999999999"] {
        api.get(&format!("{EXPERIMENTS}?limit={limit}")).invalid(&["limit"]);
    }
    api.get(&format!("{EXPERIMENTS}?status=active&x")).is(200);
}

#[test]
fn groups_have_pages_too() {
    let api = Api::new();
    let path = api.draft("a", json!({}));
    let ids: Vec<String> = (0..5).map(|_| api.group(&path, json!({"weight": 1}))).collect();
    let page = api.get(&format!("{path}/groups?limit=2")).ok();
    assert_eq!((page["data"][1]["id"].as_str(), &page["has_more"]), (Some(&*ids[1]), &json!(true)));
    let rest = api.get(&format!("{path}/groups?starting_after={}", ids[1])).ok();
    assert_eq!(rest["data"].as_array().unwrap().len(), 3);
}

#[test]
fn the_summary_counts_whom_it_remembers() {
    let api = Api::new();
    let (path, [control, other]) = api.ready("a", json!({"context_key": "c"}));
    api.patch(&format!("{path}/groups/{other}"), &json!({"weight": 2})).ok();
    api.status(&path, "active").ok();
    let mut counts = [0, 0];
    for user in 0..60 {
        let got = api.ask("c", &format!("user-{user}"));
        counts[usize::from(got["variation_id"] == json!(other))] += 1;
    }
    api.post(&format!("{path}/users/by-hand"), &json!({"group_id": control})).is(200);
    let id = api.get(&path).ok()["id"].as_str().unwrap().to_owned();
    let query = "filter%5Bexperiment_uid%5D%5B%5D";
    let summary = api.get(&format!("{EXPERIMENTS}/summary?{query}={id}")).ok();
    let expected = json!({
        "object": "list", "url": "/v4/experiments/summary", "has_more": false,
        "data": [{
            "object": "experiment_summary", "experiment_uid": id, "status": "active",
            "started_at": api.get(&path).ok()["started_at"], "finished_at": null, "users": 61,
            "groups": [
                {"group_id": control, "name": null, "is_control": true, "percent": 33.333_333,
                 "users": counts[0] + 1, "attached_users": 1},
                {"group_id": other, "name": "Short", "is_control": false, "percent": 66.666_667,
                 "users": counts[1], "attached_users": 0},
            ],
        }],
    });
    assert_eq!(summary, expected);
    // Unescaped brackets, an alias, several.
    let both =
        format!("{EXPERIMENTS}/summary?filter[experiment_uid][]=a&filter[experiment_uid][]={id}");
    let both = api.get(&both).ok();
    assert_eq!(both["data"], json!([expected["data"][0], expected["data"][0]]));

    let field = "filter[experiment_uid][]";
    api.get(&format!("{EXPERIMENTS}/summary")).invalid(&[field]);
    let many = |count| vec![format!("{field}=a"); count].join("&");
    api.get(&format!("{EXPERIMENTS}/summary?{}", many(50))).is(200);
    api.get(&format!("{EXPERIMENTS}/summary?{}", many(51))).invalid(&[field]);
    api.get(&format!("{EXPERIMENTS}/summary?{field}=none")).refused(
        404,
        "resource",
        "not_found",
        &[],
    );
}
