//! What is measured on: the same experiments and the same subjects for every engine.

use serde_json::{Value, json};
use variate::hash::subject_hash;

/// How many rules an experiment by rules has.
pub const RULES: usize = 10;

/// The countries that every rule lists.
pub const COUNTRIES: [&str; 12] =
    ["AT", "BE", "CH", "DE", "DK", "ES", "FI", "FR", "IT", "NL", "NO", "SE"];

/// The version that every rule asks for at least.
pub const VERSION: &str = "4.2.0";

/// Prime to every number of experiments.
const STRIDE: usize = 7919;

/// How an experiment assigns.
#[derive(Clone, Copy, PartialEq)]
pub enum Split {
    /// Two arms, 50/50.
    Even,
    /// Eight arms of unequal weight.
    Uneven,
    /// A whole arm for each of ten rules, and one for everyone else.
    Rules,
}

/// This many active experiments, each on a flag of its own.
#[derive(Clone, Copy)]
pub struct World {
    pub experiments: usize,
    pub split: Split,
    /// The experiment that has been edited to 60/40.
    pub edited: Option<usize>,
}

impl World {
    pub const fn new(experiments: usize, split: Split) -> Self {
        Self { experiments, split, edited: None }
    }

    #[must_use]
    pub const fn edited(self, number: usize) -> Self {
        Self { edited: Some(number), ..self }
    }

    /// The arms of an experiment, in percent; of one by rules, how many there are is what counts.
    pub fn weights(&self, number: usize) -> &'static [u64] {
        match self.split {
            Split::Even if self.edited == Some(number) => &[60, 40],
            Split::Even => &[50, 50],
            Split::Uneven => &[30, 20, 15, 12, 9, 7, 4, 3],
            Split::Rules => &[0; RULES + 1],
        }
    }

    pub fn numbers(&self) -> std::ops::Range<usize> {
        0..self.experiments
    }

    pub fn keys(&self) -> Vec<String> {
        self.numbers().map(key).collect()
    }

    /// The same, far apart from one to the next, so that what is looked up does not lie beside what
    /// was looked up before.
    pub fn scattered_keys(&self) -> Vec<String> {
        self.numbers().map(|number| key(number * STRIDE % self.experiments)).collect()
    }

    /// A JSON object with a member for every experiment, by key.
    pub fn by_key(&self, member: impl Fn(usize) -> Value) -> Value {
        self.numbers()
            .map(|number| (key(number), member(number)))
            .collect::<serde_json::Map<_, _>>()
            .into()
    }

    /// The edges of the arms on a scale: where each begins and where it ends.
    pub fn ranges(&self, number: usize, scale: u64) -> impl Iterator<Item = (usize, u64, u64)> {
        let mut end = 0;
        self.weights(number).iter().enumerate().map(move |(arm, weight)| {
            let start = end;
            end += weight * scale / 100;
            (arm, start, end)
        })
    }
}

/// What an experiment is called, by every engine.
pub fn key(number: usize) -> String {
    id("exp", number)
}

/// What an arm is called.
pub fn arm_name(arm: usize) -> String {
    format!("v{arm}")
}

/// The arm of this name.
pub fn arm_named(name: &str) -> Option<usize> {
    name.strip_prefix('v')?.parse().ok()
}

/// An id with a number, in which base58 has no 0.
pub fn id(prefix: &str, number: usize) -> String {
    format!("{prefix}_{number}").replace('0', "z")
}

/// What the rule of this number asks of `plan`.
pub fn plan(number: usize) -> String {
    format!("plan-{number}")
}

/// What is known of a subject on a plan: every rule's other conditions hold.
#[derive(Clone)]
pub struct Facts {
    pub country: &'static str,
    pub app: &'static str,
    pub plan: String,
}

impl Facts {
    pub fn on_plan(number: usize) -> Self {
        Self { country: "DE", app: "4.10.1", plan: plan(number) }
    }

    pub fn pairs(&self) -> [(&'static str, &str); 3] {
        [("app", self.app), ("country", self.country), ("plan", &self.plan)]
    }
}

/// Ids as devices have them: 36 characters, in the form of a UUID.
pub fn subject_ids() -> Vec<String> {
    let spell = |number: u32| {
        let bits = subject_hash(&number.to_string());
        let (a, b, c, d) = (bits >> 32, bits >> 16 & 0xffff, bits >> 20 & 0xfff, bits & 0xffff);
        format!("{a:08x}-{b:04x}-4{c:03x}-{d:04x}-{:012x}", bits >> 16)
    };
    (0..10_000).map(spell).collect()
}

/// The arms as a JSON list.
pub fn arms(weights: &[u64], arm: impl Fn(usize, u64) -> Value) -> Value {
    weights.iter().enumerate().map(|(number, weight)| arm(number, *weight)).collect()
}

/// The names of the arms as a JSON list.
pub fn arm_names(weights: &[u64]) -> Value {
    arms(weights, |arm, _| json!(arm_name(arm)))
}
