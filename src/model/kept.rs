//! What is remembered of who got what.

use serde::Serialize;

use crate::error::Error;
use crate::id::{ExperimentId, VariationId};
use crate::json::{Cursor, FromJson, deserialize};

/// What is remembered of a subject in an experiment; see [`Keeper`](crate::Keeper).
///
/// As JSON an object with `variation_id`, and `attached` if it is true.
///
/// ```
/// use variate::KeptAssignment;
///
/// let kept = KeptAssignment::new("var_short".parse()?, true);
/// let json = serde_json::to_string(&kept)?;
/// assert_eq!(json, r#"{"variation_id":"var_short","attached":true}"#);
/// assert_eq!(serde_json::from_str::<KeptAssignment>(&json)?, kept);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct KeptAssignment {
    /// The variation that it has.
    pub variation_id: VariationId,
    /// Whether it was attached to it by hand; otherwise this is what it once was assigned.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub attached: bool,
}

impl KeptAssignment {
    /// This variation, attached by hand or not.
    pub fn new(variation_id: VariationId, attached: bool) -> Self {
        Self { variation_id, attached }
    }
}

/// One that stands in a document.
#[derive(Debug, Serialize)]
pub(crate) struct KeptEntry {
    pub(crate) experiment_id: ExperimentId,
    pub(crate) subject_id: String,
    #[serde(flatten)]
    pub(crate) kept: KeptAssignment,
}

impl FromJson for KeptAssignment {
    fn from_json(cursor: Cursor<'_>) -> Result<Self, Error> {
        let object = cursor.object(&["variation_id", "attached"])?;
        Ok(Self::new(object.read("variation_id")?, object.or_default("attached")?))
    }
}

impl FromJson for KeptEntry {
    fn from_json(cursor: Cursor<'_>) -> Result<Self, Error> {
        let object = cursor.object(&["experiment_id", "subject_id", "variation_id", "attached"])?;
        let subject_id: String = object.read("subject_id")?;
        check_subject_id(&subject_id).map_err(|error| object.locate(error))?;
        let (variation_id, attached) =
            (object.read("variation_id")?, object.or_default("attached")?);
        let kept = KeptAssignment::new(variation_id, attached);
        Ok(Self { experiment_id: object.read("experiment_id")?, subject_id, kept })
    }
}

/// Checks that something can be remembered under this id of a subject.
pub(crate) fn check_subject_id(id: &str) -> Result<(), Error> {
    match id.is_empty() {
        true => Err(Error::invalid("must not be empty").with_value(id).at("subject_id")),
        false => Ok(()),
    }
}

deserialize!(KeptAssignment);
