//! The one error type of the crate, and the violations that readiness lists.

use std::borrow::Cow;
use std::fmt;

use serde::Serialize;

/// The longest part of an offending value or key that a message repeats, in code points.
pub(crate) const SHOWN: usize = 80;

/// Why something was refused: which field, which value, which rule.
///
/// Whatever returns an `Error` has changed nothing.
///
/// The text is for people and may improve at any time. Programs branch on [`code`](Self::code),
/// which is stable, or on the predicates.
///
/// ```
/// use variate::{Engine, Code, NewFlag};
///
/// let error = Engine::new().commit(NewFlag::new("")).unwrap_err();
/// assert_eq!(error.code(), Code::InvalidValue);
/// assert_eq!(error.path(), "name");
/// assert_eq!(error.value(), Some("\"\""));
/// assert_eq!(error.to_string(), "name: must have 1 to 255 characters; got \"\"");
/// ```
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Error(Box<Inner>);

#[derive(Clone, PartialEq, Eq)]
struct Inner {
    code: Code,
    change: Option<usize>,
    path: String,
    rule: Cow<'static, str>,
    value: Option<String>,
    violations: Vec<Violation>,
}

impl Error {
    /// What kind of refusal this is.
    pub fn code(&self) -> Code {
        self.0.code
    }

    /// Where in the input the fault lies, as a JSON path such as `allocations[1].weight`; empty
    /// when it is the whole.
    pub fn path(&self) -> &str {
        &self.0.path
    }

    /// The offending value as compact JSON, cut after 80 characters; `None` when no single value
    /// is at fault.
    pub fn value(&self) -> Option<&str> {
        self.0.value.as_deref()
    }

    /// The rule that was broken.
    pub fn rule(&self) -> &str {
        &self.0.rule
    }

    /// The index of the refused change, when a transaction of several was refused.
    pub fn change(&self) -> Option<usize> {
        self.0.change
    }

    /// Every reason why an experiment is not ready, when that is what was refused.
    pub fn violations(&self) -> &[Violation] {
        &self.0.violations
    }

    /// Whether the entity that a change was made for, or that was asked for, does not exist.
    pub fn is_not_found(&self) -> bool {
        self.0.code == Code::NotFound
    }

    /// Whether the input is at fault, whatever the engine holds.
    pub fn is_invalid(&self) -> bool {
        matches!(
            self.0.code,
            Code::DuplicateKey
                | Code::FeatureMissing
                | Code::InvalidJson
                | Code::InvalidValue
                | Code::LimitExceeded
                | Code::MissingKey
                | Code::NotNullable
                | Code::UnknownKey
                | Code::UnknownReference
                | Code::UnsupportedFormat
                | Code::WrongType
        )
    }

    /// Whether the input is at odds with what others have written: a name, key or id taken, a
    /// version that has moved on, an entity in use, a subject attached elsewhere. To try again with the present version, look for
    /// [`Code::VersionConflict`] alone.
    pub fn is_conflict(&self) -> bool {
        matches!(
            self.0.code,
            Code::AlreadyAttached
                | Code::AlreadyExists
                | Code::InUse
                | Code::NameTaken
                | Code::VersionConflict
        )
    }

    /// Whether the entity's present state forbids the change: a transition outside the lifecycle,
    /// a field that is frozen in this status, an experiment that is not ready.
    pub fn is_refused(&self) -> bool {
        matches!(self.0.code, Code::NotMutable | Code::NotReady | Code::TransitionNotAllowed)
    }

    #[cold]
    pub(crate) fn new(code: Code, rule: impl Into<Cow<'static, str>>) -> Self {
        Self(Box::new(Inner {
            code,
            change: None,
            path: String::new(),
            rule: rule.into(),
            value: None,
            violations: Vec::new(),
        }))
    }

    #[cold]
    pub(crate) fn invalid(rule: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Code::InvalidValue, rule)
    }

    #[cold]
    pub(crate) fn with_value(mut self, value: &(impl Serialize + ?Sized)) -> Self {
        self.0.value = Some(shorten(&serde_json::to_string(value).unwrap_or_default()));
        self
    }

    #[cold]
    pub(crate) fn with_violations(mut self, violations: Vec<Violation>) -> Self {
        self.0.violations = violations;
        self
    }

    /// Puts `segment` in front of the path.
    #[cold]
    pub(crate) fn at(mut self, segment: &str) -> Self {
        let path = &mut self.0.path;
        if !path.is_empty() && !path.starts_with('[') {
            path.insert(0, '.');
        }
        path.insert_str(0, segment);
        self
    }

    /// Puts the key of an object in front of the path.
    #[cold]
    pub(crate) fn at_key(self, key: &str) -> Self {
        let plain = !key.is_empty() && key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        let key = shorten(key);
        if plain {
            return self.at(&key);
        }
        self.at(&format!("[{}]", shorten(&serde_json::Value::from(key).to_string())))
    }

    /// Puts the index of an array in front of the path.
    #[cold]
    pub(crate) fn at_index(self, index: usize) -> Self {
        self.at(&format!("[{index}]"))
    }

    #[cold]
    pub(crate) fn in_change(mut self, index: usize) -> Self {
        self.0.change = Some(index);
        self
    }
}

/// Cuts what a message repeats of the input.
pub(crate) fn shorten(text: &str) -> String {
    match text.char_indices().nth(SHOWN) {
        Some(_) => text.chars().take(SHOWN).chain(['…']).collect(),
        None => text.to_owned(),
    }
}

impl fmt::Display for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(index) = self.change {
            write!(f, "changes[{index}]: ")?;
        }
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        f.write_str(&self.rule)?;
        if let Some(value) = &self.value {
            write!(f, "; got {value}")?;
        }
        for violation in &self.violations {
            write!(f, "; {violation}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Error({}: {})", self.0.code, self.0)
    }
}

/// Declares a field-less enum whose variants have stable names in text and JSON.
macro_rules! codes {
    (
        $(#[$meta:meta])*
        pub enum $name:ident { $($(#[$doc:meta])* $variant:ident = $text:literal,)+ }
    ) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name {$(
            $(#[$doc])*
            #[doc = concat!("\n\n`", $text, "`")]
            $variant,
        )+}

        impl $name {
            /// Every value, in the order of declaration.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The stable name, as it stands in JSON.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)+ }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }
    };
}
pub(crate) use codes;

codes! {
    /// What kind of refusal an [`Error`] is. The names are stable.
    #[non_exhaustive]
    pub enum Code {
        /// The subject is attached by hand to another experiment of the chain.
        AlreadyAttached = "already_attached",
        /// An entity with this id or key exists.
        AlreadyExists = "already_exists",
        /// A key stands twice in one JSON object.
        DuplicateKey = "duplicate_key",
        /// The system gave no random bytes for an id.
        EntropyUnavailable = "entropy_unavailable",
        /// What only a feature of this crate can read, which the program is built without.
        FeatureMissing = "feature_missing",
        /// The entity is used by another, which the message names.
        InUse = "in_use",
        /// The text is not JSON, not UTF-8, too long or too deep.
        InvalidJson = "invalid_json",
        /// A value breaks a rule of its field.
        InvalidValue = "invalid_value",
        /// More entries than allowed, or a value too large.
        LimitExceeded = "limit_exceeded",
        /// A required key is absent.
        MissingKey = "missing_key",
        /// Another entity of the kind has this name.
        NameTaken = "name_taken",
        /// SQL has no expression that gives the same; see [`Snapshot::sql`](crate::Snapshot::sql).
        NotExpressible = "not_expressible",
        /// The entity that the change was made for, or that was asked for, does not exist.
        NotFound = "not_found",
        /// The field does not change in this status.
        NotMutable = "not_mutable",
        /// `null` for a field that cannot be cleared.
        NotNullable = "not_nullable",
        /// The experiment or flag cannot start; see [`Error::violations`].
        NotReady = "not_ready",
        /// A commit that its journal could not write down.
        NotRecorded = "not_recorded",
        /// A commit from within a commit: by a journal, a listener, a clock or a source of ids.
        ReentrantCommit = "reentrant_commit",
        /// The events do not lead from this snapshot to the state that they record.
        ReplayMismatch = "replay_mismatch",
        /// The [store](crate::AssignmentStore) of a [`Keeper`](crate::Keeper) failed, to read or to
        /// write.
        StoreUnavailable = "store_unavailable",
        /// The lifecycle has no such transition.
        TransitionNotAllowed = "transition_not_allowed",
        /// A key that the object does not have.
        UnknownKey = "unknown_key",
        /// A reference to an entity that does not exist.
        UnknownReference = "unknown_reference",
        /// The document is of a format that this version does not read.
        UnsupportedFormat = "unsupported_format",
        /// The entity has changed since the version that the change was made for.
        VersionConflict = "version_conflict",
        /// A JSON value of the wrong type.
        WrongType = "wrong_type",
    }
}

/// One reason why an experiment cannot start.
///
/// See [`Snapshot::readiness`](crate::Snapshot::readiness).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Violation {
    code: ViolationCode,
    message: String,
}

impl Violation {
    pub(crate) fn new(code: ViolationCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }

    /// The stable code.
    pub fn code(&self) -> ViolationCode {
        self.code
    }

    /// The reason in words, naming what is at fault.
    pub fn message(&self) -> &str {
        &self.message
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.message)
    }
}

codes! {
    /// The kinds of [`Violation`]. The names are stable; those that Auth0's Experiment Center
    /// publishes are the same here.
    #[non_exhaustive]
    pub enum ViolationCode {
        /// A segment allocation that is not the fallback has no priority.
        AllocationMissingPriority = "allocation_missing_priority",
        /// A segment allocation that is not the fallback has no segment.
        AllocationMissingSegment = "allocation_missing_segment",
        /// Two segment allocations have the same priority, and do not divide one segment by weight.
        DuplicatePriority = "duplicate_priority",
        /// Two allocations have the same segment, and do not divide it by weight.
        DuplicateSegment = "duplicate_segment",
        /// Two allocations that divide the same subjects by weight have the same variation.
        DuplicateVariation = "duplicate_variation",
        /// Another active experiment is in the way of the [`ActiveLimit`](crate::ActiveLimit).
        ExperimentActiveLimitExceeded = "experiment_active_limit_exceeded",
        /// The weights do not sum to exactly 100; or where any sum will do, one is missing or all are
        /// 0.
        ExperimentInvalidAllocationWeights = "experiment_invalid_allocation_weights",
        /// There is no allocation.
        ExperimentMissingAllocations = "experiment_missing_allocations",
        /// Not exactly one allocation is the control.
        ExperimentMissingControl = "experiment_missing_control",
        /// There is no fallback among segment allocations, or several that do not divide it by weight.
        ExperimentMissingDefault = "experiment_missing_default",
        /// The fallback names a segment or a priority.
        FallbackNotPlain = "fallback_not_plain",
        /// The flag is not active.
        FeatureFlagNotActive = "feature_flag_not_active",
        /// A ramp without weights has no allocation beside the control.
        RampMissingTreatment = "ramp_missing_treatment",
        /// A segment is archived or gone.
        SegmentNotActive = "segment_not_active",
        /// An allocation's variation is not one of the flag's.
        VariationNotFromFlag = "variation_not_from_flag",
        /// The flag is off.
        FlagOff = "flag_off",
    }
}
