//! The formula `xxh64-v1`, which maps subjects to points.
//!
//! ```text
//! subject_hash   = XXH64(utf8(subject id), seed 0)
//! draw_seed(s,d) = XXH64(utf8(s) ++ 0x00 ++ utf8(d), seed 0)
//! point          = XXH64(le_bytes(subject_hash XOR draw_seed), seed 0) >> 32
//! ```
//!
//! The subject is hashed once, however many experiments there are; a seed belongs to an experiment
//! and is computed when that is compiled; a point costs one hash of eight bytes. Ids are hashed as
//! they are, byte for byte: neither case nor Unicode normal form is touched.
//!
//! The formula never changes. Whoever can choose ids can choose points: it is no secret and no
//! protection.

use xxhash_rust::xxh64::xxh64;

use crate::error::codes;

codes! {
    /// What a point is drawn for. Each draw under a salt has a seed of its own, so that the draws
    /// are independent of each other.
    #[non_exhaustive]
    pub enum Draw {
        /// Whether a subject is held out of a set of experiments; under the holdout's salt.
        Holdout = "holdout",
        /// Which experiment of a layer can let a subject in; under the layer's salt.
        Layer = "layer",
        /// Whether a subject enters the experiment.
        Traffic = "traffic",
        /// Which arm it gets.
        Variation = "variation",
    }
}

/// The hash of a subject's id.
#[inline]
pub fn subject_hash(id: &str) -> u64 {
    xxh64(id.as_bytes(), 0)
}

/// The seed of a draw under a salt.
pub fn draw_seed(salt: &str, draw: Draw) -> u64 {
    xxh64(&[salt.as_bytes(), &[0], draw.as_str().as_bytes()].concat(), 0)
}

/// The point of a subject in a draw.
///
/// ```
/// use variate::hash::{Draw, draw_seed, point, subject_hash};
///
/// let seed = draw_seed("exp_signinScreen", Draw::Variation);
/// assert_eq!(point(subject_hash("device-42"), seed), 3_604_398_188);
/// ```
#[inline]
pub fn point(subject_hash: u64, draw_seed: u64) -> u32 {
    (xxh64(&(subject_hash ^ draw_seed).to_le_bytes(), 0) >> 32) as u32
}
