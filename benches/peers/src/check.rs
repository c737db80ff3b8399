//! Whether an engine does the work: without this, the fastest would be one that does nothing.

use crate::engines::Engine;

/// What the decisions have to be.
#[derive(Clone, Copy)]
pub enum Expected {
    /// Each arm gets its share, in percent.
    Shares(&'static [u64]),
    /// Everyone gets this arm.
    Arm(usize),
}

/// Asks twice about every subject, each for the next of the experiments, and stops the run if an
/// answer is not what it has to be.
pub fn check<E: Engine>(engine: &E, keys: &[String], subjects: &[E::Subject], expected: Expected) {
    let arms: Vec<usize> = keys
        .iter()
        .cycle()
        .zip(subjects)
        .map(|(key, subject)| {
            let arm = || engine.arm(&engine.assign(key, subject));
            let (first, again) = (arm(), arm());
            assert_eq!(first, again, "{}: two answers about one subject", E::NAME);
            first.unwrap_or_else(|| panic!("{}: no arm of {key}", E::NAME))
        })
        .collect();
    check_arms(E::NAME, &arms, expected);
}

/// The same for arms that have been found otherwise.
pub fn check_arms(name: &str, arms: &[usize], expected: Expected) {
    match expected {
        Expected::Arm(expected) => {
            let other = arms.iter().find(|arm| **arm != expected);
            assert_eq!(other, None, "{name}: another arm than {expected}");
        }
        Expected::Shares(weights) => {
            let total = arms.len() as f64;
            for (arm, weight) in weights.iter().enumerate() {
                let share = *weight as f64 / 100.0;
                let count = arms.iter().filter(|got| **got == arm).count() as f64;
                let sigma = (total * share * (1.0 - share)).sqrt();
                let off = (count - total * share).abs() / sigma;
                assert!(off <= 5.0, "{name}: arm {arm} has {count} of {total}, {off:.1} sigma off");
            }
        }
    }
}
