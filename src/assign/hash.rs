//! The formulas that map subjects to points.
//!
//! # `xxh64-v1`
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
//! # `sha1-v1` and `sha1-f32-v1`
//! LaunchDarkly's, for experiments that are brought over or that its SDKs assign too; both need the
//! feature `launchdarkly`.
//!
//! ```text
//! point = the upper 60 bits of SHA1(utf8(salt) ++ "." ++ utf8(subject id)), as a number
//! ```
//!
//! LaunchDarkly writes the point as the first 15 digits of the hash in hexadecimal. The salt is the
//! seed of its rollout in decimal, such as `61`, or without a seed the flag's key and salt with a
//! dot between, such as `hashKey.saltyA`. Nothing is escaped. There is one draw, which says both
//! whether a subject is in the experiment and which variation it gets: the point falls into one of
//! 100,000 buckets, which an ordered list of [slices](crate::RolloutSlice) shares out. With W the
//! sum of the widths up to and with a slice, it is the first for which
//!
//! | formula | holds | arithmetic |
//! |---|---|---|
//! | `sha1-v1` | `point / (2^60 - 1) < W / 100000` | exact |
//! | `sha1-f32-v1` | the same | floats of 32 bits: point and 2^60 - 1 are rounded, then divided; each width is divided by 100000, then added |
//!
//! and the last slice if it is none. `sha1-f32-v1` gives every subject what LaunchDarkly's SDKs for
//! Go and Rust give it. The two differ only next to the border of a slice, for about one subject in
//! 25 million a border. In both, the borders are worked out as whole numbers when an experiment is
//! compiled, so that assigning compares integers.
//!
//! With the floats, a border depends on all the widths before it. So an edit that cuts slices anew
//! can move a subject next to a border that stays where it is, by one rounding: again about 4 in
//! 10^8. With `sha1-v1` it never does.
//!
//! No formula ever changes. Whoever can choose ids can choose points: they are no secret and no
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

/// The hash of a subject's id, for `xxh64-v1`.
#[inline]
pub fn subject_hash(id: &str) -> u64 {
    xxh64(id.as_bytes(), 0)
}

/// The seed of a draw under a salt, for `xxh64-v1`.
pub fn draw_seed(salt: &str, draw: Draw) -> u64 {
    xxh64(&[salt.as_bytes(), &[0], draw.as_str().as_bytes()].concat(), 0)
}

/// The point of a subject in a draw, for `xxh64-v1`.
///
/// ```
/// use variate::hash::{Draw, draw_seed, point, subject_hash};
///
/// let seed = draw_seed("exp_signinScreen", Draw::Variation);
/// assert_eq!(point(subject_hash("device-42"), seed), 3_604_398_188);
/// ```
#[inline]
pub fn point(subject_hash: u64, draw_seed: u64) -> u32 {
    (xxh64_of_u64(subject_hash ^ draw_seed) >> 32) as u32
}

/// `XXH64(le_bytes(number), seed 0)`: what is left of XXH64 when there are just eight bytes.
#[inline]
fn xxh64_of_u64(number: u64) -> u64 {
    const PRIMES: [u64; 5] = [
        0x9e37_79b1_85eb_ca87,
        0xc2b2_ae3d_27d4_eb4f,
        0x1656_67b1_9e37_79f9,
        0x85eb_ca77_c2b2_ae63,
        0x27d4_eb2f_1656_67c5,
    ];
    let [one, two, three, four, five] = PRIMES;
    let lane = number.wrapping_mul(two).rotate_left(31).wrapping_mul(one);
    let mixed = (five.wrapping_add(8) ^ lane).rotate_left(27).wrapping_mul(one).wrapping_add(four);
    let mixed = (mixed ^ mixed >> 33).wrapping_mul(two);
    let mixed = (mixed ^ mixed >> 29).wrapping_mul(three);
    mixed ^ mixed >> 32
}

/// The point of a subject under a salt, for `sha1-v1` and `sha1-f32-v1`: a number below 2^60.
///
/// ```
/// use variate::hash::sha1_point;
///
/// // LaunchDarkly publishes 0.09801207 for seed 61 and 0.42157587 for this key and salt.
/// let share = |point: u64| format!("{:.8}", point as f64 / (1_u64 << 60) as f64);
/// assert_eq!(share(sha1_point("61", "userKeyA")), "0.09801207");
/// assert_eq!(sha1_point("hashKey.saltyA", "userKeyA"), 0x6bec_6581_11d6_ad9);
/// ```
#[cfg(feature = "launchdarkly")]
#[inline]
pub fn sha1_point(salt: &str, id: &str) -> u64 {
    use sha1::{Digest, Sha1};

    let hash = Sha1::new().chain_update(salt).chain_update(".").chain_update(id).finalize();
    let bytes: [u8; 20] = hash.into();
    // Twenty bytes begin with eight.
    bytes.first_chunk().map_or(0, |first| u64::from_be_bytes(*first) >> 4)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_number_hashes_as_its_bytes_do(number: u64) {
            prop_assert_eq!(xxh64_of_u64(number), xxh64(&number.to_le_bytes(), 0));
        }
    }
}
