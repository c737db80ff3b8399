//! Laws of ramps: a level lets in exactly its share, raising it only adds subjects and moves nobody
//! who has entered, and what a ramp decides is what is documented, with weights and without.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_precision_loss,
    reason = "a test may"
)]

use std::collections::BTreeMap;

use crate::common::{apply, ok, p, share, world};
use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use serde_json::json;
use variate::hash::{Draw, draw_seed, point, subject_hash};
use variate::{
    Allocation, Change, Commit, Event, Experiment, ExperimentPatch, FlagStatus, NewExperiment,
    NewFlag, NewVariation, Partition, Percentage, Scratch, Snapshot, Status, Subject, Weight,
};

const ID: &str = "exp_ramp";

/// In byte order, which is not that of the alphabet.
const VARIATIONS: [&str; 6] = ["var_9", "var_B", "var_Z", "var_a", "var_aa", "var_c"];

const WHOLE: u64 = 100_000_000;

/// What a subject gets: the reason and the variation.
type Got = (String, Option<String>);

/// An active flag `flg_r` with all of the variations.
fn base() -> Snapshot {
    let flag = NewFlag::new("Ramped").id(p("flg_r")).parameter("number", 0);
    let flag = (1..).zip(VARIATIONS).fold(flag, |flag, (number, id)| {
        flag.variation(NewVariation::new(id).id(p(id)).with("number", number))
    });
    ok(
        &Snapshot::new(),
        vec![flag.into(), Change::set_flag_status(&p("flg_r"), FlagStatus::Active)],
    )
}

fn draft(arms: Vec<Allocation>, levels: &[Percentage]) -> NewExperiment {
    let new = NewExperiment::by_percentage("Ramp", p("flg_r")).id(p(ID)).levels(levels);
    arms.into_iter().fold(new, NewExperiment::allocation)
}

/// A ramp that has just started.
fn started(new: NewExperiment) -> Snapshot {
    ok(&base(), vec![new.into(), set_status(Status::Active)])
}

fn set_status(status: Status) -> Change {
    Change::set_experiment_status(&p(ID), status)
}

fn ramp(snapshot: &Snapshot) -> &Experiment {
    snapshot.experiment(ID).unwrap()
}

/// Arms without weights, of which the first is the control.
fn bare(variations: &[&str]) -> Vec<Allocation> {
    let mut arms: Vec<_> = variations.iter().map(|id| Allocation::ramped(p(id))).collect();
    arms[0].is_control = true;
    arms
}

fn levels(texts: &[&str]) -> Vec<Percentage> {
    texts.iter().map(|text| p(text)).collect()
}

/// The levels after the one at which a ramp stands.
fn ahead(snapshot: &Snapshot) -> Vec<Percentage> {
    let current = ramp(snapshot).current_level().unwrap();
    ramp(snapshot).levels().iter().copied().filter(|level| *level > current).collect()
}

fn advance(snapshot: &Snapshot, level: Percentage) -> Snapshot {
    ok(snapshot, Change::advance_ramp(&p(ID), level))
}

fn devices(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("device-{number}")).collect()
}

/// What a subject gets, by every way of asking.
#[track_caller]
fn got(snapshot: &Snapshot, device: &str) -> Got {
    let subject = Subject::new(device);
    let decision = snapshot.assign(ID, &subject);
    assert_eq!(snapshot.plan(ID).unwrap().assign(&subject), decision);
    let mut scratch = Scratch::new();
    let all: Vec<_> = snapshot.assign_all(&subject, &mut scratch).collect();
    if ramp(snapshot).status() == Status::Active {
        assert_eq!(all, [decision]);
    }
    let control = ramp(snapshot).allocations().iter().find(|arm| arm.is_control);
    if let Some(assignment) = decision.assignment() {
        assert!(decision.in_experiment());
        let is_control = *assignment.variation_id == control.unwrap().variation_id;
        assert_eq!(assignment.is_control, is_control);
    }
    (decision.reason().to_string(), decision.variation_id().map(ToString::to_string))
}

/// What a subject is due from a ramp whose arms were never changed, by the words of the
/// documentation: arms in byte order of their ids, cumulative weights, no float.
fn due(ramp: &Experiment, device: &str) -> Got {
    let draw = |draw| point(subject_hash(device), draw_seed(ramp.salt().as_str(), draw));
    let served = |reason: &str, id: Option<&str>| (reason.to_owned(), id.map(str::to_owned));
    let mut arms = ramp.allocations().to_vec();
    let bare = arms.iter().all(|arm| arm.weight.is_none());
    let control = arms.iter().find(|arm| arm.is_control).unwrap().variation_id.to_string();
    let end = (u128::from(ramp.traffic().millionths()) << 32) / u128::from(WHOLE);
    if u128::from(draw(Draw::Traffic)) >= end {
        return match bare {
            true => served("split", Some(&control)),
            false => served("not_sampled", ramp.outside_variation_id().map(AsRef::as_ref)),
        };
    }
    arms.sort_by(|a, b| a.variation_id.as_str().as_bytes().cmp(b.variation_id.as_str().as_bytes()));
    let weight = |arm: &Allocation| match bare {
        true => u128::from(!arm.is_control),
        false => u128::from(arm.weight.map_or(0, Weight::millionths)),
    };
    let (mut sum, total) = (0, arms.iter().map(weight).sum::<u128>());
    let owner = arms.iter().find(|arm| {
        sum += weight(arm);
        u128::from(draw(Draw::Variation)) < (sum << 32) / total
    });
    served("split", owner.map(|arm| arm.variation_id.as_str()))
}

/// Weights of which one may be missing, unless they are all to be.
fn weights(arms: usize) -> impl Strategy<Value = Option<Vec<Option<Weight>>>> {
    let cuts = prop::collection::vec(prop_oneof![0..=WHOLE, Just(0)], arms - 1);
    let shares = (cuts, any::<bool>()).prop_map(|(mut cuts, absent)| {
        cuts.extend([0, WHOLE]);
        cuts.sort_unstable();
        let shares = cuts.windows(2).map(|pair| pair[1] - pair[0]);
        shares
            .map(|share| Weight::from_millionths(share).ok().filter(|_| share > 0 || !absent))
            .collect()
    });
    prop::option::of(shares)
}

fn any_levels() -> impl Strategy<Value = Vec<Percentage>> {
    let odd = 1..WHOLE;
    let level = prop_oneof![select(vec![0, 1, WHOLE / 2, WHOLE - 1, WHOLE]), odd];
    prop::collection::btree_set(level, 1..6).prop_map(|levels| {
        levels.into_iter().map(|level| Percentage::from_millionths(level).unwrap()).collect()
    })
}

/// Any ramp that is ready.
fn any_ramp() -> impl Strategy<Value = NewExperiment> {
    let arms = subsequence(VARIATIONS.to_vec(), 2..=6).prop_shuffle().prop_flat_map(|ids| {
        let control = 0..ids.len();
        (weights(ids.len()), control, Just(ids))
    });
    let outside = prop::option::of(select(&VARIATIONS[..]));
    let salt = prop::option::of("[a-z \u{0}é]{1,12}");
    (arms, any_levels(), outside, salt).prop_map(
        |((weights, control, ids), levels, outside, salt)| {
            let arms = ids.iter().enumerate().map(|(index, id)| Allocation {
                weight: weights.as_ref().and_then(|weights| weights[index]),
                is_control: index == control,
                ..Allocation::ramped(p(id))
            });
            let mut new = draft(arms.collect(), &levels);
            new.outside_variation_id = outside.map(p);
            new.salt = salt.map(|salt| p(&salt));
            new
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_ramp_gives_what_is_documented_at_every_level(new in any_ramp()) {
        let mut snapshot = started(new);
        loop {
            for device in devices(60) {
                prop_assert_eq!(got(&snapshot, &device), due(ramp(&snapshot), &device));
            }
            let Some(next) = ahead(&snapshot).first().copied() else { break };
            snapshot = advance(&snapshot, next);
        }
    }

    /// By whatever way it comes to its last level, nobody who has entered changes arm, and nobody
    /// else is served anything else than before, unless by entering.
    #[test]
    fn raising_a_level_only_adds_and_moves_nobody_who_has_entered(
        new in any_ramp(),
        between in prop::collection::vec(0..4_u8, 12),
    ) {
        let base = started(new);
        let mut snapshot = base.clone();
        let mut events: Vec<Event> = Vec::new();
        let mut commit = |snapshot: &Snapshot, change: Change| {
            let Commit { snapshot, event, .. } = apply(snapshot, change).unwrap();
            events.extend(event.as_deref().cloned());
            Snapshot::clone(&snapshot)
        };
        let devices = devices(50);
        let all = |snapshot: &Snapshot| -> Vec<Got> {
            devices.iter().map(|device| got(snapshot, device)).collect()
        };
        let mut before = all(&snapshot);
        for step in between {
            match step {
                0 => {
                    let paused = commit(&snapshot, set_status(Status::Paused));
                    prop_assert!(all(&paused).iter().all(|got| *got == ("paused".into(), None)));
                    snapshot = commit(&paused, set_status(Status::Active));
                }
                1 => {
                    let restored = Snapshot::from_json(snapshot.to_json()).unwrap();
                    prop_assert!(restored == snapshot);
                    snapshot = restored;
                }
                _ => {
                    let Some(next) = ahead(&snapshot).first().copied() else { continue };
                    let now = commit(&snapshot, Change::advance_ramp(&p(ID), next));
                    let after = all(&now);
                    for ((device, old), new) in devices.iter().zip(&before).zip(&after) {
                        let has_entered = entered(&snapshot, device);
                        prop_assert!(!has_entered || entered(&now, device), "{} leaves", device);
                        if has_entered || !entered(&now, device) {
                            prop_assert_eq!(old, new, "{}", device);
                        }
                    }
                    (snapshot, before) = (now, after);
                }
            }
            prop_assert_eq!(&all(&snapshot), &before);
        }
        let replayed = base.replay(&events).unwrap();
        prop_assert_eq!(replayed.to_json(), snapshot.to_json());
        prop_assert!(replayed == snapshot);
        prop_assert_eq!(all(&replayed), before);
    }
}

/// Whether a subject lies below the level.
fn entered(snapshot: &Snapshot, device: &str) -> bool {
    let ramp = ramp(snapshot);
    let seed = draw_seed(ramp.salt().as_str(), Draw::Traffic);
    let end = (u128::from(ramp.traffic().millionths()) << 32) / u128::from(WHOLE);
    u128::from(point(subject_hash(device), seed)) < end
}

/// How many subjects each variation serves, with the reason.
fn counts(snapshot: &Snapshot, devices: &[String]) -> BTreeMap<Got, u32> {
    let mut counts = BTreeMap::new();
    for device in devices {
        *counts.entry(got(snapshot, device)).or_default() += 1;
    }
    counts
}

/// The shares that a ramp gives in percent, by variation, are those of many subjects as far as five
/// standard deviations.
#[track_caller]
fn check_shares(snapshot: &Snapshot, devices: &[String], due: &[(&str, &str, f64)]) {
    let counts = counts(snapshot, devices);
    let all = devices.len() as f64;
    for (reason, variation, percent) in due {
        let key = ((*reason).to_owned(), Some((*variation).to_owned()));
        let count = f64::from(counts.get(&key).copied().unwrap_or(0));
        let share = percent / 100.0;
        let deviation = (all * share * (1.0 - share)).sqrt();
        assert!(
            (count - all * share).abs() <= 5.0 * deviation,
            "{variation} by {reason}: {count} of {all} for {percent} % in {counts:?}"
        );
    }
    let due: Vec<Got> =
        due.iter().map(|(reason, id, _)| ((*reason).into(), Some((*id).into()))).collect();
    assert!(counts.keys().all(|got| due.contains(got)), "{counts:?}");
}

#[test]
fn each_level_gives_its_shares() {
    let devices = devices(30_000);
    let steps = levels(&["1", "12.5", "60", "100"]);
    let mut weightless = started(draft(bare(&["var_a", "var_c", "var_B", "var_9"]), &steps));
    let arms = vec![share("var_a", "50").control(), share("var_c", "30"), share("var_B", "20")];
    let mut weighted = started(draft(arms, &steps).outside_variation_id(p("var_Z")));
    for (level, next) in [(1.0, "12.5"), (12.5, "60"), (60.0, "100"), (100.0, "")] {
        let third = level / 3.0;
        let [c, b, nine] = ["var_c", "var_B", "var_9"].map(|id| ("split", id, third));
        check_shares(&weightless, &devices, &[c, b, nine, ("split", "var_a", 100.0 - level)]);
        let part = |id, percent: f64| ("split", id, level * percent / 100.0);
        check_shares(
            &weighted,
            &devices,
            &[
                part("var_a", 50.0),
                part("var_c", 30.0),
                part("var_B", 20.0),
                ("not_sampled", "var_Z", 100.0 - level),
            ],
        );
        if !next.is_empty() {
            weightless = advance(&weightless, p(next));
            weighted = advance(&weighted, p(next));
        }
    }
}

/// To the unit: the treatments' points differ by one at most, and the control owns none.
#[test]
fn a_ramp_without_weights_divides_the_points_alike() {
    for count in 2..=VARIATIONS.len() {
        for control in 0..count {
            let mut ids = VARIATIONS[..count].to_vec();
            ids.swap(0, control);
            let snapshot = started(draft(bare(&ids), &levels(&["50"])));
            let partition = ramp(&snapshot).iteration().partition().unwrap();
            let points: Vec<u64> = (0..count).map(|arm| partition.points(arm)).collect();
            assert_eq!(points.iter().sum::<u64>(), Partition::POINTS);
            assert_eq!(points[0], 0, "the control owns no point");
            let treatments = u64::try_from(count - 1).unwrap();
            let least = Partition::POINTS / treatments;
            assert!(points[1..].iter().all(|points| (least..=least + 1).contains(points)));
        }
    }
}

/// With as many arms as there can be.
#[test]
fn nineteen_treatments_share_alike() {
    let ids: Vec<String> = ('a'..='k').chain('m'..='u').map(|c| format!("var_{c}")).collect();
    let flag = NewFlag::new("Many").id(p("flg_m")).parameter("x", 0);
    let flag = ids.iter().fold(flag, |flag, id| flag.variation(NewVariation::new(id).id(p(id))));
    let new = NewExperiment::by_percentage("Ramp", p("flg_m")).id(p(ID)).levels([p("100")]);
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    assert_eq!(ids.len(), 20);
    let new = bare(&ids).into_iter().fold(new, NewExperiment::allocation);
    let start = Change::set_flag_status(&p("flg_m"), FlagStatus::Active);
    let snapshot =
        ok(&Snapshot::new(), vec![flag.into(), start, new.into(), set_status(Status::Active)]);
    let due: Vec<_> = ids[1..].iter().map(|id| ("split", *id, 100.0 / 19.0)).collect();
    check_shares(&snapshot, &devices(20_000), &due);
}

#[test]
fn level_0_is_the_control_for_all_and_level_100_for_nobody() {
    let snapshot = started(draft(bare(&["var_a", "var_c", "var_B"]), &levels(&["0", "100"])));
    let devices = devices(500);
    let control = ("split".to_owned(), Some("var_a".to_owned()));
    assert_eq!(counts(&snapshot, &devices), [(control.clone(), 500)].into());
    let whole = counts(&advance(&snapshot, p("100")), &devices);
    assert!(!whole.contains_key(&control) && whole.len() == 2, "{whole:?}");
    // With weights, nobody and everybody.
    let arms = vec![share("var_a", "50").control(), share("var_c", "50")];
    let snapshot = started(draft(arms, &levels(&["0", "100"])));
    assert_eq!(counts(&snapshot, &devices), [(("not_sampled".into(), None), 500)].into());
    let whole = counts(&advance(&snapshot, p("100")), &devices);
    assert!(whole.keys().all(|(reason, _)| reason == "split") && whole.len() == 2, "{whole:?}");
}

#[test]
fn the_outside_variation_is_of_no_effect_without_weights() {
    let new = draft(bare(&["var_a", "var_c"]), &levels(&["30"]));
    let [without, with] = [new.clone(), new.outside_variation_id(p("var_Z"))].map(started);
    assert_eq!(ramp(&with).outside_variation_id().unwrap().as_str(), "var_Z");
    for device in devices(200) {
        let decision = with.assign(ID, &Subject::new(&device));
        assert!(decision.in_experiment() && decision.assignment().is_some());
        assert_eq!(got(&with, &device), got(&without, &device));
    }
}

#[test]
fn a_subject_without_an_id_gets_nothing_from_a_ramp() {
    let snapshot = started(draft(bare(&["var_a", "var_c"]), &levels(&["30"])));
    for subject in [Subject::new(""), Subject::of("user", "u-1")] {
        let decision = snapshot.assign(ID, &subject);
        assert_eq!(decision.reason().as_str(), "missing_subject_id");
        assert_eq!(decision.config(), None);
    }
}

/// The control of those who have not entered is frozen with the rest.
#[test]
fn an_edit_of_the_flag_shows_nowhere_in_a_running_ramp() {
    let config = |snapshot: &Snapshot, device: &str| {
        json!(snapshot.assign(ID, &Subject::new(device)).config())
    };
    let before = started(draft(bare(&["var_a", "var_c"]), &levels(&["30", "70"])));
    let edits = ["var_a", "var_c"].map(|id| {
        let patch = json!({"overrides": {"number": 99}});
        let json = json!({"change": "patch_variation", "id": id, "patch": patch});
        Change::from_json(json.to_string()).unwrap()
    });
    let after = ok(&before, edits);
    let archived = ok(&after, Change::set_flag_status(&p("flg_r"), FlagStatus::Archived));
    // Nor does what is archived keep a ramp from going on.
    let advanced = advance(&archived, p("70"));
    let restored = Snapshot::from_json(advanced.to_json()).unwrap();
    assert!(restored == advanced);
    for device in devices(100) {
        assert_eq!(config(&before, &device), config(&archived, &device));
        let number = if entered(&advanced, &device) { json!(6) } else { json!(4) };
        assert_eq!(config(&advanced, &device), json!({"number": number}));
    }
}

/// Gives a paused ramp other arms, and resumes it: what share of those who enter moves.
#[track_caller]
fn check_rebalanced(from: Vec<Allocation>, to: Vec<Allocation>, moved: [u64; 2]) {
    let before = started(draft(from, &levels(&["40", "80"])));
    let patch = ExperimentPatch::new().allocations(to);
    let paused = ok(&before, [set_status(Status::Paused), Change::patch_experiment(&p(ID), patch)]);
    let paused = Snapshot::from_json(paused.to_json()).unwrap();
    let after = ok(&paused, set_status(Status::Active));
    let restored = Snapshot::from_json(after.to_json()).unwrap();
    assert!(restored == after);
    let share = ramp(&before).iteration().moved(ramp(&after).iteration()).unwrap();
    let due = Partition::POINTS * moved[0] / moved[1];
    assert!(share.abs_diff(due) <= 20, "{share} points move, {due} are due");
    // Which is what subjects see who have entered, and they alone.
    let entrants: Vec<_> =
        devices(4_000).into_iter().filter(|device| entered(&before, device)).collect();
    let differ = entrants.iter().filter(|device| got(&before, device) != got(&after, device));
    let [count, due] =
        [differ.count() as f64, entrants.len() as f64 * moved[0] as f64 / moved[1] as f64];
    assert!((count - due).abs() <= 5.0 * due.sqrt(), "{count} move, {due} are due");
    assert_eq!(ramp(&after).current_level(), Some(p("40")), "a pause leaves the level");
}

#[test]
fn other_arms_of_a_paused_ramp_move_no_more_than_they_must() {
    let two = || bare(&["var_a", "var_c", "var_B"]);
    let third = || bare(&["var_a", "var_c", "var_B", "var_9"]);
    check_rebalanced(two(), third(), [1, 3]);
    check_rebalanced(third(), two(), [1, 3]);
    check_rebalanced(two(), bare(&["var_a", "var_c", "var_9"]), [1, 2]);
    // Listed in another order, it is the same.
    let reordered = {
        let mut arms = two();
        arms.reverse();
        arms
    };
    check_rebalanced(two(), reordered, [0, 1]);
    // With weights from now on, of which the control takes half, and back.
    let weighted =
        || vec![share("var_a", "50").control(), share("var_c", "25"), share("var_B", "25")];
    check_rebalanced(two(), weighted(), [1, 2]);
    check_rebalanced(weighted(), two(), [1, 2]);
}

/// An experiment without levels keeps to what it did before there were ramps.
#[test]
fn without_levels_weights_are_needed_and_nothing_else_changes() {
    let error = apply(
        &base(),
        vec![draft(bare(&["var_a", "var_c"]), &[]).into(), set_status(Status::Active)],
    );
    assert_eq!(error.unwrap_err().code(), variate::Code::NotReady);
    let plain = ok(&world(), Change::set_experiment_status(&p("exp_weights"), Status::Active));
    let experiment = plain.experiment("exp_weights").unwrap();
    assert_eq!((experiment.levels(), experiment.current_level()), (&[][..], None));
    assert!(!plain.to_json().contains("levels"));
}
