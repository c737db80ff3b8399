//! Changes that belong together.

use serde::Serialize;

use super::Change;
use crate::error::Error;
use crate::json::{Cursor, FromJson, Limits, deserialize, read};

/// Changes that take effect together or not at all, and why they are made.
///
/// Each change sees what those before it have done. Anything that is a change, or a list of them,
/// is a transaction.
///
/// ```
/// use variate::{Change, Engine, FlagStatus, NewFlag, NewVariation, Transaction};
///
/// let engine = Engine::new();
/// let flag = NewFlag::new("Sign-in screen")
///     .id("flg_signinScreen".parse()?)
///     .parameter("headline", "Welcome back")
///     .variation(NewVariation::new("control"))
///     .variation(NewVariation::new("short").with("headline", "Hi"));
/// let start = Change::set_flag_status(&"flg_signinScreen".parse()?, FlagStatus::Active);
/// let both = Transaction::from(vec![flag.into(), start]).comment("the autumn test");
/// let commit = engine.commit(both)?;
/// assert_eq!(commit.event.unwrap().comment.as_deref(), Some("the autumn test"));
/// # Ok::<(), variate::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
#[non_exhaustive]
pub struct Transaction {
    /// What changes, in order.
    pub changes: Vec<Change>,
    /// Why, for whoever reads the events: at most 4096 characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
}

impl Transaction {
    /// The same changes with a reason.
    pub fn comment(mut self, comment: impl Into<String>) -> Self {
        self.comment = Some(comment.into());
        self
    }

    /// Reads a transaction from JSON text: an object with `changes`, a list of [`Change`]s, and
    /// perhaps `comment`.
    pub fn from_json(json: impl AsRef<[u8]>) -> Result<Self, Error> {
        read(json.as_ref(), &Limits::DEFAULT)
    }
}

impl From<Vec<Change>> for Transaction {
    fn from(changes: Vec<Change>) -> Self {
        Self { changes, comment: None }
    }
}

impl<const N: usize> From<[Change; N]> for Transaction {
    fn from(changes: [Change; N]) -> Self {
        Self::from(Vec::from(changes))
    }
}

impl From<Change> for Transaction {
    fn from(change: Change) -> Self {
        Self::from(vec![change])
    }
}

impl<C: Into<Change>> FromIterator<C> for Transaction {
    fn from_iter<I: IntoIterator<Item = C>>(changes: I) -> Self {
        Self::from(changes.into_iter().map(Into::into).collect::<Vec<Change>>())
    }
}

impl FromJson for Transaction {
    fn from_json(cursor: Cursor<'_>) -> Result<Self, Error> {
        let object = cursor.object(&["changes", "comment"])?;
        Ok(Self { changes: object.read("changes")?, comment: object.optional("comment")? })
    }
}

deserialize!(Transaction);
