//! Subjects spread as their weights say, and independently: over experiments, however alike their
//! names, over the draws of one experiment, and over layers and holdouts. The same statistics catch
//! hashes that are known to be bad.
//!
//! All is deterministic: 100,000 ids of each of four kinds, and chi-square throughout.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may"
)]

use crate::common::{ok, p};
use variate::hash::{Draw, draw_seed, point, subject_hash};
use variate::{
    Allocation, Change, FlagStatus, LayerPatch, NewExperiment, NewFlag, NewHoldout, NewLayer,
    NewVariation, Plan, Snapshot, Status, Subject,
};

const IDS: usize = 100_000;

/// Experiments whose names are easily mixed up.
const LOOK_ALIKES: [(&str, &str); 5] = [
    ("exp_1", "exp_2"),
    ("exp_x", "exp_x2"),
    ("exp_aaaaaaaaaa1", "exp_aaaaaaaaaa2"),
    ("exp_A", "exp_a"),
    ("exp_1a", "exp_a1"),
];

/// Ends of slices in thousandths, so that a hash of 1000 values is not blamed for being coarse.
const HALVES: &[u16] = &[500, 1000];
const THREE: &[u16] = &[200, 500, 1000];
const EIGHT: &[u16] = &[50, 130, 230, 350, 480, 630, 800, 1000];
const EIGHTHS: &[u16] = &[125, 250, 375, 500, 625, 750, 875, 1000];
const OUTCOMES: &[u16] = &[500, 600, 750, 1000];

/// More statistics than any test here takes.
const MOST: usize = 500;

/// What chi-square with this many degrees of freedom exceeds with a probability of 2e-9: the x
/// where the regularised upper incomplete gamma function Q(df / 2, x / 2) is 2e-9. With at most 500
/// statistics, the probability that a perfect hash fails any of them is below 1e-6.
fn critical(df: usize) -> f64 {
    match df {
        1 => 35.974,
        2 => 40.060,
        3 => 43.424,
        4 => 46.434,
        7 => 54.356,
        15 => 71.954,
        63 => 152.808,
        _ => panic!("no critical value for {df} degrees of freedom"),
    }
}

/// What was found in a run of the statistics.
#[derive(Default)]
struct Findings {
    taken: usize,
    failed: Vec<String>,
}

impl Findings {
    /// Compares counts with the shares that they are due.
    fn compare(&mut self, what: &str, counts: &[u32], shares: &[f64]) {
        let total = f64::from(counts.iter().sum::<u32>());
        let chi_square: f64 = counts
            .iter()
            .zip(shares)
            .map(|(count, share)| (f64::from(*count) - total * share).powi(2) / (total * share))
            .sum();
        let critical = critical(shares.len() - 1);
        self.taken += 1;
        // There is no number when there are no counts.
        if chi_square.is_nan() || chi_square > critical {
            self.failed.push(format!("{what}: {chi_square:.1} > {critical}"));
        }
    }

    /// The shares of a column.
    fn arms(&mut self, what: &str, column: &[u16], ends: &[u16]) {
        let mut counts = vec![0; ends.len()];
        for value in column {
            counts[slice(ends, *value)] += 1;
        }
        self.compare(what, &counts, &shares(ends));
    }

    /// The cross table of two columns.
    fn cross(&mut self, what: &str, one: (&[u16], &[u16]), two: (&[u16], &[u16])) {
        let ((rows, row_ends), (columns, column_ends)) = (one, two);
        let mut counts = vec![0; row_ends.len() * column_ends.len()];
        for (row, column) in rows.iter().zip(columns) {
            counts[slice(row_ends, *row) * column_ends.len() + slice(column_ends, *column)] += 1;
        }
        let due = shares(row_ends).into_iter().flat_map(|row| {
            shares(column_ends).into_iter().map(move |column| row * column).collect::<Vec<_>>()
        });
        self.compare(what, &counts, &due.collect::<Vec<_>>());
    }
}

/// The slice of a value in thousandths.
fn slice(ends: &[u16], value: u16) -> usize {
    ends.iter().position(|end| value < *end).unwrap()
}

fn shares(ends: &[u16]) -> Vec<f64> {
    let starts = [0].iter().chain(ends);
    starts.zip(ends).map(|(start, end)| f64::from(end - start) / 1000.0).collect()
}

/// A well-mixed 64-bit generator (`splitmix64`).
fn random(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Kinds of ids that there are in real life.
fn families() -> [(&'static str, Vec<String>); 4] {
    let first = ["ana", "ben", "chloe", "david", "emma", "finn", "grace", "hugo"];
    let last = ["lopez", "miller", "novak", "okafor", "rossi"];
    let mut state = 42;
    let mut uuid = |_| {
        let (a, b) = (random(&mut state), random(&mut state));
        let (low, mid, high) = (a >> 32, a >> 16 & 0xffff, a & 0xfff);
        format!(
            "{low:08x}-{mid:04x}-4{high:03x}-{:04x}-{:012x}",
            b >> 50 | 0x8000,
            b & 0xffff_ffff_ffff
        )
    };
    let mail = |n: usize| {
        let (first, last) = (first[n % 8], last[n / 8 % 5]);
        format!("{first}.{last}{}@example.com", n / 40)
    };
    [
        ("sequential", (1..=IDS).map(|n| n.to_string()).collect()),
        ("devices", (0..IDS).map(|n| format!("device-{n:06}")).collect()),
        ("uuids", (0..IDS).map(&mut uuid).collect()),
        ("e-mails", (0..IDS).map(mail).collect()),
    ]
}

/// A hash under test: for a salt and a draw, a function from an id to a thousandth.
trait Hash {
    fn column(&self, salt: &str, draw: Draw, ids: &[String]) -> Vec<u16>;
}

/// The hash of the crate.
struct Own;

impl Hash for Own {
    fn column(&self, salt: &str, draw: Draw, ids: &[String]) -> Vec<u16> {
        let seed = draw_seed(salt, draw);
        ids.iter().map(|id| thousandth(point(subject_hash(id), seed))).collect()
    }
}

/// A hash of the id followed by the salt, as they are in the wild.
struct Concatenating(fn(&mut dyn Iterator<Item = u8>) -> u16);

impl Hash for Concatenating {
    fn column(&self, salt: &str, draw: Draw, ids: &[String]) -> Vec<u16> {
        // Fairer than the wild, where many use one hash for both draws.
        let key = match draw {
            Draw::Variation => salt.to_owned(),
            _ => format!("{salt}_{draw}"),
        };
        ids.iter().map(|id| self.0(&mut id.bytes().chain(key.bytes()))).collect()
    }
}

fn thousandth(point: u32) -> u16 {
    u16::try_from((u64::from(point) * 1000) >> 32).unwrap()
}

fn remainder(hash: u32) -> u16 {
    u16::try_from(hash % 1000).unwrap()
}

fn fnv_1a(bytes: &mut dyn Iterator<Item = u8>) -> u16 {
    let step = |hash: u32, byte: u8| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193);
    remainder(bytes.fold(0x811c_9dc5, step))
}

fn crc_32(bytes: &mut dyn Iterator<Item = u8>) -> u16 {
    let crc = bytes.fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| {
            (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg())
        })
    });
    thousandth(!crc)
}

fn java(bytes: &mut dyn Iterator<Item = u8>) -> u16 {
    remainder(bytes.fold(0_u32, |hash, byte| hash.wrapping_mul(31).wrapping_add(byte.into())))
}

/// The shares of arms, for each kind of ids and each experiment.
fn uniformity(hash: &dyn Hash, findings: &mut Findings) {
    for (family, ids) in families() {
        for salt in LOOK_ALIKES.into_iter().flat_map(|(one, two)| [one, two]) {
            let column = hash.column(salt, Draw::Variation, &ids);
            for ends in [HALVES, THREE, EIGHT] {
                findings.arms(&format!("{family}, {salt}, {} arms", ends.len()), &column, ends);
            }
        }
    }
}

/// The arms of one experiment against those of another with a similar name.
fn independence_of_experiments(hash: &dyn Hash, findings: &mut Findings) {
    for (family, ids) in families() {
        for (one, two) in LOOK_ALIKES {
            let [a, b] = [one, two].map(|salt| hash.column(salt, Draw::Variation, &ids));
            let [c, d] = [one, two].map(|salt| hash.column(salt, Draw::Traffic, &ids));
            let what = |kind: &str| format!("{family}, {one} and {two}, {kind}");
            findings.cross(&what("halves"), (&a, HALVES), (&b, HALVES));
            findings.cross(&what("eighths"), (&a, EIGHTHS), (&b, EIGHTHS));
            findings.cross(&what("traffic"), (&c, HALVES), (&d, HALVES));
            findings.cross(&what("traffic against arm"), (&c, HALVES), (&b, HALVES));
        }
    }
}

/// Who enters an experiment against which arm it is.
fn independence_of_draws(hash: &dyn Hash, findings: &mut Findings) {
    for (family, ids) in families() {
        for salt in LOOK_ALIKES.into_iter().flat_map(|(one, two)| [one, two]) {
            let [arm, traffic] =
                [Draw::Variation, Draw::Traffic].map(|draw| hash.column(salt, draw, &ids));
            for percent in [10, 50] {
                let what = |kind: &str| format!("{family}, {salt}, {percent} %, {kind}");
                let sampled = &[percent * 10, 1000];
                findings.arms(&what("sampled"), &traffic, sampled);
                let inside = arm.iter().zip(&traffic).filter(|(_, t)| **t < percent * 10);
                let inside: Vec<u16> = inside.map(|(arm, _)| *arm).collect();
                findings.arms(&what("arms of those sampled"), &inside, EIGHT);
                findings.cross(&what("sampled and arm"), (&traffic, sampled), (&arm, HALVES));
            }
        }
    }
}

#[track_caller]
fn check_passes(statistics: fn(&dyn Hash, &mut Findings)) {
    let mut findings = Findings::default();
    statistics(&Own, &mut findings);
    assert!((1..=MOST).contains(&findings.taken), "{} statistics", findings.taken);
    assert!(findings.failed.is_empty(), "{:#?}", findings.failed);
}

#[test]
fn arms_get_their_shares() {
    check_passes(uniformity);
}

#[test]
fn experiments_with_similar_names_are_independent() {
    check_passes(independence_of_experiments);
}

#[test]
fn traffic_says_nothing_about_arms() {
    check_passes(independence_of_draws);
}

#[test]
fn all_draws_of_an_experiment_are_independent() {
    check_passes(|hash, findings| {
        for (family, ids) in families() {
            let columns: Vec<_> =
                Draw::ALL.iter().map(|draw| (draw, hash.column("exp_1", *draw, &ids))).collect();
            for (index, (one, a)) in columns.iter().enumerate() {
                for (two, b) in &columns[..index] {
                    let what = format!("{family}, {one} and {two}");
                    findings.cross(&what, (a, EIGHTHS), (b, EIGHTHS));
                }
            }
        }
    });
}

/// The same of whole decisions: four outcomes each of two experiments.
#[test]
fn what_is_assigned_is_as_independent_as_what_is_hashed() {
    let flag = NewFlag::new("A flag").id(p("flg_a")).parameter("on", false);
    let flag = ["var_a", "var_b", "var_c"]
        .iter()
        .fold(flag, |flag, id| flag.variation(NewVariation::new(*id).id(p(id))));
    let mut changes = vec![flag.into(), Change::set_flag_status(&p("flg_a"), FlagStatus::Active)];
    for id in LOOK_ALIKES.into_iter().flat_map(|(one, two)| [one, two]) {
        let new = NewExperiment::by_percentage(format!("Experiment {id}"), p("flg_a"))
            .id(p(id))
            .traffic(p("50"))
            .allocation(Allocation::share(p("var_a"), p("20")).control())
            .allocation(Allocation::share(p("var_b"), p("30")))
            .allocation(Allocation::share(p("var_c"), p("50")));
        changes.extend([new.into(), Change::set_experiment_status(&p(id), Status::Active)]);
    }
    let snapshot = ok(&Snapshot::new(), changes);
    // A thousandth of the slice that an outcome is due.
    let outcome = |plan: &Plan, id: &str| {
        let variation = plan.assign(&Subject::new(id)).variation_id().map(AsRef::as_ref);
        let outcomes = [None, Some("var_a"), Some("var_b"), Some("var_c")];
        OUTCOMES[outcomes.iter().position(|known| *known == variation).unwrap()] - 1
    };
    let mut findings = Findings::default();
    for (family, ids) in families() {
        for (one, two) in LOOK_ALIKES {
            let [a, b] = [one, two].map(|experiment| -> Vec<u16> {
                let plan = snapshot.plan(experiment).unwrap();
                ids.iter().map(|id| outcome(plan, id)).collect()
            });
            let what = format!("{family}, {one} and {two}");
            findings.cross(&what, (&a, OUTCOMES), (&b, OUTCOMES));
        }
    }
    assert_eq!(findings.taken, 4 * LOOK_ALIKES.len());
    assert!(findings.failed.is_empty(), "{:#?}", findings.failed);
}

/// Layers, holdouts and experiments, by salts that are easily mixed up or the same.
fn independence_of_groups(hash: &dyn Hash, findings: &mut Findings) {
    use Draw::{Holdout, Layer, Traffic, Variation};
    const PAIRS: [(&str, Draw, &str, Draw); 12] = [
        ("lay_1", Layer, "lay_2", Layer),
        ("lay_1", Layer, "lay_11", Layer),
        ("lay_1", Layer, "exp_1", Variation),
        ("lay_1", Layer, "exp_1", Traffic),
        ("lay_1", Layer, "hld_1", Holdout),
        ("hld_1", Holdout, "hld_2", Holdout),
        ("hld_1", Holdout, "exp_1", Variation),
        ("hld_1", Holdout, "exp_1", Traffic),
        ("1", Layer, "1", Holdout),
        ("1", Layer, "1", Traffic),
        ("1", Layer, "1", Variation),
        ("1", Holdout, "1", Variation),
    ];
    for (family, ids) in families() {
        for (one, first, two, second) in PAIRS {
            let a = hash.column(one, first, &ids);
            let b = hash.column(two, second, &ids);
            let what = format!("{family}, {first} of {one} and {second} of {two}");
            findings.cross(&what, (&a, EIGHTHS), (&b, EIGHTHS));
            findings.arms(&what, &a, EIGHT);
        }
        // All four at once, in halves.
        for salts in [["lay_1", "hld_1", "exp_1", "exp_1"], ["1", "1", "1", "1"]] {
            let draws = salts.into_iter().zip([Layer, Holdout, Traffic, Variation]);
            let columns: Vec<_> = draws.map(|(salt, draw)| hash.column(salt, draw, &ids)).collect();
            let mut counts = [0; 16];
            for index in 0..ids.len() {
                let half = |cell: usize, column: &Vec<u16>| cell * 2 + slice(HALVES, column[index]);
                counts[columns.iter().fold(0, half)] += 1;
            }
            findings.compare(&format!("{family}, all of {salts:?}"), &counts, &[1.0 / 16.0; 16]);
        }
    }
}

#[test]
fn layers_holdouts_traffic_and_arms_are_independent() {
    check_passes(independence_of_groups);
}

#[test]
fn one_draw_for_layer_and_arm_fails() {
    check_fails(&OneDraw, independence_of_groups);
}

/// The same of whole decisions: each gate lets in its share of those whom the one before let in.
#[test]
fn gates_let_in_their_shares_one_after_the_other() {
    let flag = NewFlag::new("Flag")
        .id(p("flg_a"))
        .parameter("x", 1)
        .variation(NewVariation::new("one").id(p("var_a")))
        .variation(NewVariation::new("two").id(p("var_b")));
    let mut changes = vec![flag.into(), Change::set_flag_status(&p("flg_a"), FlagStatus::Active)];
    let members = ["exp_1", "exp_2", "exp_11"];
    for id in members {
        let new = NewExperiment::by_percentage(format!("Experiment {id}"), p("flg_a"))
            .id(p(id))
            .traffic(p("50"))
            .allocation(Allocation::share(p("var_a"), p("40")).control())
            .allocation(Allocation::share(p("var_b"), p("60")));
        changes.push(new.into());
    }
    let layer = NewLayer::new("Layer", "device").id(p("lay_1"));
    let layer = layer.member(p("exp_1"), p("50")).member(p("exp_2"), p("30"));
    let holdout = NewHoldout::new("Holdout", "device", p("20")).id(p("hld_1"));
    changes.push(layer.member(p("exp_11"), p("20")).into());
    changes.push(members.iter().fold(holdout, |new, id| new.experiment(p(id))).into());
    changes.extend(members.map(|id| Change::set_experiment_status(&p(id), Status::Active)));
    // Edited, so that a member has slots here and there.
    let edit = [("exp_1", "20"), ("exp_2", "20"), ("exp_11", "60")];
    let edit = edit.into_iter().map(|(id, share)| (p(id), p(share))).collect();
    changes.push(Change::patch_layer(&p("lay_1"), LayerPatch::new().members(edit)));
    let snapshot = ok(&Snapshot::new(), changes);
    let mut findings = Findings::default();
    for (family, ids) in families() {
        for (member, slot) in members.into_iter().zip([0.2, 0.2, 0.6]) {
            let plan = snapshot.plan(member).unwrap();
            let mut counts = [0; 5];
            for id in &ids {
                let decision = plan.assign(&Subject::new(id));
                let arm = decision.variation_id().map(AsRef::as_ref);
                let cell = match (decision.reason().as_str(), arm) {
                    ("held_out", None) => 0,
                    ("outside_layer_slot", None) => 1,
                    ("not_sampled", None) => 2,
                    ("split", Some("var_a")) => 3,
                    ("split", Some("var_b")) => 4,
                    other => panic!("{other:?}"),
                };
                counts[cell] += 1;
            }
            let inside = 0.8 * slot;
            let shares = [0.2, 0.8 - inside, inside * 0.5, inside * 0.2, inside * 0.3];
            findings.compare(&format!("{family}, {member}"), &counts, &shares);
        }
    }
    assert_eq!(findings.taken, 12);
    assert!(findings.failed.is_empty(), "{:#?}", findings.failed);
}

#[track_caller]
fn check_fails(hash: &dyn Hash, statistics: fn(&dyn Hash, &mut Findings)) {
    let mut findings = Findings::default();
    statistics(hash, &mut findings);
    assert!(!findings.failed.is_empty(), "all of {} statistics passed", findings.taken);
    assert!(findings.taken <= MOST);
}

#[test]
fn fnv_1a_fails() {
    check_fails(&Concatenating(fnv_1a), independence_of_experiments);
}

#[test]
fn crc_32_fails() {
    check_fails(&Concatenating(crc_32), independence_of_experiments);
}

#[test]
fn the_hash_of_java_fails() {
    check_fails(&Concatenating(java), independence_of_experiments);
}

/// FNV-1a with the salt in front, of which the upper bits are taken.
struct Prefixing;

impl Hash for Prefixing {
    fn column(&self, salt: &str, _: Draw, ids: &[String]) -> Vec<u16> {
        let step = |hash: u32, byte: u8| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193);
        let hash = |id: &String| salt.bytes().chain(id.bytes()).fold(0x811c_9dc5, step);
        ids.iter().map(|id| thousandth(hash(id))).collect()
    }
}

#[test]
fn fnv_1a_with_its_upper_bits_fails() {
    check_fails(&Prefixing, uniformity);
}

/// The hash of the crate without what tells its draws apart.
struct OneDraw;

impl Hash for OneDraw {
    fn column(&self, salt: &str, _: Draw, ids: &[String]) -> Vec<u16> {
        Own.column(salt, Draw::Variation, ids)
    }
}

#[test]
fn one_draw_for_traffic_and_arm_fails() {
    check_fails(&OneDraw, independence_of_draws);
}
