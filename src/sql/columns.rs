//! Which columns a subject's id and attributes lie in.

use super::Dialect;
use crate::error::{Code, Error};
use crate::time::Timestamp;

/// The columns of a table that hold a subject's id and attributes.
///
/// ```
/// use variate::SqlColumns;
///
/// let columns = SqlColumns::new("device_id").attribute("country", "country_code");
/// ```
///
/// A name is one identifier, taken as it is: `a.b` is a column with a point in its name, and not a
/// column `b` of `a`. It is quoted, so that it can have any characters but control characters and,
/// for Spark, `${`, which Spark replaces before it reads the quotes. Whether case counts is up to
/// the engine.
///
/// # Types
/// The id is taken as text: a column of another type, such as a number or a UUID, is converted as
/// the engine converts it. NULL and the empty text are a missing id.
///
/// A column of an attribute must be of the type that the conditions ask for. The engine refuses most
/// others, but Spark converts a text.
///
/// | asked with | type of the column |
/// |---|---|
/// | `exists` | any |
/// | `boolean` | truth values |
/// | `number` | integers or floats, of up to 64 bits |
/// | `date` | moments: `DateTime` or `DateTime64` in ClickHouse, `TIMESTAMP` in Spark, `timestamp with time zone` in Trino |
/// | a list, `contains`, `starts_with`, `ends_with`, `listed` | text that is compared byte for byte, as it is without a collation, and is not padded as `CHAR` is |
///
/// NULL is a missing attribute, and the empty text one that is there. Nothing in SQL is exactly
/// `semver`, `regex` or `path`. A rule with one of them has no expression; nor has a `date` outside
/// the years 1900 to 2261, nor, in Spark and Trino, a `number` of 2^53 or more in magnitude. The
/// items of `listed` are all written out, and an engine's limit for the length of a query applies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SqlColumns<'a> {
    id: &'a str,
    attributes: Vec<(&'a str, &'a str)>,
    at: Option<Timestamp>,
}

impl<'a> SqlColumns<'a> {
    /// The column of the id, which must be of the kind that the experiment goes by.
    pub fn new(id: &'a str) -> Self {
        Self { id, attributes: Vec::new(), at: None }
    }

    /// The same with the column of an attribute; one that has a column already gets the new one.
    pub fn attribute(mut self, name: &'a str, column: &'a str) -> Self {
        match self.attributes.iter_mut().find(|(known, _)| *known == name) {
            Some((_, known)) => *known = column,
            None => self.attributes.push((name, column)),
        }
        self
    }

    /// The same for this moment, at which all rows are assigned if the experiment has a schedule;
    /// one without assigns alike at any time.
    pub fn at(self, at: Timestamp) -> Self {
        Self { at: Some(at), ..self }
    }

    pub(super) fn moment(&self) -> Option<Timestamp> {
        self.at
    }

    /// The same, quoted.
    pub(super) fn quote(&self, dialect: Dialect) -> Result<Quoted<'a>, Error> {
        let id = dialect.column(self.id).map_err(|error| error.at("id").at("columns"))?;
        let attributes = self.attributes.iter().map(|(name, column)| {
            let refused = |error: Error| error.at_key(name).at("attributes").at("columns");
            Ok((*name, dialect.column(column).map_err(refused)?))
        });
        Ok(Quoted {
            id: dialect.as_text(&id),
            attributes: attributes.collect::<Result<_, Error>>()?,
        })
    }
}

/// The columns, as SQL.
pub(super) struct Quoted<'a> {
    /// The text of the id.
    pub(super) id: String,
    attributes: Vec<(&'a str, String)>,
}

impl Quoted<'_> {
    /// The column of an attribute.
    pub(super) fn of(&self, attribute: &str) -> Result<&str, Error> {
        let Some((_, column)) = self.attributes.iter().find(|(name, _)| *name == attribute) else {
            let rule = "must be an attribute that has a column";
            return Err(Error::new(Code::NotExpressible, rule).with_value(attribute));
        };
        Ok(column)
    }
}
