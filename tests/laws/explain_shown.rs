//! Explanations as they are shown, to people and in JSON.

#![allow(clippy::unwrap_used, reason = "a test may")]

use crate::common::{at, brought_to, ok, p, world};
use serde_json::{Value, json};
use variate::{
    Allocation, Change, Expression, NewExperiment, NewHoldout, NewLayer, NewSegment, Rule,
    Snapshot, Status, Subject,
};

/// An experiment behind every gate, of which the subjects below are let in, or not.
fn gated(status: Status) -> Snapshot {
    let rules = [
        Rule::new()
            .when("country", Expression::one_of(["DE"]))
            .unless("plan", Expression::one_of(["team"])),
        Rule::new().when("plan", Expression::one_of(["trial"])),
    ];
    let segment =
        rules.into_iter().fold(NewSegment::new("Trials").id(p("seg_t")), NewSegment::rule);
    let new = NewExperiment::by_segment("Gated", p("flg_a"))
        .id(p("exp_t"))
        .allocation(Allocation::segment(p("var_b"), p("seg_ios"), 1).unwrap().weighing(p("25")))
        .allocation(Allocation::segment(p("var_c"), p("seg_ios"), 1).unwrap().weighing(p("75")))
        .allocation(Allocation::fallback(p("var_a")).control())
        .audience(p("seg_t"))
        .traffic(p("10"))
        .stage(at(60), p("80"))
        .starts_at(at(0))
        .ends_at(at(3_600));
    let changes: Vec<Change> = vec![
        segment.into(),
        new.into(),
        NewHoldout::new("Winter", "device", p("12.5")).id(p("hld_a")).experiment(p("exp_t")).into(),
        NewLayer::new("Screen", "device").id(p("lay_a")).member(p("exp_t"), p("75")).into(),
    ];
    brought_to(&ok(&world(), changes), "exp_t", status)
}

/// The way of a subject that is let in by the schedule, the holdout and the layer, to people.
const LET_IN: &str = "\
\x20 status    active
  schedule  1970-01-01T00:01:30.000Z lies within its time; by its stages 80 % enter
  subject   device \"device-2\"
  holdout   hld_a: point 1096198293 (25.52 %) does not lie below 536870912 (12.50 %)
  layer     lay_a: point 1409031793 is exp_t's
";

/// The same in JSON.
const LET_IN_JSON: &str = r#"
    {"gate": "status", "status": "active"},
    {"gate": "schedule", "now": "1970-01-01T00:01:30.000Z", "starts_at": "1970-01-01T00:00:00.000Z",
     "ends_at": "1970-01-01T01:00:00.000Z", "open": true, "traffic": 80},
    {"gate": "subject", "kind": "device", "id": "device-2"},
    {"gate": "holdout", "holdout_id": "hld_a", "point": 1096198293, "end": 536870912, "held_out": false},
    {"gate": "layer", "layer_id": "lay_a", "point": 1409031793, "owner": "exp_t", "inside": true}"#;

/// What is said of a subject of `exp_t` to people, and in JSON, a list without its brackets.
#[track_caller]
fn check_example(status: Status, subject: &Subject<'_>, seconds: i64, text: &str, json: &str) {
    let snapshot = gated(status);
    let now = at(seconds);
    let explanation = snapshot.explain("exp_t", &subject.clone().with_clock(&now));
    assert_eq!(explanation.to_string() + "\n", text);
    let steps: Value = format!("[{json}]").parse().unwrap();
    let shown = serde_json::to_value(&explanation).unwrap();
    assert_eq!(shown.get("steps"), Some(&steps));
}

#[test]
fn the_way_in_and_what_keeps_out_of_it_are_shown() {
    let german = [("country", "DE"), ("platform", "ios17")];
    let team = [("country", "DE"), ("plan", "team")];
    let subject = Subject::new("device-2").with_attributes(&german);
    let active = Status::Active;
    check_example(
        active,
        &subject,
        90,
        &format!(
            "exp_t → var_c (segment seg_ios)\n{LET_IN}\
            \x20 audience  seg_t (version 1) matches: rules[0] matches\n\
            \x20 traffic   point 2223838385 (51.78 %) lies below 3435973836 (80.00 %)\n\
            \x20 segment   seg_ios (version 1) matches: rules[0] matches\n\
            \x20 split     point 3706885190 lies in 1073741824..4294967296, which is var_c's\n"
        ),
        &format!(
            r#"{LET_IN_JSON},
            {{"gate": "audience", "segment_id": "seg_t", "version": 1, "matched": true,
              "rules": [{{"matched": true}}]}},
            {{"gate": "traffic", "point": 2223838385, "end": 3435973836}},
            {{"gate": "segment", "segment_id": "seg_ios", "version": 1, "matched": true,
              "rules": [{{"matched": true}}]}},
            {{"gate": "split", "point": 3706885190, "start": 1073741824, "end": 4294967296,
              "variation_id": "var_c"}}"#
        ),
    );
    check_example(
        active,
        &subject.clone().with_attributes(&team),
        90,
        &format!(
            "exp_t → nothing (not_targeted)\n{LET_IN}\
            \x20 audience  seg_t (version 1) does not match: rules[0] fails at not_match.plan, \
            which is \"team\"; rules[1] fails at match.plan, which is \"team\"\n"
        ),
        &format!(
            r#"{LET_IN_JSON},
            {{"gate": "audience", "segment_id": "seg_t", "version": 1, "matched": false, "rules": [
                {{"matched": false, "failed": "not_match.plan", "found": "\"team\""}},
                {{"matched": false, "failed": "match.plan", "found": "\"team\""}}
            ]}}"#
        ),
    );
    check_example(
        active,
        &subject,
        -1,
        "exp_t → nothing (before_start)\n  status    active\n  schedule  1969-12-31T23:59:59.000Z lies \
        before 1970-01-01T00:00:00.000Z, when it begins\n",
        r#"{"gate": "status", "status": "active"},
        {"gate": "schedule", "now": "1969-12-31T23:59:59.000Z", "open": false, "traffic": 0,
         "starts_at": "1970-01-01T00:00:00.000Z", "ends_at": "1970-01-01T01:00:00.000Z"}"#,
    );
}

#[test]
fn what_the_guards_of_an_experiment_come_to_is_shown() {
    let (active, paused) = (Status::Active, Status::Paused);
    let kept = |id: &'static str| Subject::new(id).kept("exp_t", "var_c");
    let way = |id: &str| LET_IN.replace("active", "paused").replace("device-2", id);
    let way_json = |id: &str| LET_IN_JSON.replace("active", "paused").replace("device-2", id);
    check_example(
        paused,
        &kept("device-2"),
        90,
        &format!("exp_t → var_c (kept)\n{}  kept      var_c\n", way("device-2")),
        &format!(r#"{}, {{"gate": "kept", "variation_id": "var_c"}}"#, way_json("device-2")),
    );
    let [text, json] = [way("device-8"), way_json("device-8")];
    let (text, json) = (
        text.split("  holdout").next().unwrap(),
        json.split("{\"gate\": \"holdout\"").next().unwrap(),
    );
    check_example(
        paused,
        &kept("device-8"),
        90,
        &format!(
            "exp_t → nothing (paused)\n{text}  holdout   hld_a: point 275530149 (6.42 %) lies below 536870912 (12.50 %)\n"
        ),
        &format!(
            r#"{json} {{"gate": "holdout", "holdout_id": "hld_a", "point": 275530149,
            "end": 536870912, "held_out": true}}"#
        ),
    );
    let [text, json] = [LET_IN, LET_IN_JSON].map(|way| way.replace("device-2", "device-0"));
    check_example(
        active,
        &Subject::new("device-0"),
        90,
        &format!(
            "exp_t → nothing (outside_layer_slot)\n{}",
            text.replace("1096198293 (25.52 %)", "936244606 (21.80 %)")
                .replace("1409031793 is exp_t's", "1069023014 is nobody's")
        ),
        &json.replace("1096198293", "936244606").replace(
            r#"1409031793, "owner": "exp_t", "inside": true"#,
            r#"1069023014, "owner": null, "inside": false"#,
        ),
    );
    let [text, json] =
        [LET_IN.split("device \"").next(), LET_IN_JSON.split("{\"gate\": \"subject\"").next()];
    check_example(
        active,
        &Subject::of("user", "u-7"),
        90,
        &format!(
            "exp_t → nothing (missing_subject_id)\n{}has no id of kind device\n",
            text.unwrap()
        ),
        &format!(r#"{} {{"gate": "subject", "kind": "device", "id": null}}"#, json.unwrap()),
    );
    check_example(
        Status::Draft,
        &Subject::new("device-2").forced("exp_t", "var_b"),
        90,
        "exp_t → var_b (forced)\n  forced    into var_b\n",
        r#"{"gate": "forced", "variation_id": "var_b"}"#,
    );
    check_example(
        Status::Draft,
        &Subject::new("device-2").forced("exp_t", "typo").kept("exp_t", "var_none"),
        90,
        "exp_t → nothing (draft)\n  forced    typo is no arm, and is passed over\n  \
        kept      var_none is no arm, and is passed over\n  status    draft\n",
        r#"{"gate": "passed_over", "variation_id": "typo", "forced": true, "is_arm": false},
        {"gate": "passed_over", "variation_id": "var_none", "forced": false, "is_arm": false},
        {"gate": "status", "status": "draft"}"#,
    );
    check_example(
        Status::Draft,
        &kept("device-2"),
        90,
        "exp_t → nothing (draft)\n  kept      var_c is not kept now, and is passed over\n  \
        status    draft\n",
        r#"{"gate": "passed_over", "variation_id": "var_c", "forced": false, "is_arm": true},
        {"gate": "status", "status": "draft"}"#,
    );
}

#[test]
fn what_is_attached_is_shown() {
    let attached = |variation| Subject::new("").attached("exp_t", variation);
    check_example(
        Status::Paused,
        &attached("var_b"),
        90,
        "exp_t → var_b (attached)\n  status    paused\n  \
        schedule  1970-01-01T00:01:30.000Z lies within its time; by its stages 80 % enter\n  \
        attached  to var_b\n",
        r#"{"gate": "status", "status": "paused"},
        {"gate": "schedule", "now": "1970-01-01T00:01:30.000Z",
         "starts_at": "1970-01-01T00:00:00.000Z", "ends_at": "1970-01-01T01:00:00.000Z",
         "open": true, "traffic": 80},
        {"gate": "attached", "variation_id": "var_b"}"#,
    );
    check_example(
        Status::Draft,
        &attached("var_d").attached("exp_t", "var_b"),
        90,
        "exp_t → nothing (draft)\n  attached  var_d is no arm, and is passed over\n  \
        attached  var_b is not attached now, and is passed over\n  status    draft\n",
        r#"{"gate": "passed_over", "variation_id": "var_d", "forced": false, "is_arm": false,
         "attached": true},
        {"gate": "passed_over", "variation_id": "var_b", "forced": false, "is_arm": true,
         "attached": true},
        {"gate": "status", "status": "draft"}"#,
    );
}

#[test]
fn there_is_nothing_to_explain_of_what_there_is_not() {
    let snapshot = world();
    let explanation = snapshot.explain("exp_none", &Subject::new("device-42"));
    assert_eq!(explanation.to_string(), "no such experiment");
    assert!(explanation.steps().is_empty());
    let wanted = json!({"in_experiment": false, "reason": "not_found", "steps": []});
    assert_eq!(serde_json::to_value(&explanation).unwrap(), wanted);
    assert_eq!(explanation.decision(), snapshot.assign("exp_none", &Subject::new("device-42")));
}
