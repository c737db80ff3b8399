//! Whatever a request is, it is answered, and what is refused changes nothing (which
//! [`Api::send`](crate::support::Api::send) sees to).

use proptest::prelude::*;
use serde_json::{Value, json};

use crate::support::Api;

/// Values that are seldom right.
fn strange() -> impl Strategy<Value = Value> {
    let values = [
        json!(null),
        json!(true),
        json!(-1),
        json!(0),
        json!(1.5),
        json!(u64::MAX),
        json!(1e300),
        json!(""),
        json!("x"),
        json!("active"),
        json!("\u{0}\u{fffd}"),
        json!("a".repeat(5_000)),
        json!([]),
        json!({}),
        json!([[]]),
    ];
    prop::sample::select(values.to_vec())
}

const FIELDS: [&str; 15] = [
    "name",
    "alias_id",
    "description",
    "segment_percent",
    "primary_metric",
    "goal_value",
    "goal_direction",
    "context_key",
    "is_context_specific",
    "status",
    "weight",
    "is_control",
    "remote_config_uid",
    "group_id",
    "nobody knows",
];

const PATHS: [&str; 9] = [
    "",
    "/a",
    "/b",
    "/summary",
    "/a/status",
    "/b/groups",
    "/a/groups",
    "/b/groups/{group}",
    "/a/users/u",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn no_request_is_too_strange(
        requests in prop::collection::vec(
            (
                prop::sample::select(vec!["GET", "POST", "PATCH", "DELETE"]),
                prop::sample::select(PATHS.to_vec()),
                prop::collection::btree_map(prop::sample::select(FIELDS.to_vec()), strange(), 0..4),
            ),
            1..8,
        ),
    ) {
        let api = Api::new();
        api.running("a", json!({"context_key": "c"}));
        let (_, [group, _]) = api.ready("b", json!({}));
        for (method, path, body) in requests {
            let path = format!("/v4/experiments{}", path.replace("{group}", &group));
            let body = serde_json::to_vec(&body).unwrap();
            let answer = api.request(method, &path, body);
            prop_assert!(answer.status != 500);
        }
        // What is there can be read back.
        let document = api.surface().keeper().to_json().unwrap();
        let again = variate::Keeper::from_json(&document).unwrap();
        prop_assert_eq!(again.to_json().unwrap(), document);
    }
}
