//! `sha1-f32-v1` against LaunchDarkly's own evaluation engine for Rust: the same variation, and in
//! the experiment or not, for random subjects in random rollouts.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test may")]

use std::collections::BTreeMap;

use launchdarkly_server_sdk_evaluation::{
    Context, ContextBuilder, Flag, FlagValue, Segment, Store, evaluate,
};
use serde_json::{Value, json};
use variate::{Reason, Snapshot, Subject};

const ROLLOUTS: usize = 4_000;
const SUBJECTS: usize = 300;
const BUCKETS: u64 = 100_000;

/// What LaunchDarkly's variations are called here.
const VARIATIONS: [&str; 6] = ["var_a", "var_b", "var_c", "var_d", "var_e", "var_f"];

/// Texts that keys are made of.
const PARTS: [&str; 10] = ["user-", "a.b", ".", "ä", "平板", "👩‍🚀", " ", "61.", "x", "\u{0}"];

struct Empty;

impl Store for Empty {
    fn flag(&self, _: &str) -> Option<Flag> {
        None
    }

    fn segment(&self, _: &str) -> Option<Segment> {
        None
    }
}

#[derive(Clone, Debug)]
struct Slice {
    variation: usize,
    weight: u64,
    untracked: bool,
}

/// What is hashed beside the subject: LaunchDarkly's seed, or its flag's key and salt.
#[derive(Clone, Debug)]
struct Rollout {
    seed: Option<i64>,
    key: String,
    salt: String,
    slices: Vec<Slice>,
}

impl Rollout {
    fn random(dice: &mut Dice) -> Self {
        let seed = match dice.roll(4) {
            0 => None,
            1 => Some([0, 1, -1, 61, i64::MAX, i64::MIN][dice.index(6)]),
            _ => Some(dice.roll(1 << 31).cast_signed()),
        };
        let count = 1 + dice.index(12);
        let even = dice.roll(3) == 0;
        let mut slices: Vec<Slice> = (0..count)
            .map(|_| Slice {
                variation: dice.index(VARIATIONS.len()),
                weight: if even { BUCKETS / count as u64 } else { dice.weight() },
                untracked: dice.roll(3) == 0,
            })
            .collect();
        // Of sums: too little, too much, and most often exact.
        if dice.roll(4) > 0 {
            let mut left = BUCKETS;
            for slice in &mut slices {
                slice.weight = slice.weight.min(left);
                left -= slice.weight;
            }
            slices[count - 1].weight += left;
        }
        Self { seed, key: dice.text(), salt: dice.text(), slices }
    }

    fn flag(&self) -> Flag {
        let variations: Vec<Value> = self
            .slices
            .iter()
            .map(|slice| {
                let Slice { variation, weight, untracked } = slice;
                json!({"variation": variation, "weight": weight, "untracked": untracked})
            })
            .collect();
        let mut rollout =
            json!({"kind": "experiment", "contextKind": "user", "variations": variations});
        if let Some(seed) = self.seed {
            rollout["seed"] = json!(seed);
        }
        serde_json::from_value(json!({
            "key": self.key, "salt": self.salt, "on": true, "version": 1, "targets": [],
            "rules": [], "prerequisites": [], "offVariation": 0, "variations": VARIATIONS,
            "fallthrough": {"rollout": rollout},
        }))
        .unwrap()
    }

    /// How many buckets each variation has in the experiment: the last slice has what is missing.
    fn tracked(&self) -> BTreeMap<usize, u64> {
        let mut tracked = BTreeMap::new();
        let mut left = BUCKETS;
        for (index, slice) in self.slices.iter().enumerate() {
            let is_last = index + 1 == self.slices.len();
            let buckets = if is_last { left } else { slice.weight.min(left) };
            left -= buckets;
            if !slice.untracked {
                *tracked.entry(slice.variation).or_insert(0) += buckets;
            }
        }
        tracked
    }

    /// The same as a document; `None` if nobody is in the experiment.
    fn snapshot(&self) -> Option<Snapshot> {
        let tracked = self.tracked();
        let all: u64 = tracked.values().sum();
        if all == 0 {
            return None;
        }
        let (mut sum, mut before) = (0, 0);
        let allocations: Vec<Value> = tracked
            .iter()
            .map(|(variation, buckets)| {
                sum += buckets;
                // In millionths of a percent, rounded.
                let end = (sum * 100_000_000 * 2 + all) / (2 * all);
                let weight = (end - before) as f64 / 1e6;
                before = end;
                json!({"variation_id": VARIATIONS[*variation], "weight": weight})
            })
            .enumerate()
            .map(|(index, mut arm)| {
                arm["is_control"] = json!(index == 0);
                arm
            })
            .collect();
        let slices: Vec<Value> = self
            .slices
            .iter()
            .map(|slice| {
                let Slice { variation, weight, untracked } = slice;
                let id = VARIATIONS[*variation];
                json!({"variation_id": id, "weight": weight, "untracked": untracked})
            })
            .collect();
        let variations =
            VARIATIONS.map(|id| json!({"id": id, "name": format!("Variation {id}")}));
        let salt = match self.seed {
            Some(seed) => seed.to_string(),
            None => format!("{}.{}", self.key, self.salt),
        };
        let document = json!({
            "format": "variate/1",
            "flags": [{
                "id": "flg_a", "name": "A flag", "status": "active",
                "parameters": {"x": {"type": "number", "value": 1}}, "variations": variations,
            }],
            "experiments": [{
                "id": "exp_a", "name": "Rollout", "flag_id": "flg_a", "status": "active",
                "subject_kind": "user", "strategy": "percentage", "hash": "sha1-f32-v1",
                "salt": salt, "traffic": all as f64 / 1e3, "allocations": allocations,
                "rollout": slices,
            }],
        });
        Some(Snapshot::from_json(document.to_string()).unwrap_or_else(|error| panic!("{error}")))
    }
}

/// Compares what a subject is given, and says whether it is in the experiment.
fn check(rollout: &Rollout, flag: &Flag, snapshot: &Snapshot, subject: &Subject<'_>, context: &Context) -> bool {
    let theirs = evaluate(&Empty, flag, context, None);
    let Some(FlagValue::Str(variation)) = theirs.value else { panic!("{theirs:?}") };
    let ours = snapshot.assign("exp_a", subject);
    let (id, is_in) = (ours.variation_id().unwrap().as_str(), ours.in_experiment());
    let expected = (variation.as_str(), theirs.reason.is_in_experiment());
    assert_eq!((id, is_in), expected, "{subject:?} in {rollout:?}");
    is_in
}

#[test]
fn every_subject_gets_what_launchdarkly_gives_it() {
    let mut dice = Dice(1);
    let (mut compared, mut within) = (0, 0);
    for _ in 0..ROLLOUTS {
        let rollout = Rollout::random(&mut dice);
        let Some(snapshot) = rollout.snapshot() else { continue };
        let flag = rollout.flag();
        for _ in 0..SUBJECTS {
            let key = dice.text();
            let context = ContextBuilder::new(key.as_str()).build().unwrap();
            let subject = Subject::of("user", &key);
            within += usize::from(check(&rollout, &flag, &snapshot, &subject, &context));
            compared += 1;
        }
        let context = ContextBuilder::new("acme").kind("organisation").build().unwrap();
        let nobody = Subject::of("organisation", "acme");
        assert!(!check(&rollout, &flag, &snapshot, &nobody, &context));
        assert_eq!(snapshot.assign("exp_a", &nobody).reason(), Reason::MissingSubjectId);
    }
    assert!(compared >= 1_000_000, "{compared} subjects");
    assert!((compared / 4..compared * 3 / 4).contains(&within), "{within} of {compared}");
}

/// The subject that floats of 32 bits put on the other side of a border.
#[test]
fn what_floats_round_is_rounded_alike() {
    let slice = |variation| Slice { variation, weight: 50_000, untracked: false };
    let (key, salt) = (String::from("flag"), String::from("salt"));
    let rollout = Rollout { seed: Some(61), key, salt, slices: vec![slice(0), slice(1)] };
    let (flag, snapshot) = (rollout.flag(), rollout.snapshot().unwrap());
    let context = ContextBuilder::new("user-23539670").build().unwrap();
    let subject = Subject::of("user", "user-23539670");
    assert!(check(&rollout, &flag, &snapshot, &subject, &context));
    assert_eq!(snapshot.assign("exp_a", &subject).variation_id().unwrap(), "var_b");
}

/// Reproducible numbers.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ mixed >> 31) % sides
    }

    fn index(&mut self, sides: usize) -> usize {
        usize::try_from(self.roll(sides as u64)).unwrap()
    }

    fn weight(&mut self) -> u64 {
        match self.roll(4) {
            0 => 0,
            1 => self.roll(100),
            2 => self.roll(BUCKETS / 1_000) * 1_000,
            _ => self.roll(BUCKETS),
        }
    }

    /// A few parts and a number, so that it is hardly ever the same.
    fn text(&mut self) -> String {
        let mut text: String = (0..self.roll(3)).map(|_| PARTS[self.index(PARTS.len())]).collect();
        text += &self.roll(u64::MAX).to_string();
        text
    }
}
