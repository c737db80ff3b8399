//! The words for how an experiment assigns.

use crate::error::{Code, Error, codes};
use crate::json::{Cursor, FromJson, Object, deserialize};

codes! {
    /// How an experiment maps subjects to variations.
    #[expect(clippy::exhaustive_enums, reason = "whoever matches on it must consider a new one")]
    pub enum Strategy {
        /// By weight: each arm has its share of the subjects, drawn by hash.
        Percentage = "percentage",
        /// By segment: the first segment that matches, in order of priority, decides; if none
        /// does, the fallback.
        Segment = "segment",
    }
}

codes! {
    /// When an assignment that a subject [brings](crate::Subject::kept) is kept, as long as it is
    /// valid: the experiment has such an arm, its flag is on, the schedule is open, and the subject is
    /// neither held out nor outside the experiment's slots in its layer.
    #[derive(Default)]
    #[non_exhaustive]
    pub enum Keep {
        /// While the experiment is paused. While it is active the subject is assigned anew, which
        /// gives the same arm unless the design, the traffic or what is known of the subject has
        /// changed.
        #[default]
        WhilePaused = "while_paused",
        /// While the experiment is active or paused, whatever has become of its weights, its
        /// audience, its traffic and its segments.
        Always = "always",
        /// Not at all: while the experiment is paused, nobody gets anything.
        Never = "never",
    }
}

codes! {
    /// The formula that maps subjects to points; see [`hash`](crate::hash). A formula never
    /// changes: a better one gets a name of its own.
    #[derive(Default)]
    #[non_exhaustive]
    pub enum HashVersion {
        /// XXH64 of the id, then of the id's hash and the experiment's seed.
        #[default]
        Xxh64V1 = "xxh64-v1",
        /// LaunchDarkly's: SHA-1 of the salt and the id, in exact arithmetic. For experiments that
        /// assign by [`Strategy::Percentage`] and have neither levels nor stages. One draw decides
        /// both traffic and arm, by [slices](crate::RolloutSlice). Needs the feature `launchdarkly`.
        Sha1V1 = "sha1-v1",
        /// The same in the floats of LaunchDarkly's SDKs for Go and Rust, to give every subject what
        /// they give it.
        Sha1F32V1 = "sha1-f32-v1",
    }
}

codes! {
    /// How the weights of the allocations are read, of an experiment that assigns by
    /// [`Strategy::Percentage`].
    #[derive(Default)]
    #[non_exhaustive]
    pub enum Weights {
        /// As percentages: each is a number from 0 to 100. Under a hash without
        /// [slices](crate::RolloutSlice) they sum to exactly 100.
        #[default]
        Percent = "percent",
        /// Each against the sum of all, whatever that is: 1, 1 and 2 are a quarter, a quarter and a
        /// half. Each is a number from 0 to 1,000,000,000, and one of them is more than 0.
        Relative = "relative",
    }
}

impl Weights {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "what serde passes")]
    pub(crate) fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// Reads how the weights of an experiment by this strategy are read.
    pub(super) fn read(object: &Object<'_>, strategy: Strategy) -> Result<Self, Error> {
        let weights: Self = object.or_default("weights")?;
        weights.check_strategy(strategy).map_err(|error| object.locate(error))?;
        Ok(weights)
    }

    /// Checks that the weights of an experiment by this strategy can be read like this.
    pub(crate) fn check_strategy(self, strategy: Strategy) -> Result<(), Error> {
        if self.is_default() || strategy == Strategy::Percentage {
            return Ok(());
        }
        let rule = format!("is only for experiments that assign by {}", Strategy::Percentage);
        Err(Error::invalid(rule).with_value(&self).at("weights"))
    }
}

impl HashVersion {
    /// Those whose one draw decides both traffic and arm, in words.
    pub(crate) const ROLLOUTS: &'static str = "sha1-v1 or sha1-f32-v1";

    /// Whether one draw decides both traffic and arm.
    pub(crate) const fn has_rollout(self) -> bool {
        matches!(self, Self::Sha1V1 | Self::Sha1F32V1)
    }

    /// Checks that this program is built with what the hash needs.
    pub(crate) fn check_feature(self) -> Result<(), Error> {
        if cfg!(feature = "launchdarkly") || !self.has_rollout() {
            return Ok(());
        }
        let rule =
            "needs the feature launchdarkly of this crate, which the program is built without";
        Err(Error::new(Code::FeatureMissing, rule).with_value(&self))
    }
}

impl FromJson for Strategy {
    fn from_json(cursor: Cursor<'_>) -> Result<Self, Error> {
        cursor.one_of(Self::ALL, Self::as_str)
    }
}

impl FromJson for HashVersion {
    fn from_json(cursor: Cursor<'_>) -> Result<Self, Error> {
        let hash = cursor.one_of(Self::ALL, Self::as_str)?;
        hash.check_feature().map_err(|error| cursor.locate(error))?;
        Ok(hash)
    }
}

impl FromJson for Weights {
    fn from_json(cursor: Cursor<'_>) -> Result<Self, Error> {
        cursor.one_of(Self::ALL, Self::as_str)
    }
}

impl FromJson for Keep {
    fn from_json(cursor: Cursor<'_>) -> Result<Self, Error> {
        cursor.one_of(Self::ALL, Self::as_str)
    }
}

deserialize!(Strategy, HashVersion, Keep, Weights);
