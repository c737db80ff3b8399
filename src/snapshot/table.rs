//! A map that shares what did not change.

use std::cmp::Ordering;
use std::sync::Arc;

use xxhash_rust::xxh64::xxh64;

/// How many bits of the hash choose a child.
const BITS: u32 = 6;

/// How many levels use up the 64 bits of a hash; beyond them keys are told by comparison.
const LEVELS: usize = 64_usize.div_ceil(BITS as usize);

/// A persistent map with text keys: a clone costs nothing, and an edit afterwards copies only the
/// path to what changed.
///
/// A trie on the hash of the key, which is the same in every process, so the order of iteration is
/// a function of the keys alone.
#[derive(Debug, Clone)]
pub(crate) struct Table<K, V> {
    root: Arc<Branch<K, V>>,
    len: usize,
}

#[derive(Debug, Clone)]
struct Branch<K, V> {
    /// Which children there are; unused below the last level.
    bitmap: u64,
    children: Vec<Child<K, V>>,
}

#[derive(Debug, Clone)]
enum Child<K, V> {
    Branch(Arc<Branch<K, V>>),
    Leaf(u64, K, V),
}

fn hash(key: &str) -> u64 {
    xxh64(key.as_bytes(), 0)
}

impl<K, V> Default for Table<K, V> {
    fn default() -> Self {
        Self { root: Arc::default(), len: 0 }
    }
}

impl<K, V> Default for Branch<K, V> {
    fn default() -> Self {
        Self { bitmap: 0, children: Vec::new() }
    }
}

impl<K: AsRef<str> + Ord + Clone, V: Clone> Table<K, V> {
    /// Puts a value, and returns the one that was there.
    pub(crate) fn insert(&mut self, key: K, value: V) -> Option<V> {
        let hash = hash(key.as_ref());
        self.insert_hashed(hash, key, value)
    }

    fn insert_hashed(&mut self, hash: u64, key: K, value: V) -> Option<V> {
        let before = Arc::make_mut(&mut self.root).insert(0, hash, key, value);
        self.len += usize::from(before.is_none());
        before
    }

    /// Takes a value out.
    pub(crate) fn remove(&mut self, key: &str) -> Option<V> {
        self.remove_hashed(hash(key), key)
    }

    fn remove_hashed(&mut self, hash: u64, key: &str) -> Option<V> {
        self.get_hashed(hash, key)?;
        let removed = Arc::make_mut(&mut self.root).remove(0, hash, key);
        self.len -= usize::from(removed.is_some());
        removed
    }
}

impl<K: AsRef<str>, V> Table<K, V> {
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    #[inline]
    pub(crate) fn get(&self, key: &str) -> Option<&V> {
        self.get_hashed(hash(key), key)
    }

    #[inline]
    fn get_hashed(&self, hash: u64, key: &str) -> Option<&V> {
        let mut branch = &*self.root;
        let mut shift = 0;
        loop {
            match branch.child(shift, hash, key)? {
                Child::Branch(next) => branch = next,
                Child::Leaf(own, found, value) => {
                    return (*own == hash && found.as_ref() == key).then_some(value);
                }
            }
            shift += BITS;
        }
    }

    /// The entries, in an order that depends only on the keys.
    pub(crate) fn iter(&self) -> Iter<'_, K, V> {
        let mut levels = std::array::from_fn(|_| [].iter());
        if let Some(first) = levels.first_mut() {
            *first = self.root.children.iter();
        }
        Iter { levels, depth: 0 }
    }

    pub(crate) fn values(&self) -> impl Iterator<Item = &V> {
        self.iter().map(|(_, value)| value)
    }
}

impl<K: AsRef<str> + PartialEq, V: PartialEq> PartialEq for Table<K, V> {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.root, &other.root)
            || (self.len == other.len && self.iter().eq(other.iter()))
    }
}

/// Where the child for a hash is, or would be.
fn place(bitmap: u64, shift: u32, hash: u64) -> (usize, bool, u64) {
    let bit = 1 << ((hash >> shift) & ((1 << BITS) - 1));
    ((bitmap & (bit - 1)).count_ones() as usize, bitmap & bit != 0, bit)
}

impl<K: AsRef<str>, V> Branch<K, V> {
    /// Below the last level: where a key stands among those of its hash, which are in order.
    fn find(&self, key: &str) -> Option<usize> {
        let compare = |child: &Child<K, V>| match child {
            Child::Leaf(_, own, _) => own.as_ref().cmp(key),
            Child::Branch(_) => Ordering::Greater,
        };
        self.children.binary_search_by(compare).ok()
    }

    #[inline]
    fn child(&self, shift: u32, hash: u64, key: &str) -> Option<&Child<K, V>> {
        if shift < u64::BITS {
            let (at, there, _) = place(self.bitmap, shift, hash);
            return self.children.get(at).filter(|_| there);
        }
        self.children.get(self.find(key)?)
    }
}

impl<K: AsRef<str> + Ord + Clone, V: Clone> Branch<K, V> {
    fn insert(&mut self, shift: u32, hash: u64, key: K, value: V) -> Option<V> {
        if shift >= u64::BITS {
            let order = |child: &Child<K, V>| matches!(child, Child::Leaf(_, own, _) if *own < key);
            let at = self.children.partition_point(order);
            return match self.children.get_mut(at) {
                Some(Child::Leaf(_, own, before)) if *own == key => {
                    Some(std::mem::replace(before, value))
                }
                _ => {
                    self.children.insert(at, Child::Leaf(hash, key, value));
                    None
                }
            };
        }
        let (at, there, bit) = place(self.bitmap, shift, hash);
        match self.children.get_mut(at).filter(|_| there) {
            None => {
                self.bitmap |= bit;
                self.children.insert(at, Child::Leaf(hash, key, value));
                None
            }
            Some(Child::Branch(branch)) => {
                Arc::make_mut(branch).insert(shift + BITS, hash, key, value)
            }
            Some(Child::Leaf(_, own, before)) if *own == key => {
                Some(std::mem::replace(before, value))
            }
            Some(child) => {
                let other = std::mem::replace(child, Child::Branch(Arc::default()));
                if let (Child::Branch(branch), Child::Leaf(other_hash, other_key, other_value)) =
                    (child, other)
                {
                    let branch = Arc::make_mut(branch);
                    branch.insert(shift + BITS, other_hash, other_key, other_value);
                    branch.insert(shift + BITS, hash, key, value);
                }
                None
            }
        }
    }

    fn remove(&mut self, shift: u32, hash: u64, key: &str) -> Option<V> {
        let (at, bit) = if shift < u64::BITS {
            let (at, there, bit) = place(self.bitmap, shift, hash);
            (Some(at).filter(|_| there)?, bit)
        } else {
            (self.find(key)?, 0)
        };
        match self.children.get_mut(at)? {
            Child::Leaf(_, own, _) if own.as_ref() != key => None,
            Child::Leaf(..) => {
                self.bitmap &= !bit;
                match self.children.remove(at) {
                    Child::Leaf(_, _, value) => Some(value),
                    Child::Branch(_) => None,
                }
            }
            child @ Child::Branch(_) => {
                let Child::Branch(branch) = child else {
                    return None;
                };
                let branch = Arc::make_mut(branch);
                let removed = branch.remove(shift + BITS, hash, key)?;
                // A branch of one leaf is that leaf, as if the other had never been.
                if let [Child::Leaf(..)] = branch.children.as_slice()
                    && let Some(leaf) = branch.children.pop()
                {
                    *child = leaf;
                }
                Some(removed)
            }
        }
    }
}

/// The entries of a [`Table`]; allocates nothing.
#[derive(Debug, Clone)]
pub(crate) struct Iter<'t, K, V> {
    levels: [std::slice::Iter<'t, Child<K, V>>; LEVELS + 1],
    depth: usize,
}

impl<'t, K, V> Iterator for Iter<'t, K, V> {
    type Item = (&'t K, &'t V);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            match self.levels.get_mut(self.depth)?.next() {
                Some(Child::Leaf(_, key, value)) => return Some((key, value)),
                Some(Child::Branch(branch)) => {
                    self.depth += 1;
                    *self.levels.get_mut(self.depth)? = branch.children.iter();
                }
                None => self.depth = self.depth.checked_sub(1)?,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    type Ops = Vec<(bool, u16, u32)>;

    /// Runs the same edits on a table and on a `BTreeMap`; `hash` may be as bad as it likes.
    fn check(ops: &Ops, hash: impl Fn(u16) -> u64) {
        let mut table = Table::<String, u32>::default();
        let mut model = BTreeMap::new();
        let mut kept = Vec::new();
        for (step, (insert, number, value)) in ops.iter().enumerate() {
            let key = format!("k{number}");
            if *insert {
                let before = table.insert_hashed(hash(*number), key.clone(), *value);
                assert_eq!(before, model.insert(key, *value));
            } else {
                let before = table.remove_hashed(hash(*number), &key);
                assert_eq!(before, model.remove(&key));
            }
            assert_eq!(table.len(), model.len());
            if step % 16 == 0 {
                kept.push((table.clone(), model.clone()));
            }
        }
        kept.push((table.clone(), model.clone()));
        for (table, model) in &kept {
            let sorted: BTreeMap<_, _> = table.iter().map(|(k, v)| (k.clone(), *v)).collect();
            assert_eq!(&sorted, model, "a clone must not see later edits");
            for (key, value) in model {
                assert_eq!(table.get_hashed(hash(number(key)), key), Some(value));
            }
        }
        let mut rebuilt = Table::<String, u32>::default();
        for (key, value) in model.iter().rev() {
            rebuilt.insert_hashed(hash(number(key)), key.clone(), *value);
        }
        assert!(rebuilt == table, "equal entries must be equal tables, whatever their history");
    }

    fn number(key: &str) -> u16 {
        key.trim_start_matches('k').parse().unwrap()
    }

    fn ops() -> impl Strategy<Value = Ops> {
        let op = (prop::bool::weighted(0.6), 0..300_u16, any::<u32>());
        prop::collection::vec(op, 0..400)
    }

    proptest! {
        #[test]
        fn equals_a_map(ops in ops()) {
            check(&ops, |number| hash(&format!("k{number}")));
        }

        #[test]
        fn equals_a_map_when_hashes_collide(ops in ops()) {
            check(&ops, |number| u64::from(number % 3) << 62);
            check(&ops, |number| u64::from(number % 7));
            check(&ops, |_| u64::MAX);
        }
    }
}
