//! The worlds that are measured.

#![allow(dead_code, reason = "each benchmark uses a part of it")]
#![allow(clippy::unwrap_used, reason = "a world that cannot be built is not measured")]

use variate::hash::subject_hash;
use variate::{
    Allocation, Attribute, Attributes, Change, Expression, FlagStatus, NewExperiment, NewFlag,
    NewSegment, NewVariation, Rule, Snapshot, Status, SystemEntropy, Timestamp, ToAttribute,
    Weight,
};

/// How many segments an experiment by segment has.
pub const SEGMENTS: usize = 10;

/// How the experiments of a world assign.
#[derive(Clone, Copy)]
pub enum By {
    /// By weight, among this many arms of equal weight.
    Weight(usize),
    /// By the same ten segments.
    Segment,
}

/// This many active experiments.
pub fn world(experiments: usize, by: By) -> Snapshot {
    let arms = match by {
        By::Weight(arms) => arms,
        By::Segment => SEGMENTS + 1,
    };
    let flag_id = "flg_a".parse().unwrap();
    let mut flag = NewFlag::new("Sign-in screen")
        .id("flg_a".parse().unwrap())
        .parameter("headline", "Welcome back")
        .parameter("passkey", false);
    for arm in 0..arms {
        let variation = NewVariation::new(format!("Variation {arm}")).with("headline", "Hello");
        flag = flag.variation(variation.id(id("var", arm).parse().unwrap()));
    }
    let mut changes = vec![flag.into(), Change::set_flag_status(&flag_id, FlagStatus::Active)];
    changes.extend((0..SEGMENTS).map(|number| segment(number).into()));
    for number in 0..experiments {
        let experiment_id = id("exp", number).parse().unwrap();
        let experiment = experiment(number, by, arms).id(id("exp", number).parse().unwrap());
        changes.push(experiment.into());
        changes.push(Change::set_experiment_status(&experiment_id, Status::Active));
    }
    let commit = Snapshot::new().apply(changes, Timestamp::EPOCH, &mut SystemEntropy).unwrap();
    Snapshot::clone(&commit.snapshot)
}

fn experiment(number: usize, by: By, arms: usize) -> NewExperiment {
    let (name, flag_id) = (format!("Experiment {number}"), "flg_a".parse().unwrap());
    let variation = |arm| id("var", arm).parse().unwrap();
    match by {
        By::Weight(_) => {
            let weight = Weight::from_millionths(100_000_000 / arms as u64).unwrap();
            (1..arms).fold(
                NewExperiment::by_percentage(name, flag_id)
                    .allocation(Allocation::share(variation(0), weight).control()),
                |new, arm| new.allocation(Allocation::share(variation(arm), weight)),
            )
        }
        By::Segment => (0..SEGMENTS).zip(1..).fold(
            NewExperiment::by_segment(name, flag_id)
                .allocation(Allocation::fallback(variation(SEGMENTS)).control()),
            |new, (arm, priority)| {
                let segment_id = id("seg", arm).parse().unwrap();
                let arm = Allocation::segment(variation(arm), segment_id, priority);
                new.allocation(arm.unwrap())
            },
        ),
    }
}

/// The segment of one plan. Who is on another has country and platform compared in vain, so that a
/// miss costs no less than a hit.
fn segment(number: usize) -> NewSegment {
    let countries = ["AT", "BE", "CH", "DE", "DK", "ES", "FI", "FR", "IT", "NL", "NO", "SE"];
    let rule = Rule::new()
        .when("country", Expression::one_of(countries))
        .when("platform", Expression::starts_with(["android/", "ios/"]))
        .when("plan", Expression::one_of([plan(number)]));
    NewSegment::new(format!("Segment {number}")).id(id("seg", number).parse().unwrap()).rule(rule)
}

/// An id with a number, in which base58 has no 0.
pub fn id(prefix: &str, number: usize) -> String {
    format!("{prefix}_{number}").replace('0', "z")
}

/// What a request knows of its subject.
pub struct Request {
    country: &'static str,
    plan: String,
    platform: &'static str,
}

impl Request {
    /// Someone whom the segment of this number matches.
    pub fn on_plan(number: usize) -> Self {
        Self { country: "DE", plan: plan(number), platform: "ios/17.2" }
    }
}

impl Attributes for Request {
    fn attribute(&self, name: &str) -> Option<Attribute<'_>> {
        match name {
            "country" => self.country.to_attribute(),
            "plan" => self.plan.to_attribute(),
            "platform" => self.platform.to_attribute(),
            _ => None,
        }
    }
}

fn plan(number: usize) -> String {
    format!("plan-{number}")
}

/// Ids as devices have them: 36 characters, in the form of a UUID.
pub fn subjects() -> Vec<String> {
    let spell = |number: u32| {
        let bits = subject_hash(&number.to_string());
        let (a, b, c, d) = (bits >> 32, bits >> 16 & 0xffff, bits >> 20 & 0xfff, bits & 0xffff);
        format!("{a:08x}-{b:04x}-4{c:03x}-{d:04x}-{:012x}", bits >> 16)
    };
    (0..10_000).map(spell).collect()
}
