//! Layers: experiments that keep out of each other's way.

use std::collections::BTreeMap;
use std::ops::Range;

use serde::ser::{SerializeMap, SerializeSeq};
use serde::{Serialize, Serializer};

use super::{Description, Key, Name, Record, Salt, SubjectKind, checked, entity, keyed, keys};
use crate::error::{Code, Error};
use crate::id::{ExperimentId, LayerId};
use crate::json::{Cursor, FromJson, deserialize};
use crate::number::{Percentage, Weight};
use crate::partition::{Partition, Slice};

/// The most members of a layer.
const MAX_MEMBERS: usize = 100;

/// The most slices of a layer in a document: far more than any history of edits leaves.
const MAX_SLICES: usize = 4096;

/// The arm of a layer's partition that is nobody's.
const FREE: u8 = 0;

/// A set of experiments of which a subject is in at most one.
///
/// A layer draws once for each subject, by its own salt and kind of subject. Each member owns a
/// share of the points, and admits only subjects whose point it owns; what becomes of these is the
/// member's own business, whose audience, traffic and arms are drawn independently. All members go
/// by the layer's kind of subject, and an experiment is in one layer at most.
///
/// # Shares
/// A member owns `floor(2^32 · share / 100)` points, whoever else is in the layer. All shares sum to
/// at most 100; what is left is free. An edit takes points only from members whose share shrinks and
/// from what is free, and gives them only to those whose share grows: nobody is moved out of a
/// member whose share stays or grows. Shares take effect at once, also in members that run, so that
/// lowering one removes subjects from it, as lowering its traffic does.
///
/// At first what is free comes first, then the members from the smallest share to the largest, equal
/// ones in the order of their ids. Edits change that; where the slots lie is part of the layer.
///
/// A member joins and leaves while it is not active. It keeps its share until it is taken out of
/// the layer, whatever becomes of it, and cannot be deleted before.
///
/// ```
/// use variate::{Change, LayerPatch, NewLayer};
///
/// let layer = NewLayer::new("Checkout", "user")
///     .id("lay_checkout".parse()?)
///     .member("exp_button".parse()?, 30.try_into()?)
///     .member("exp_price".parse()?, 20.try_into()?);
///
/// // exp_button takes another 20 % from the half that is free; exp_price keeps whom it has.
/// let patch = LayerPatch::new().member("exp_button".parse()?, 50.try_into()?);
/// let change = Change::patch_layer(&"lay_checkout".parse()?, patch);
/// # Ok::<(), variate::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Layer {
    pub(crate) id: LayerId,
    pub(crate) name: Name,
    pub(crate) description: Option<Description>,
    pub(crate) salt: Salt,
    pub(crate) subject_kind: SubjectKind,
    pub(crate) slots: Slots,
    pub(crate) record: Record,
    pub(crate) key: Option<Key>,
}

/// Who owns which points of a layer.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Slots {
    members: BTreeMap<ExperimentId, Percentage>,
    /// Arm 0 is free, the others are the members in order.
    partition: Partition,
}

entity!(Layer LayerId);
keyed!(Layer);

impl Layer {
    /// What it mixes into its hash; fixed when it is created.
    pub fn salt(&self) -> &Salt {
        &self.salt
    }

    /// Which of a subject's ids is hashed; fixed when it is created.
    pub fn subject_kind(&self) -> &SubjectKind {
        &self.subject_kind
    }

    /// The members and their shares in percent; at most 100 of them.
    pub fn members(&self) -> &BTreeMap<ExperimentId, Percentage> {
        &self.slots.members
    }

    /// The share that is nobody's.
    pub fn free(&self) -> Percentage {
        let taken: u64 = self.members().values().map(|share| share.millionths()).sum();
        let free = Percentage::MAX.millionths().saturating_sub(taken);
        Percentage::from_millionths(free).unwrap_or(Percentage::ZERO)
    }

    /// The member that owns a point; `None` if it is free.
    pub fn owner(&self, point: u32) -> Option<&ExperimentId> {
        self.slots.member(self.slots.owner(point))
    }

    /// The points that a member owns, of all 2^32, in ascending order.
    pub fn slots(&self, member: &ExperimentId) -> impl Iterator<Item = Range<u64>> {
        self.slots.arm(member).into_iter().flat_map(|arm| self.slots.of(arm))
    }
}

impl Slots {
    /// The slots of the first members of a layer.
    pub(crate) fn new(members: BTreeMap<ExperimentId, Percentage>) -> Result<Self, Error> {
        Self { members: BTreeMap::new(), partition: Partition::whole() }.edit(members)
    }

    /// The slots when the members are these, with as few points as can be in other hands.
    pub(crate) fn edit(&self, members: BTreeMap<ExperimentId, Percentage>) -> Result<Self, Error> {
        check_members(&members)?;
        let owners: Vec<_> = [None].into_iter().chain(self.members.keys().map(Some)).collect();
        let shares = members.iter().map(|(id, share)| (Some(id), share.points()));
        let taken: u64 = members.values().map(|share| share.points()).sum();
        let free = (None, Partition::POINTS.saturating_sub(taken));
        let heirs: Vec<_> = [free].into_iter().chain(shares).collect();
        let partition = self.partition.pass_on(&owners, &heirs);
        Ok(Self { members, partition })
    }

    fn member(&self, arm: usize) -> Option<&ExperimentId> {
        self.members.keys().nth(arm.checked_sub(1)?)
    }

    /// The arm of a member.
    pub(crate) fn arm(&self, member: &ExperimentId) -> Option<u8> {
        let index = self.members.keys().position(|own| own == member)?;
        u8::try_from(index + 1).ok()
    }

    /// The points of an arm.
    pub(crate) fn of(&self, arm: u8) -> impl Iterator<Item = Range<u64>> {
        let own = self.partition.slices().filter(move |(_, _, owner)| *owner == usize::from(arm));
        own.map(|(start, end, _)| start..end)
    }

    /// The arm that owns a point.
    pub(crate) fn owner(&self, point: u32) -> usize {
        self.partition.owner(point)
    }
}

/// Checks the members of a layer as far as no other entity is concerned.
fn check_members(members: &BTreeMap<ExperimentId, Percentage>) -> Result<(), Error> {
    if members.len() > MAX_MEMBERS {
        let rule = format!("must have at most {MAX_MEMBERS} experiments");
        return Err(Error::new(Code::LimitExceeded, rule).with_value(&members.len()));
    }
    let sum: u64 = members.values().map(|share| share.millionths()).sum();
    if sum > Percentage::MAX.millionths() {
        let sum = Weight::from_millionths(sum).unwrap_or(Weight::MAX);
        return Err(Error::invalid("must have shares that sum to at most 100").with_value(&sum));
    }
    Ok(())
}

/// A slice as a document has it; one without an experiment is free.
struct Owned {
    start: u32,
    experiment_id: Option<ExperimentId>,
}

impl FromJson for Owned {
    fn from_json(cursor: Cursor<'_>) -> Result<Self, Error> {
        let object = cursor.object(&["start", "experiment_id"])?;
        Ok(Self { start: object.read("start")?, experiment_id: object.optional("experiment_id")? })
    }
}

/// Reads slots whose owners are among the members, which get the points that they are due.
fn read_slots(slots: Slots, owned: &[Owned]) -> Result<Slots, Error> {
    if owned.len() > MAX_SLICES {
        let rule = format!("must have at most {MAX_SLICES} slices");
        return Err(Error::new(Code::LimitExceeded, rule).with_value(&owned.len()));
    }
    let mut slices = Vec::with_capacity(owned.len());
    for (index, Owned { start, experiment_id }) in owned.iter().enumerate() {
        let arm = match experiment_id {
            None => FREE,
            Some(id) => slots.arm(id).ok_or_else(|| {
                let error = Error::invalid("must be a member of the layer").with_value(id);
                error.at("experiment_id").at_index(index)
            })?,
        };
        slices.push(Slice { start: *start, arm });
    }
    let partition = Partition::from_slices(slices, slots.members.len() + 1)?;
    for arm in 1..=slots.members.len() {
        let (points, due) = (partition.points(arm), slots.partition.points(arm));
        if points != due {
            let id = slots.member(arm).map_or("", ExperimentId::as_str);
            let rule = format!("must give {id} {due} points, which is its share");
            return Err(Error::invalid(rule).with_value(&points));
        }
    }
    Ok(Slots { partition, ..slots })
}

impl FromJson for BTreeMap<ExperimentId, Percentage> {
    fn from_json(cursor: Cursor<'_>) -> Result<Self, Error> {
        let members = cursor.map(|id, share| {
            let id: ExperimentId = id.parse().map_err(|error| cursor.locate(error))?;
            Ok((id, share.read()?))
        })?;
        Ok(members.into_iter().collect())
    }
}

impl FromJson for Layer {
    fn from_json(cursor: Cursor<'_>) -> Result<Self, Error> {
        let object = cursor.object(keys![
            "id",
            "name",
            "description",
            "salt",
            "subject_kind",
            "members",
            "partition",
            "key",
        ])?;
        let id: LayerId = object.read("id")?;
        let members: BTreeMap<ExperimentId, Percentage> = match object.get("members") {
            Some(_) => checked(&object, "members", check_members)?,
            None => BTreeMap::new(),
        };
        let slots = Slots::new(members).map_err(|error| object.locate(error.at("members")))?;
        let slots = match object.optional::<Vec<Owned>>("partition")? {
            None => slots,
            Some(owned) => {
                read_slots(slots, &owned).map_err(|error| object.locate(error.at("partition")))?
            }
        };
        Ok(Self {
            name: object.read("name")?,
            description: object.optional("description")?,
            salt: object.optional("salt")?.unwrap_or_else(|| Salt::from(&id)),
            subject_kind: object.or_default("subject_kind")?,
            slots,
            record: Record::from_json(&object)?,
            key: object.optional("key")?,
            id,
        })
    }
}

impl Serialize for Layer {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("id", &self.id)?;
        map.serialize_entry("name", &self.name)?;
        if let Some(description) = &self.description {
            map.serialize_entry("description", description)?;
        }
        if let Some(key) = &self.key {
            map.serialize_entry("key", key)?;
        }
        map.serialize_entry("salt", &self.salt)?;
        map.serialize_entry("subject_kind", &self.subject_kind)?;
        map.serialize_entry("members", self.members())?;
        if Slots::new(self.members().clone()).as_ref() != Ok(&self.slots) {
            map.serialize_entry("partition", &self.slots)?;
        }
        self.record.serialize_into(&mut map)?;
        map.end()
    }
}

/// The slices alone.
impl Serialize for Slots {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Row<'a> {
            start: u64,
            #[serde(skip_serializing_if = "Option::is_none")]
            experiment_id: Option<&'a ExperimentId>,
        }
        let mut rows = serializer.serialize_seq(None)?;
        for (start, _, arm) in self.partition.slices() {
            rows.serialize_element(&Row { start, experiment_id: self.member(arm) })?;
        }
        rows.end()
    }
}

deserialize!(Layer);
