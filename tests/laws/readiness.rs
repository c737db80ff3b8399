//! Readiness: every reason why an experiment cannot start is found and named, is never stale, and
//! decides whether an activation succeeds.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test may")]

use std::collections::BTreeSet;
use std::num::NonZeroU32;

use crate::common::{apply, brought_to, ok, p, share, world};
use proptest::prelude::*;
use variate::ViolationCode::{
    self, AllocationMissingPriority, AllocationMissingSegment, DuplicatePriority, DuplicateSegment,
    DuplicateVariation, ExperimentActiveLimitExceeded, ExperimentInvalidAllocationWeights,
    ExperimentMissingAllocations, ExperimentMissingControl, ExperimentMissingDefault,
    FallbackNotPlain, FeatureFlagNotActive, FlagOff, RampMissingTreatment, SegmentNotActive,
    VariationNotFromFlag,
};
use variate::{
    ActiveLimit, Allocation, Change, Code, ExperimentPatch, Flag, FlagPatch, FlagStatus, Flow,
    NewExperiment, NewFlag, NewVariation, Percentage, SegmentStatus, SettingsPatch, Snapshot,
    Status, Strategy as Assigns,
};

/// A violation's code, and what its message must name.
type Wanted = (ViolationCode, &'static str);

/// The world and a draft `exp_t` with these arms.
fn draft(strategy: Assigns, arms: &[Allocation]) -> Snapshot {
    let experiment = NewExperiment::new("Test", p("flg_a"), strategy).id(p("exp_t"));
    let with_arms = arms.iter().cloned().fold(experiment, NewExperiment::allocation);
    ok(&world(), with_arms)
}

fn weighted(arms: &[Allocation]) -> Snapshot {
    draft(Assigns::Percentage, arms)
}

/// The same as a ramp.
fn ramped(arms: &[Allocation]) -> Snapshot {
    let levels = ExperimentPatch::new().levels([p("10"), p("50")]);
    ok(&weighted(arms), Change::patch_experiment(&p("exp_t"), levels))
}

/// Arms by weight that have none.
fn weightless(arms: &[Allocation]) -> Vec<Allocation> {
    arms.iter().cloned().map(|arm| Allocation { weight: None, ..arm }).collect()
}

fn targeted(arms: &[Allocation]) -> Snapshot {
    draft(Assigns::Segment, arms)
}

fn target(variation: &str, segment: &str, priority: u32) -> Allocation {
    Allocation::segment(p(variation), p(segment), priority).unwrap()
}

fn fallback() -> Allocation {
    Allocation::fallback(p("var_a")).control()
}

/// Two arms by weight that are ready.
fn ready_arms() -> [Allocation; 2] {
    [share("var_a", "50").control(), share("var_b", "50")]
}

/// An experiment is not ready for exactly these reasons, in whatever order, and cannot be activated
/// for the same ones.
#[track_caller]
fn check(snapshot: &Snapshot, id: &str, wanted: &[Wanted]) {
    let readiness = snapshot.readiness(id).unwrap();
    let found = readiness.violations();
    let mut codes: Vec<_> = found.iter().map(|violation| violation.code()).collect();
    let mut expected: Vec<_> = wanted.iter().map(|(code, _)| *code).collect();
    codes.sort_unstable();
    expected.sort_unstable();
    assert_eq!(codes, expected, "{found:?}");
    assert_eq!(readiness.is_ready(), wanted.is_empty());
    for (code, named) in wanted {
        let there_is = found.iter().any(|violation| {
            violation.code() == *code
                && violation.message().contains(named)
                && violation.to_string() == format!("{code}: {}", violation.message())
        });
        assert!(there_is, "{code} must name {named}: {found:?}");
    }
    let status = snapshot.experiment(id).unwrap().status();
    if !status.can_become(Status::Active) {
        return;
    }
    match apply(snapshot, activation(id, status)) {
        Ok(commit) => {
            assert!(wanted.is_empty(), "must be refused for {wanted:?}");
            assert_eq!(commit.snapshot.experiment(id).unwrap().status(), Status::Active);
        }
        Err(error) => {
            assert!(!wanted.is_empty(), "{error}");
            assert_eq!((error.code(), error.path()), (Code::NotReady, "status"));
            assert_eq!(error.violations(), found);
            for violation in found {
                let text = error.to_string();
                assert!(text.contains(violation.message()), "{text} must say {violation}");
            }
            assert!(error.is_refused());
        }
    }
}

/// What makes an experiment active: of one that is completed only a new iteration does.
fn activation(id: &str, status: Status) -> Change {
    match status {
        Status::Completed => Change::start_iteration(&p(id)),
        _ => Change::set_experiment_status(&p(id), Status::Active),
    }
}

/// `exp_t`, archived as a draft with `var_c` as an arm and `var_d` outside, after what it names has
/// been deleted.
fn archived_without(deletions: &[Change]) -> Snapshot {
    let arms = [share("var_a", "50").control(), share("var_c", "50")];
    let archived = ok(
        &weighted(&arms),
        [
            Change::patch_experiment(
                &p("exp_t"),
                ExperimentPatch::new().outside_variation_id(p("var_d")),
            ),
            Change::set_experiment_status(&p("exp_t"), Status::Archived),
            Change::delete_experiment(&p("exp_segments")),
            Change::delete_experiment(&p("exp_weights")),
        ],
    );
    ok(&archived, deletions.to_vec())
}

/// The world in which `exp_weights` is active on the flow `other`, under a limit; `exp_t` is ready
/// but for that.
fn limited(limit: ActiveLimit, other: Option<&str>, own: Option<&str>) -> Snapshot {
    let on = |id: &str, flow: Option<&str>| {
        let patch = match flow {
            Some(flow) => ExperimentPatch::new().flow(flow),
            None => ExperimentPatch::new().clear_flow(),
        };
        Change::patch_experiment(&p(id), patch)
    };
    ok(
        &weighted(&ready_arms()),
        [
            on("exp_weights", other),
            on("exp_t", own),
            Change::patch_settings(SettingsPatch::new().active_limit(limit)),
            Change::set_experiment_status(&p("exp_weights"), Status::Active),
        ],
    )
}

/// A world with a draft `exp_t`, and everything that is in its way.
type Case = (Snapshot, Vec<Wanted>);

fn cases_of_the_flag() -> Vec<Case> {
    let draft_flag = NewFlag::new("Draft")
        .id(p("flg_b"))
        .parameter("x", 1)
        .variation(NewVariation::new("control").id(p("var_x")));
    let on_draft_flag = NewExperiment::by_percentage("Test", p("flg_b"))
        .id(p("exp_t"))
        .allocation(share("var_x", "100").control());
    let archive_flag = Change::set_flag_status(&p("flg_a"), FlagStatus::Archived);
    vec![
        (
            ok(&world(), vec![draft_flag.into(), on_draft_flag.into()]),
            vec![(FeatureFlagNotActive, "flg_b")],
        ),
        (ok(&weighted(&ready_arms()), archive_flag), vec![(FeatureFlagNotActive, "flg_a")]),
        (
            ok(
                &weighted(&ready_arms()),
                Change::patch_flag(&p("flg_a"), FlagPatch::new().on(false)),
            ),
            vec![(FlagOff, "flg_a")],
        ),
        (
            archived_without(&[Change::delete_flag(&p("flg_a"))]),
            vec![
                (FeatureFlagNotActive, "flg_a"),
                (VariationNotFromFlag, "var_a"),
                (VariationNotFromFlag, "var_c"),
                (VariationNotFromFlag, "var_d"),
            ],
        ),
        (
            archived_without(&[Change::delete_variation(&p("var_c"))]),
            vec![(VariationNotFromFlag, "var_c")],
        ),
        (
            archived_without(&[Change::delete_variation(&p("var_d"))]),
            vec![(VariationNotFromFlag, "var_d")],
        ),
    ]
}

fn cases_by_weight() -> Vec<Case> {
    let case = |arms: &[Allocation], wanted: Wanted| (weighted(arms), vec![wanted]);
    let third = |variation: &str| share(variation, "33.333333");
    let unweighted = weightless(&ready_arms());
    let control = || share("var_a", "50").control();
    vec![
        // What has no arm has neither control nor weights.
        (
            weighted(&[]),
            vec![
                (ExperimentMissingAllocations, "at least one"),
                (ExperimentMissingControl, "not 0"),
                (ExperimentInvalidAllocationWeights, "not 0"),
            ],
        ),
        case(&[share("var_a", "100")], (ExperimentMissingControl, "not 0")),
        case(&[control(), share("var_b", "50").control()], (ExperimentMissingControl, "not 2")),
        case(
            &[control(), share("var_b", "49.999999")],
            (ExperimentInvalidAllocationWeights, "99.999999"),
        ),
        case(
            &[control(), share("var_b", "50.000001")],
            (ExperimentInvalidAllocationWeights, "100.000001"),
        ),
        case(
            &[third("var_a").control(), third("var_b"), third("var_c")],
            (ExperimentInvalidAllocationWeights, "99.999999"),
        ),
        case(&unweighted, (ExperimentInvalidAllocationWeights, "not 0")),
        case(&[control(), share("var_a", "50")], (DuplicateVariation, "var_a")),
    ]
}

/// A ramp with weights must keep the same rules; one without them, that there is a treatment.
fn cases_of_ramps() -> Vec<Case> {
    let case = |arms: &[Allocation], wanted: Wanted| (ramped(arms), vec![wanted]);
    let control = || Allocation::ramped(p("var_a")).control();
    let other = |variation: &str| Allocation::ramped(p(variation));
    vec![
        (
            ramped(&[]),
            vec![
                (ExperimentMissingAllocations, "at least one"),
                (ExperimentMissingControl, "not 0"),
                (RampMissingTreatment, "beside the control"),
            ],
        ),
        case(&[control()], (RampMissingTreatment, "beside the control")),
        (
            ramped(&[control(), other("var_b").control()]),
            vec![(ExperimentMissingControl, "not 2"), (RampMissingTreatment, "beside the control")],
        ),
        case(&[other("var_a"), other("var_b")], (ExperimentMissingControl, "not 0")),
        case(&[control(), other("var_b"), other("var_b")], (DuplicateVariation, "var_b")),
        case(&[control(), other("var_a")], (DuplicateVariation, "var_a")),
        case(&[control(), share("var_b", "50")], (ExperimentInvalidAllocationWeights, "not 50")),
        case(&[control(), share("var_b", "0")], (ExperimentInvalidAllocationWeights, "not 0")),
    ]
}

fn cases_by_segment() -> Vec<Case> {
    let case = |arms: &[Allocation], wanted: Wanted| (targeted(arms), vec![wanted]);
    let german = || target("var_b", "seg_germany", 1);
    let archive = Change::set_segment_status(&p("seg_germany"), SegmentStatus::Archived);
    let delete = [
        Change::set_experiment_status(&p("exp_t"), Status::Archived),
        Change::delete_experiment(&p("exp_segments")),
        Change::delete_segment(&p("seg_germany")),
    ];
    vec![
        (
            targeted(&[]),
            vec![
                (ExperimentMissingAllocations, "at least one"),
                (ExperimentMissingControl, "not 0"),
                (ExperimentMissingDefault, "not 0"),
            ],
        ),
        case(&[german().control()], (ExperimentMissingDefault, "not 0")),
        case(
            &[german(), fallback(), Allocation::fallback(p("var_c"))],
            (ExperimentMissingDefault, "not 2"),
        ),
        case(
            &[german(), Allocation { segment_id: Some(p("seg_ios")), ..fallback() }],
            (FallbackNotPlain, "allocations[1]"),
        ),
        case(
            &[Allocation { priority: NonZeroU32::new(2), ..fallback() }, german()],
            (FallbackNotPlain, "allocations[0]"),
        ),
        case(
            &[fallback(), Allocation { segment_id: None, ..german() }],
            (AllocationMissingSegment, "allocations[1]"),
        ),
        case(
            &[fallback(), Allocation { priority: None, ..german() }],
            (AllocationMissingPriority, "allocations[1]"),
        ),
        case(
            &[german(), target("var_c", "seg_ios", 1), fallback()],
            (DuplicatePriority, "priority 1"),
        ),
        case(
            &[german(), target("var_c", "seg_germany", 2), fallback()],
            (DuplicateSegment, "seg_germany"),
        ),
        (ok(&targeted(&[german(), fallback()]), archive), vec![(SegmentNotActive, "seg_germany")]),
        (ok(&targeted(&[german(), fallback()]), delete), vec![(SegmentNotActive, "seg_germany")]),
    ]
}

/// Arms that divide a segment or the fallback count as one if they all have weights and one
/// priority, and then keep the rules of weights.
fn cases_of_splits() -> Vec<Case> {
    let case = |arms: &[Allocation], wanted: &[Wanted]| (targeted(arms), wanted.to_vec());
    let half = |variation: &str| target(variation, "seg_germany", 1).weighing(p("50"));
    let rest =
        |variation: &str, weight: &str| Allocation::fallback(p(variation)).weighing(p(weight));
    let bare = |variation: &str| target(variation, "seg_germany", 1);
    let twice = [(DuplicateSegment, "seg_germany"), (DuplicatePriority, "priority 1")];
    vec![
        case(&[half("var_b"), bare("var_c"), fallback()], &twice),
        case(&[bare("var_b"), bare("var_c"), fallback()], &twice),
        case(
            &[half("var_b"), half("var_c").weighing(p("49")), fallback()],
            &[(ExperimentInvalidAllocationWeights, "not 99")],
        ),
        case(
            &[half("var_b"), half("var_c"), half("var_d").weighing(p("0.000001")), fallback()],
            &[(ExperimentInvalidAllocationWeights, "100.000001")],
        ),
        case(&[half("var_b"), fallback()], &[(ExperimentInvalidAllocationWeights, "not 50")]),
        case(&[half("var_b"), half("var_b"), fallback()], &[(DuplicateVariation, "var_b")]),
        case(
            &[
                half("var_b"),
                Allocation { priority: NonZeroU32::new(2), ..half("var_c") },
                fallback(),
            ],
            &[(DuplicateSegment, "seg_germany")],
        ),
        case(
            &[half("var_b"), Allocation { priority: None, ..half("var_c") }, fallback()],
            &[(DuplicateSegment, "seg_germany"), (AllocationMissingPriority, "allocations[1]")],
        ),
        case(
            &[half("var_b"), half("var_c"), target("var_d", "seg_ios", 1), fallback()],
            &[(DuplicatePriority, "priority 1")],
        ),
        case(
            &[rest("var_a", "60").control(), rest("var_b", "39")],
            &[(ExperimentInvalidAllocationWeights, "not 99")],
        ),
        case(
            &[rest("var_a", "60").control(), Allocation::fallback(p("var_b"))],
            &[(ExperimentMissingDefault, "not 2")],
        ),
        case(
            &[rest("var_a", "60").control(), rest("var_a", "40")],
            &[(DuplicateVariation, "var_a")],
        ),
        case(
            &[rest("var_a", "60").control(), rest("var_b", "40").control()],
            &[(ExperimentMissingControl, "not 2")],
        ),
    ]
}

/// The audience is active, whatever the strategy, and named once however often it is used.
fn cases_of_the_audience() -> Vec<Case> {
    let archive = Change::set_segment_status(&p("seg_germany"), SegmentStatus::Archived);
    let with_audience = |arms: Snapshot| {
        let patch = ExperimentPatch::new().audience_id(p("seg_germany"));
        ok(&arms, [Change::patch_experiment(&p("exp_t"), patch), archive.clone()])
    };
    let wanted = vec![(SegmentNotActive, "seg_germany")];
    vec![
        (with_audience(weighted(&ready_arms())), wanted.clone()),
        (with_audience(targeted(&[target("var_b", "seg_ios", 1), fallback()])), wanted.clone()),
        (with_audience(targeted(&[target("var_b", "seg_germany", 1), fallback()])), wanted),
    ]
}

fn cases_of_the_limit() -> Vec<Case> {
    let wanted = vec![(ExperimentActiveLimitExceeded, "exp_weights")];
    vec![
        (limited(ActiveLimit::One, None, None), wanted.clone()),
        (limited(ActiveLimit::PerFlow, Some("login"), Some("login")), wanted),
    ]
}

#[test]
fn every_reason_is_found_and_named() {
    let mut reached = BTreeSet::new();
    let cases = [
        cases_of_the_flag(),
        cases_by_weight(),
        cases_of_ramps(),
        cases_by_segment(),
        cases_of_splits(),
        cases_of_the_audience(),
        cases_of_the_limit(),
    ];
    for (snapshot, wanted) in cases.into_iter().flatten() {
        check(&snapshot, "exp_t", &wanted);
        reached.extend(wanted.iter().map(|(code, _)| *code));
        // From a document it is the same.
        let restored = Snapshot::from_json(snapshot.to_json()).unwrap();
        assert_eq!(restored.readiness("exp_t"), snapshot.readiness("exp_t"));
    }
    for code in ViolationCode::ALL {
        assert!(reached.contains(code), "no case for {code}");
    }
}

#[test]
fn what_is_ready_has_no_violation() {
    for id in ["exp_weights", "exp_segments"] {
        check(&world(), id, &[]);
        for status in Status::ALL {
            check(&brought_to(&world(), id, *status), id, &[]);
        }
    }
    assert_eq!(world().readiness("exp_unknown"), None);
    // A weight of 0 and a variation under two segments are fine, and so are gaps in the priorities.
    check(&weighted(&[share("var_a", "100").control(), share("var_b", "0")]), "exp_t", &[]);
    check(&targeted(&[fallback()]), "exp_t", &[]);
    let far = [fallback(), target("var_a", "seg_ios", u32::MAX), target("var_a", "seg_germany", 7)];
    check(&targeted(&far), "exp_t", &[]);
    let third = [share("var_a", "33.333334").control(), share("var_b", "33.333333")];
    check(&weighted(&[&third[..], &[share("var_c", "33.333333")]].concat()), "exp_t", &[]);
    // Two that divide a segment, and two the fallback; one by itself with all of the weight.
    let halves = [
        target("var_b", "seg_germany", 3).weighing(p("50")),
        target("var_c", "seg_germany", 3).weighing(p("50")),
        target("var_c", "seg_ios", 1).weighing(p("100")),
        Allocation::fallback(p("var_a")).weighing(p("0")).control(),
        Allocation::fallback(p("var_c")).weighing(p("100")),
    ];
    check(&targeted(&halves), "exp_t", &[]);
    // A ramp with weights, of which one can be missing, or without.
    check(&ramped(&ready_arms()), "exp_t", &[]);
    let one_bare = [share("var_a", "100"), Allocation::ramped(p("var_b")).control()];
    check(&ramped(&one_bare), "exp_t", &[]);
    check(&ramped(&weightless(&ready_arms())), "exp_t", &[]);
    for status in Status::ALL {
        let ramp = brought_to(&ramped(&weightless(&ready_arms())), "exp_t", *status);
        check(&ramp, "exp_t", &[]);
    }
}

#[test]
fn all_reasons_are_listed_at_once() {
    let bare = |variation: &str| Allocation {
        segment_id: None,
        priority: None,
        ..target(variation, "seg_ios", 1)
    };
    let arms = [
        bare("var_a").control(),
        bare("var_b").control(),
        target("var_c", "seg_germany", 3),
        target("var_c", "seg_germany", 3),
        Allocation { priority: NonZeroU32::new(4), ..Allocation::fallback(p("var_a")) },
        Allocation::fallback(p("var_b")),
    ];
    let snapshot = ok(
        &targeted(&arms),
        [
            Change::set_experiment_status(&p("exp_weights"), Status::Active),
            Change::patch_settings(SettingsPatch::new().active_limit(ActiveLimit::One)),
            Change::set_segment_status(&p("seg_germany"), SegmentStatus::Archived),
            Change::set_flag_status(&p("flg_a"), FlagStatus::Archived),
        ],
    );
    check(
        &snapshot,
        "exp_t",
        &[
            (FeatureFlagNotActive, "flg_a"),
            (ExperimentMissingControl, "not 2"),
            (ExperimentMissingDefault, "not 2"),
            (AllocationMissingSegment, "allocations[0]"),
            (AllocationMissingSegment, "allocations[1]"),
            (AllocationMissingPriority, "allocations[0]"),
            (AllocationMissingPriority, "allocations[1]"),
            (FallbackNotPlain, "allocations[4]"),
            (DuplicateSegment, "seg_germany"),
            (DuplicatePriority, "priority 3"),
            (SegmentNotActive, "seg_germany"),
            (ExperimentActiveLimitExceeded, "exp_weights"),
        ],
    );
    let arms = [share("var_a", "60"), share("var_a", "60"), share("var_a", "0")];
    check(
        &weighted(&arms),
        "exp_t",
        &[
            (ExperimentMissingControl, "not 0"),
            (ExperimentInvalidAllocationWeights, "120"),
            (DuplicateVariation, "var_a"),
            (DuplicateVariation, "var_a"),
        ],
    );
}

/// Readiness says what is in the way now, whatever has changed, in whatever status.
#[test]
fn readiness_follows_what_the_experiment_refers_to() {
    for status in Status::ALL {
        let snapshot = brought_to(&world(), "exp_segments", *status);
        check(&snapshot, "exp_segments", &[]);
        let archive = Change::set_segment_status(&p("seg_ios"), SegmentStatus::Archived);
        let snapshot = ok(&snapshot, archive);
        check(&snapshot, "exp_segments", &[(SegmentNotActive, "seg_ios")]);
        let archive = Change::set_flag_status(&p("flg_a"), FlagStatus::Archived);
        let snapshot = ok(&snapshot, archive);
        let both = [(SegmentNotActive, "seg_ios"), (FeatureFlagNotActive, "flg_a")];
        check(&snapshot, "exp_segments", &both);
    }
    let archived = brought_to(&world(), "exp_segments", Status::Archived);
    let gone = ok(&archived, Change::delete_segment(&p("seg_germany")));
    check(&gone, "exp_segments", &[(SegmentNotActive, "seg_germany")]);
    let gone = ok(&gone, Change::delete_variation(&p("var_c")));
    let both = [(SegmentNotActive, "seg_germany"), (VariationNotFromFlag, "var_c")];
    check(&gone, "exp_segments", &both);
}

#[test]
fn a_flag_that_is_activated_is_no_longer_in_the_way() {
    let flag = NewFlag::new("Draft")
        .id(p("flg_b"))
        .parameter("x", 1)
        .variation(NewVariation::new("control").id(p("var_x")))
        .variation(NewVariation::new("other").id(p("var_y")));
    let experiment = NewExperiment::by_percentage("Test", p("flg_b"))
        .id(p("exp_t"))
        .allocation(share("var_x", "100").control());
    let snapshot = ok(&world(), vec![flag.into(), experiment.into()]);
    check(&snapshot, "exp_t", &[(FeatureFlagNotActive, "flg_b")]);
    check(&ok(&snapshot, Change::set_flag_status(&p("flg_b"), FlagStatus::Active)), "exp_t", &[]);
}

#[test]
fn the_active_limit_is_kept_flow_by_flow() {
    const FLOWS: [Option<&str>; 4] = [None, Some("login"), Some("signup"), Some("all")];
    // By the other's flow and, within it, the own.
    const PER_FLOW: [[bool; 4]; 4] = [
        [true, true, true, false],
        [true, false, true, false],
        [true, true, false, false],
        [false, false, false, false],
    ];
    let blocked = [(ExperimentActiveLimitExceeded, "exp_weights")];
    for (other, row) in FLOWS.iter().zip(PER_FLOW) {
        for (own, free) in FLOWS.iter().zip(row) {
            check(&limited(ActiveLimit::Unlimited, *other, *own), "exp_t", &[]);
            check(&limited(ActiveLimit::One, *other, *own), "exp_t", &blocked);
            let per_flow = limited(ActiveLimit::PerFlow, *other, *own);
            check(&per_flow, "exp_t", if free { &[] } else { &blocked });
            // It makes room when it leaves, and it is not in its own way.
            check(&per_flow, "exp_weights", &[]);
            for leave in [Status::Paused, Status::Completed] {
                let change = Change::set_experiment_status(&p("exp_weights"), leave);
                check(&ok(&per_flow, change), "exp_t", &[]);
            }
        }
    }
}

#[test]
fn a_flow_lists_what_is_active_on_it_and_on_no_other() {
    #[track_caller]
    fn check(snapshot: &Snapshot, wanted: &[(&str, &[&str])]) {
        for (flow, ids) in wanted {
            let active: BTreeSet<_> = snapshot.active_on(flow).map(AsRef::as_ref).collect();
            assert_eq!(active, ids.iter().copied().collect::<BTreeSet<&str>>(), "{flow}");
        }
    }
    let both = limited(ActiveLimit::Unlimited, Some("login"), Some("login"));
    check(&both, &[("login", &["exp_weights"]), ("Login", &[]), ("", &[]), ("all", &[])]);
    let activate = Change::set_experiment_status(&p("exp_t"), Status::Active);
    check(&ok(&both, activate.clone()), &[("login", &["exp_t", "exp_weights"]), ("all", &[])]);
    // What is active on all flows is listed under that alone, and what has none under none.
    let all = limited(ActiveLimit::Unlimited, None, Some("all"));
    check(&ok(&all, activate), &[("all", &["exp_t"]), ("login", &[]), ("exp_weights", &[])]);
    for leave in [Status::Paused, Status::Completed] {
        let gone = ok(&both, Change::set_experiment_status(&p("exp_weights"), leave));
        check(&gone, &[("login", &[])]);
    }
}

#[test]
fn tightening_the_limit_stops_nothing_but_resuming() {
    let both = ok(
        &brought_to(&world(), "exp_weights", Status::Active),
        [
            Change::set_experiment_status(&p("exp_segments"), Status::Active),
            Change::patch_settings(SettingsPatch::new().active_limit(ActiveLimit::One)),
        ],
    );
    for id in ["exp_weights", "exp_segments"] {
        assert_eq!(both.experiment(id).unwrap().status(), Status::Active);
    }
    check(&both, "exp_weights", &[(ExperimentActiveLimitExceeded, "exp_segments")]);
    let paused = ok(&both, Change::set_experiment_status(&p("exp_weights"), Status::Paused));
    check(&paused, "exp_weights", &[(ExperimentActiveLimitExceeded, "exp_segments")]);
    check(&paused, "exp_segments", &[]);
}

/// The lists of arms that divide a segment, or the fallback, by weight; and all arms, of which those
/// that divide one count as the first of them.
fn counted(arms: &[Allocation]) -> (Vec<Vec<Allocation>>, Vec<Allocation>) {
    let (mut divided, mut counted) = (Vec::new(), Vec::new());
    for (index, arm) in arms.iter().enumerate() {
        let beside: Vec<Allocation> =
            arms.iter().filter(|other| other.segment_id == arm.segment_id).cloned().collect();
        let alike = beside.iter().all(|other| {
            other.weight.is_some()
                && (other.priority, other.is_fallback) == (arm.priority, arm.is_fallback)
        });
        let is_first = arms[..index].iter().all(|other| other.segment_id != arm.segment_id);
        if is_first || !alike {
            counted.push(arm.clone());
        }
        if is_first && alike {
            divided.push(beside);
        }
    }
    (divided, counted)
}

/// The rules of readiness once more, as plainly as they can be put.
fn reasons(snapshot: &Snapshot, id: &str) -> BTreeSet<ViolationCode> {
    let experiment = snapshot.experiment(id).unwrap();
    let arms = experiment.allocations();
    let flag = snapshot.flag(experiment.flag_id());
    let is_known = |variation| flag.is_some_and(|flag| flag.variations().contains_key(variation));
    let is_active =
        |id| snapshot.segment(id).is_some_and(|segment| segment.status() == SegmentStatus::Active);
    let all_differ = |keys: Vec<String>| keys.iter().collect::<BTreeSet<_>>().len() == keys.len();
    let targets = || arms.iter().filter(|arm| !arm.is_fallback);
    let (divided, counted) = counted(arms);
    let named = arms.iter().filter_map(|arm| arm.segment_id.as_ref());
    let mut named = named.chain(experiment.audience_id());
    let segments = counted.iter().filter_map(|arm| arm.segment_id.as_ref());
    let priorities = counted.iter().filter_map(|arm| arm.priority);
    let sums_to_100 = |arms: &[Allocation]| {
        arms.iter().filter_map(|arm| arm.weight).map(|w| w.millionths()).sum::<u64>() == 100_000_000
    };
    let varied = |arms: &[Allocation]| {
        all_differ(arms.iter().map(|arm| arm.variation_id.to_string()).collect())
    };
    let weighs = experiment.strategy() == Assigns::Percentage;
    let has_weights =
        weighs && (experiment.levels().is_empty() || arms.iter().any(|arm| arm.weight.is_some()));
    let flow = |of: &variate::Experiment| of.flow().map(Flow::as_str).map(str::to_owned);
    let own = flow(experiment);
    let in_the_way = snapshot
        .experiments()
        .filter(|other| other.status() == Status::Active && other.id() != experiment.id())
        .any(|other| match snapshot.settings().active_limit {
            ActiveLimit::One => true,
            ActiveLimit::PerFlow => {
                let flows = [own.clone(), flow(other)];
                flows.contains(&Some("all".into())) || (own.is_some() && flows[0] == flows[1])
            }
            _ => false,
        });
    let rules = [
        (FeatureFlagNotActive, flag.is_some_and(|flag| flag.status() == FlagStatus::Active)),
        (
            VariationNotFromFlag,
            arms.iter().all(|arm| is_known(&arm.variation_id))
                && experiment.outside_variation_id().is_none_or(is_known),
        ),
        (ExperimentMissingAllocations, !arms.is_empty()),
        (ExperimentMissingControl, arms.iter().filter(|arm| arm.is_control).count() == 1),
        (
            ExperimentInvalidAllocationWeights,
            match weighs {
                true => !has_weights || sums_to_100(arms),
                false => divided.iter().all(|arms| sums_to_100(arms)),
            },
        ),
        (RampMissingTreatment, !weighs || has_weights || arms.iter().any(|arm| !arm.is_control)),
        (
            DuplicateVariation,
            match weighs {
                true => varied(arms),
                false => divided.iter().all(|arms| varied(arms)),
            },
        ),
        (
            ExperimentMissingDefault,
            weighs || counted.iter().filter(|arm| arm.is_fallback).count() == 1,
        ),
        (
            FallbackNotPlain,
            arms.iter().all(|arm| {
                !arm.is_fallback || (arm.segment_id.is_none() && arm.priority.is_none())
            }),
        ),
        (AllocationMissingSegment, weighs || targets().all(|arm| arm.segment_id.is_some())),
        (AllocationMissingPriority, weighs || targets().all(|arm| arm.priority.is_some())),
        (DuplicateSegment, weighs || all_differ(segments.map(ToString::to_string).collect())),
        (DuplicatePriority, weighs || all_differ(priorities.map(|own| own.to_string()).collect())),
        (SegmentNotActive, named.all(is_active)),
        (ExperimentActiveLimitExceeded, !in_the_way),
        (FlagOff, flag.is_none_or(Flag::is_on)),
    ];
    assert_eq!(rules.len(), ViolationCode::ALL.len());
    rules.iter().filter(|(_, kept)| !kept).map(|(code, _)| *code).collect()
}

/// Readiness and activation agree with the rules, and with each other.
#[track_caller]
fn check_by_rules(snapshot: &Snapshot, id: &str) {
    let wanted = reasons(snapshot, id);
    let readiness = snapshot.readiness(id).unwrap();
    let found: BTreeSet<_> = readiness.violations().iter().map(|v| v.code()).collect();
    assert_eq!(found, wanted, "{id}");
    let status = snapshot.experiment(id).unwrap().status();
    let outcome = apply(snapshot, activation(id, status));
    match outcome {
        Ok(_) => assert!(wanted.is_empty() && status.can_become(Status::Active), "{id} {wanted:?}"),
        Err(error) if status.can_become(Status::Active) => {
            assert_eq!(error.violations(), readiness.violations());
            assert!(!wanted.is_empty(), "{error}");
        }
        Err(error) => assert_eq!(error.code(), Code::TransitionNotAllowed),
    }
}

fn pick<T: Clone + std::fmt::Debug + 'static>(values: &[T]) -> impl Strategy<Value = T> + use<T> {
    prop::sample::select(values.to_vec())
}

fn variation() -> impl Strategy<Value = String> {
    pick(&["var_a", "var_b", "var_c", "var_d"]).prop_map(str::to_owned)
}

/// Any arms by weight; with luck they sum to 100.
fn weighted_arms() -> impl Strategy<Value = Vec<Allocation>> {
    let weight = pick(&[None, Some("0"), Some("25"), Some("50"), Some("100"), Some("33.333333")]);
    let arm = (variation(), weight, prop::bool::weighted(0.3)).prop_map(|(id, weight, control)| {
        let weight = weight.map(p);
        Allocation { weight, is_control: control, ..share(&id, "0") }
    });
    let any = prop::collection::vec(arm, 0..5);
    // Half of all begin as what is ready, one of them changed.
    let ready = vec![
        share("var_a", "50").control(),
        share("var_b", "33.333333"),
        share("var_c", "16.666667"),
    ];
    let near = (Just(ready), 0..12_usize).prop_map(|(mut arms, fault)| {
        match fault {
            0 => arms[0].weight = Some(p("50.000001")),
            1 => arms[0].is_control = false,
            2 => arms[1].is_control = true,
            3 => arms[2].variation_id = p("var_a"),
            4 => arms.truncate(2),
            5 => arms[2].weight = None,
            6 => arms.push(share("var_d", "0")),
            _ => {}
        }
        arms
    });
    (prop_oneof![any, near], prop::bool::weighted(0.2))
        .prop_map(|(arms, bare)| if bare { weightless(&arms) } else { arms })
}

/// Levels, or none.
fn levels() -> impl Strategy<Value = Vec<Percentage>> {
    pick(&[vec![], vec![p("0")], vec![p("10"), p("50"), p("100")]])
}

/// Any arms by segment.
fn targeted_arms() -> impl Strategy<Value = Vec<Allocation>> {
    let segment = pick(&[None, Some("seg_germany"), Some("seg_ios")]);
    let priority = pick(&[None, Some(1), Some(2), Some(3)]);
    let rare = || prop::bool::weighted(0.3);
    let weight = pick(&[None, None, Some("100"), Some("50")]);
    let arm = (variation(), segment, priority, rare(), rare(), weight).prop_map(
        |(id, segment, priority, control, fallback, weight)| Allocation {
            weight: weight.map(p),
            segment_id: segment.map(p),
            priority: priority.and_then(NonZeroU32::new),
            is_control: control,
            is_fallback: fallback,
            ..share(&id, "0")
        },
    );
    let any = prop::collection::vec(arm, 0..5);
    let ready = vec![
        target("var_b", "seg_germany", 1),
        target("var_c", "seg_ios", 2),
        Allocation::fallback(p("var_a")).control(),
    ];
    let near = (Just(ready), 0..14_usize).prop_map(|(mut arms, fault)| {
        match fault {
            0 => arms[0].priority = NonZeroU32::new(2),
            1 => arms[0].segment_id = Some(p("seg_ios")),
            2 => arms[0].is_control = true,
            3 => arms[0].is_fallback = true,
            4 => arms.truncate(2),
            5 => arms[1].segment_id = None,
            6 => arms[1].priority = None,
            7 => arms[2].priority = NonZeroU32::new(9),
            8 => drop(arms.remove(0)),
            _ => {}
        }
        arms
    });
    // Arms that divide a segment and the fallback, one of them changed.
    let divided = vec![
        target("var_b", "seg_germany", 1).weighing(p("60")),
        target("var_c", "seg_germany", 1).weighing(p("40")),
        Allocation::fallback(p("var_a")).weighing(p("99.999999")).control(),
        Allocation::fallback(p("var_b")).weighing(p("0.000001")),
    ];
    let near_divided =
        (Just(divided), 0..18_usize, 0..4_usize).prop_map(|(mut arms, fault, at)| {
            match fault {
                0 | 1 => arms[at].weight = None,
                2 => arms[at].weight = Some(p("39.999999")),
                3 => arms[1].variation_id = p("var_b"),
                4 => arms[3].variation_id = p("var_a"),
                5 => arms[1].priority = NonZeroU32::new(2),
                6 => arms[at].priority = None,
                7 => arms[at].segment_id = Some(p("seg_ios")),
                8 => arms[at].segment_id = None,
                9 => arms[at].is_fallback = !arms[at].is_fallback,
                10 => drop(arms.remove(at)),
                11 => arms.push(target("var_d", "seg_ios", 1)),
                12 => arms.push(target("var_d", "seg_ios", 2).weighing(p("50"))),
                13 => arms.rotate_left(at),
                _ => {}
            }
            arms
        });
    prop_oneof![any, near, near_divided]
}

fn flow() -> impl Strategy<Value = Option<&'static str>> {
    pick(&[None, Some("login"), Some("all")])
}

/// A change of anything that bears on readiness; it may be refused.
fn any_change() -> impl Strategy<Value = Change> {
    let id = || pick(&["exp_weights", "exp_segments", "exp_t"]);
    let allocations = (id(), prop_oneof![weighted_arms(), targeted_arms()]);
    let limit = pick(ActiveLimit::ALL);
    prop_oneof![
        8 => (id(), pick(Status::ALL))
            .prop_map(|(id, status)| Change::set_experiment_status(&p(id), status)),
        6 => allocations.prop_map(|(id, arms)| {
            Change::patch_experiment(&p(id), ExperimentPatch::new().allocations(arms))
        }),
        3 => (id(), levels()).prop_map(|(id, levels)| {
            Change::patch_experiment(&p(id), ExperimentPatch::new().levels(levels))
        }),
        1 => (id(), pick(&["0", "10", "50", "100"]))
            .prop_map(|(id, level)| Change::advance_ramp(&p(id), p(level))),
        2 => (id(), flow()).prop_map(|(id, flow)| {
            let patch = ExperimentPatch::new();
            let patch = match flow {
                Some(flow) => patch.flow(flow),
                None => patch.clear_flow(),
            };
            Change::patch_experiment(&p(id), patch)
        }),
        2 => (id(), variation()).prop_map(|(id, variation)| {
            let patch = ExperimentPatch::new().outside_variation_id(p(&variation));
            Change::patch_experiment(&p(id), patch)
        }),
        2 => (id(), pick(&[None, Some("seg_germany"), Some("seg_ios")])).prop_map(|(id, audience)| {
            let patch = ExperimentPatch::new();
            let patch = match audience {
                Some(segment) => patch.audience_id(p(segment)),
                None => patch.clear_audience_id(),
            };
            Change::patch_experiment(&p(id), patch)
        }),
        2 => limit.prop_map(|limit| {
            Change::patch_settings(SettingsPatch::new().active_limit(limit))
        }),
        1 => pick(&["seg_germany", "seg_ios"])
            .prop_map(|id| Change::set_segment_status(&p(id), SegmentStatus::Archived)),
        1 => pick(&["seg_germany", "seg_ios"]).prop_map(|id| Change::delete_segment(&p(id))),
        1 => variation().prop_map(|id| Change::delete_variation(&p(&id))),
        1 => Just(Change::set_flag_status(&p("flg_a"), FlagStatus::Archived)),
        1 => Just(Change::delete_flag(&p("flg_a"))),
        2 => any::<bool>()
            .prop_map(|on| Change::patch_flag(&p("flg_a"), FlagPatch::new().on(on))),
    ]
}

proptest! {
    #[test]
    fn activation_succeeds_exactly_when_the_rules_by_weight_are_kept(
        arms in weighted_arms(),
        levels in levels(),
    ) {
        let patch = ExperimentPatch::new().levels(levels);
        let change = Change::patch_experiment(&p("exp_t"), patch);
        check_by_rules(&ok(&weighted(&arms), change), "exp_t");
    }

    #[test]
    fn activation_succeeds_exactly_when_the_rules_by_segment_are_kept(arms in targeted_arms()) {
        check_by_rules(&targeted(&arms), "exp_t");
    }

    /// After every change of anything, readiness is what the rules say of the present.
    #[test]
    fn readiness_is_never_stale(changes in prop::collection::vec(any_change(), 1..40)) {
        let mut snapshot = weighted(&ready_arms());
        for change in changes {
            if let Ok(commit) = apply(&snapshot, change) {
                snapshot = Snapshot::clone(&commit.snapshot);
            }
            for id in ["exp_weights", "exp_segments", "exp_t"] {
                check_by_rules(&snapshot, id);
            }
        }
    }
}
