//! Shares: how they are written, read and laid out in buckets.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use variate::{Allocation, HashVersion, NewExperiment, Weights};

use crate::common::p;
use crate::support::{Api, treatment};

/// The tracked buckets of each variation.
pub fn buckets(api: &Api, key: &str) -> BTreeMap<String, u32> {
    let held = api.held(key);
    let mut buckets = BTreeMap::new();
    for slice in held.iteration().rollout().unwrap().iter().filter(|slice| !slice.untracked) {
        let id = slice.variation_id.as_ref().unwrap().to_string();
        *buckets.entry(id).or_default() += slice.weight;
    }
    buckets
}

/// Shares that are written so are shown so, and have so many buckets.
#[track_caller]
fn check(written: &[Value], shown: &[&str], expected: &[u32]) {
    let api = Api::new();
    let ids = ["var_a", "var_b", "var_c", "var_d"];
    let arms = ids.iter().zip(written).enumerate();
    let arms: Vec<_> =
        arms.map(|(index, (id, percent))| treatment(id, percent.clone(), index == 0)).collect();
    let mut body = api.experiment("cta");
    body["iteration"]["treatments"] = json!(arms);
    api.create_from(&body);
    let answer = api.start("cta");
    let treatments = answer["currentIteration"]["treatments"].as_array().unwrap();
    let percents: Vec<_> =
        treatments.iter().map(|own| own["allocationPercent"].as_str().unwrap()).collect();
    assert_eq!(percents, shown, "{written:?}");
    let due = ids.iter().zip(expected).filter(|(_, buckets)| **buckets > 0);
    let due: BTreeMap<_, _> = due.map(|(id, buckets)| ((*id).to_owned(), *buckets)).collect();
    let mut laid_out = buckets(&api, "cta");
    laid_out.retain(|_, buckets| *buckets > 0);
    assert_eq!(laid_out, due, "{written:?}");
}

#[test]
fn shares_are_shown_as_written_and_have_their_buckets() {
    check(&[json!("10"), json!("10"), json!("10")], &["10", "10", "10"], &[10_000; 3]);
    check(
        &[json!("33.333"), json!("33.333"), json!("33.334")],
        &["33.333", "33.333", "33.334"],
        &[33_333, 33_333, 33_334],
    );
    check(&[json!(50), json!(50)], &["50", "50"], &[50_000; 2]);
    check(&[json!(12.5), json!("0.001")], &["12.5", "0.001"], &[12_500, 1]);
    check(&[json!(33.333), json!(0)], &["33.333", "0"], &[33_333, 0]);
    check(&[json!("2.50"), json!("07")], &["2.5", "7"], &[2_500, 7_000]);
    check(&[json!("0"), json!("100")], &["0", "100"], &[0, 100_000]);
    check(
        &[json!("14.287"), json!("28.571"), json!("0.029"), json!("57.113")],
        &["14.287", "28.571", "0.029", "57.113"],
        &[14_287, 28_571, 29, 57_113],
    );
}

#[test]
fn every_pair_of_shares_has_its_buckets() {
    // A naive count in whole thousandths of a percent.
    let mut thousandths = 7_u32;
    for _ in 0..60 {
        thousandths = (thousandths * 7_919 + 13) % 100_000;
        let other = (100_000 - thousandths) / 3;
        let text = |own: u32| format!("{}.{:03}", own / 1_000, own % 1_000);
        let plain = |own: u32| {
            let text = text(own);
            text.trim_end_matches('0').trim_end_matches('.').to_owned()
        };
        let (one, two) = (plain(thousandths), plain(other));
        check(
            &[json!(text(thousandths)), json!(text(other))],
            &[&one, &two],
            &[thousandths, other],
        );
    }
}

#[test]
fn what_is_no_share_is_refused() {
    let api = Api::new();
    let check = |percent: Value, naming: &str| {
        let mut body = api.experiment("cta");
        body["iteration"]["treatments"][1]["allocationPercent"] = percent;
        let attribute = "iteration.treatments[1].allocationPercent";
        let path = crate::support::EXPERIMENTS;
        api.post(path, &body).refused(400, "invalid_request", attribute).naming(naming);
    };
    check(json!("0.0001"), "at most 3 decimals");
    check(json!(33.3333), "at most 3 decimals");
    for percent in [json!(-1), json!("-1"), json!(100.001), json!("101"), json!(""), json!("ten")] {
        check(percent, "allocationPercent");
    }
    for percent in
        [json!(null), json!(true), json!(["10"]), json!("10%"), json!("1e1"), json!(" 1")]
    {
        check(percent, "allocationPercent");
    }
}

/// Whatever they sum to, each arm shows its part of the traffic.
#[test]
fn relative_weights_are_shown_as_shares_of_the_traffic() {
    #[track_caller]
    fn check(weights: [&str; 2], percents: [&str; 2], expected: [u32; 2]) {
        let api = Api::new();
        let new = NewExperiment::by_percentage("Weighed", p("flg_button"))
            .id(p("exp_weighed"))
            .key("weighed")
            .hash(HashVersion::Sha1V1)
            .weights(Weights::Relative)
            .traffic(p("50"))
            .allocation(Allocation::share(p("var_a"), p(weights[0])).control())
            .allocation(Allocation::share(p("var_b"), p(weights[1])));
        api.commit(new);
        api.start("weighed");
        let shown = api.show("weighed");
        let treatments = shown["currentIteration"]["treatments"].as_array().unwrap();
        let found: Vec<_> =
            treatments.iter().map(|own| own["allocationPercent"].as_str().unwrap()).collect();
        assert_eq!(found, percents);
        let mut laid_out = buckets(&api, "weighed");
        laid_out.retain(|_, buckets| *buckets > 0);
        let ids = ["var_a", "var_b"].map(str::to_owned);
        let wanted: BTreeMap<_, _> = ids.into_iter().zip(expected).collect();
        assert_eq!(laid_out, wanted);
    }
    check(["1", "4"], ["10", "40"], [10_000, 40_000]);
    check(["1000000000", "250000000"], ["40", "10"], [40_000, 10_000]);
    check(["1", "2"], ["16.666666", "33.333333"], [16_667, 33_333]);
}
