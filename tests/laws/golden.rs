//! Golden files: the hash gives the points, and the crate the decisions, that independent programs
//! computed. See `golden/README.md`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may"
)]

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use variate::hash::{Draw, draw_seed, point, subject_hash};
use variate::{Keep, Reason, Scratch, Snapshot, Status, Subject, Timestamp};

const SNAPSHOT: &str = include_str!("../golden/decisions/snapshot.json");
const DECISIONS: &str = include_str!("../golden/decisions/decisions.json");
const RAMPS_SNAPSHOT: &str = include_str!("../golden/decisions/ramps-snapshot.json");
const RAMPS: &str = include_str!("../golden/decisions/ramps.json");

const LAYERS_SNAPSHOT: &str = include_str!("../golden/decisions/layers-snapshot.json");
const LAYERS: &str = include_str!("../golden/decisions/layers.json");

const SWITCH_SNAPSHOT: &str = include_str!("../golden/decisions/switch-snapshot.json");
const SWITCH: &str = include_str!("../golden/decisions/switch.json");

const CHAINS_SNAPSHOT: &str = include_str!("../golden/decisions/chains-snapshot.json");
const CHAINS: &str = include_str!("../golden/decisions/chains.json");

/// Each document with the decisions on its experiments.
const FILES: &[(&str, &str)] = &[
    (SNAPSHOT, DECISIONS),
    (RAMPS_SNAPSHOT, RAMPS),
    (LAYERS_SNAPSHOT, LAYERS),
    (SWITCH_SNAPSHOT, SWITCH),
    (CHAINS_SNAPSHOT, CHAINS),
    #[cfg(feature = "launchdarkly")]
    (
        include_str!("../golden/rollouts/snapshot.json"),
        include_str!("../golden/rollouts/decisions.json"),
    ),
];

fn rows(json: &str) -> Vec<Value> {
    serde_json::from_str(json).unwrap()
}

#[test]
fn every_point_is_as_computed() {
    let rows = rows(include_str!("../golden/points.json"));
    assert!(rows.len() >= 200, "{} cases", rows.len());
    let mut draws = BTreeSet::new();
    for row in &rows {
        let text = |key: &str| row[key].as_str().unwrap();
        let draw = match text("draw") {
            "holdout" => Draw::Holdout,
            "layer" => Draw::Layer,
            "traffic" => Draw::Traffic,
            "variation" => Draw::Variation,
            other => panic!("unknown draw {other}"),
        };
        let expected = row["point"].as_u64().unwrap();
        let got = point(subject_hash(text("subject")), draw_seed(text("salt"), draw));
        assert_eq!(u64::from(got), expected, "{row}");
        draws.insert(draw);
    }
    assert_eq!(draws.len(), Draw::ALL.len());
}

/// LaunchDarkly's published values among them.
#[cfg(feature = "launchdarkly")]
#[test]
fn every_point_of_sha1_is_as_computed() {
    let rows = rows(include_str!("../golden/rollouts/points.json"));
    assert_eq!(rows.len(), 59);
    let number = |row: &Value, key: &str| row[key].as_u64().unwrap();
    for row in &rows {
        let text = |key: &str| row[key].as_str().unwrap();
        let point = variate::hash::sha1_point(text("salt"), text("subject"));
        assert_eq!(point, number(row, "point"), "{row}");
        let bucket = u128::from(point) * 100_000 / u128::from((1_u64 << 60) - 1);
        assert_eq!(bucket, number(row, "bucket").into(), "{row}");
        #[expect(clippy::cast_precision_loss, reason = "as LaunchDarkly's SDKs do")]
        let share = point as f32 / ((1_u64 << 60) - 1) as f32;
        assert_eq!(f64::from(share).to_bits(), row["share"].as_f64().unwrap().to_bits(), "{row}");
        if let Some(published) = row.get("published") {
            assert!((f64::from(share) - published.as_f64().unwrap()).abs() < 1e-7, "{row}");
        }
    }
    assert_eq!(rows.iter().filter(|row| row.get("published").is_some()).count(), 10);
}

/// When the subject of a row asks.
fn now(row: &Value) -> Option<Timestamp> {
    row["subject"].get("now").map(|now| now.as_str().unwrap().parse().unwrap())
}

/// The subject of a row: ids by kind, attributes, and what it brings, at this time.
fn subject<'r>(row: &'r Value, now: Option<&'r Timestamp>) -> Subject<'r> {
    let ids = row["subject"]["ids"].as_object().unwrap();
    let mut ids = ids.iter().map(|(kind, id)| (kind.as_str(), id.as_str().unwrap()));
    // A subject always has an id; one of a kind that no experiment goes by stands for none.
    let (kind, id) = ids.next().unwrap_or(("nothing", "nobody"));
    let subject = ids
        .fold(Subject::of(kind, id), |subject, (kind, id)| subject.with_id(kind, id))
        .with_attributes(&row["subject"]["attributes"]);
    let subject = match now {
        Some(now) => subject.with_clock(now),
        None => subject,
    };
    let brought = |key: &str| {
        let pairs = row["subject"].get(key).map(|pairs| pairs.as_array().unwrap());
        pairs
            .into_iter()
            .flatten()
            .map(|pair| (pair[0].as_str().unwrap(), pair[1].as_str().unwrap()))
    };
    let kept = brought("kept").fold(subject, |subject, (id, arm)| subject.kept(id, arm));
    brought("forced").fold(kept, |subject, (id, arm)| subject.forced(id, arm))
}

#[track_caller]
fn check(snapshot: &Snapshot, row: &Value) {
    let now = now(row);
    let subject = subject(row, now.as_ref());
    let decision = snapshot.assign(row["experiment"].as_str().unwrap(), &subject);
    let explained = snapshot.explain(row["experiment"].as_str().unwrap(), &subject);
    assert_eq!(explained.decision(), decision, "{row}");
    let segment = match decision.reason() {
        Reason::Segment(id) => Some(id.as_str()),
        _ => None,
    };
    assert_eq!(decision.reason().as_str(), row["reason"], "{row}");
    assert_eq!(segment, row.get("segment").map(|id| id.as_str().unwrap()), "{row}");
    assert_eq!(decision.variation_id().map(AsRef::as_ref), row["variation"].as_str(), "{row}");
    assert_eq!(decision.in_experiment(), row["in_experiment"], "{row}");
    assert_eq!(serde_json::to_value(decision.config()).unwrap(), row["config"], "{row}");
}

#[test]
fn every_decision_is_as_computed() {
    for &(snapshot, decisions) in FILES {
        let rows = rows(decisions);
        assert!(rows.len() >= 300, "{} decisions", rows.len());
        let snapshot = Snapshot::from_json(snapshot).unwrap();
        for row in &rows {
            check(&snapshot, row);
        }
        let reloaded = Snapshot::from_json(snapshot.to_json()).unwrap();
        for row in &rows {
            check(&reloaded, row);
        }
    }
}

#[test]
fn deciding_on_all_experiments_at_once_is_as_computed() {
    let mut scratch = Scratch::new();
    for &(snapshot, decisions) in FILES {
        let snapshot = Snapshot::from_json(snapshot).unwrap();
        for row in &rows(decisions) {
            let now = now(row);
            let subject = subject(row, now.as_ref());
            let mut all = snapshot.assign_all(&subject, &mut scratch);
            let own = all
                .find(|decision| row["experiment"] == decision.experiment_id().unwrap().as_str());
            let experiment = snapshot.experiment(row["experiment"].as_str().unwrap());
            let is_active = experiment.is_some_and(|own| own.status() == Status::Active);
            assert_eq!(own.is_some(), is_active, "{row}");
            if let Some(decision) = own {
                assert_eq!(decision.reason().as_str(), row["reason"], "{row}");
                let variation = decision.variation_id().map(AsRef::as_ref);
                assert_eq!(variation, row["variation"].as_str(), "{row}");
            }
        }
    }
}

fn reasons(rows: &[Value]) -> BTreeSet<&str> {
    rows.iter().map(|row| row["reason"].as_str().unwrap()).collect()
}

/// What the files are worth depends on what stands in them.
#[test]
fn the_decisions_cover_every_reason_and_status() {
    let rows = rows(DECISIONS);
    let reasons = reasons(&rows);
    let all = [
        "archived",
        "completed",
        "draft",
        "fallback",
        "missing_subject_id",
        "not_found",
        "not_sampled",
        "paused",
        "segment",
        "split",
    ];
    assert_eq!(reasons, BTreeSet::from(all));

    let snapshot = Snapshot::from_json(SNAPSHOT).unwrap();
    let statuses: BTreeSet<Status> = snapshot.experiments().map(|e| e.status()).collect();
    assert_eq!(statuses.len(), Status::ALL.len());
    let segments: BTreeSet<&str> = rows.iter().filter_map(|row| row["segment"].as_str()).collect();
    assert_eq!(segments.len(), snapshot.segments().count(), "each segment is met");
    let asked: BTreeMap<&str, usize> = rows.iter().fold(BTreeMap::new(), |mut asked, row| {
        *asked.entry(row["experiment"].as_str().unwrap()).or_default() += 1;
        asked
    });
    assert!(snapshot.experiments().all(|e| asked.contains_key(e.id().as_str())));

    let rebased = snapshot.experiment("exp_rebased").unwrap();
    let slices = rebased.iteration().partition().unwrap().slices().count();
    assert!(slices > rebased.allocations().len(), "it has been rebalanced");
}

#[test]
fn the_decisions_on_ramps_cover_every_way_to_bring_and_every_level() {
    let rows = rows(RAMPS);
    let snapshot = Snapshot::from_json(RAMPS_SNAPSHOT).unwrap();
    assert_eq!(reasons(&rows).len(), 12);
    let by = |reason: &str, experiment: &str| {
        let own = rows.iter().filter(|row| row["reason"] == reason);
        own.filter(|row| row["experiment"] == experiment).count()
    };
    for experiment in snapshot.experiments() {
        let (id, status) = (experiment.id().as_str(), experiment.status());
        assert!(by("forced", id) > 0, "{id}");
        assert_eq!(by("kept", id) > 0, status == Status::Paused, "{id}");
    }
    // Of the same subjects, at one level after the other.
    let served = |id: &str, treatment: bool| {
        let own = rows.iter().filter(|row| row["experiment"] == id && row["reason"] == "split");
        own.filter(|row| (row["variation"] != "var_a") == treatment).count()
    };
    let treated = ["exp_bare1", "exp_bare2", "exp_bare3"].map(|id| served(id, true));
    assert!(0 < treated[0] && treated[0] < treated[1] && treated[1] < treated[2], "{treated:?}");
    assert!(served("exp_bare1", false) > 10 && served("exp_bare2", false) > 10);
    assert!(served("exp_rebased", true) > 10 && served("exp_rebased", false) > 10);
    assert!(by("not_sampled", "exp_shares1") > by("not_sampled", "exp_shares2"));
    let statuses: BTreeSet<Status> = snapshot.experiments().map(|e| e.status()).collect();
    assert_eq!(statuses.len(), Status::ALL.len());
}

#[test]
fn the_decisions_on_layers_cover_every_gate_and_policy() {
    let rows = rows(LAYERS);
    let snapshot = Snapshot::from_json(LAYERS_SNAPSHOT).unwrap();
    let all = [
        "after_end",
        "before_start",
        "draft",
        "fallback",
        "forced",
        "held_out",
        "kept",
        "missing_subject_id",
        "not_sampled",
        "not_targeted",
        "outside_layer_slot",
        "paused",
        "segment",
        "split",
    ];
    assert_eq!(reasons(&rows), BTreeSet::from(all));
    let mut by: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    for row in &rows {
        let pair = (row["experiment"].as_str().unwrap(), row["reason"].as_str().unwrap());
        *by.entry(pair).or_default() += 1;
    }
    let count = |id: &str, reason: &str| by.get(&(id, reason)).copied().unwrap_or_default();
    for layer in snapshot.layers() {
        for (member, share) in layer.members() {
            let status = snapshot.experiment(member).unwrap().status();
            let outside = count(member.as_str(), "outside_layer_slot");
            assert_eq!(outside > 0, status == Status::Active, "{member}");
            let inside = rows.iter().filter(|row| row["experiment"] == member.as_str());
            let inside = inside.filter(|row| row["in_experiment"] == true).count();
            let can_be_in = share.millionths() > 0 && status != Status::Draft;
            assert_eq!(inside > 0, can_be_in, "{member}");
        }
    }
    for holdout in snapshot.holdouts() {
        for id in holdout.experiments() {
            let runs = snapshot.experiment(id).unwrap().status() == Status::Active;
            assert_eq!(count(id.as_str(), "held_out") > 0, runs, "{id}");
        }
    }
    for experiment in snapshot.experiments() {
        let id = experiment.id().as_str();
        assert!(count(id, "forced") > 0, "{id}");
        let keeps = match experiment.keep() {
            Keep::Always => experiment.status() != Status::Draft,
            Keep::WhilePaused => experiment.status() == Status::Paused,
            _ => false,
        };
        assert_eq!(count(id, "kept") > 0, keeps, "{id}");
    }
    for id in ["exp_times", "exp_base", "exp_every"] {
        let closed = count(id, "before_start") + count(id, "after_end");
        assert!(closed > 0, "{id}");
    }
    assert!(count("exp_audience", "not_targeted") > 5 && count("exp_audience", "split") > 5);
    assert!(count("exp_segments", "segment") > 20 && count("exp_segments", "fallback") > 5);
}

#[test]
fn the_decisions_on_the_switch_cover_what_it_reaches() {
    let rows = rows(SWITCH);
    let snapshot = Snapshot::from_json(SWITCH_SNAPSHOT).unwrap();
    let count = |experiment: &str, reason: &str, variation: Option<&str>| {
        let own = rows.iter().filter(|row| row["experiment"] == experiment);
        let own = own.filter(|row| row["reason"] == reason);
        own.filter(|row| row["variation"].as_str() == variation).count()
    };
    for (id, off) in
        [("exp_soon", Some("var_9")), ("exp_paused", Some("var_9")), ("exp_dark", None)]
    {
        assert!(count(id, "flag_off", off) > 20, "{id}");
    }
    assert!(count("exp_bright", "held_out", Some("var_z")) > 5);
    assert!(count("exp_bright", "not_sampled", Some("var_y")) > 0);
    assert!(rows.iter().all(|row| row["experiment"] != "exp_over" || row["reason"] != "held_out"));
    for experiment in snapshot.experiments() {
        assert!(rows.iter().any(|row| {
            row["experiment"] == experiment.id().as_str() && row["reason"] == "forced"
        }));
    }
}

#[test]
fn the_decisions_on_chains_cover_every_hold() {
    let rows = rows(CHAINS);
    let count = |experiment: &str, reason: &str| {
        let own = rows.iter().filter(|row| row["experiment"] == experiment);
        own.filter(|row| row["reason"] == reason).count()
    };
    for id in ["exp_second", "exp_third", "exp_user", "exp_tie1", "exp_tie9", "exp_sharing"] {
        assert!(count(id, "elsewhere") > 3 && count(id, "split") > 0, "{id}");
    }
    assert!(count("exp_first", "elsewhere") > 0 && count("exp_first", "not_sampled") > 3);
    assert!(count("exp_paused", "kept") > 0 && count("exp_paused", "paused") > 20);
    assert!(count("exp_behind", "held_out") > 3 && count("exp_sharing", "outside_layer_slot") > 3);
    assert_eq!(count("exp_free", "elsewhere") + count("exp_off", "elsewhere"), 0);
    for id in ["exp_third", "exp_paused", "exp_tie9", "exp_draft", "exp_sharing"] {
        assert!(count(id, "forced") > 0, "{id}");
    }
}
