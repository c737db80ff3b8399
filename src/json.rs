//! Strict reading of JSON: one way in for every type of the crate.
//!
//! serde's derived readers take an array for an object, the last of two equal keys, and an absent
//! member for a `null` one. So the crate's types are read in two steps: serde fills a [`Node`],
//! which keeps what was written and refuses what is ambiguous, and [`FromJson`] takes it apart
//! through a [`Cursor`], which knows the JSON path for the error.

use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::fmt;

use serde::de::{self, Deserialize, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Number, Value};

use crate::error::{Code, Error};
use crate::id::{ExperimentId, FlagId, SegmentId, VariationId};

/// How much JSON is read before it is refused, so that hostile text costs bounded time and memory.
///
/// ```
/// use variate::{Limits, Snapshot};
///
/// let tight = Limits { bytes: 1 << 10, ..Limits::DEFAULT };
/// let long = format!("{{{}}}", " ".repeat(2_000));
/// let error = Snapshot::from_json_within(long, &tight).unwrap_err();
/// assert_eq!(error.to_string(), "must have at most 1024 bytes; got 2002");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "callers fill in what they want with `..DEFAULT`")]
pub struct Limits {
    /// The longest text, in bytes.
    pub bytes: usize,
    /// The deepest nesting of arrays and objects; above 120 the parser's own bound takes over.
    pub depth: usize,
    /// The most values in all: each literal, array and object is one.
    pub values: usize,
}

impl Limits {
    /// 64 MiB, 64 levels, 8 Mi values.
    pub const DEFAULT: Self = Self { bytes: 64 << 20, depth: 64, values: 8 << 20 };
}

impl Default for Limits {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// A JSON value as it was written: members in order, no key twice.
#[derive(Debug)]
pub(crate) enum Node<'a> {
    Null,
    Bool(bool),
    Number(Number),
    String(Cow<'a, str>),
    Array(Vec<Node<'a>>),
    Object(Vec<(Cow<'a, str>, Node<'a>)>),
}

/// What can be read from JSON, whole and valid or not at all.
pub(crate) trait FromJson: Sized {
    fn from_json(cursor: Cursor<'_>) -> Result<Self, Error>;
}

/// Reads a `T` from JSON text.
pub(crate) fn read<T: FromJson>(json: &[u8], limits: &Limits) -> Result<T, Error> {
    if json.len() > limits.bytes {
        let rule = format!("must have at most {} bytes", limits.bytes);
        return Err(Error::new(Code::InvalidJson, rule).with_value(&json.len()));
    }
    let text = std::str::from_utf8(json).map_err(|fault| {
        let rule = format!("must be UTF-8, which ends at byte {}", fault.valid_up_to());
        Error::new(Code::InvalidJson, rule)
    })?;
    let reading = Reading::new(limits);
    let mut parser = serde_json::Deserializer::from_str(text);
    let node = reading
        .seed(0)
        .deserialize(&mut parser)
        .and_then(|node| parser.end().map(|()| node))
        .map_err(|fault| reading.into_error(&fault))?;
    if let Some((nth, literal)) = inexact_number(text) {
        return Err(inexact(&node, nth, literal));
    }
    T::from_json(Cursor { node: &node, path: Path::Root })
}

/// Reads a `T` from any self-describing serde format.
pub(crate) fn from_serde<'de, T: FromJson, D: Deserializer<'de>>(from: D) -> Result<T, D::Error> {
    let reading = Reading::new(&Limits::DEFAULT);
    let node = match reading.seed(0).deserialize(from) {
        Ok(node) => node,
        Err(fault) => {
            return Err(match reading.fault.into_inner() {
                Some(own) => de::Error::custom(own),
                None => fault,
            });
        }
    };
    T::from_json(Cursor { node: &node, path: Path::Root }).map_err(de::Error::custom)
}

/// Implements serde's `Deserialize` by way of [`FromJson`].
macro_rules! deserialize {
    ($($name:ty),+ $(,)?) => {$(
        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                crate::json::from_serde(from)
            }
        }
    )+};
}
pub(crate) use deserialize;

/// The state of one reading: what is left of the limits, and the first fault found.
struct Reading {
    depth: usize,
    limits: Limits,
    values: Cell<usize>,
    fault: RefCell<Option<Error>>,
    /// The path of a fault that the parser itself found, innermost step first.
    trail: RefCell<Vec<Step>>,
}

enum Step {
    Key(String),
    Index(usize),
}

impl Reading {
    fn new(limits: &Limits) -> Self {
        Self {
            depth: limits.depth,
            limits: *limits,
            values: Cell::new(limits.values),
            fault: RefCell::new(None),
            trail: RefCell::new(Vec::new()),
        }
    }

    fn seed(&self, depth: usize) -> Seed<'_> {
        Seed { reading: self, depth }
    }

    /// Notes a fault of ours; serde only carries its text.
    fn refuse<E: de::Error>(&self, error: Error) -> E {
        let text = E::custom(&error);
        self.fault.borrow_mut().get_or_insert(error);
        text
    }

    fn passed(&self, step: Step) {
        self.trail.borrow_mut().push(step);
    }

    fn into_error(self, fault: &serde_json::Error) -> Error {
        let error = self.fault.into_inner().unwrap_or_else(|| {
            let rule = format!("must be JSON: {fault}");
            Error::new(Code::InvalidJson, rule)
        });
        self.trail.into_inner().into_iter().fold(error, |error, step| match step {
            Step::Key(key) => error.at_key(&key),
            Step::Index(index) => error.at_index(index),
        })
    }
}

#[derive(Clone, Copy)]
struct Seed<'r> {
    reading: &'r Reading,
    depth: usize,
}

impl Seed<'_> {
    fn count<E: de::Error>(self) -> Result<(), E> {
        match self.reading.values.get().checked_sub(1) {
            Some(left) => {
                self.reading.values.set(left);
                Ok(())
            }
            None => {
                let rule = format!("must have at most {} values", self.reading.limits.values);
                Err(self.reading.refuse(Error::new(Code::InvalidJson, rule)))
            }
        }
    }

    fn deeper<E: de::Error>(self) -> Result<Self, E> {
        if self.depth < self.reading.depth {
            return Ok(Self { depth: self.depth + 1, ..self });
        }
        let rule = format!("must be nested at most {} deep", self.reading.depth);
        Err(self.reading.refuse(Error::new(Code::InvalidJson, rule)))
    }
}

impl<'de> DeserializeSeed<'de> for Seed<'_> {
    type Value = Node<'de>;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Node<'de>, D::Error> {
        self.count()?;
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Seed<'_> {
    type Value = Node<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E: de::Error>(self) -> Result<Node<'de>, E> {
        Ok(Node::Null)
    }

    fn visit_none<E: de::Error>(self) -> Result<Node<'de>, E> {
        Ok(Node::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, from: D) -> Result<Node<'de>, D::Error> {
        from.deserialize_any(self)
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, from: D) -> Result<Node<'de>, D::Error> {
        from.deserialize_any(self)
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<Node<'de>, E> {
        Ok(Node::Bool(value))
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Node<'de>, E> {
        Ok(Node::Number(value.into()))
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Node<'de>, E> {
        Ok(Node::Number(value.into()))
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Node<'de>, E> {
        let number = Number::from_f64(value);
        number.map(Node::Number).ok_or_else(|| {
            self.reading.refuse(Error::invalid(format!("must be a finite number, not {value}")))
        })
    }

    fn visit_borrowed_str<E: de::Error>(self, value: &'de str) -> Result<Node<'de>, E> {
        Ok(Node::String(Cow::Borrowed(value)))
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<Node<'de>, E> {
        Ok(Node::String(Cow::Owned(value.to_owned())))
    }

    fn visit_string<E: de::Error>(self, value: String) -> Result<Node<'de>, E> {
        Ok(Node::String(Cow::Owned(value)))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Node<'de>, A::Error> {
        let deeper = self.deeper()?;
        let mut array = Vec::new();
        loop {
            match items.next_element_seed(deeper) {
                Ok(Some(item)) => array.push(item),
                Ok(None) => return Ok(Node::Array(array)),
                Err(fault) => {
                    self.reading.passed(Step::Index(array.len()));
                    return Err(fault);
                }
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Node<'de>, A::Error> {
        let deeper = self.deeper()?;
        let mut object: Vec<(Cow<'de, str>, Node<'de>)> = Vec::new();
        while let Some(Key(key)) = members.next_key()? {
            match members.next_value_seed(deeper) {
                Ok(value) => object.push((key, value)),
                Err(fault) => {
                    self.reading.passed(Step::Key(key.into_owned()));
                    return Err(fault);
                }
            }
        }
        if let Some(key) = duplicate_key(&object) {
            let error = Error::new(Code::DuplicateKey, "must not have a key twice").with_value(key);
            return Err(self.reading.refuse(error));
        }
        Ok(Node::Object(object))
    }
}

struct Key<'a>(Cow<'a, str>);

impl<'de> Deserialize<'de> for Key<'de> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct KeyVisitor;
        impl<'de> Visitor<'de> for KeyVisitor {
            type Value = Key<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string for a key")
            }

            fn visit_borrowed_str<E: de::Error>(self, key: &'de str) -> Result<Key<'de>, E> {
                Ok(Key(Cow::Borrowed(key)))
            }

            fn visit_str<E: de::Error>(self, key: &str) -> Result<Key<'de>, E> {
                Ok(Key(Cow::Owned(key.to_owned())))
            }
        }
        from.deserialize_str(KeyVisitor)
    }
}

fn duplicate_key<'k>(object: &'k [(Cow<'_, str>, Node<'_>)]) -> Option<&'k str> {
    // Nearly every object is small, where comparing all pairs beats sorting.
    if object.len() <= 16 {
        let mut rest = object;
        while let [(key, _), others @ ..] = rest {
            if others.iter().any(|(other, _)| other == key) {
                return Some(key);
            }
            rest = others;
        }
        return None;
    }
    let mut keys: Vec<&str> = object.iter().map(|(key, _)| &**key).collect();
    keys.sort_unstable();
    keys.windows(2).find_map(|pair| match pair {
        [a, b] if a == b => Some(*a),
        _ => None,
    })
}

/// The first number literal that a `u64`, `i64` or `f64` cannot hold even nearly, with its ordinal
/// among the numbers of the text: an integer beyond 64 bits, or a fraction that would become 0.
/// The parser rounds these silently.
fn inexact_number(text: &str) -> Option<(usize, &str)> {
    let bytes = text.as_bytes();
    let (mut at, mut nth) = (0, 0);
    while let Some(&byte) = bytes.get(at) {
        match byte {
            b'"' => {
                at += 1;
                while let Some(&inner) = bytes.get(at).filter(|b| **b != b'"') {
                    at += if inner == b'\\' { 2 } else { 1 };
                }
                at += 1;
            }
            b'-' | b'0'..=b'9' => {
                let rest = bytes.get(at..).unwrap_or_default();
                let length = rest
                    .iter()
                    .position(|b| !matches!(b, b'-' | b'+' | b'.' | b'e' | b'E' | b'0'..=b'9'))
                    .unwrap_or(rest.len());
                // 18 digits always fit in an integer, and no shorter fraction vanishes but by an
                // exponent of three digits.
                if length >= 5
                    && let Some(literal) = text.get(at..at + length)
                    && is_inexact(literal)
                {
                    return Some((nth, literal));
                }
                nth += 1;
                at += length;
            }
            _ => at += 1,
        }
    }
    None
}

fn is_inexact(literal: &str) -> bool {
    if !literal.bytes().any(|b| matches!(b, b'.' | b'e' | b'E')) {
        return literal.parse::<u64>().is_err() && literal.parse::<i64>().is_err();
    }
    let mantissa = literal.split(['e', 'E']).next().unwrap_or_default();
    let is_zero = !mantissa.bytes().any(|b| matches!(b, b'1'..=b'9'));
    !is_zero && literal.parse::<f64>().is_ok_and(|value| value == 0.0)
}

/// The error for the `nth` number of the tree.
fn inexact(node: &Node<'_>, nth: usize, literal: &str) -> Error {
    fn find(node: &Node<'_>, left: &mut usize, error: Error) -> Result<Error, Error> {
        match node {
            Node::Number(_) if *left == 0 => return Ok(error),
            Node::Number(_) => *left -= 1,
            Node::Array(items) => {
                let mut error = error;
                for (index, item) in items.iter().enumerate() {
                    match find(item, left, error) {
                        Ok(found) => return Ok(found.at_index(index)),
                        Err(unused) => error = unused,
                    }
                }
                return Err(error);
            }
            Node::Object(members) => {
                let mut error = error;
                for (key, member) in members {
                    match find(member, left, error) {
                        Ok(found) => return Ok(found.at_key(key)),
                        Err(unused) => error = unused,
                    }
                }
                return Err(error);
            }
            Node::Null | Node::Bool(_) | Node::String(_) => {}
        }
        Err(error)
    }
    let rule = format!("must be a number that 64 bits can hold, not {literal}");
    match find(node, &mut { nth }, Error::invalid(rule)) {
        Ok(error) | Err(error) => error,
    }
}

/// Where a cursor stands, as a chain of steps that lives on the stack of the reading functions.
#[derive(Debug, Clone, Copy)]
enum Path<'n> {
    Root,
    Key(&'n Path<'n>, &'n str),
    Index(&'n Path<'n>, usize),
}

impl Path<'_> {
    fn locate(self, error: Error) -> Error {
        match self {
            Self::Root => error,
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
    /// Adds where this value stands to an error about it.
    pub(crate) fn locate(self, error: Error) -> Error {
        self.path.locate(error)
    }

    pub(crate) fn is_null(self) -> bool {
        matches!(self.node, Node::Null)
    }

    pub(crate) fn is_array(self) -> bool {
        matches!(self.node, Node::Array(_))
    }

    pub(crate) fn read<T: FromJson>(self) -> Result<T, Error> {
        T::from_json(self)
    }

    /// Reads an object that has no keys but `known`.
    pub(crate) fn object(self, known: &[&str]) -> Result<Object<'n>, Error> {
        let Node::Object(members) = self.node else { return Err(self.wrong_type("an object")) };
        for (key, _) in members {
            if !known.contains(&&**key) {
                let rule = format!("has no such key; the keys are {}", known.join(", "));
                return Err(self.locate(Error::new(Code::UnknownKey, rule).at_key(key)));
            }
        }
        Ok(Object { members, path: self.path })
    }

    /// Reads an object whose keys are data.
    pub(crate) fn map<T>(
        self,
        mut each: impl FnMut(&'n str, Cursor<'_>) -> Result<T, Error>,
    ) -> Result<Vec<T>, Error> {
        let Node::Object(members) = self.node else { return Err(self.wrong_type("an object")) };
        members
            .iter()
            .map(|(key, node)| each(key, Cursor { node, path: Path::Key(&self.path, key) }))
            .collect()
    }

    pub(crate) fn array<T>(
        self,
        mut each: impl FnMut(Cursor<'_>) -> Result<T, Error>,
    ) -> Result<Vec<T>, Error> {
        let Node::Array(items) = self.node else { return Err(self.wrong_type("an array")) };
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
        let text = self.str()?;
        all.iter().copied().find(|value| name(*value) == text).ok_or_else(|| {
            let names: Vec<_> = all.iter().map(|value| name(*value)).collect();
            let rule = format!("must be one of {}", names.join(", "));
            self.locate(Error::invalid(rule).with_value(text))
        })
    }

    /// The value itself, as `serde_json` has it.
    pub(crate) fn value(self) -> Value {
        self.node.to_value()
    }

    pub(crate) fn wrong_type(self, wanted: &str) -> Error {
        let error = Error::new(Code::WrongType, format!("must be {wanted}"));
        self.locate(error.with_value(&self.node.to_value()))
    }
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

impl Node<'_> {
    fn to_value(&self) -> Value {
        match self {
            Self::Null => Value::Null,
            Self::Bool(value) => Value::Bool(*value),
            Self::Number(value) => Value::Number(value.clone()),
            Self::String(value) => Value::String(value.clone().into_owned()),
            Self::Array(items) => Value::Array(items.iter().map(Self::to_value).collect()),
            Self::Object(members) => Value::Object(
                members.iter().map(|(key, node)| (key.clone().into_owned(), node.to_value())).collect(),
            ),
        }
    }
}

impl FromJson for bool {
    fn from_json(cursor: Cursor<'_>) -> Result<Self, Error> {
        cursor.bool()
    }
}

impl FromJson for u64 {
    fn from_json(cursor: Cursor<'_>) -> Result<Self, Error> {
        cursor.u64()
    }
}

impl FromJson for u32 {
    fn from_json(cursor: Cursor<'_>) -> Result<Self, Error> {
        let number = cursor.u64()?;
        number.try_into().map_err(|_| cursor.wrong_type("a whole number from 0 to 4294967295"))
    }
}

/// Ids, which are read as they are written in text.
macro_rules! from_text {
    ($($name:ty),+) => {$(
        impl FromJson for $name {
            fn from_json(cursor: Cursor<'_>) -> Result<Self, Error> {
                cursor.parse()
            }
        }

        deserialize!($name);
    )+};
}

from_text!(ExperimentId, FlagId, SegmentId, VariationId);

impl FromJson for String {
    fn from_json(cursor: Cursor<'_>) -> Result<Self, Error> {
        cursor.str().map(str::to_owned)
    }
}

impl<T: FromJson> FromJson for Vec<T> {
    fn from_json(cursor: Cursor<'_>) -> Result<Self, Error> {
        cursor.array(|item| item.read())
    }
}
