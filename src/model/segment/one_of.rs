//! Lists of values that attributes are looked up in.

/// Lists longer than this are searched in order of their items.
const LINEAR: usize = 8;

/// A list of values, in the order in which it was written, searched in that of the values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OneOf {
    values: Box<[Box<str>]>,
    /// The indices of a long list in the order of the values.
    order: Box<[u32]>,
}

impl OneOf {
    pub(super) fn new(values: Box<[Box<str>]>) -> Self {
        let mut order: Vec<u32> = Vec::new();
        if values.len() > LINEAR {
            order.extend((0..).zip(&values).map(|(index, _)| index));
            order.sort_by_key(|index| values.get(*index as usize));
        }
        Self { values, order: order.into() }
    }

    pub(super) fn items(&self) -> &[Box<str>] {
        &self.values
    }

    /// The values as they were written.
    pub fn values(&self) -> impl Iterator<Item = &str> {
        self.values.iter().map(|value| &**value)
    }

    /// Whether this is one of them.
    #[inline]
    pub fn contains(&self, value: &str) -> bool {
        match self.order.is_empty() {
            true => self.values.iter().any(|own| **own == *value),
            false => self.is_found(value),
        }
    }

    fn is_found(&self, value: &str) -> bool {
        let compare = |index: &u32| self.values.get(*index as usize).map(|own| (**own).cmp(value));
        self.order
            .binary_search_by(|index| compare(index).unwrap_or(std::cmp::Ordering::Less))
            .is_ok()
    }
}
