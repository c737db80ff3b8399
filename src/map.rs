//! Small maps that take no more room than their entries.

use std::borrow::Borrow;
use std::fmt;
use std::iter;
use std::mem;
use std::slice;

use serde::{Serialize, Serializer};

/// A map in the order of its keys, held without room to spare.
///
/// What a [`Flag`](crate::Flag) and its variations hold by name or id. It is read like a
/// [`BTreeMap`](std::collections::BTreeMap), and serialises as a JSON object in the order of the keys.
///
/// ```
/// # let flag: variate::Flag = serde_json::from_str(r#"{"id": "flg_a", "name": "A flag",
/// #     "parameters": {"size": {"type": "number", "value": 12},
/// #         "bold": {"type": "boolean", "value": false}}}"#)?;
/// let parameters = flag.parameters();
/// assert!(parameters.keys().map(|name| &**name).eq(["bold", "size"]));
/// assert_eq!(*parameters.get("size").unwrap().value(), 12);
/// assert!(!parameters.contains_key("italic"));
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, PartialEq)]
pub struct Map<K, V>(
    /// Sorted by key, of which no two are equal.
    Box<[(K, V)]>,
);

impl<K, V> Map<K, V> {
    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is no entry.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The entries in the order of their keys.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (&K, &V)> + ExactSizeIterator + Clone {
        self.into_iter()
    }

    /// The keys in order.
    pub fn keys(&self) -> impl DoubleEndedIterator<Item = &K> + ExactSizeIterator + Clone {
        self.0.iter().map(|(key, _)| key)
    }

    /// The values in the order of their keys.
    pub fn values(&self) -> impl DoubleEndedIterator<Item = &V> + ExactSizeIterator + Clone {
        self.0.iter().map(|(_, value)| value)
    }

    pub(crate) fn values_mut(&mut self) -> impl Iterator<Item = &mut V> {
        self.0.iter_mut().map(|(_, value)| value)
    }
}

impl<K: Ord, V> Map<K, V> {
    /// The value of this key.
    pub fn get<Q: Ord + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        self.entry(key).map(|(_, value)| value)
    }

    /// Whether there is an entry of this key.
    pub fn contains_key<Q: Ord + ?Sized>(&self, key: &Q) -> bool
    where
        K: Borrow<Q>,
    {
        self.find(key).is_ok()
    }

    /// The map of these entries: of those with equal keys, the last.
    pub(crate) fn of(entries: impl IntoIterator<Item = (K, V)>) -> Self {
        let mut all: Vec<_> = entries.into_iter().collect();
        all.sort_by(|(a, _), (b, _)| a.cmp(b));
        all.dedup_by(|later, kept| {
            let is_equal = later.0 == kept.0;
            if is_equal {
                mem::swap(later, kept);
            }
            is_equal
        });
        Self(all.into())
    }

    /// Sets the value of a key, and tells the one before.
    pub(crate) fn insert(&mut self, key: K, value: V) -> Option<V> {
        let at = match self.find(&key) {
            Ok(at) => {
                return self.0.get_mut(at).map(|(_, own)| mem::replace(own, value));
            }
            Err(at) => at,
        };
        self.edit(|all| {
            all.reserve_exact(1);
            all.insert(at, (key, value));
        });
        None
    }

    /// Removes the entry of a key, and tells its value.
    pub(crate) fn remove<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
    {
        let at = self.find(key).ok()?;
        Some(self.edit(|all| all.remove(at)).1)
    }

    /// Takes each key of another map for its own where it has an equal one, so that both hold one
    /// text.
    pub(crate) fn share_keys<W>(&mut self, other: &Map<K, W>)
    where
        K: Clone,
    {
        for (key, _) in &mut self.0 {
            if let Some((shared, _)) = other.entry(key) {
                *key = shared.clone();
            }
        }
    }

    fn entry<Q: Ord + ?Sized>(&self, key: &Q) -> Option<&(K, V)>
    where
        K: Borrow<Q>,
    {
        self.0.get(self.find(key).ok()?)
    }

    /// Where a key is, or would be.
    fn find<Q: Ord + ?Sized>(&self, key: &Q) -> Result<usize, usize>
    where
        K: Borrow<Q>,
    {
        self.0.binary_search_by(|(own, _)| own.borrow().cmp(key))
    }

    fn edit<T>(&mut self, edit: impl FnOnce(&mut Vec<(K, V)>) -> T) -> T {
        let mut all = mem::take(&mut self.0).into_vec();
        let result = edit(&mut all);
        self.0 = all.into();
        result
    }
}

impl<K, V> Default for Map<K, V> {
    fn default() -> Self {
        Self(Box::default())
    }
}

impl<K: fmt::Debug, V: fmt::Debug> fmt::Debug for Map<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self).finish()
    }
}

impl<K: Serialize, V: Serialize> Serialize for Map<K, V> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self)
    }
}

/// How an entry is told.
type Telling<'m, K, V> = fn(&'m (K, V)) -> (&'m K, &'m V);

impl<'m, K, V> IntoIterator for &'m Map<K, V> {
    type Item = (&'m K, &'m V);
    type IntoIter = iter::Map<slice::Iter<'m, (K, V)>, Telling<'m, K, V>>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter().map(|(key, value)| (key, value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;
    use std::sync::Arc;

    #[derive(Debug, Clone)]
    enum Op {
        Insert(u8, u32),
        Remove(u8),
        Edit(u32),
        Rebuild(Vec<(u8, u32)>),
    }

    fn key(number: u8) -> Arc<str> {
        format!("k{number}").into()
    }

    fn keyed(entries: &[(u8, u32)]) -> impl Iterator<Item = (Arc<str>, u32)> {
        entries.iter().map(|(number, value)| (key(*number), *value))
    }

    fn check(map: &Map<Arc<str>, u32>, model: &BTreeMap<Arc<str>, u32>) {
        assert!(map.iter().eq(model));
        assert!(map.iter().rev().eq(model.iter().rev()));
        assert!(map.into_iter().eq(model));
        assert!(map.keys().eq(model.keys()));
        assert!(map.values().eq(model.values()));
        assert_eq!((map.len(), map.is_empty()), (model.len(), model.is_empty()));
        assert_eq!(map.iter().len(), model.len());
        for number in 0..30 {
            let key = &*key(number);
            assert_eq!(map.get(key), model.get(key));
            assert_eq!(map.contains_key(key), model.contains_key(key));
        }
        assert_eq!(format!("{map:?} {map:#?}"), format!("{model:?} {model:#?}"));
        let json = |json: Result<String, _>| json.unwrap();
        assert_eq!(json(serde_json::to_string(map)), json(serde_json::to_string(model)));
    }

    fn entries() -> impl Strategy<Value = Vec<(u8, u32)>> {
        prop::collection::vec((0..30_u8, any::<u32>()), 0..40)
    }

    fn ops() -> impl Strategy<Value = Vec<Op>> {
        let op = prop_oneof![
            8 => (0..30_u8, any::<u32>()).prop_map(|(number, value)| Op::Insert(number, value)),
            6 => (0..30_u8).prop_map(Op::Remove),
            1 => any::<u32>().prop_map(Op::Edit),
            1 => entries().prop_map(Op::Rebuild),
        ];
        prop::collection::vec(op, 0..100)
    }

    proptest! {
        #[test]
        fn is_read_and_edited_like_a_tree(ops in ops()) {
            let mut map = Map::default();
            let mut model = BTreeMap::new();
            for op in ops {
                let (before, after) = (map.clone(), model.clone());
                match op {
                    Op::Insert(number, value) => {
                        prop_assert_eq!(
                            map.insert(key(number), value),
                            model.insert(key(number), value)
                        );
                    }
                    Op::Remove(number) => {
                        prop_assert_eq!(map.remove(&*key(number)), model.remove(&*key(number)));
                    }
                    Op::Edit(by) => {
                        for own in map.values_mut().chain(model.values_mut()) {
                            *own = own.wrapping_add(by);
                        }
                    }
                    Op::Rebuild(entries) => {
                        map = Map::of(keyed(&entries));
                        model = keyed(&entries).collect();
                    }
                }
                check(&map, &model);
                check(&before, &after);
                prop_assert_eq!(map == before, model == after);
                prop_assert!(map == Map::of(model.clone().into_iter().rev()));
            }
        }

        #[test]
        fn keys_are_shared_where_they_are_equal(own in entries(), others in entries()) {
            let (map, other) = (Map::of(keyed(&own)), Map::of(keyed(&others)));
            let mut shared = map.clone();
            shared.share_keys(&other);
            prop_assert!(shared == map);
            for (key, before) in shared.keys().zip(map.keys()) {
                let theirs = other.keys().find(|own| *own == key);
                prop_assert!(Arc::ptr_eq(key, theirs.unwrap_or(before)));
            }
        }
    }

    #[test]
    fn takes_no_room_but_for_its_entries() {
        assert_eq!(size_of::<Map<Arc<str>, u32>>(), 2 * size_of::<usize>());
    }
}
