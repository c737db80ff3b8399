//! The operations on segments.

use serde::Serialize;

use super::ExperimentCenter;
use super::answer::{Answer, Refusal};
use super::list::Query;
use super::show::ShownSegment;
use super::texts::{check_new, check_texts};
use crate::api::call::Call;
use crate::change::{Change, NewSegment, Patch, SegmentPatch, Transaction};
use crate::error::Error;
use crate::id::SegmentId;
use crate::model::{PlainRules, Segment, SegmentStatus};
use crate::snapshot::Snapshot;

#[derive(Serialize)]
struct Page<'s> {
    segments: Vec<ShownSegment<'s>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

impl ExperimentCenter {
    pub(super) fn list_segments(&self, call: Call<'_>) -> Result<Answer, Refusal> {
        let query = Query::read(call.query, &["from", "take", "type"])?;
        let own = query.asks_for_own()?;
        let snapshot = self.engine.snapshot();
        let matching = snapshot.segments().filter(|_| own);
        let (page, next) = query.page(matching, |s| (s.created_at(), s.id()))?;
        let shown = page.into_iter().map(|segment| self.generation.segment(segment)).collect();
        Ok(Answer::ok(&Page { segments: shown, next }))
    }

    pub(super) fn create_segment(&self, call: Call<'_>) -> Result<Answer, Refusal> {
        let new = call.read(|cursor| {
            let object = cursor.object(&["name", "description", "rules"])?;
            Ok(NewSegment {
                description: object.optional("description")?,
                rules: object.read::<PlainRules>("rules")?.0,
                ..NewSegment::new(object.read::<String>("name")?)
            })
        })?;
        check_new(&new.name, new.description.as_deref())?;
        let commit = self.engine.commit(new).map_err(Refusal::from)?;
        let id = commit.segment().map_or("", SegmentId::as_str);
        Ok(Answer::created(&self.generation.segment(segment(&commit.snapshot, id)?)))
    }

    pub(super) fn get_segment(&self, id: &str) -> Result<Answer, Refusal> {
        Ok(Answer::ok(&self.generation.segment(segment(&self.engine.snapshot(), id)?)))
    }

    pub(super) fn patch_segment(&self, id: &str, call: Call<'_>) -> Result<Answer, Refusal> {
        let keys = ["name", "description", "rules", "status"];
        let (patch, status) = call.read_patch(&keys, |object| {
            let patch = SegmentPatch {
                name: object.set("name")?,
                description: Patch::read(object, "description")?,
                rules: object.set::<PlainRules>("rules")?.map(|rules| rules.0),
            };
            Ok((patch, object.set::<SegmentStatus>("status")?))
        })?;
        let commit = self.engine.commit_with(|snapshot| {
            let segment = segment(snapshot, id)?;
            let id = segment.id();
            check_texts(
                segment.name(),
                patch.name.as_deref(),
                segment.description(),
                &patch.description,
            )?;
            let transition = status.map(|status| Change::set_segment_status(id, status));
            let changes = [Change::patch_segment(id, patch)].into_iter().chain(transition);
            Ok::<_, Refusal>(changes.collect::<Transaction>())
        })?;
        Ok(Answer::ok(&self.generation.segment(segment(&commit.snapshot, id)?)))
    }

    pub(super) fn delete_segment(&self, id: &str) -> Result<Answer, Refusal> {
        self.engine.commit_with(|snapshot| {
            let found = snapshot.segment(id).into_iter();
            let gone = found.map(|segment| Change::delete_segment(segment.id()));
            Ok::<_, Error>(gone.collect::<Transaction>())
        })?;
        Ok(Answer::deleted())
    }
}

fn segment<'s>(snapshot: &'s Snapshot, id: &str) -> Result<&'s Segment, Refusal> {
    snapshot.segment(id).ok_or_else(|| Refusal::not_found("segment", id))
}
