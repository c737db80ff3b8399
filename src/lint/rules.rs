//! What can be proved of rules without a subject.
//!
//! Everything here may say no where the truth is yes, never the other way round.

use std::cmp::Ordering;
use std::ops::Bound;

use crate::assign::Attribute;
use crate::model::{Bounds, Condition, Expression, Number, OneOf, Rule, Semver};
use crate::time::Timestamp;

/// Whether a rule cannot match any subject.
pub(super) fn never_matches(rule: &Rule) -> bool {
    let mut must = Vec::new();
    let mut must_not = Vec::new();
    collect(rule, &mut must, &mut must_not);
    let clash = |one: &&Condition| {
        let own = |other: &&&Condition| other.attribute == one.attribute;
        is_empty(&one.expression)
            || must.iter().filter(own).any(|other| disjoint(&one.expression, &other.expression))
            || must_not.iter().filter(own).any(|other| implies(&one.expression, &other.expression))
    };
    must.iter().any(clash) || nested_never_match(rule)
}

/// The conditions that must hold, and those that must not, for a rule to match.
fn collect<'r>(rule: &'r Rule, must: &mut Vec<&'r Condition>, must_not: &mut Vec<&'r Condition>) {
    must.extend(rule.matches());
    must_not.extend(rule.not_matches());
    for nested in rule.all() {
        collect(nested, must, must_not);
    }
}

fn nested_never_match(rule: &Rule) -> bool {
    let any = rule.any();
    (!any.is_empty() && any.iter().all(never_matches)) || rule.all().iter().any(never_matches)
}

/// Whether every subject that `later` matches is one that `earlier` matches.
pub(super) fn covers(earlier: &Rule, later: &Rule) -> bool {
    let mut must = Vec::new();
    let mut must_not = Vec::new();
    collect(later, &mut must, &mut must_not);
    let of = |list: &[&'_ Condition],
              wanted: &Condition,
              holds: fn(&Expression, &Expression) -> bool| {
        let mut same = list.iter().filter(|own| own.attribute == wanted.attribute);
        same.any(|own| holds(&own.expression, &wanted.expression))
    };
    let met = |wanted: &Condition| of(&must, wanted, implies);
    let missed = |unwanted: &Condition| {
        of(&must, unwanted, disjoint) || of(&must_not, unwanted, |own, wanted| implies(wanted, own))
    };
    let same_nested = earlier.nested().is_none() || earlier.nested() == later.nested();
    same_nested && earlier.matches().iter().all(met) && earlier.not_matches().iter().all(missed)
}

/// Whether whatever fulfils `one` fulfils `other` as well.
fn implies(one: &Expression, other: &Expression) -> bool {
    use Expression as E;
    if one == other || (*other == E::Exists(true) && needs_attribute(one)) {
        return true;
    }
    let text = |value: &str| other.admits(Some(Attribute::String(value)));
    match (one, other) {
        (E::OneOf(list), _) => all(list, text),
        (E::Listed(list), _) => all(list, text),
        (E::Boolean(value), _) => other.admits(Some(Attribute::Bool(*value))),
        (E::StartsWith(one), E::StartsWith(other)) => each(one, other, |a, b| a.starts_with(b)),
        (E::EndsWith(one), E::EndsWith(other)) => each(one, other, |a, b| a.ends_with(b)),
        (E::StartsWith(one) | E::EndsWith(one) | E::Contains(one), E::Contains(other)) => {
            each(one, other, |a, b| a.contains(b))
        }
        (E::Number(one), E::Number(other)) => within(one, other, order_of_numbers),
        (E::Date(one), E::Date(other)) => within(one, other, Timestamp::cmp),
        (E::Semver(one), E::Semver(other)) => within(one, other, Semver::order),
        (E::Path { steps: one, is }, E::Path { steps: other, is: wanted }) if one == other => {
            implies(is, wanted)
        }
        _ => false,
    }
}

/// Whether nothing fulfils both.
fn disjoint(one: &Expression, other: &Expression) -> bool {
    use Expression as E;
    let text = |wanted: &Expression, value: &str| wanted.admits(Some(Attribute::String(value)));
    match (one, other) {
        (E::Exists(false), present) | (present, E::Exists(false)) => needs_attribute(present),
        (E::OneOf(list), wanted) | (wanted, E::OneOf(list)) => {
            all(list, |value| !text(wanted, value))
        }
        (E::Listed(list), wanted) | (wanted, E::Listed(list)) => {
            all(list, |value| !text(wanted, value))
        }
        (E::StartsWith(one), E::StartsWith(other)) => {
            none(one, other, |a, b| a.starts_with(b) || b.starts_with(a))
        }
        (E::EndsWith(one), E::EndsWith(other)) => {
            none(one, other, |a, b| a.ends_with(b) || b.ends_with(a))
        }
        (E::Number(one), E::Number(other)) => apart(one, other, order_of_numbers),
        (E::Date(one), E::Date(other)) => apart(one, other, Timestamp::cmp),
        (E::Semver(one), E::Semver(other)) => apart(one, other, Semver::order),
        (E::Boolean(one), E::Boolean(other)) => one != other,
        (E::Path { steps: one, is }, E::Path { steps: other, is: wanted }) if one == other => {
            disjoint(is, wanted)
        }
        _ => matches!((kind(one), kind(other)), (Some(one), Some(other)) if one != other),
    }
}

/// Whether nothing fulfils it.
fn is_empty(expression: &Expression) -> bool {
    match expression {
        Expression::Number(bounds) => apart(bounds, bounds, order_of_numbers),
        Expression::Date(bounds) => apart(bounds, bounds, Timestamp::cmp),
        Expression::Semver(bounds) => apart(bounds, bounds, Semver::order),
        Expression::Path { is, .. } => is_empty(is),
        _ => false,
    }
}

/// Whether a missing attribute does not fulfil it.
fn needs_attribute(expression: &Expression) -> bool {
    !expression.admits(None)
}

/// The one kind of value that can fulfil an expression, where there is but one.
fn kind(expression: &Expression) -> Option<u8> {
    match expression {
        Expression::OneOf(_)
        | Expression::Listed(_)
        | Expression::Contains(_)
        | Expression::StartsWith(_)
        | Expression::EndsWith(_)
        | Expression::Semver(_) => Some(0),
        #[cfg(feature = "regex")]
        Expression::Regex(_) => Some(0),
        Expression::Number(_) => Some(1),
        Expression::Boolean(_) => Some(2),
        Expression::Date(_) | Expression::Exists(_) | Expression::Path { .. } => None,
    }
}

fn all(list: &OneOf, holds: impl FnMut(&str) -> bool) -> bool {
    list.values().all(holds)
}

/// Whether each of these stands so to some of those.
fn each(ours: &[Box<str>], theirs: &[Box<str>], stands: fn(&str, &str) -> bool) -> bool {
    ours.iter().all(|own| theirs.iter().any(|other| stands(own, other)))
}

/// Whether none of these stands so to any of those.
fn none(ours: &[Box<str>], theirs: &[Box<str>], stands: fn(&str, &str) -> bool) -> bool {
    !ours.iter().any(|own| theirs.iter().any(|other| stands(own, other)))
}

fn order_of_numbers(one: &Number, other: &Number) -> Ordering {
    match one.as_i64() {
        Some(integer) => other.order_of_integer(integer.into()),
        None => other.order_of_float(one.as_f64()),
    }
}

fn ends<T>(bounds: &Bounds<T>) -> (Bound<&T>, Bound<&T>) {
    match bounds {
        Bounds::Equal(value) => (Bound::Included(value), Bound::Included(value)),
        Bounds::Between(lower, upper) => (lower.as_ref(), upper.as_ref()),
    }
}

/// Whether all that lies in `one` lies in `other`.
fn within<T>(one: &Bounds<T>, other: &Bounds<T>, order: fn(&T, &T) -> Ordering) -> bool {
    let ((lower, upper), (least, most)) = (ends(one), ends(other));
    let inside = |own: Bound<&T>, limit: Bound<&T>, wrong: Ordering| match (own, limit) {
        (_, Bound::Unbounded) => true,
        (Bound::Unbounded, _) => false,
        (Bound::Included(own), Bound::Excluded(limit)) => {
            let order = order(own, limit);
            order != wrong && order.is_ne()
        }
        (Bound::Included(own) | Bound::Excluded(own), Bound::Included(limit))
        | (Bound::Excluded(own), Bound::Excluded(limit)) => order(own, limit) != wrong,
    };
    inside(lower, least, Ordering::Less) && inside(upper, most, Ordering::Greater)
}

/// Whether nothing lies in both.
fn apart<T>(one: &Bounds<T>, other: &Bounds<T>, order: fn(&T, &T) -> Ordering) -> bool {
    let ((lower, upper), (least, most)) = (ends(one), ends(other));
    let below = |upper: Bound<&T>, lower: Bound<&T>| match (upper, lower) {
        (Bound::Unbounded, _) | (_, Bound::Unbounded) => false,
        (Bound::Included(upper), Bound::Included(lower)) => order(upper, lower).is_lt(),
        (
            Bound::Included(upper) | Bound::Excluded(upper),
            Bound::Included(lower) | Bound::Excluded(lower),
        ) => order(upper, lower).is_le(),
    };
    below(upper, least) || below(most, lower)
}
