//! A set that shares what did not change.

use std::sync::Arc;

use xxhash_rust::xxh3::xxh3_64;

/// How many bits of the hash choose a child, the highest first.
const BITS: u32 = 3;

/// How many levels there can be: then the bits of a hash are used up.
const LEVELS: u32 = u64::BITS / BITS;

/// The most entries of a list, unless their hashes begin too much alike.
const MAX: usize = 32;

/// A persistent set of what is told by a key: a clone costs nothing, and an edit afterwards copies
/// only the path to what changed.
///
/// A tree of short lists in the order of the hashes of their keys, which are the same in every
/// process and on every machine. So the order of iteration is a function of the keys alone.
#[derive(Debug, Clone)]
pub(crate) struct Table<E> {
    root: Node<E>,
    len: usize,
}

/// What a table holds.
pub(crate) trait Entry {
    /// What it is told by, which never changes.
    fn key(&self) -> &str;

    /// The hash of a key: one that is quick on keys as short as ids are.
    #[inline]
    fn hash(key: &str) -> u64 {
        xxh3_64(key.as_bytes())
    }
}

impl<K: AsRef<str>, V> Entry for (K, V) {
    #[inline]
    fn key(&self) -> &str {
        self.0.as_ref()
    }
}

impl<E: Entry> Entry for Arc<E> {
    #[inline]
    fn key(&self) -> &str {
        (**self).key()
    }
}

/// The entries whose hashes begin alike.
#[derive(Debug)]
enum Node<E> {
    /// In the order of their hashes, and of their keys where these are equal.
    List(Arc<[(u64, E)]>),
    /// A child for each of the values that the next bits can have.
    Branch(Arc<[Self; 1 << BITS]>),
}

impl<E> Clone for Node<E> {
    fn clone(&self) -> Self {
        match self {
            Self::List(list) => Self::List(Arc::clone(list)),
            Self::Branch(children) => Self::Branch(Arc::clone(children)),
        }
    }
}

impl<E> Default for Table<E> {
    fn default() -> Self {
        Self { root: Node::List(Arc::default()), len: 0 }
    }
}

impl<E: Entry + Clone> Table<E> {
    /// Puts an entry in, and returns the one of its key that was there.
    pub(crate) fn insert(&mut self, entry: E) -> Option<E> {
        let before = self.root.insert(0, E::hash(entry.key()), entry);
        self.len += usize::from(before.is_none());
        before
    }

    /// Takes an entry out.
    pub(crate) fn remove(&mut self, key: &str) -> Option<E> {
        self.get(key)?;
        let removed = self.root.remove(0, E::hash(key), key);
        self.len -= usize::from(removed.is_some());
        removed
    }

    /// The entry of a key, to be changed in all but its key.
    pub(crate) fn get_mut(&mut self, key: &str) -> Option<&mut E> {
        self.get(key)?;
        self.root.get_mut(E::hash(key), key)
    }
}

impl<E: Entry> Table<E> {
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    #[inline]
    pub(crate) fn get(&self, key: &str) -> Option<&E> {
        self.get_hashed(E::hash(key), key)
    }

    /// The same for whoever has the hash already.
    #[inline]
    pub(crate) fn get_hashed(&self, hash: u64, key: &str) -> Option<&E> {
        let mut node = &self.root;
        let mut rest = hash;
        loop {
            match node {
                Node::List(list) => return search(list, hash, key),
                Node::Branch(children) => node = children.get(first(rest))?,
            }
            rest <<= BITS;
        }
    }

    /// The entries, in an order that depends only on the keys.
    pub(crate) fn iter(&self) -> Iter<'_, E> {
        let mut iter =
            Iter { entries: [].iter(), above: std::array::from_fn(|_| [].iter()), depth: 0 };
        iter.enter(&self.root);
        iter
    }
}

impl<E: Entry + PartialEq> PartialEq for Table<E> {
    fn eq(&self, other: &Self) -> bool {
        self.len == other.len && (self.root.is(&other.root) || self.iter().eq(other.iter()))
    }
}

impl<E: Entry + Clone> FromIterator<E> for Table<E> {
    fn from_iter<I: IntoIterator<Item = E>>(entries: I) -> Self {
        let mut table = Self::default();
        for entry in entries {
            table.insert(entry);
        }
        table
    }
}

/// The value of the first bits, which choose a child.
#[inline]
fn first(rest: u64) -> usize {
    (rest >> (u64::BITS - BITS)) as usize
}

/// The child that a hash leads to.
fn digit(level: u32, hash: u64) -> usize {
    first(hash << (level * BITS))
}

#[inline]
fn search<'l, E: Entry>(list: &'l [(u64, E)], hash: u64, key: &str) -> Option<&'l E> {
    let from = list.partition_point(|(own, _)| *own < hash);
    let alike = list.get(from..)?.iter().take_while(|(own, _)| *own == hash);
    alike.map(|(_, entry)| entry).find(|entry| entry.key() == key)
}

/// Where a key stands, or would stand.
fn find<E: Entry>(list: &[(u64, E)], hash: u64, key: &str) -> Result<usize, usize> {
    list.binary_search_by(|(own, entry)| own.cmp(&hash).then_with(|| entry.key().cmp(key)))
}

impl<E> Node<E> {
    /// Whether both are one.
    fn is(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::List(one), Self::List(other)) => Arc::ptr_eq(one, other),
            (Self::Branch(one), Self::Branch(other)) => Arc::ptr_eq(one, other),
            _ => false,
        }
    }
}

impl<E: Entry + Clone> Node<E> {
    fn insert(&mut self, level: u32, hash: u64, entry: E) -> Option<E> {
        let list = match self {
            Self::List(list) => list,
            Self::Branch(children) => {
                let child = Arc::make_mut(children).get_mut(digit(level, hash))?;
                return child.insert(level + 1, hash, entry);
            }
        };
        let at = match find(list, hash, entry.key()) {
            Ok(at) => {
                let (_, own) = Arc::make_mut(list).get_mut(at)?;
                return Some(std::mem::replace(own, entry));
            }
            Err(at) => at,
        };
        let (before, after) = list.split_at_checked(at)?;
        let all = before.iter().cloned().chain([(hash, entry)]).chain(after.iter().cloned());
        *list = all.collect();
        if list.len() > MAX && level < LEVELS {
            *self = Self::split(list, level);
        }
        None
    }

    fn split(list: &[(u64, E)], level: u32) -> Self {
        Self::Branch(Arc::new(std::array::from_fn(|child| {
            let from = list.partition_point(|(hash, _)| digit(level, *hash) < child);
            let end = list.partition_point(|(hash, _)| digit(level, *hash) <= child);
            Self::List(list.get(from..end).unwrap_or_default().into())
        })))
    }

    fn remove(&mut self, level: u32, hash: u64, key: &str) -> Option<E> {
        match self {
            Self::List(list) => {
                let at = find(list, hash, key).ok()?;
                let (before, rest) = list.split_at_checked(at)?;
                let ((_, removed), after) = rest.split_first()?;
                let removed = removed.clone();
                *list = before.iter().chain(after).cloned().collect();
                Some(removed)
            }
            Self::Branch(children) => {
                let child = Arc::make_mut(children).get_mut(digit(level, hash))?;
                let removed = child.remove(level + 1, hash, key);
                self.join();
                removed
            }
        }
    }

    /// Makes a list of a branch that holds no more than half of what a list can, so that neither the
    /// next entry nor the next removal undoes it.
    fn join(&mut self) {
        let Self::Branch(children) = self else { return };
        let lists = children.iter().map(|child| match child {
            Self::List(list) => Some(&**list),
            Self::Branch(_) => None,
        });
        let Some(lists) = lists.collect::<Option<Vec<_>>>() else { return };
        if lists.iter().map(|list| list.len()).sum::<usize>() <= MAX / 2 {
            *self = Self::List(lists.concat().into());
        }
    }

    fn get_mut(&mut self, hash: u64, key: &str) -> Option<&mut E> {
        let mut node = self;
        let mut rest = hash;
        loop {
            match node {
                Self::List(list) => {
                    let at = find(list, hash, key).ok()?;
                    return Arc::make_mut(list).get_mut(at).map(|(_, entry)| entry);
                }
                Self::Branch(children) => node = Arc::make_mut(children).get_mut(first(rest))?,
            }
            rest <<= BITS;
        }
    }
}

/// The entries of a [`Table`]; allocates nothing.
#[derive(Debug, Clone)]
pub(crate) struct Iter<'t, E> {
    entries: std::slice::Iter<'t, (u64, E)>,
    /// What is left to visit of each branch on the way to the list at hand.
    above: [std::slice::Iter<'t, Node<E>>; LEVELS as usize],
    depth: usize,
}

impl<'t, E> Iter<'t, E> {
    /// Goes down to the first list of a node.
    fn enter(&mut self, mut node: &'t Node<E>) {
        loop {
            match node {
                Node::List(list) => {
                    self.entries = list.iter();
                    return;
                }
                Node::Branch(children) => {
                    let mut children = children.iter();
                    let (Some(first), Some(slot)) =
                        (children.next(), self.above.get_mut(self.depth))
                    else {
                        return;
                    };
                    *slot = children;
                    self.depth += 1;
                    node = first;
                }
            }
        }
    }

    /// Goes on to the next list that has entries.
    #[inline(never)]
    fn advance(&mut self) -> Option<&'t E> {
        loop {
            let above = self.depth.checked_sub(1)?;
            match self.above.get_mut(above)?.next() {
                Some(node) => self.enter(node),
                None => self.depth = above,
            }
            if let Some((_, entry)) = self.entries.next() {
                return Some(entry);
            }
        }
    }
}

impl<'t, E> Iterator for Iter<'t, E> {
    type Item = &'t E;

    #[inline]
    fn next(&mut self) -> Option<&'t E> {
        match self.entries.next() {
            Some((_, entry)) => Some(entry),
            None => self.advance(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;
    use std::marker::PhantomData;

    type Ops = Vec<(Op, u16, u32)>;

    #[derive(Debug, Clone, Copy)]
    enum Op {
        Insert,
        Remove,
        Edit,
    }

    /// A hash, as bad as it likes.
    trait Hash: Clone + PartialEq {
        fn hash(number: u16) -> u64;
    }

    macro_rules! hashes {
        ($($name:ident $number:ident $hash:expr;)+) => {$(
            #[derive(Clone, Debug, PartialEq)]
            struct $name;

            impl Hash for $name {
                fn hash($number: u16) -> u64 {
                    $hash
                }
            }
        )+};
    }

    hashes! {
        Good number xxh3_64(&number.to_le_bytes());
        High number u64::from(number % 3) << 62;
        Low number u64::from(number % 7);
        One _number u64::MAX;
    }

    #[derive(Debug, Clone, PartialEq)]
    struct Pair<H>(String, u32, PhantomData<H>);

    impl<H: Hash> Entry for Pair<H> {
        fn key(&self) -> &str {
            &self.0
        }

        fn hash(key: &str) -> u64 {
            H::hash(key.trim_start_matches('k').parse().unwrap())
        }
    }

    /// Runs the same edits on a table and on a `BTreeMap`.
    fn check<H: Hash>(ops: &Ops) {
        let mut table = Table::<Pair<H>>::default();
        let mut model = BTreeMap::new();
        let mut kept = Vec::new();
        for (step, (op, number, value)) in ops.iter().enumerate() {
            let key = format!("k{number}");
            let before = match op {
                Op::Insert => {
                    let before = table.insert(Pair(key.clone(), *value, PhantomData));
                    assert_eq!(before.map(|own| own.1), model.insert(key, *value));
                    continue;
                }
                Op::Remove => table.remove(&key).map(|own| own.1),
                Op::Edit => table.get_mut(&key).map(|own| std::mem::replace(&mut own.1, *value)),
            };
            let expected = match op {
                Op::Edit => model.get_mut(&key).map(|own| std::mem::replace(own, *value)),
                _ => model.remove(&key),
            };
            assert_eq!(before, expected);
            assert_eq!(table.len(), model.len());
            if step % 16 == 0 {
                kept.push((table.clone(), model.clone()));
            }
        }
        kept.push((table.clone(), model.clone()));
        for (table, model) in &kept {
            let sorted: BTreeMap<_, _> = table.iter().map(|own| (own.0.clone(), own.1)).collect();
            assert_eq!(&sorted, model, "a clone must not see later edits");
            assert_eq!(table.iter().count(), model.len());
            for number in 0..300 {
                let key = format!("k{number}");
                assert_eq!(table.get(&key).map(|own| own.1), model.get(&key).copied());
            }
        }
        let entries = model.iter().rev().map(|(key, value)| Pair(key.clone(), *value, PhantomData));
        let rebuilt: Table<Pair<H>> = entries.collect();
        assert!(rebuilt == table, "equal entries must be equal tables, whatever their history");
    }

    fn ops() -> impl Strategy<Value = Ops> {
        let op = prop_oneof![5 => Just(Op::Insert), 3 => Just(Op::Remove), 2 => Just(Op::Edit)];
        prop::collection::vec((op, 0..300_u16, any::<u32>()), 0..400)
    }

    proptest! {
        #[test]
        fn equals_a_map(ops in ops()) {
            check::<Good>(&ops);
        }

        #[test]
        fn equals_a_map_when_hashes_collide(ops in ops()) {
            check::<High>(&ops);
            check::<Low>(&ops);
            check::<One>(&ops);
        }
    }
}
