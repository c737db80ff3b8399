//! Holdouts: subjects kept out of a set of experiments.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

use super::analysis::{Analysis, check_analysis};
use super::{
    Description, Key, Maintainer, Name, Record, Salt, SubjectKind, checked, entity, keyed, keys,
};
use crate::error::{Code, Error};
use crate::id::{ExperimentId, HoldoutId};
use crate::json::{Cursor, FromJson, deserialize};
use crate::number::Percentage;
use crate::time::Timestamp;

/// The most experiments of a holdout.
const MAX_EXPERIMENTS: usize = 10_000;

/// A share of subjects kept out of a set of experiments, to measure what all of these together
/// bring.
///
/// A holdout draws once for each subject, by its own salt and kind of subject: who is held out of
/// one of its experiments is held out of all, and of the same ones, however they are edited. It goes
/// before everything that an experiment decides, also before an assignment that the subject
/// [keeps](crate::Subject::kept); only one that is [forced](crate::Subject::forced) goes before it.
/// Who is held out gets the [off variation](crate::Flag::off_variation_id) of the experiment's flag
/// or, if it has none, what subjects outside the experiment get.
///
/// All its experiments go by its kind of subject. An experiment can be in up to 16 holdouts. It joins
/// and leaves while it is not active, and leaves before it is deleted.
///
/// The share takes effect at once. Raising it only adds to those held out, lowering it only
/// removes some.
///
/// A holdout [ends](crate::Change::EndHoldout) for good: from then on it holds nobody out, its share
/// stays as it is, and its experiments can only leave, whatever their status.
///
/// ```
/// use variate::NewHoldout;
///
/// let holdout = NewHoldout::new("Winter", "user", 5.try_into()?)
///     .experiment("exp_button".parse()?)
///     .experiment("exp_price".parse()?);
/// # Ok::<(), variate::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Holdout {
    pub(crate) id: HoldoutId,
    pub(crate) name: Name,
    pub(crate) description: Option<Description>,
    pub(crate) salt: Salt,
    pub(crate) subject_kind: SubjectKind,
    pub(crate) share: Percentage,
    pub(crate) experiments: BTreeSet<ExperimentId>,
    pub(crate) record: Record,
    pub(crate) key: Option<Key>,
    pub(crate) ended_at: Option<Timestamp>,
    pub(crate) maintainer: Option<Maintainer>,
    pub(crate) analysis: Option<Arc<Analysis>>,
}

entity!(Holdout HoldoutId);
keyed!(Holdout);

impl Holdout {
    /// Who looks after it; fixed when it is created.
    pub fn maintainer(&self) -> Option<&Maintainer> {
        self.maintainer.as_ref()
    }

    /// How those who are held out are to be compared with the others; fixed when it is created, and
    /// of the kind `holdout` if it says anything.
    pub fn analysis(&self) -> &Analysis {
        self.analysis.as_deref().unwrap_or(Analysis::NONE)
    }

    /// What it mixes into its hash; fixed when it is created.
    pub fn salt(&self) -> &Salt {
        &self.salt
    }

    /// Which of a subject's ids is hashed; fixed when it is created.
    pub fn subject_kind(&self) -> &SubjectKind {
        &self.subject_kind
    }

    /// The share of subjects that is held out.
    pub fn share(&self) -> Percentage {
        self.share
    }

    /// The experiments that they are held out of; at most 10,000.
    pub fn experiments(&self) -> &BTreeSet<ExperimentId> {
        &self.experiments
    }

    /// When it ended. One that has ended holds nobody out, at whatever moment is asked.
    pub fn ended_at(&self) -> Option<Timestamp> {
        self.ended_at
    }
}

/// Checks the experiments of a holdout as far as no other entity is concerned.
pub(crate) fn check_held(experiments: &BTreeSet<ExperimentId>) -> Result<(), Error> {
    if experiments.len() <= MAX_EXPERIMENTS {
        return Ok(());
    }
    let rule = format!("must have at most {MAX_EXPERIMENTS} experiments");
    Err(Error::new(Code::LimitExceeded, rule).with_value(&experiments.len()))
}

impl FromJson for BTreeSet<ExperimentId> {
    fn from_json(cursor: Cursor<'_>) -> Result<Self, Error> {
        let mut ids = Self::new();
        cursor.array(|item| {
            let id: ExperimentId = item.read()?;
            match ids.replace(id) {
                None => Ok(()),
                Some(twice) => {
                    let error = Error::invalid("must not be given twice").with_value(&twice);
                    Err(item.locate(error))
                }
            }
        })?;
        Ok(ids)
    }
}

impl FromJson for Holdout {
    fn from_json(cursor: Cursor<'_>) -> Result<Self, Error> {
        let object = cursor.object(keys![
            "id",
            "name",
            "description",
            "salt",
            "subject_kind",
            "share",
            "experiments",
            "key",
            "ended_at",
            "maintainer",
            "analysis",
        ])?;
        let id: HoldoutId = object.read("id")?;
        Ok(Self {
            name: object.read("name")?,
            description: object.optional("description")?,
            salt: object.optional("salt")?.unwrap_or_else(|| Salt::from(&id)),
            subject_kind: object.or_default("subject_kind")?,
            share: object.read("share")?,
            experiments: match object.get("experiments") {
                Some(_) => checked(&object, "experiments", check_held)?,
                None => BTreeSet::new(),
            },
            record: Record::from_json(&object)?,
            key: object.optional("key")?,
            ended_at: object.optional("ended_at")?,
            maintainer: object.optional("maintainer")?,
            analysis: match object.get("analysis") {
                Some(_) => checked(&object, "analysis", check_analysis)?.shared(),
                None => None,
            },
            id,
        })
    }
}

impl Serialize for Holdout {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("id", &self.id)?;
        map.serialize_entry("name", &self.name)?;
        if let Some(description) = &self.description {
            map.serialize_entry("description", description)?;
        }
        if let Some(key) = &self.key {
            map.serialize_entry("key", key)?;
        }
        map.serialize_entry("salt", &self.salt)?;
        map.serialize_entry("subject_kind", &self.subject_kind)?;
        map.serialize_entry("share", &self.share)?;
        map.serialize_entry("experiments", &self.experiments)?;
        if let Some(at) = &self.ended_at {
            map.serialize_entry("ended_at", at)?;
        }
        if let Some(maintainer) = &self.maintainer {
            map.serialize_entry("maintainer", maintainer)?;
        }
        if let Some(analysis) = &self.analysis {
            map.serialize_entry("analysis", analysis)?;
        }
        self.record.serialize_into(&mut map)?;
        map.end()
    }
}

deserialize!(Holdout);
