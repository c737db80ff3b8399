//! Typed ids.

use std::borrow::Borrow;
use std::fmt;

use arcstr::ArcStr;

use crate::error::{Code, Error};

/// Base58 without `0 O I l`, in the order that short UUIDs use.
const ALPHABET: &[u8; 58] = b"123456789abcdefghijkmnopqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ";

/// As many base58 digits as 128 bits need.
const GENERATED_DIGITS: usize = 22;

/// The longest id, in characters.
const MAX_LENGTH: usize = 255;

/// Where fresh ids and salts come from: 128 random bits at a time.
///
/// The engine uses [`SystemEntropy`]. A test passes a closure for ids that it can predict:
///
/// ```
/// use variate::{Expression, NewSegment, Rule, Snapshot, Timestamp};
///
/// let mut counter = 0;
/// let mut entropy = || {
///     counter += 1;
///     counter
/// };
/// let germany = Rule::new().when("country", Expression::one_of(["DE"]));
/// let segment = NewSegment::new("Germany").rule(germany);
/// let commit = Snapshot::new().apply(segment, Timestamp::EPOCH, &mut entropy)?;
/// assert_eq!(commit.segment().unwrap().as_str(), "seg_111111114Ay6byqtQtQyDP");
/// # Ok::<(), variate::Error>(())
/// ```
pub trait Entropy {
    /// The next 128 bits.
    fn bits(&mut self) -> Result<u128, Error>;
}

impl<F: FnMut() -> u128> Entropy for F {
    fn bits(&mut self) -> Result<u128, Error> {
        Ok(self())
    }
}

/// The operating system's random number generator.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemEntropy;

impl Entropy for SystemEntropy {
    fn bits(&mut self) -> Result<u128, Error> {
        let mut bytes = [0; 16];
        getrandom::fill(&mut bytes).map_err(|cause| {
            Error::new(
                Code::EntropyUnavailable,
                format!("the system gave no random bytes: {cause}"),
            )
        })?;
        Ok(u128::from_le_bytes(bytes))
    }
}

/// 22 base58 digits that spell a random UUID of version 4 with these bits.
pub(crate) fn spell(bits: u128) -> String {
    const VERSION: u128 = 0xf << 76;
    const VARIANT: u128 = 0x3 << 62;
    let mut rest = bits & !VERSION & !VARIANT | 0x4 << 76 | 0x2 << 62;
    let mut digits = [b'1'; GENERATED_DIGITS];
    for digit in digits.iter_mut().rev() {
        if let Some(letter) = ALPHABET.get((rest % 58) as usize) {
            *digit = *letter;
        }
        rest /= 58;
    }
    digits.iter().copied().map(char::from).collect()
}

/// An id as a key among ids of all kinds, which their prefixes keep apart.
pub(crate) trait Shared {
    fn shared(&self) -> ArcStr;
}

fn check(text: &str, prefix: &str) -> Result<(), Error> {
    let rule = |rule: String| Err(Error::invalid(rule).with_value(text));
    let Some(digits) = text.strip_prefix(prefix) else {
        return rule(format!("must begin with {prefix}"));
    };
    if digits.is_empty() {
        return rule(format!("must have at least one character after {prefix}"));
    }
    if text.len() > MAX_LENGTH {
        return rule(format!("must have at most {MAX_LENGTH} characters"));
    }
    match digits.chars().find(|c| !u8::try_from(*c).is_ok_and(|b| ALPHABET.contains(&b))) {
        Some(other) => rule(format!(
            "must have only base58 characters after {prefix} (letters and digits but 0, O, I and l), not {other:?}"
        )),
        None => Ok(()),
    }
}

macro_rules! ids {
    ($($(#[$meta:meta])* $name:ident $prefix:literal $example:literal;)+) => {$(
        $(#[$meta])*
        ///
        #[doc = concat!("`", $prefix, "` and one or more base58 characters: letters and digits but `0`, `O`, `I`")]
        /// and `l`, which are easily mistaken for each other; 255 characters at most. Compared and
        /// ordered as text.
        ///
        /// ```
        #[doc = concat!("use variate::", stringify!($name), ";")]
        ///
        #[doc = concat!("let id: ", stringify!($name), " = \"", $example, "\".parse()?;")]
        #[doc = concat!("assert_eq!(id.as_str(), \"", $example, "\");")]
        #[doc = concat!("assert_ne!(", stringify!($name), "::random()?, ", stringify!($name), "::random()?);")]
        /// # Ok::<(), variate::Error>(())
        /// ```
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(ArcStr);

        impl $name {
            #[doc = concat!("What each of these ids begins with: `", $prefix, "`.")]
            pub const PREFIX: &'static str = $prefix;

            /// A fresh random id, from the operating system's random number generator.
            ///
            /// # Errors
            /// [`Code::EntropyUnavailable`] when the system has no random bytes to give.
            pub fn random() -> Result<Self, Error> {
                Self::generate(&mut SystemEntropy)
            }

            pub(crate) fn generate(entropy: &mut dyn Entropy) -> Result<Self, Error> {
                Ok(Self(format!("{}{}", $prefix, spell(entropy.bits()?)).into()))
            }

            /// The id as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }

        }

        impl Shared for $name {
            fn shared(&self) -> ArcStr {
                ArcStr::clone(&self.0)
            }
        }

        impl std::str::FromStr for $name {
            type Err = Error;

            fn from_str(text: &str) -> Result<Self, Error> {
                check(text, $prefix)?;
                Ok(Self(text.into()))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl PartialEq<str> for $name {
            fn eq(&self, other: &str) -> bool {
                self.as_str() == other
            }
        }

        impl PartialEq<&str> for $name {
            fn eq(&self, other: &&str) -> bool {
                self.as_str() == *other
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }
    )+};
}

ids! {
    /// The id of an [`Experiment`](crate::Experiment).
    ExperimentId "exp_" "exp_signinScreen";
    /// The id of a [`Flag`](crate::Flag).
    FlagId "flg_" "flg_signinScreen";
    /// The id of a [`Variation`](crate::Variation); unique among all flags.
    VariationId "var_" "var_bigButton";
    /// The id of a [`Segment`](crate::Segment).
    SegmentId "seg_" "seg_germany";
    /// The id of a [`Layer`](crate::Layer).
    LayerId "lay_" "lay_checkout";
    /// The id of a [`Holdout`](crate::Holdout).
    HoldoutId "hld_" "hld_winter";
    /// The id of a [`Metric`](crate::Metric).
    MetricId "met_" "met_revenue";
}
