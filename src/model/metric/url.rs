//! The pages that a metric goes by.

use serde::Serialize;

use crate::error::Error;
use crate::json::{Cursor, FromJson, deserialize};
use crate::model::Text;

/// Pages that a metric goes by, told by their address.
///
/// ```
/// use variate::{UrlMatch, UrlTarget};
///
/// let checkout: UrlMatch = serde_json::from_str(r#"{"kind": "substring", "substring": "/buy"}"#)?;
/// assert_eq!(checkout.target, UrlTarget::Substring("/buy".parse()?));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
#[expect(clippy::exhaustive_structs, reason = "plain data, made by literal")]
pub struct UrlMatch {
    /// How addresses are compared, in the words of whoever reads the results, such as `exact`,
    /// `canonical`, `substring` or `regex`.
    pub kind: Text,
    /// What they are compared with.
    #[serde(flatten)]
    pub target: UrlTarget,
}

/// What the address of a page is compared with; in JSON the member of this name.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum UrlTarget {
    /// A whole address.
    Url(Text),
    /// A part of the address.
    Substring(Text),
    /// A pattern. It is held, not read.
    Pattern(Text),
}

impl FromJson for UrlMatch {
    fn from_json(cursor: Cursor<'_>) -> Result<Self, Error> {
        let object = cursor.object(&["kind", "url", "substring", "pattern"])?;
        let kind = object.read("kind")?;
        let targets = [
            object.optional("url")?.map(UrlTarget::Url),
            object.optional("substring")?.map(UrlTarget::Substring),
            object.optional("pattern")?.map(UrlTarget::Pattern),
        ];
        let mut targets = targets.into_iter().flatten();
        match (targets.next(), targets.next()) {
            (Some(target), None) => Ok(Self { kind, target }),
            _ => {
                let rule = "must have exactly one of url, substring and pattern";
                Err(object.locate(Error::invalid(rule)))
            }
        }
    }
}

deserialize!(UrlMatch);
