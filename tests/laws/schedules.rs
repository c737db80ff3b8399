//! Schedules: when an experiment is open, which share of subjects has entered by when, and how often
//! the clock is read.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may")]

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::common::{at, brought_to, ok, p, share, world};
use proptest::prelude::*;
use proptest::sample::select;
use variate::hash::{Draw, draw_seed, point, subject_hash};
use variate::{
    Allocation, Change, Clock, ExperimentPatch, Keep, NewExperiment, NewHoldout, Percentage,
    Reason, Snapshot, Stage, Status, Subject, Timestamp,
};

fn millis(millis: i64) -> Timestamp {
    Timestamp::from_unix_millis(millis).unwrap()
}

fn percent(millionths: u64) -> Percentage {
    Percentage::from_millionths(millionths).unwrap()
}

/// A schedule, in milliseconds and millionths of a percent.
#[derive(Debug, Clone)]
struct Times {
    start: Option<i64>,
    end: Option<i64>,
    stages: Vec<(i64, u64)>,
    traffic: u64,
}

impl Times {
    /// The world with `exp_t`, active with this schedule.
    fn running(&self) -> Snapshot {
        let new = NewExperiment::by_percentage("Scheduled", p("flg_a"))
            .id(p("exp_t"))
            .allocation(share("var_a", "30").control())
            .allocation(share("var_b", "70"))
            .outside_variation_id(p("var_d"))
            .traffic(percent(self.traffic));
        let new = self
            .stages
            .iter()
            .fold(new, |new, (at, share)| new.stage(millis(*at), percent(*share)));
        let new = self.start.into_iter().fold(new, |new, at| new.starts_at(millis(at)));
        let new = self.end.into_iter().fold(new, |new, at| new.ends_at(millis(at)));
        brought_to(&ok(&world(), new), "exp_t", Status::Active)
    }

    /// Whether it is open, as plainly as it can be put; if not, the reason.
    fn closed(&self, now: i64) -> Option<&'static str> {
        match (self.start, self.end) {
            (Some(start), _) if now < start => Some("before_start"),
            (_, Some(end)) if now >= end => Some("after_end"),
            _ => None,
        }
    }

    /// The share that has entered, in millionths of a percent.
    fn traffic_at(&self, now: i64) -> u64 {
        let begun = self.stages.iter().filter(|(at, _)| *at <= now).map(|(_, share)| *share);
        begun.chain([self.traffic]).max().unwrap()
    }

    /// The moments at which something changes, and those around them.
    fn moments(&self) -> Vec<i64> {
        let stages = self.stages.iter().map(|(at, _)| *at);
        let all = stages.chain(self.start).chain(self.end);
        let mut all: Vec<_> = all.flat_map(|at| [at - 1, at, at + 1]).collect();
        all.extend([-62_167_219_200_000, -1, 0, 253_402_300_799_999]);
        all.sort_unstable();
        all
    }
}

fn any_times() -> impl Strategy<Value = Times> {
    let moment = || 0..10_000_i64;
    let stages = prop::collection::btree_map(moment(), 0..=100_000_000_u64, 0..6);
    let bounds = (prop::option::of(0..5_000_i64), prop::option::of(5_000..10_000_i64));
    let traffic = select(vec![0, 0, 1, 10_000_000, 55_555_555, 100_000_000]);
    (bounds, stages, traffic).prop_map(|((start, end), stages, traffic)| {
        // As high as the moments are late.
        let mut shares: Vec<_> = stages.values().copied().collect();
        shares.sort_unstable();
        shares.dedup();
        Times { start, end, stages: stages.into_keys().zip(shares).collect(), traffic }
    })
}

/// The subject's point in the draw of the traffic of `exp_t`.
fn traffic_point(id: &str) -> u64 {
    point(subject_hash(id), draw_seed("exp_t", Draw::Traffic)).into()
}

proptest! {
    #[test]
    fn a_schedule_decides_as_it_says(times in any_times(), ids in prop::collection::vec("[a-z]{1,6}", 20)) {
        let snapshot = times.running();
        let restored = Snapshot::from_json(snapshot.to_json()).unwrap();
        prop_assert!(restored == snapshot);
        // Who has entered, and in which arm.
        let mut entered: BTreeMap<&str, String> = BTreeMap::new();
        for now in times.moments() {
            let clock = millis(now);
            for id in &ids {
                let subject = Subject::new(id).with_clock(&clock);
                let decision = snapshot.assign("exp_t", &subject);
                prop_assert_eq!(restored.assign("exp_t", &subject), decision);
                let end = (u128::from(times.traffic_at(now)) << 32) / 100_000_000;
                let wanted = match times.closed(now) {
                    Some(closed) => closed,
                    None if u128::from(traffic_point(id)) < end => "split",
                    None => "not_sampled",
                };
                prop_assert_eq!(decision.reason().as_str(), wanted, "{} at {}", id, now);
                let served = decision.variation_id().map(ToString::to_string);
                prop_assert_eq!(served.is_some(), times.closed(now).is_none());
                if wanted == "split" {
                    let arm = served.unwrap();
                    let before = entered.entry(id).or_insert_with(|| arm.clone());
                    prop_assert_eq!(&*before, &arm, "{} has changed arm by {}", id, now);
                } else if times.closed(now).is_none() {
                    prop_assert!(!entered.contains_key(id.as_str()), "{} has left by {}", id, now);
                }
            }
        }
    }
}

/// A clock that counts how often it is read, and says something else each time.
#[derive(Default)]
struct Counting(AtomicUsize);

impl Clock for Counting {
    fn now(&self) -> Timestamp {
        at(i64::try_from(self.0.fetch_add(1, Ordering::Relaxed)).unwrap())
    }
}

#[track_caller]
fn check_reads(
    snapshot: &Snapshot,
    id: &str,
    bring: impl Fn(Subject<'_>) -> Subject<'_>,
    wanted: usize,
) {
    let by: [fn(&Snapshot, &str, &Subject<'_>); 4] = [
        |snapshot, id, subject| _ = snapshot.assign(id, subject),
        |snapshot, id, subject| _ = snapshot.explain(id, subject),
        |snapshot, id, subject| _ = snapshot.plan(id).unwrap().assign(subject),
        |snapshot, id, subject| _ = snapshot.plan(id).unwrap().explain(subject),
    ];
    for assign in by {
        let clock = Counting::default();
        assign(snapshot, id, &bring(Subject::new("device-42").with_clock(&clock)));
        assert_eq!(clock.0.load(Ordering::Relaxed), wanted);
    }
}

#[test]
fn the_clock_is_read_once_for_a_schedule_and_else_not_at_all() {
    let segments = |id: &str| {
        NewExperiment::by_segment(format!("By segment {id}"), p("flg_a"))
            .id(p(id))
            .keep(Keep::Always)
            .allocation(Allocation::segment(p("var_a"), p("seg_germany"), 1).unwrap())
            .allocation(Allocation::fallback(p("var_a")).control())
    };
    let drafts = ok(
        &world(),
        vec![
            segments("exp_s").stage(at(5), p("10")).starts_at(at(1)).into(),
            segments("exp_t").into(),
            NewHoldout::new("Holdout", "device", p("50")).experiment(p("exp_t")).into(),
        ],
    );
    for status in Status::ALL {
        let snapshot = ["exp_s", "exp_t", "exp_weights"]
            .iter()
            .fold(drafts.clone(), |snapshot, id| brought_to(&snapshot, id, *status));
        let once = usize::from(matches!(status, Status::Active | Status::Paused));
        let brought: [fn(Subject<'_>) -> Subject<'_>; 5] = [
            |subject| subject,
            |subject| subject.forced("exp_s", "var_a").forced("exp_t", "var_a"),
            |subject| subject.kept("exp_s", "var_a").kept("exp_t", "var_a"),
            |subject| subject.kept("exp_s", "var_x").kept("exp_s", "var_a"),
            |subject| subject.forced("exp_s", "var_x").kept("exp_s", "var_a"),
        ];
        for bring in brought {
            check_reads(&snapshot, "exp_s", bring, once);
            check_reads(&snapshot, "exp_t", bring, 0);
            check_reads(&snapshot, "exp_weights", bring, 0);
        }
    }
}

/// Without a clock of its own a subject goes by the system's.
#[test]
fn the_clock_is_the_systems_unless_the_subject_brings_one() {
    let now = Timestamp::now().unix_millis();
    let hour = 3_600_000;
    let reason = |start: i64, end: i64| {
        let times =
            Times { start: Some(start), end: Some(end), stages: Vec::new(), traffic: 100_000_000 };
        let snapshot = times.running();
        let decision = snapshot.assign("exp_t", &Subject::new("device-42"));
        decision.reason().as_str()
    };
    assert_eq!(reason(now - hour, now + hour), "split");
    assert_eq!(reason(now + hour, now + 2 * hour), "before_start");
    assert_eq!(reason(now - 2 * hour, now - hour), "after_end");
}

/// What `device-42` meets at this second of the epoch.
fn reason(snapshot: &Snapshot, seconds: i64) -> Reason<'_> {
    let clock = at(seconds);
    snapshot.assign("exp_t", &Subject::new("device-42").with_clock(&clock)).reason()
}

#[test]
fn an_edit_takes_effect_at_once_and_stages_begin_at_nobody() {
    let stage = |at, traffic: &str| Stage { at: crate::common::at(at), traffic: p(traffic) };
    let new = NewExperiment::by_percentage("Staged", p("flg_a"))
        .id(p("exp_t"))
        .allocation(share("var_a", "100").control())
        .stage(at(10), p("0.000001"))
        .stage(at(20), p("100"));
    let running = brought_to(&ok(&world(), new), "exp_t", Status::Active);
    let own = running.experiment("exp_t").unwrap();
    assert_eq!((own.traffic(), own.stages().len()), (Percentage::ZERO, 2));
    assert_eq!(
        [9, 19, 20].map(|now| reason(&running, now).as_str()),
        ["not_sampled", "not_sampled", "split"]
    );
    let patch = |patch: ExperimentPatch| Change::patch_experiment(&p("exp_t"), patch);
    let later = ok(&running, patch(ExperimentPatch::new().stages([stage(30, "100")])));
    assert_eq!(
        [20, 29, 30].map(|now| reason(&later, now).as_str()),
        ["not_sampled", "not_sampled", "split"]
    );
    let ending = ok(&running, patch(ExperimentPatch::new().ends_at(at(25)).starts_at(at(20))));
    let wanted = ["before_start", "split", "split", "after_end"];
    assert_eq!([19, 20, 24, 25].map(|now| reason(&ending, now).as_str()), wanted);
    let cleared = ok(
        &ending,
        patch(
            ExperimentPatch::new().clear_ends_at().clear_starts_at().stages([]).traffic(p("100")),
        ),
    );
    assert_eq!([0, 25].map(|now| reason(&cleared, now).as_str()), ["split", "split"]);
    // A schedule assigns nobody to what is not active, and only active ones end.
    let paused = ok(&ending, Change::set_experiment_status(&p("exp_t"), Status::Paused));
    assert_eq!([19, 25].map(|now| reason(&paused, now).as_str()), ["paused", "paused"]);
}
