//! Validated texts.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

use arcstr::ArcStr;
use serde::{Serialize, Serializer};

use super::{check_count, check_distinct, checked};
use crate::error::Error;
use crate::json::{Cursor, FromJson, Object, deserialize};

/// The most tags of an entity.
const MAX_TAGS: usize = 100;

/// What JavaScript's `\s` matches, since the published patterns are its.
fn is_space(c: char) -> bool {
    c == '\u{feff}' || (c.is_whitespace() && c != '\u{85}')
}

/// What JavaScript's `.` does not match.
fn is_line_end(c: char) -> bool {
    matches!(c, '\n' | '\r' | '\u{2028}' | '\u{2029}')
}

fn check_length(text: &str, min: usize, max: usize) -> Result<(), &'static str> {
    // No code point takes more than four bytes, so a huge text is refused without counting.
    let length = if text.len() > 4 * max { usize::MAX } else { text.chars().count() };
    if (min..=max).contains(&length) { Ok(()) } else { Err("length") }
}

/// `^(?!.*\x00)\S(.*\S)?$`
fn check_line(text: &str) -> Result<(), &'static str> {
    if text.contains('\0') {
        return Err("must not have a NUL character");
    }
    if text.contains(is_line_end) {
        return Err("must be one line");
    }
    if text.starts_with(is_space) || text.ends_with(is_space) {
        return Err("must not begin or end with a space");
    }
    Ok(())
}

fn check_no_nul(text: &str) -> Result<(), &'static str> {
    match text.contains('\0') {
        true => Err("must not have a NUL character"),
        false => Ok(()),
    }
}

fn check_word(text: &str) -> Result<(), &'static str> {
    match text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-')) {
        true => Ok(()),
        false => Err("must have only letters, digits and . _ -"),
    }
}

/// Checks a text by the rule of a [`Name`], but for its length.
#[cfg(feature = "auth0")]
pub(crate) fn check_published(text: &str, min: usize, max: usize) -> Result<(), Error> {
    let rule = match check_length(text, min, max) {
        Err(_) => format!("must have {min} to {max} characters"),
        Ok(()) => match check_line(text) {
            Err(rule) => rule.to_owned(),
            Ok(()) => return Ok(()),
        },
    };
    Err(Error::invalid(rule).with_value(text))
}

#[expect(clippy::unnecessary_wraps, reason = "the signature of the other checks")]
fn check_nothing(_: &str) -> Result<(), &'static str> {
    Ok(())
}

macro_rules! texts {
    ($($(#[$meta:meta])* $name:ident $min:literal..=$max:literal $check:ident;)+) => {$(
        $(#[$meta])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(ArcStr);

        impl $name {
            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = Error;

            fn from_str(text: &str) -> Result<Self, Error> {
                let rule = match check_length(text, $min, $max) {
                    Err(_) => concat!("must have ", $min, " to ", $max, " characters"),
                    Ok(()) => match $check(text) {
                        Err(rule) => rule,
                        Ok(()) => return Ok(Self(text.into())),
                    },
                };
                Err(Error::invalid(rule).with_value(text))
            }
        }

        text!($name);
    )+};
}

/// What every validated text does.
macro_rules! text {
    ($name:ident) => {
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(self.as_str(), f)
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                self.as_str()
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

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }

        impl FromJson for $name {
            fn from_json(cursor: Cursor<'_>) -> Result<Self, Error> {
                cursor.parse()
            }
        }

        deserialize!($name);
    };
}

texts! {
    /// The name of an entity: 1 to 255 characters on one line, neither beginning nor ending with a
    /// space, without NUL. Characters are code points. Free text, compared as it is written.
    ///
    /// It is the entity's own among those of its kind without a [`Key`]; one with a key can share its
    /// name.
    Name 1..=255 check_line;

    /// What an entity is about: 1 to 2048 characters by the same rule as a [`Name`].
    Description 1..=2048 check_line;

    /// The surface that an experiment applies to, such as `password_reset`: 1 to 255 characters on
    /// one line, neither beginning nor ending with a space.
    ///
    /// The flow `all` stands for every surface; see [`ActiveLimit`](crate::ActiveLimit).
    Flow 1..=255 check_line;

    /// A word to find experiments by: 1 to 255 characters on one line, neither beginning nor
    /// ending with a space.
    Tag 1..=255 check_line;

    /// What an experiment mixes into its hash, so that it splits subjects independently of all
    /// others: 1 to 255 characters.
    ///
    /// The experiment's own id unless another is given. It stays when the experiment is renamed,
    /// edited, exported or restored; only a [`Change::Reshuffle`](crate::Change::Reshuffle) or a new
    /// iteration, [`Change::StartIteration`](crate::Change::StartIteration), changes it, and with it
    /// who gets what. Two experiments with one salt split their subjects alike.
    Salt 1..=255 check_nothing;

    /// What programs call an entity by: 1 to 256 letters, digits and `. _ -`. Case counts.
    ///
    /// An experiment, flag, layer, holdout or metric has one if it was created with one, for good, and
    /// no other of its kind has it for its key or id, archived ones included.
    Key 1..=256 check_word;

    /// Who looks after an experiment: 1 to 255 characters by the same rule as a [`Name`].
    Maintainer 1..=255 check_line;

    /// A text whose meaning lies outside of this crate, such as a hypothesis or the key of an event:
    /// 1 to 2048 characters on any number of lines, without NUL. Held as it is written.
    Text 1..=2048 check_no_nul;

    /// What the experiments of a [`Chain`](crate::Chain) have in common: 0 to 255 characters, without
    /// NUL. The empty one is a name like any other. Compared as it is written.
    ChainName 0..=255 check_no_nul;

    /// What an annotation of an experiment is called, such as `ticket`: 1 to 255 characters by the
    /// same rule as a [`Name`].
    AnnotationKey 1..=255 check_line;
}

/// What is assigned, such as `device` or `user`: 1 to 64 letters, digits and `. _ -`.
#[derive(Clone, PartialEq, Eq, Hash, Default)]
pub struct SubjectKind(
    /// Nothing for the kind of a subject that does not say, so that telling it from others takes no
    /// look at the text.
    Option<ArcStr>,
);

impl SubjectKind {
    /// The kind of a subject that does not say: `device`.
    pub const DEFAULT: &'static str = "device";

    /// The text.
    pub fn as_str(&self) -> &str {
        self.own().unwrap_or(Self::DEFAULT)
    }

    /// The text unless it is [`DEFAULT`](Self::DEFAULT).
    #[inline]
    pub(crate) fn own(&self) -> Option<&str> {
        self.0.as_deref()
    }
}

impl FromStr for SubjectKind {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let rule = match (check_length(text, 1, 64), check_word(text)) {
            (Err(_), _) => "must have 1 to 64 characters",
            (Ok(()), Err(rule)) => rule,
            (Ok(()), Ok(())) if text == Self::DEFAULT => return Ok(Self(None)),
            (Ok(()), Ok(())) => return Ok(Self(Some(text.into()))),
        };
        Err(Error::invalid(rule).with_value(text))
    }
}

impl Ord for SubjectKind {
    fn cmp(&self, other: &Self) -> Ordering {
        self.as_str().cmp(other.as_str())
    }
}

impl PartialOrd for SubjectKind {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

text!(SubjectKind);

impl Flow {
    /// The flow that stands for every surface.
    pub const ALL: &'static str = "all";
}

macro_rules! salts {
    ($($id:ident),+) => {$(
        impl From<&crate::id::$id> for Salt {
            fn from(id: &crate::id::$id) -> Self {
                // An id is a valid salt: 5 to 255 characters.
                Self(crate::id::Shared::shared(id))
            }
        }
    )+};
}

salts!(ExperimentId, HoldoutId, LayerId);

/// Reads the tags of an entity, if it has any.
pub(crate) fn read_tags(object: &Object<'_>) -> Result<Box<[Tag]>, Error> {
    match object.get("tags") {
        Some(_) => checked(object, "tags", |tags: &Vec<Tag>| check_tags(tags)).map(Into::into),
        None => Ok(Box::default()),
    }
}

/// Checks the tags of an experiment.
pub(crate) fn check_tags(tags: &[Tag]) -> Result<(), Error> {
    check_count(tags.len(), 0, MAX_TAGS)?;
    check_distinct(tags, |tag| tag, |tag| Error::invalid("must not be given twice").with_value(tag))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_the_published_pattern() {
        fn check(text: &str, rule: Option<&str>) {
            let error = text.parse::<Name>().err();
            assert_eq!(error.as_ref().map(Error::rule), rule, "{text:?}");
        }
        let length = Some("must have 1 to 255 characters");
        let space = Some("must not begin or end with a space");
        let line = Some("must be one line");
        check("abc", None);
        check("a b", None);
        check("äöü", None);
        check("a\u{85}b", None);
        check("\u{85}ab", None);
        check("a", None);
        check("", length);
        check("👩‍🚀", None);
        check(" ", space);
        check(&"é".repeat(255), None);
        check(&"é".repeat(256), length);
        check(&"x".repeat(1 << 20), length);
        check(" abc", space);
        check("abc\u{3000}", space);
        check("\u{feff}abc", space);
        check("abc\t", space);
        check("a\tc", None);
        check("a\nc", line);
        check("a\u{2028}c", line);
        check("abc\n", line);
        check("a\0c", Some("must not have a NUL character"));
    }

    #[test]
    fn keys_are_words_of_ascii() {
        fn check(text: &str, rule: Option<&str>) {
            let error = text.parse::<Key>().err();
            assert_eq!(error.as_ref().map(Error::rule), rule, "{text:?}");
        }
        let length = Some("must have 1 to 256 characters");
        let letters = Some("must have only letters, digits and . _ -");
        check("a", None);
        check("7", None);
        check("Checkout.button_2-b", None);
        check("a...", None);
        check("", length);
        check(&"x".repeat(256), None);
        check(&"x".repeat(257), length);
        for text in [".a", "_a", "-a", "."] {
            check(text, None);
        }
        for text in [" a", "äa", "a b", "a/b", "aä", "a\n", "a\0", "a:b"] {
            check(text, letters);
        }
    }
}
