//! Who stays and who moves from one iteration to the next.

use proptest::prelude::*;
use proptest::sample::Index;
use serde_json::{Value, json};
use variate::api::launchdarkly::Reshuffling;
use variate::{Carryover, Subject};

use crate::allocation::buckets;
use crate::support::{Api, save_and_start, treatment};

const KEYS: usize = 10_000;

/// What one subject gets.
#[derive(Debug, Clone, PartialEq)]
struct Fate {
    served: String,
    is_in: bool,
}

impl Fate {
    fn arm(&self) -> Option<&str> {
        self.is_in.then_some(&*self.served)
    }
}

/// What each of many subjects gets.
fn fates(api: &Api) -> Vec<Fate> {
    let (snapshot, held) = (api.engine().snapshot(), api.held("cta"));
    let keys = (0..KEYS).map(|index| format!("user-{index}"));
    let fates = keys.map(|key| {
        let decision = snapshot.assign(held.id(), &Subject::of("user", &key));
        let served = decision.variation_id().unwrap().to_string();
        Fate { served, is_in: decision.in_experiment() }
    });
    fates.collect()
}

/// Arms in thousandths of a percent each.
fn arms(shares: &[u32]) -> Value {
    let ids = ["var_a", "var_b", "var_c", "var_d"];
    let arms = ids.iter().zip(shares).enumerate().map(|(index, (id, share))| {
        treatment(id, format!("{}.{:03}", share / 1_000, share % 1_000), index == 0)
    });
    arms.collect()
}

/// An experiment that runs with these arms, and serves `var_d` outside.
fn running(set: impl FnOnce(&mut Value), api: Api, shares: &[u32]) -> Api {
    let mut body = api.experiment("cta");
    body["iteration"]["treatments"] = arms(shares);
    body["iteration"]["flags"]["button"]["notInExperimentVariationId"] = json!("var_d");
    set(&mut body["iteration"]);
    api.create_from(&body);
    api.start("cta");
    api
}

fn resized(api: &Api, shares: &[u32]) {
    let instruction = save_and_start("treatments", "update", Some(arms(shares)));
    api.patch("cta", json!([instruction])).ok();
}

fn salt(api: &Api) -> String {
    api.held("cta").salt().to_string()
}

/// Checks that the share of those who are in is what it should be, within five deviations.
#[track_caller]
fn check_share(fates: &[Fate], total: u32) {
    let count = f64::from(u32::try_from(fates.iter().filter(|own| own.is_in).count()).unwrap());
    let (n, p) = (f64::from(u32::try_from(KEYS).unwrap()), f64::from(total) / 100_000.0);
    let deviation = (n * p * (1.0 - p)).sqrt();
    assert!((count - n * p).abs() <= 5.0 * deviation + 1e-9, "{count} of {n} at {p}");
}

#[test]
fn the_surface_goes_by_the_hash_of_the_sdks() {
    let api = running(|_| {}, Api::new(), &[20_000, 20_000, 10_000]);
    assert_eq!(api.held("cta").hash().as_str(), "sha1-v1");
    let fates = fates(&api);
    check_share(&fates, 50_000);
    assert!(fates.iter().all(|own| own.is_in || own.served == "var_d"));
    let flag = api.get("/flags/default/button").ok();
    let rollout = &flag["environments"]["production"]["fallthrough"]["rollout"];
    let weights = rollout["variations"].as_array().unwrap().iter();
    let weights: Vec<_> = weights.map(|own| own["weight"].as_u64().unwrap()).collect();
    assert_eq!(weights, [20_000, 20_000, 10_000, 50_000]);
    assert_eq!(rollout["variations"][3]["_untracked"], true);
    assert_eq!(rollout["seed"].to_string(), salt(&api));
    assert_eq!(
        rollout["experimentAllocation"],
        json!({"defaultVariation": 3, "canReshuffle": true})
    );
}

#[test]
fn nothing_changed_nobody_moves() {
    for can_reshuffle in [true, false] {
        let set = |own: &mut Value| own["canReshuffleTraffic"] = json!(can_reshuffle);
        let api = running(set, Api::new(), &[20_000, 20_000, 10_000]);
        let before = fates(&api);
        for instruction in [
            json!({"kind": "saveAndStartNewIteration"}),
            save_and_start("hypothesis", "update", Some(json!("Anew"))),
            save_and_start("metrics", "add", Some(json!([{"key": "errors"}]))),
            save_and_start("primarySingleMetricKey", "update", Some(json!("latency"))),
        ] {
            api.patch("cta", json!([instruction])).ok();
            assert_eq!(fates(&api), before, "{instruction}");
        }
        // Nor by a draft that is started beside it.
        let mut next = api.iteration();
        next["treatments"] = arms(&[20_000, 20_000, 10_000]);
        next["flags"]["button"]["notInExperimentVariationId"] = json!("var_d");
        next["canReshuffleTraffic"] = json!(can_reshuffle);
        api.draft("cta", &next).is(200);
        let start = json!({"kind": "startIteration", "changeJustification": "Anew"});
        api.patch("cta", json!([start])).ok();
        assert_eq!(fates(&api), before);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Whoever is in stays in the same arm as long as no arm shrinks.
    #[test]
    fn who_is_in_stays_while_the_traffic_grows(
        mut shares in prop::array::uniform3(1_u32..10_000),
        growth in prop::collection::vec((any::<Index>(), 1_u32..30_000), 1..6),
        can_reshuffle in any::<bool>(),
    ) {
        let set = |own: &mut Value| own["canReshuffleTraffic"] = json!(can_reshuffle);
        let api = running(set, Api::new(), &shares);
        let (first, mut before) = (salt(&api), fates(&api));
        for (arm, more) in growth {
            let room = 100_000 - shares.iter().sum::<u32>();
            shares[arm.index(3)] += more.min(room);
            resized(&api, &shares);
            let after = fates(&api);
            for (was, is) in before.iter().zip(&after) {
                if was.is_in {
                    prop_assert_eq!(was, is);
                } else {
                    prop_assert_eq!(&was.served, "var_d");
                }
            }
            check_share(&after, shares.iter().sum());
            let due = ["var_a", "var_b", "var_c"].map(str::to_owned).into_iter().zip(shares);
            prop_assert_eq!(buckets(&api, "cta"), due.collect());
            prop_assert_eq!(salt(&api), first.clone());
            before = after;
        }
    }

    /// Only the share that an arm loses leaves, and nobody else moves.
    #[test]
    fn only_what_shrinks_leaves(
        shares in prop::array::uniform3(5_000_u32..33_000),
        less in prop::array::uniform3(0_u32..5_000),
    ) {
        let api = running(|_| {}, Api::new(), &shares);
        let before = fates(&api);
        let smaller = [0, 1, 2].map(|arm| shares[arm] - less[arm]);
        resized(&api, &smaller);
        let after = fates(&api);
        for (was, is) in before.iter().zip(&after) {
            match (was.arm(), is.arm()) {
                (Some(_) | None, None) => prop_assert_eq!(&is.served, "var_d"),
                (was, is) => prop_assert_eq!(was, is),
            }
        }
        check_share(&after, smaller.iter().sum());
        let due = ["var_a", "var_b", "var_c"].map(str::to_owned).into_iter().zip(smaller);
        prop_assert_eq!(buckets(&api, "cta"), due.collect());
    }
}

/// How many have another arm, of those who are in both times.
fn switched(before: &[Fate], after: &[Fate]) -> usize {
    let both = before.iter().zip(after).filter(|(was, is)| was.is_in && is.is_in);
    both.filter(|(was, is)| was != is).count()
}

#[test]
fn whoever_stops_and_starts_anew_draws_everybody_anew() {
    for can_reshuffle in [true, false] {
        let set = |own: &mut Value| own["canReshuffleTraffic"] = json!(can_reshuffle);
        let api = running(set, Api::new(), &[50_000, 50_000]);
        let (first, before) = (salt(&api), fates(&api));
        api.stop("cta");
        let mut next = api.iteration();
        next["treatments"] = arms(&[50_000, 50_000]);
        next["canReshuffleTraffic"] = json!(can_reshuffle);
        api.draft("cta", &next).is(200);
        api.start("cta");
        assert_ne!(salt(&api), first);
        let moved = switched(&before, &fates(&api));
        assert!((4_500..5_500).contains(&moved), "{moved} of {KEYS} have moved");
    }
}

#[test]
fn those_who_were_in_can_be_served_only() {
    let api = Api::with(|surface| surface.carryover(Carryover::ServedOnly));
    let api = running(|_| {}, api, &[2_000, 2_000, 2_000]);
    let (first, before) = (salt(&api), fates(&api));
    resized(&api, &[10_000, 10_000, 10_000]);
    let after = fates(&api);
    assert_eq!(salt(&api), first);
    for (was, is) in before.iter().zip(&after) {
        match was.is_in {
            true => assert_eq!((&*is.served, is.is_in), (&*was.served, false)),
            false => assert!(is.is_in || is.served == "var_d", "{was:?} {is:?}"),
        }
    }
    check_share(&after, 30_000);

    // Nothing changed, or less: nobody leaves who need not.
    api.patch("cta", json!([{"kind": "saveAndStartNewIteration"}])).ok();
    assert_eq!(fates(&api), after);
}

#[test]
fn when_too_few_are_outside_everybody_is_drawn_anew_if_that_is_allowed() {
    for can_reshuffle in [true, false] {
        let set = |own: &mut Value| own["canReshuffleTraffic"] = json!(can_reshuffle);
        let api = Api::with(|surface| surface.carryover(Carryover::ServedOnly));
        let api = running(set, api, &[20_000, 20_000]);
        let (first, before) = (salt(&api), fates(&api));
        resized(&api, &[40_000, 40_000]);
        let after = fates(&api);
        check_share(&after, 80_000);
        assert_eq!(salt(&api) != first, can_reshuffle);
        match can_reshuffle {
            true => assert!(switched(&before, &after) > 500),
            false => {
                let stays = |(was, is): (&Fate, &Fate)| !was.is_in || was == is;
                assert!(before.iter().zip(&after).all(stays));
            }
        }
    }
}

#[test]
fn a_surface_can_draw_anew_with_every_iteration() {
    for can_reshuffle in [true, false] {
        let set = |own: &mut Value| own["canReshuffleTraffic"] = json!(can_reshuffle);
        let api = Api::with(|surface| surface.reshuffling(Reshuffling::Always));
        let api = running(set, api, &[50_000, 50_000]);
        let (first, before) = (salt(&api), fates(&api));
        api.patch("cta", json!([{"kind": "saveAndStartNewIteration"}])).ok();
        let moved = switched(&before, &fates(&api));
        assert_eq!(salt(&api) != first, can_reshuffle);
        match can_reshuffle {
            true => assert!((4_500..5_500).contains(&moved), "{moved} of {KEYS} have moved"),
            false => assert_eq!(moved, 0),
        }
        // What is allowed is what the new iteration says.
        let other = save_and_start("canReshuffleTraffic", "update", Some(json!(!can_reshuffle)));
        let before = salt(&api);
        api.patch("cta", json!([other])).ok();
        assert_eq!(salt(&api) != before, !can_reshuffle);
    }
}

#[test]
fn another_baseline_moves_nobody_outside() {
    let set = |own: &mut Value| {
        own["flags"]["button"]["notInExperimentVariationId"] = json!("var_a");
    };
    let api = running(set, Api::new(), &[10_000, 10_000]);
    let before = fates(&api);
    let treatments = json!([treatment("var_a", "10", false), treatment("var_b", "10", true)]);
    let instruction = save_and_start("treatments", "update", Some(treatments));
    api.patch("cta", json!([instruction])).ok();
    assert_eq!(fates(&api), before);
}
