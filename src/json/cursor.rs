//! Taking JSON apart, with the path at hand for errors.

use std::borrow::Cow;
use std::cell::Cell;

use serde_json::{Number, Value};

use super::FromJson;
use super::node::Node;
use crate::error::{Code, Error, SHOWN};

/// Where a cursor stands, as a chain of steps that lives on the stack of the reading functions.
#[derive(Debug, Clone, Copy)]
enum Path<'n> {
    /// With what is left of [`Limits::patterns`](super::Limits::patterns).
    #[cfg_attr(not(feature = "regex"), expect(dead_code, reason = "nothing is compiled"))]
    Root(&'n Cell<usize>),
    Key(&'n Self, &'n str),
    Index(&'n Self, usize),
}

impl Path<'_> {
    fn locate(self, error: Error) -> Error {
        match self {
            Self::Root(_) => error,
            Self::Key(parent, key) => parent.locate(error.at_key(key)),
            Self::Index(parent, index) => parent.locate(error.at_index(index)),
        }
    }
}

/// A value in a document and its path.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cursor<'n> {
    node: &'n Node<'n>,
    path: Path<'n>,
}

impl<'n> Cursor<'n> {
    pub(super) fn root(node: &'n Node<'n>, patterns: &'n Cell<usize>) -> Self {
        Self { node, path: Path::Root(patterns) }
    }

    /// How many bytes regular expressions may still take when compiled.
    #[cfg(feature = "regex")]
    pub(crate) fn patterns(&self) -> &Cell<usize> {
        let mut path = &self.path;
        loop {
            match path {
                Path::Root(patterns) => return patterns,
                Path::Key(parent, _) | Path::Index(parent, _) => path = parent,
            }
        }
    }

    /// Adds where this value stands to an error about it.
    pub(crate) fn locate(self, error: Error) -> Error {
        self.path.locate(error)
    }

    pub(crate) fn is_null(self) -> bool {
        matches!(self.node, Node::Null)
    }

    pub(crate) fn is_object(self) -> bool {
        matches!(self.node, Node::Object(_))
    }

    pub(crate) fn is_array(self) -> bool {
        matches!(self.node, Node::Array(_))
    }

    pub(crate) fn read<T: FromJson>(self) -> Result<T, Error> {
        T::from_json(self)
    }

    /// The member that says what an object is, before its other keys are known.
    pub(crate) fn tag(&self, key: &'static str) -> Result<Cursor<'_>, Error> {
        let Node::Object(members) = self.node else {
            return Err(self.wrong_type("an object"));
        };
        match members.iter().find(|(name, _)| *name == key) {
            Some((key, node)) => Ok(Cursor { node, path: Path::Key(&self.path, key) }),
            None => Err(self.locate(Error::new(Code::MissingKey, "is required").at_key(key))),
        }
    }

    /// Reads an object that has no keys but `known`.
    pub(crate) fn object(self, known: &[&str]) -> Result<Object<'n>, Error> {
        self.tagged_object(None, known)
    }

    /// Reads an object that has no keys but `known` and the one that [`tag`](Self::tag) has read.
    pub(crate) fn tagged_object(
        self,
        tag: Option<&str>,
        known: &[&str],
    ) -> Result<Object<'n>, Error> {
        let Node::Object(members) = self.node else { return Err(self.wrong_type("an object")) };
        let mut keys = members.iter().map(|(key, _)| &**key);
        match keys.find(|key| !known.contains(key) && tag != Some(key)) {
            None => Ok(Object { members, path: self.path }),
            Some(key) => {
                let rule = format!("has no such key; the keys are {}", known.join(", "));
                Err(self.locate(Error::new(Code::UnknownKey, rule).at_key(key)))
            }
        }
    }

    /// Reads an object that may have any other keys beside those that are asked for.
    #[cfg(any(feature = "launchdarkly", feature = "qonversion"))]
    pub(crate) fn open_object(self) -> Result<Object<'n>, Error> {
        let Node::Object(members) = self.node else { return Err(self.wrong_type("an object")) };
        Ok(Object { members, path: self.path })
    }

    /// Reads an object whose keys are data.
    pub(crate) fn map<T>(
        self,
        mut each: impl FnMut(&'n str, Cursor<'_>) -> Result<T, Error>,
    ) -> Result<Vec<T>, Error> {
        let Node::Object(members) = self.node else {
            return Err(self.wrong_type("an object"));
        };
        members
            .iter()
            .map(|(key, node)| each(key, Cursor { node, path: Path::Key(&self.path, key) }))
            .collect()
    }

    pub(crate) fn array<T>(
        self,
        mut each: impl FnMut(Cursor<'_>) -> Result<T, Error>,
    ) -> Result<Vec<T>, Error> {
        let Node::Array(items) = self.node else {
            return Err(self.wrong_type("an array"));
        };
        items
            .iter()
            .enumerate()
            .map(|(index, node)| each(Cursor { node, path: Path::Index(&self.path, index) }))
            .collect()
    }

    pub(crate) fn bool(self) -> Result<bool, Error> {
        match self.node {
            Node::Bool(value) => Ok(*value),
            _ => Err(self.wrong_type("true or false")),
        }
    }

    pub(crate) fn str(self) -> Result<&'n str, Error> {
        match self.node {
            Node::String(value) => Ok(value),
            _ => Err(self.wrong_type("a string")),
        }
    }

    pub(crate) fn number(self) -> Result<&'n Number, Error> {
        match self.node {
            Node::Number(value) => Ok(value),
            _ => Err(self.wrong_type("a number")),
        }
    }

    pub(crate) fn u64(self) -> Result<u64, Error> {
        self.number()?.as_u64().ok_or_else(|| self.wrong_type("a whole number from 0"))
    }

    /// Parses a string by the rules of a domain type.
    pub(crate) fn parse<T: std::str::FromStr<Err = Error>>(self) -> Result<T, Error> {
        self.str()?.parse().map_err(|error| self.locate(error))
    }

    /// One of a closed set of names.
    pub(crate) fn one_of<T: Copy>(
        self,
        all: &[T],
        name: impl Fn(T) -> &'static str,
    ) -> Result<T, Error> {
        one_of(self.str()?, all, name).map_err(|error| self.locate(error))
    }

    /// The value itself, as `serde_json` has it; `None` when it has more than so many values in all.
    pub(crate) fn value(self, most: usize) -> Option<Value> {
        let mut left = most + 1;
        let value = self.node.to_value(&mut left);
        (left > 0).then_some(value)
    }

    /// As much of the value as an error shows.
    pub(crate) fn preview(self) -> Value {
        self.node.to_value(&mut { SHOWN })
    }

    pub(crate) fn wrong_type(self, wanted: &str) -> Error {
        let error = Error::new(Code::WrongType, format!("must be {wanted}"));
        self.locate(error.with_value(&self.preview()))
    }
}

/// What a text means that is one of a closed set of names.
pub(crate) fn one_of<T: Copy>(
    text: &str,
    all: &[T],
    name: impl Fn(T) -> &'static str,
) -> Result<T, Error> {
    all.iter().copied().find(|value| name(*value) == text).ok_or_else(|| {
        let names: Vec<_> = all.iter().map(|value| name(*value)).collect();
        Error::invalid(format!("must be one of {}", names.join(", "))).with_value(text)
    })
}

/// An object whose keys are known.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Object<'n> {
    members: &'n [(Cow<'n, str>, Node<'n>)],
    path: Path<'n>,
}

impl Object<'_> {
    /// The member of this key, if it is present, be it `null`.
    pub(crate) fn get(&self, key: &'static str) -> Option<Cursor<'_>> {
        let (key, node) = self.members.iter().find(|(name, _)| *name == key)?;
        Some(Cursor { node, path: Path::Key(&self.path, key) })
    }

    pub(crate) fn required(&self, key: &'static str) -> Result<Cursor<'_>, Error> {
        self.get(key).ok_or_else(|| {
            self.path.locate(Error::new(Code::MissingKey, "is required").at_key(key))
        })
    }

    /// Reads a member that may be left out, but not `null`.
    pub(crate) fn optional<T: FromJson>(&self, key: &'static str) -> Result<Option<T>, Error> {
        self.get(key).map(Cursor::read).transpose()
    }

    /// Reads a member of a patch, which can be set but not cleared.
    pub(crate) fn set<T: FromJson>(&self, key: &'static str) -> Result<Option<T>, Error> {
        match self.get(key) {
            Some(cursor) if cursor.is_null() => Err(cursor
                .locate(Error::new(Code::NotNullable, "must not be null: it cannot be cleared"))),
            Some(cursor) => cursor.read().map(Some),
            None => Ok(None),
        }
    }

    /// What is wrong with each member that is none of `known`.
    #[cfg(feature = "qonversion")]
    pub(crate) fn unknown(&self, known: &[&str]) -> impl Iterator<Item = Error> {
        let keys = self.members.iter().map(|(key, _)| &**key);
        keys.filter(|key| !known.contains(key)).map(|key| {
            let rule = format!("has no such key; the keys are {}", known.join(", "));
            self.locate(Error::new(Code::UnknownKey, rule).at_key(key))
        })
    }

    /// How many members there are.
    #[cfg(feature = "auth0")]
    pub(crate) fn len(&self) -> usize {
        self.members.len()
    }

    pub(crate) fn or_default<T: FromJson + Default>(&self, key: &'static str) -> Result<T, Error> {
        Ok(self.optional(key)?.unwrap_or_default())
    }

    pub(crate) fn read<T: FromJson>(&self, key: &'static str) -> Result<T, Error> {
        self.required(key)?.read()
    }

    /// Adds where this object stands to an error about it.
    pub(crate) fn locate(&self, error: Error) -> Error {
        self.path.locate(error)
    }
}
