//! Segments.

use super::super::lifecycle::not_allowed;
use super::super::{EffectKind, EntityKind, NewSegment, SegmentPatch};
use super::{Edit, Work, archived, given, not_found, patched, text};
use crate::error::Error;
use crate::id::SegmentId;
use crate::model::{Record, Segment, SegmentStatus, check_id_free, check_name_free, check_rules};

impl Work<'_> {
    pub(super) fn create_segment(&mut self, mut new: NewSegment) -> Result<NewSegment, Error> {
        let id = match new.id.take() {
            Some(id) => id,
            None => SegmentId::generate(self.entropy)?,
        };
        check_id_free(self.next.segment(&id).is_some(), id.as_str())?;
        self.check_no_run_rests_on(id.as_str())?;
        let segment = Segment {
            name: text("name", &new.name)?,
            description: given("description", new.description.as_ref())?,
            status: SegmentStatus::Active,
            rules: new.rules.clone().into(),
            record: Record::new(self.now),
            id: id.clone(),
        };
        check_name_free(self.next.segment_named(&segment.name), "", &new.name)?;
        check_rules(&new.rules).map_err(|error| error.at("rules"))?;
        self.note(EffectKind::Created, EntityKind::Segment, id.as_str(), 1);
        self.next.put_segment(segment);
        new.id = Some(id);
        Ok(new)
    }

    pub(super) fn patch_segment(
        &mut self,
        id: &SegmentId,
        if_version: Option<u64>,
        patch: &SegmentPatch,
    ) -> Result<(), Error> {
        let mut segment = self.segment(id, if_version)?;
        let fields = self.edit_segment(&mut segment, patch).map_err(|error| error.at("patch"))?;
        let Some(fields) = fields else { return Ok(()) };
        segment.record.touch(self.now)?;
        self.note_edit(EntityKind::Segment, id.as_str(), segment.version(), fields);
        self.next.put_segment(segment);
        Ok(())
    }

    fn edit_segment(
        &self,
        segment: &mut Segment,
        patch: &SegmentPatch,
    ) -> Result<Option<Vec<String>>, Error> {
        let status = segment.status;
        let mut edit = Edit::new(|field| match status {
            SegmentStatus::Archived => Err(archived("segment", field)),
            SegmentStatus::Active => Ok(()),
        });
        edit.set("name", &mut segment.name, given("name", patch.name.as_ref())?)?;
        let description = patched("description", &patch.description)?;
        edit.set("description", &mut segment.description, description)?;
        if let Some(rules) = &patch.rules {
            check_rules(rules).map_err(|error| error.at("rules"))?;
        }
        edit.set("rules", &mut segment.rules, patch.rules.clone().map(Into::into))?;
        let taken = self.next.segment_named(&segment.name);
        check_name_free(taken, segment.id.as_str(), segment.name.as_str())?;
        Ok(edit.into_fields())
    }

    pub(super) fn set_segment_status(
        &mut self,
        id: &SegmentId,
        if_version: Option<u64>,
        to: SegmentStatus,
    ) -> Result<(), Error> {
        let mut segment = self.segment(id, if_version)?;
        let from = segment.status;
        if !from.can_become(to) {
            let allowed: Vec<_> = from.leads_to().iter().map(ToString::to_string).collect();
            return Err(not_allowed("a segment", from.as_str(), to.as_str(), &allowed));
        }
        segment.status = to;
        segment.record.touch(self.now)?;
        let states = (from.as_str(), to.as_str());
        let version = segment.version();
        self.note_transition(EntityKind::Segment, id.as_str(), version, states, false);
        self.next.put_segment(segment);
        Ok(())
    }

    pub(super) fn delete_segment(
        &mut self,
        id: &SegmentId,
        if_version: Option<u64>,
    ) -> Result<(), Error> {
        let segment = self.segment(id, if_version)?;
        self.check_unused(id.as_str())?;
        self.next.remove_segment(id);
        self.note(EffectKind::Deleted, EntityKind::Segment, id.as_str(), segment.version());
        Ok(())
    }

    /// A copy of a segment to work on.
    fn segment(&self, id: &SegmentId, if_version: Option<u64>) -> Result<Segment, Error> {
        let segment = self.next.segment(id).ok_or_else(|| not_found("a segment", id.as_str()))?;
        segment.record.check_version(if_version)?;
        Ok(segment.clone())
    }
}
