//! What other systems want to find again on an experiment.

use std::borrow::Borrow;
use std::collections::BTreeMap;
use std::sync::Arc;

use super::{AnnotationKey, Text, check_count};
use crate::error::Error;
use crate::json::{Cursor, FromJson, Object};

/// The most annotations of an experiment.
const MAX_ANNOTATIONS: usize = 64;

/// Annotations to be held; most experiments have none.
pub(crate) type Annotations = Option<Arc<BTreeMap<AnnotationKey, Text>>>;

/// What an experiment has that has no annotations.
pub(crate) const NO_ANNOTATIONS: &BTreeMap<AnnotationKey, Text> = &BTreeMap::new();

/// The annotations with these entries set, or removed where nothing is given; all others stay.
pub(crate) fn annotated<'e>(
    before: &BTreeMap<AnnotationKey, Text>,
    entries: impl IntoIterator<Item = (&'e String, Option<&'e String>)>,
) -> Result<Annotations, Error> {
    let mut all = before.clone();
    for (key, value) in entries {
        let own: AnnotationKey = key.parse().map_err(|error: Error| error.at("annotations"))?;
        match value {
            Some(value) => {
                let value = value.parse();
                let value = value.map_err(|error: Error| error.at_key(key).at("annotations"))?;
                all.insert(own, value);
            }
            None => _ = all.remove(&own),
        }
    }
    check_count(all.len(), 0, MAX_ANNOTATIONS).map_err(|error| error.at("annotations"))?;
    Ok(Some(all).filter(|all| !all.is_empty()).map(Arc::new))
}

/// Reads the annotations of an experiment, if it has any.
pub(crate) fn read_annotations(object: &Object<'_>) -> Result<Annotations, Error> {
    let entries: BTreeMap<String, String> = object.or_default("annotations")?;
    let entries = entries.iter().map(|(key, value)| (key, Some(value)));
    annotated(NO_ANNOTATIONS, entries).map_err(|error| object.locate(error))
}

impl Borrow<str> for AnnotationKey {
    fn borrow(&self) -> &str {
        self.as_str()
    }
}

impl FromJson for BTreeMap<String, String> {
    fn from_json(cursor: Cursor<'_>) -> Result<Self, Error> {
        let entries = cursor.map(|key, value| Ok((key.to_owned(), value.read()?)))?;
        Ok(entries.into_iter().collect())
    }
}

/// Entries of a patch, of which `null` removes one.
impl FromJson for BTreeMap<String, Option<String>> {
    fn from_json(cursor: Cursor<'_>) -> Result<Self, Error> {
        let entries = cursor.map(|key, value| {
            let value = if value.is_null() { None } else { Some(value.read()?) };
            Ok((key.to_owned(), value))
        })?;
        Ok(entries.into_iter().collect())
    }
}
