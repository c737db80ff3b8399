//! What few experiments have.

use std::ops::{Deref, DerefMut};
use std::sync::{Arc, LazyLock};

use super::annotations::{Annotations, read_annotations};
use super::past::PastIteration;
use super::rollout::Rollout;
use super::schedule::Schedule;
use super::text::read_tags;
use super::{ChainName, Flow, Maintainer, Tag};
use crate::error::Error;
use crate::json::Object;
use crate::number::Percentage;
use crate::time::Timestamp;

/// What few experiments have, out of the way of the many that have none of it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Extra(Option<Box<Extras>>);

/// See the methods of [`Experiment`](super::Experiment) that have these names.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Extras {
    pub(crate) tags: Box<[Tag]>,
    pub(crate) flow: Option<Flow>,
    pub(crate) levels: Box<[Percentage]>,
    pub(crate) schedule: Option<Schedule>,
    pub(crate) maintainer: Option<Maintainer>,
    pub(crate) shelved_at: Option<Timestamp>,
    /// Oldest first; shared, so that editing an experiment copies little.
    pub(crate) previous: Option<Arc<Vec<PastIteration>>>,
    pub(crate) rollout: Option<Rollout>,
    pub(crate) chain: Option<ChainName>,
    pub(crate) annotations: Annotations,
}

impl Extras {
    /// Reads what stands by itself in the experiment's document.
    pub(super) fn read(object: &Object<'_>) -> Result<Self, Error> {
        Ok(Self {
            tags: read_tags(object)?,
            flow: object.optional("flow")?,
            maintainer: object.optional("maintainer")?,
            shelved_at: object.optional("shelved_at")?,
            chain: object.optional("chain")?,
            annotations: read_annotations(object)?,
            ..Self::default()
        })
    }
}

static NONE: LazyLock<Extras> = LazyLock::new(Extras::default);

impl Extra {
    /// Frees what it takes if there is none of it.
    pub(crate) fn tidy(&mut self) {
        self.0.take_if(|extras| **extras == Extras::default());
    }
}

impl From<Extras> for Extra {
    fn from(extras: Extras) -> Self {
        Self(Some(Box::new(extras)))
    }
}

impl Deref for Extra {
    type Target = Extras;

    fn deref(&self) -> &Extras {
        self.0.as_deref().unwrap_or(&NONE)
    }
}

impl DerefMut for Extra {
    fn deref_mut(&mut self) -> &mut Extras {
        self.0.get_or_insert_default()
    }
}

impl PartialEq for Extra {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}
