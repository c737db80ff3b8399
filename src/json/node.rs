//! JSON as it was written, with what is ambiguous refused.

use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::fmt;

use serde::de::{self, Deserialize, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Number, Value};

use super::Limits;
use crate::error::{Code, Error};

/// The key under which `serde_json` hands over a number when its feature `arbitrary_precision` is
/// on, as any crate in the same build can have it.
const ARBITRARY_PRECISION: &str = "$serde_json::private::Number";

/// A JSON value as it was written: members in order, no key twice.
#[derive(Debug)]
pub(crate) enum Node<'a> {
    Null,
    Bool(bool),
    Number(Number),
    String(Cow<'a, str>),
    Array(Vec<Self>),
    Object(Vec<(Cow<'a, str>, Self)>),
}

impl Node<'_> {
    /// The value as `serde_json` has it, as far as so many values in all.
    pub(super) fn to_value(&self, left: &mut usize) -> Value {
        *left = left.saturating_sub(1);
        match self {
            Self::Null => Value::Null,
            Self::Bool(value) => Value::Bool(*value),
            Self::Number(value) => Value::Number(value.clone()),
            Self::String(value) => Value::String(value.clone().into_owned()),
            Self::Array(items) => Value::Array(while_left(items, left, Self::to_value).collect()),
            Self::Object(members) => {
                let member = |(key, node): &(Cow<'_, str>, Self), left: &mut usize| {
                    (key.clone().into_owned(), node.to_value(left))
                };
                Value::Object(while_left(members, left, member).collect())
            }
        }
    }
}

/// Converts items until nothing is left of the budget that each conversion draws on.
fn while_left<'i, T, U>(
    items: &'i [T],
    left: &'i mut usize,
    convert: impl Fn(&T, &mut usize) -> U + 'i,
) -> impl Iterator<Item = U> + 'i {
    items.iter().map_while(move |item| (*left > 0).then(|| convert(item, left)))
}

/// The state of one reading: what is left of the limits, and the first fault found.
pub(super) struct Reading {
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
    pub(super) fn new(limits: &Limits) -> Self {
        Self {
            depth: limits.depth,
            limits: *limits,
            values: Cell::new(limits.values),
            fault: RefCell::new(None),
            trail: RefCell::new(Vec::new()),
        }
    }

    /// Reads text.
    pub(super) fn parse(self, text: &str) -> Result<Node<'_>, Error> {
        let mut parser = serde_json::Deserializer::from_str(text);
        self.seed(0)
            .deserialize(&mut parser)
            .and_then(|node| parser.end().map(|()| node))
            .map_err(|fault| self.into_error(&fault))
    }

    /// Reads what another format has parsed.
    pub(super) fn fill<'de, D: Deserializer<'de>>(self, from: D) -> Result<Node<'de>, D::Error> {
        self.seed(0).deserialize(from).map_err(|fault| match self.fault.into_inner() {
            Some(own) => de::Error::custom(own),
            None => fault,
        })
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
                Ok(value) => {
                    // Most often the only one: a vector would take room for four.
                    object.reserve_exact(usize::from(object.is_empty()));
                    object.push((key, value));
                }
                Err(fault) => {
                    self.reading.passed(Step::Key(key.into_owned()));
                    return Err(fault);
                }
            }
        }
        if let [(key, Node::String(literal))] = object.as_slice()
            && *key == ARBITRARY_PRECISION
            && let Ok(number) = literal.parse()
        {
            return Ok(Node::Number(number));
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
