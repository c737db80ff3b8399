//! Numbers that JSON can write and 64 bits cannot hold.

use serde_json::Number;

use super::node::Node;
use crate::error::{Error, shorten};

/// Refuses a text that has a number which the parser has rounded, with the path of the first.
pub(super) fn find_inexact(text: &str, node: &Node<'_>) -> Result<(), Error> {
    match inexact_number(text) {
        Some((nth, literal)) => Err(inexact(node, nth, literal)),
        None => Ok(()),
    }
}

/// The first number literal that a `u64`, `i64` or `f64` cannot hold as it is written, with its ordinal
/// among the numbers of the text: an integer beyond 64 bits, a fraction that would become 0, or one
/// with more digits than a double keeps. The parser rounds these silently.
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
    let written = significant(literal);
    // A double tells any two numbers of 15 digits apart; with more, it must print as written. Of two
    // texts that are as short and as near, this library and the one that prints JSON can choose
    // another each.
    if written.len() > 15 {
        return literal.parse::<f64>().is_ok_and(|value| {
            let printed = Number::from_f64(value).map(|number| number.to_string());
            let mut texts = printed.into_iter().chain([value.to_string()]);
            texts.all(|text| significant(&text) != written)
        });
    }
    !written.is_empty() && literal.parse::<f64>().is_ok_and(|value| value == 0.0)
}

/// The digits of a number from the first to the last that is not 0.
fn significant(literal: &str) -> String {
    let mantissa = literal.split(['e', 'E']).next().unwrap_or_default();
    let digits: String = mantissa.chars().filter(char::is_ascii_digit).collect();
    digits.trim_matches('0').to_owned()
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
    let rule =
        format!("must be a number that 64 bits can hold as written, not {}", shorten(literal));
    match find(node, &mut { nth }, Error::invalid(rule)) {
        Ok(error) | Err(error) => error,
    }
}
