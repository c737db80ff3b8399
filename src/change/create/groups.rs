//! Layers and holdouts.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::error::Error;
use crate::id::{ExperimentId, HoldoutId, LayerId};
use crate::json::{Cursor, FromJson, deserialize};
use crate::model::{Analysis, Salt};
use crate::number::Percentage;

/// A layer to be created, with a name and a kind of subject.
///
/// Plain data: its rules, which are those of a [`Layer`](crate::Layer), are checked when it is
/// applied.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
#[non_exhaustive]
pub struct NewLayer {
    /// The id; a random one unless given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<LayerId>,
    /// The name.
    pub name: String,
    /// What it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// What it mixes into its hash; its id unless given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub salt: Option<Salt>,
    /// What is assigned; the settings' default unless given, which is `device` unless set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subject_kind: Option<String>,
    /// The members to begin with, and their shares.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub members: BTreeMap<ExperimentId, Percentage>,
    /// What programs call it by; nothing unless given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
}

impl NewLayer {
    /// A layer of this name on subjects of this kind.
    pub fn new(name: impl Into<String>, subject_kind: impl Into<String>) -> Self {
        let subject_kind = Some(subject_kind.into());
        Self { name: name.into(), subject_kind, ..Self::default() }
    }

    /// The same layer with an id of the caller's.
    pub fn id(self, id: LayerId) -> Self {
        Self { id: Some(id), ..self }
    }

    /// The same layer with a description.
    pub fn description(self, description: impl Into<String>) -> Self {
        Self { description: Some(description.into()), ..self }
    }

    /// The same layer with a salt of the caller's.
    pub fn salt(self, salt: Salt) -> Self {
        Self { salt: Some(salt), ..self }
    }

    /// The same layer with one more member and its share.
    pub fn member(mut self, experiment_id: ExperimentId, share: Percentage) -> Self {
        self.members.insert(experiment_id, share);
        self
    }

    /// The same layer with a key.
    pub fn key(self, key: impl Into<String>) -> Self {
        Self { key: Some(key.into()), ..self }
    }
}

/// A holdout to be created, with a name, a kind of subject and a share.
///
/// Plain data: its rules, which are those of a [`Holdout`](crate::Holdout), are checked when it is
/// applied.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
#[non_exhaustive]
pub struct NewHoldout {
    /// The id; a random one unless given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<HoldoutId>,
    /// The name.
    pub name: String,
    /// What it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// What it mixes into its hash; its id unless given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub salt: Option<Salt>,
    /// What is assigned; the settings' default unless given, which is `device` unless set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subject_kind: Option<String>,
    /// The share of subjects that is held out.
    pub share: Percentage,
    /// The experiments that they are held out of.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub experiments: BTreeSet<ExperimentId>,
    /// What programs call it by; nothing unless given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Who looks after it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub maintainer: Option<String>,
    /// How those who are held out are to be compared with the others.
    #[serde(skip_serializing_if = "Analysis::is_default")]
    pub analysis: Analysis,
}

impl NewHoldout {
    /// A holdout of this name with a share of the subjects of this kind.
    pub fn new(
        name: impl Into<String>,
        subject_kind: impl Into<String>,
        share: Percentage,
    ) -> Self {
        let subject_kind = Some(subject_kind.into());
        Self { name: name.into(), subject_kind, share, ..Self::default() }
    }

    /// The same holdout with an id of the caller's.
    pub fn id(self, id: HoldoutId) -> Self {
        Self { id: Some(id), ..self }
    }

    /// The same holdout with a description.
    pub fn description(self, description: impl Into<String>) -> Self {
        Self { description: Some(description.into()), ..self }
    }

    /// The same holdout with a salt of the caller's.
    pub fn salt(self, salt: Salt) -> Self {
        Self { salt: Some(salt), ..self }
    }

    /// The same holdout with one more experiment.
    pub fn experiment(mut self, experiment_id: ExperimentId) -> Self {
        self.experiments.insert(experiment_id);
        self
    }

    /// The same holdout with a key.
    pub fn key(self, key: impl Into<String>) -> Self {
        Self { key: Some(key.into()), ..self }
    }

    /// The same holdout with somebody who looks after it.
    pub fn maintainer(self, maintainer: impl Into<String>) -> Self {
        Self { maintainer: Some(maintainer.into()), ..self }
    }

    /// The same holdout, whose effect is to be read in this way.
    pub fn analysis(self, analysis: Analysis) -> Self {
        Self { analysis, ..self }
    }
}

impl NewLayer {
    /// Reads the rest of an object whose `tag`, if any, has been read.
    pub(in crate::change) fn tagged(cursor: Cursor<'_>, tag: Option<&str>) -> Result<Self, Error> {
        let keys = ["id", "name", "description", "salt", "subject_kind", "members", "key"];
        let object = cursor.tagged_object(tag, &keys)?;
        Ok(Self {
            id: object.optional("id")?,
            name: object.read("name")?,
            description: object.optional("description")?,
            salt: object.optional("salt")?,
            subject_kind: object.optional("subject_kind")?,
            members: object.or_default("members")?,
            key: object.optional("key")?,
        })
    }
}

impl FromJson for NewLayer {
    fn from_json(cursor: Cursor<'_>) -> Result<Self, Error> {
        Self::tagged(cursor, None)
    }
}

impl NewHoldout {
    /// Reads the rest of an object whose `tag`, if any, has been read.
    pub(in crate::change) fn tagged(cursor: Cursor<'_>, tag: Option<&str>) -> Result<Self, Error> {
        let keys = [
            "id",
            "name",
            "description",
            "salt",
            "subject_kind",
            "share",
            "experiments",
            "key",
            "maintainer",
            "analysis",
        ];
        let object = cursor.tagged_object(tag, &keys)?;
        Ok(Self {
            id: object.optional("id")?,
            name: object.read("name")?,
            description: object.optional("description")?,
            salt: object.optional("salt")?,
            subject_kind: object.optional("subject_kind")?,
            share: object.read("share")?,
            experiments: object.or_default("experiments")?,
            key: object.optional("key")?,
            maintainer: object.optional("maintainer")?,
            analysis: object.or_default("analysis")?,
        })
    }
}

impl FromJson for NewHoldout {
    fn from_json(cursor: Cursor<'_>) -> Result<Self, Error> {
        Self::tagged(cursor, None)
    }
}

deserialize!(NewLayer, NewHoldout);
