//! Who gets what: in the order of the start, each by a draw of its own, a miss falls through.

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::{Value, json};
use variate::hash::{Draw, draw_seed, point, subject_hash};

use crate::support::Api;

/// Whether an experiment with this id and this share, in millionths of a percent, includes a user.
fn includes(id: &str, millionths: u64, user: &str) -> bool {
    let end = (u128::from(millionths) << 32) / 100_000_000;
    u128::from(point(subject_hash(user), draw_seed(id, Draw::Traffic))) < end
}

/// How many of a number of users each experiment has, by the context's decision.
fn count(api: &Api, context: &str, users: usize) -> BTreeMap<String, usize> {
    let snapshot = api.engine().snapshot();
    let chain = snapshot.chain(context);
    let mut counts = BTreeMap::new();
    for user in 0..users {
        let id = format!("user-{user}");
        let decision = chain.assign(&variate::Subject::of("user", &id));
        let experiment = decision.experiment_id().filter(|_| decision.in_experiment());
        let alias = experiment.and_then(|id| snapshot.experiment(id)?.key());
        *counts.entry(alias.map_or(String::new(), ToString::to_string)).or_default() += 1;
    }
    counts
}

/// A hundred percent, in millionths.
const WHOLE: u128 = 100_000_000;

/// The share of all users that each experiment of a chain gets and, last, the share of those whom
/// none does: the numerators over `WHOLE` to the power of how many experiments there are, exactly.
fn exact_shares(millionths: &[u64]) -> Vec<u128> {
    let (mut shares, mut left) = (Vec::new(), 1);
    for (index, own) in (1..).zip(millionths) {
        let below = WHOLE.pow(u32::try_from(millionths.len()).unwrap() - index);
        shares.push(left * u128::from(*own) * below);
        left *= WHOLE - u128::from(*own);
    }
    shares.push(left);
    shares
}

/// Checks that a count is what a share of all leads one to expect, to 5 standard deviations.
#[track_caller]
fn check_share(count: usize, users: usize, share: u128, whole: u128) {
    #[expect(clippy::cast_precision_loss, reason = "a bound, not a value")]
    let (count, users, share) = (count as f64, users as f64, share as f64 / whole as f64);
    let deviation = (users * share * (1.0 - share)).sqrt();
    assert!(
        (count - users * share).abs() <= 5.0 * deviation + 1.0,
        "{count} of {users}, not {share}"
    );
}

#[test]
fn thirty_percent_behind_seventy_are_nine() {
    let api = Api::new();
    api.running("first", json!({"context_key": "paywall", "segment_percent": 70}));
    api.running("second", json!({"context_key": "paywall", "segment_percent": 30}));
    let shares = exact_shares(&[70_000_000, 30_000_000]);
    assert_eq!(shares, [70, 9, 21].map(|percent| percent * WHOLE * WHOLE / 100));
    let counts = count(&api, "paywall", 200_000);
    for (alias, share) in ["first", "second", ""].into_iter().zip(shares) {
        check_share(counts[alias], 200_000, share, WHOLE * WHOLE);
    }
}

#[test]
fn contexts_know_nothing_of_each_other() {
    let api = Api::new();
    api.running("a", json!({"context_key": "one"}));
    api.running("b", json!({"context_key": "two"}));
    api.running("c", json!({}));
    api.running("d", json!({"context_key": "one", "is_context_specific": false}));
    for (context, alias) in [("one", "a"), ("two", "b"), ("", "c")] {
        assert_eq!(count(&api, context, 100), BTreeMap::from([(alias.to_owned(), 100)]));
    }
    assert!(count(&api, "three", 10).contains_key(""));
    // Of those of the empty key the one that was not restricted comes next.
    api.status("/v4/experiments/c", "finished").ok();
    assert_eq!(count(&api, "", 100), BTreeMap::from([("d".to_owned(), 100)]));
}

#[test]
fn the_order_is_that_of_the_start() {
    let api = Api::new();
    let (early, _) = api.ready("created-first", json!({}));
    api.running("started-first", json!({}));
    api.status(&early, "active").ok();
    assert_eq!(count(&api, "", 50), BTreeMap::from([("started-first".to_owned(), 50)]));
    // A pause lets newcomers through, and takes nothing of the place.
    api.status("/v4/experiments/started-first", "paused").ok();
    assert_eq!(count(&api, "", 50), BTreeMap::from([("created-first".to_owned(), 50)]));
    api.status("/v4/experiments/started-first", "active").ok();
    assert_eq!(count(&api, "", 50), BTreeMap::from([("started-first".to_owned(), 50)]));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Of random chains, every user is where the draws of the experiments say, one after the other, and
    /// the share of each is the product of the shares that its users fell through and its own.
    #[test]
    fn random_chains(shares in prop::collection::vec(0..=100_000_000_u64, 1..5)) {
        const USERS: usize = 4_000;
        let api = Api::new();
        let mut ids = Vec::new();
        for (index, share) in shares.iter().enumerate() {
            let (whole, rest) = (share / 1_000_000, share % 1_000_000);
            let percent: Value = serde_json::from_str(&format!("{whole}.{rest:06}")).unwrap();
            let facts = json!({"context_key": "c", "segment_percent": percent});
            let (path, _) = api.running(&format!("e{index}"), facts);
            ids.push(api.get(&path).ok()["id"].as_str().unwrap().to_owned());
        }
        let mut counts = vec![0; shares.len() + 1];
        for user in 0..USERS {
            let user = format!("user-{user}");
            let expected = ids.iter().zip(&shares).position(|(id, share)| includes(id, *share, &user));
            let got = api.engine().snapshot();
            let got = got.chain("c").assign(&variate::Subject::of("user", &user));
            let got = got.experiment_id().filter(|_| got.in_experiment());
            let place = got.map(|id| ids.iter().position(|own| own == id.as_str()).unwrap());
            prop_assert_eq!(place, expected);
            counts[place.unwrap_or(shares.len())] += 1;
        }
        let (exact, whole) = (exact_shares(&shares), WHOLE.pow(u32::try_from(shares.len()).unwrap()));
        prop_assert_eq!(exact.iter().sum::<u128>(), whole);
        for (count, share) in counts.into_iter().zip(exact) {
            check_share(count, USERS, share, whole);
        }
    }
}
