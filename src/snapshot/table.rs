//! A set that shares what did not change.

use std::sync::Arc;

use xxhash_rust::xxh3::xxh3_64;

/// How many bits of the hash choose what is below a node.
const BITS: u32 = 5;

/// How many levels use up the 64 bits of a hash; beyond them keys are told by comparison.
const LEVELS: u32 = u64::BITS.div_ceil(BITS);

/// A persistent set of what is told by a key: a clone costs nothing, and an edit afterwards copies
/// only the path to what changed.
///
/// A trie on the hash of the key, which is the same in every process and on every machine, so the
/// order of iteration is a function of the keys alone.
#[derive(Debug, Clone)]
pub(crate) struct Table<E> {
    root: Arc<Node<E>>,
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

/// The entries whose hashes begin alike. One that is alone with its next bits stands here; several
/// stand in a node below.
///
/// Beyond the last level the entries stand in the order of their keys, and the bits are unused.
#[derive(Debug, Clone)]
struct Node<E> {
    entries_at: u32,
    nodes_at: u32,
    entries: Box<[E]>,
    nodes: Box<[Arc<Self>]>,
}

impl<E> Default for Table<E> {
    fn default() -> Self {
        Self { root: Arc::default(), len: 0 }
    }
}

impl<E> Default for Node<E> {
    fn default() -> Self {
        Self { entries_at: 0, nodes_at: 0, entries: Box::default(), nodes: Box::default() }
    }
}

impl<E: Entry + Clone> Table<E> {
    /// Puts an entry in, and returns the one of its key that was there.
    pub(crate) fn insert(&mut self, entry: E) -> Option<E> {
        let before = Arc::make_mut(&mut self.root).insert(0, E::hash(entry.key()), entry);
        self.len += usize::from(before.is_none());
        before
    }

    /// Takes an entry out.
    pub(crate) fn remove(&mut self, key: &str) -> Option<E> {
        self.get(key)?;
        let removed = Arc::make_mut(&mut self.root).remove(0, E::hash(key), key);
        self.len -= usize::from(removed.is_some());
        removed
    }

    /// The entry of a key, to be changed in all but its key.
    pub(crate) fn get_mut(&mut self, key: &str) -> Option<&mut E> {
        self.get(key)?;
        Arc::make_mut(&mut self.root).get_mut(E::hash(key), key)
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
        let mut node = &*self.root;
        for level in 0..LEVELS {
            let bit = bit(level, hash);
            if node.entries_at & bit != 0 {
                let entry = node.entries.get(rank(node.entries_at, bit))?;
                return (entry.key() == key).then_some(entry);
            }
            if node.nodes_at & bit == 0 {
                return None;
            }
            node = node.nodes.get(rank(node.nodes_at, bit))?;
        }
        node.entries.get(node.find(key).ok()?)
    }

    /// The entries, in an order that depends only on the keys.
    pub(crate) fn iter(&self) -> Iter<'_, E> {
        Iter {
            entries: self.root.entries.iter(),
            nodes: std::array::from_fn(|_| [].iter()),
            below: self.root.nodes.iter(),
            depth: 0,
        }
    }
}

impl<E: Entry + PartialEq> PartialEq for Table<E> {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.root, &other.root)
            || (self.len == other.len && self.iter().eq(other.iter()))
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

/// The bit that stands for the bits of a hash that a level goes by.
#[inline]
fn bit(level: u32, hash: u64) -> u32 {
    1 << (hash >> (level * BITS) & ((1 << BITS) - 1))
}

/// The place of what a bit stands for among all that are there.
#[inline]
fn rank(bits: u32, bit: u32) -> usize {
    (bits & (bit - 1)).count_ones() as usize
}

/// Puts something in a list that has no room to spare before or after.
fn put<T>(list: &mut Box<[T]>, at: usize, item: T) {
    let mut items = std::mem::take(list).into_vec();
    items.reserve_exact(1);
    items.insert(at.min(items.len()), item);
    *list = items.into();
}

fn take<T>(list: &mut Box<[T]>, at: usize) -> Option<T> {
    let mut items = std::mem::take(list).into_vec();
    let item = (at < items.len()).then(|| items.remove(at));
    *list = items.into();
    item
}

impl<E: Entry> Node<E> {
    /// Beyond the last level: where a key stands, or would stand.
    fn find(&self, key: &str) -> Result<usize, usize> {
        self.entries.binary_search_by(|entry| entry.key().cmp(key))
    }

    /// The only entry of what is below.
    fn is_single(&self) -> bool {
        self.nodes.is_empty() && self.entries.len() == 1
    }
}

impl<E: Entry + Clone> Node<E> {
    fn insert(&mut self, level: u32, hash: u64, entry: E) -> Option<E> {
        if level == LEVELS {
            match self.find(entry.key()) {
                Ok(at) => {
                    return self.entries.get_mut(at).map(|own| std::mem::replace(own, entry));
                }
                Err(at) => put(&mut self.entries, at, entry),
            }
            return None;
        }
        let bit = bit(level, hash);
        if self.nodes_at & bit != 0 {
            let node = self.nodes.get_mut(rank(self.nodes_at, bit))?;
            return Arc::make_mut(node).insert(level + 1, hash, entry);
        }
        let at = rank(self.entries_at, bit);
        if self.entries_at & bit == 0 {
            self.entries_at |= bit;
            put(&mut self.entries, at, entry);
            return None;
        }
        let own = self.entries.get_mut(at)?;
        if own.key() == entry.key() {
            return Some(std::mem::replace(own, entry));
        }
        let mut below = Self::default();
        if let Some(other) = take(&mut self.entries, at) {
            below.insert(level + 1, E::hash(other.key()), other);
        }
        below.insert(level + 1, hash, entry);
        self.entries_at &= !bit;
        self.nodes_at |= bit;
        put(&mut self.nodes, rank(self.nodes_at, bit), Arc::new(below));
        None
    }

    /// Takes out an entry that is there.
    fn remove(&mut self, level: u32, hash: u64, key: &str) -> Option<E> {
        if level == LEVELS {
            let at = self.find(key).ok()?;
            return take(&mut self.entries, at);
        }
        let bit = bit(level, hash);
        if self.entries_at & bit != 0 {
            let removed = take(&mut self.entries, rank(self.entries_at, bit));
            self.entries_at &= !bit;
            return removed;
        }
        let at = rank(self.nodes_at, bit);
        let below = Arc::make_mut(self.nodes.get_mut(at)?);
        let removed = below.remove(level + 1, hash, key);
        // A node of one entry is that entry, as if the other had never been.
        if below.is_single() {
            let last = take(&mut below.entries, 0)?;
            take(&mut self.nodes, at);
            self.nodes_at &= !bit;
            self.entries_at |= bit;
            put(&mut self.entries, rank(self.entries_at, bit), last);
        }
        removed
    }

    fn get_mut(&mut self, hash: u64, key: &str) -> Option<&mut E> {
        let mut node = self;
        for level in 0..LEVELS {
            let bit = bit(level, hash);
            if node.entries_at & bit != 0 {
                return node.entries.get_mut(rank(node.entries_at, bit));
            }
            node = Arc::make_mut(node.nodes.get_mut(rank(node.nodes_at, bit))?);
        }
        let at = node.find(key).ok()?;
        node.entries.get_mut(at)
    }
}

/// The entries of a [`Table`]; allocates nothing.
#[derive(Debug, Clone)]
pub(crate) struct Iter<'t, E> {
    entries: std::slice::Iter<'t, E>,
    /// What is left to visit below the node at hand, and below those on the way to it.
    below: std::slice::Iter<'t, Arc<Node<E>>>,
    nodes: [std::slice::Iter<'t, Arc<Node<E>>>; LEVELS as usize],
    depth: usize,
}

impl<'t, E> Iter<'t, E> {
    /// Goes on to the next node that has entries.
    fn advance(&mut self) -> Option<&'t E> {
        loop {
            match self.below.next() {
                Some(node) => {
                    let rest = std::mem::replace(&mut self.below, node.nodes.iter());
                    *self.nodes.get_mut(self.depth)? = rest;
                    self.depth += 1;
                    self.entries = node.entries.iter();
                }
                None => {
                    self.depth = self.depth.checked_sub(1)?;
                    self.below = self.nodes.get(self.depth)?.clone();
                }
            }
            if let Some(entry) = self.entries.next() {
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
            None => self.advance(),
            entry => entry,
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
