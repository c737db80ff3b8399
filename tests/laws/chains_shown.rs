//! Chains as they are shown: in explanations, as SQL, and in previews.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test may")]

use crate::common::{at, brought_to, ok, p, share, world};
use serde_json::json;
use variate::hash::{Draw, draw_seed};
use variate::{
    Change, Code, Dialect, ExperimentPatch, Expression, Keep, NewExperiment, NewSegment, Rule,
    Semver, Snapshot, SqlColumns, Status, Subject,
};

fn member(id: &str, traffic: &str) -> NewExperiment {
    NewExperiment::by_percentage(format!("Number {id}"), p("flg_a"))
        .id(p(id))
        .allocation(share("var_a", "100").control())
        .allocation(share("var_b", "0"))
        .traffic(p(traffic))
        .keep(Keep::Always)
        .chain("paywall")
}

/// The world with these, started one after the other.
fn started(members: impl IntoIterator<Item = NewExperiment>) -> Snapshot {
    members.into_iter().fold(world(), |snapshot, new| {
        let id = new.id.clone().unwrap();
        ok(&ok(&snapshot, new), Change::set_experiment_status(&id, Status::Active))
    })
}

fn set(snapshot: &Snapshot, id: &str, status: Status) -> Snapshot {
    ok(snapshot, Change::set_experiment_status(&p(id), status))
}

#[test]
fn an_explanation_says_who_has_the_subject() {
    #[track_caller]
    fn check(
        snapshot: &Snapshot,
        id: &str,
        subject: &Subject<'_>,
        text: &str,
        owner: Option<&str>,
    ) {
        let explanation = snapshot.explain(id, subject);
        assert_eq!(explanation.to_string(), text);
        let shown = serde_json::to_value(&explanation).unwrap();
        let steps = shown["steps"].as_array().unwrap();
        let step = steps.iter().find(|step| step["gate"] == "chain").unwrap();
        assert_eq!(*step, json!({"gate": "chain", "chain": "paywall", "owner": owner}));
    }
    let snapshot = started([member("exp_m1", "100"), member("exp_m2", "100")]);
    let subject = Subject::new("device-42");
    check(
        &snapshot,
        "exp_m2",
        &subject,
        "exp_m2 → nothing (elsewhere)
  status    active
  subject   device \"device-42\"
  chain     \"paywall\": exp_m1 has the subject",
        Some("exp_m1"),
    );
    check(
        &snapshot,
        "exp_m1",
        &subject,
        "exp_m1 → var_a (split)
  status    active
  subject   device \"device-42\"
  chain     \"paywall\": none before has the subject
  traffic   everyone enters
  split     point 3947487170 lies in 0..4294967296, which is var_a's",
        None,
    );
    // What is kept in a later one holds before a draw in an earlier one.
    let kept = subject.kept("exp_m2", "var_b");
    check(
        &snapshot,
        "exp_m1",
        &kept,
        "exp_m1 → nothing (elsewhere)
  status    active
  subject   device \"device-42\"
  chain     \"paywall\": exp_m2 has the subject",
        Some("exp_m2"),
    );
    check(
        &snapshot,
        "exp_m2",
        &kept,
        "exp_m2 → var_b (kept)
  status    active
  chain     \"paywall\": none before has the subject
  kept      var_b",
        None,
    );
    let explained = snapshot.chain("paywall").explain(&kept);
    let shown: Vec<_> = explained.map(|own| own.decision().reason().as_str()).collect();
    assert_eq!(shown, ["elsewhere", "kept"]);
}

#[test]
fn sql_leaves_out_whom_an_earlier_member_has() {
    let members = [
        member("exp_m1", "50").audience(p("seg_germany")),
        member("exp_m2", "100"),
        member("exp_m3", "25").starts_at(at(0)).ends_at(at(1_000)),
        member("exp_m4", "100"),
    ];
    let snapshot = set(&started(members), "exp_m2", Status::Paused);
    let columns = SqlColumns::new("id").attribute("country", "country");
    let sql = |id: &str, columns: &SqlColumns<'_>| {
        snapshot
            .sql(id, Dialect::Trino, columns)
            .map(|sql| sql.lines().map(str::to_owned).collect())
    };
    let traffic = |id: &str| {
        let seed = draw_seed(id, Draw::Traffic).cast_signed();
        format!(
            "bitwise_right_shift(from_big_endian_64(xxhash64(reverse(to_big_endian_64(bitwise_xor(\
             from_big_endian_64(xxhash64(to_utf8(CAST(\"id\" AS varchar)))), BIGINT '{seed}'))))), 32)"
        )
    };
    let german = r#"coalesce("country" IN ('DE'), false)"#;
    let first =
        format!("  WHEN NOT (NOT ({german}) OR {} >= 2147483648) THEN NULL", traffic("exp_m1"));
    let third = format!("  WHEN NOT ({} >= 1073741824) THEN NULL", traffic("exp_m3"));
    let all = |conditions: &[&String]| {
        let no_id = "  WHEN coalesce(CAST(\"id\" AS varchar), '') = '' THEN NULL";
        let conditions = conditions.iter().map(|own| (**own).clone());
        let lines = ["CASE".to_owned(), no_id.to_owned()].into_iter().chain(conditions);
        lines.chain(["  ELSE 'var_a'".to_owned(), "END".to_owned()]).collect::<Vec<_>>()
    };
    // Whoever is paused has nobody, nor has whose schedule is closed.
    let open = columns.clone().at(at(999));
    assert_eq!(sql("exp_m4", &open), Ok(all(&[&first, &third])));
    let closed = columns.clone().at(at(1_000));
    assert_eq!(sql("exp_m4", &closed), Ok(all(&[&first])));
    let error = sql("exp_m4", &columns).unwrap_err();
    let path = "chain.exp_m3.columns.at";
    assert_eq!((error.code(), error.path()), (Code::NotExpressible, path));
    // The first prints as it does without a chain.
    let apart = set(&snapshot, "exp_m1", Status::Paused);
    let apart =
        ok(&apart, Change::patch_experiment(&p("exp_m1"), ExperimentPatch::new().clear_chain()));
    let apart = set(&apart, "exp_m1", Status::Active);
    for dialect in Dialect::ALL {
        let both = [&snapshot, &apart].map(|own| own.sql("exp_m1", *dialect, &columns).unwrap());
        assert_eq!(both[0], both[1]);
    }
    // Before one that has everybody, nobody is left.
    let full = started([member("exp_m1", "100"), member("exp_m2", "100")]);
    let full = full.sql("exp_m2", Dialect::Trino, &columns).unwrap();
    assert_eq!(full.lines().nth(2), Some("  WHEN true THEN NULL"));
}

#[test]
fn what_an_earlier_member_asks_must_be_expressible_too() {
    #[track_caller]
    fn check(first: NewExperiment, expected: &str) {
        let recent = Rule::new().when("app", Expression::semver(p::<Semver>("4.1.0")..));
        let segment = NewSegment::new("Recent").id(p("seg_recent")).rule(recent);
        let both = [first, member("exp_m2", "100")];
        let snapshot = both.into_iter().fold(ok(&world(), segment), |snapshot, new| {
            let id = new.id.clone().unwrap();
            set(&ok(&snapshot, new), id.as_str(), Status::Active)
        });
        let columns = SqlColumns::new("id").attribute("app", "app");
        for dialect in Dialect::ALL {
            let error = snapshot.sql("exp_m2", *dialect, &columns).unwrap_err();
            assert_eq!((error.code(), &*error.to_string()), (Code::NotExpressible, expected));
        }
    }
    check(
        member("exp_m1", "50").subject_kind("user"),
        "chain.exp_m1.subject_kind: must be device, the kind of the experiment that comes after it; \
         got \"user\"",
    );
    check(
        member("exp_m1", "50").audience(p("seg_recent")),
        "chain.exp_m1.seg_recent.rules[0].match.app.semver: must not be asked in SQL, which has no \
         exact words for semver",
    );
    check(
        member("exp_m1", "50").audience(p("seg_germany")),
        "chain.exp_m1.seg_germany.rules[0].match.country: must be an attribute that has a column; \
         got \"country\"",
    );
}

#[test]
fn an_edit_is_an_edit_of_those_that_come_after() {
    let before = started([member("exp_m1", "50"), member("exp_m2", "50"), member("exp_m3", "50")]);
    let listed = |after: &Snapshot| {
        let ids = before.preview(after).experiments();
        ids.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    let traffic = |id: &str, percent: &str| {
        ok(&before, Change::patch_experiment(&p(id), ExperimentPatch::new().traffic(p(percent))))
    };
    assert_eq!(listed(&traffic("exp_m1", "60")), ["exp_m1", "exp_m2", "exp_m3"]);
    assert_eq!(listed(&traffic("exp_m2", "60")), ["exp_m2", "exp_m3"]);
    assert_eq!(listed(&traffic("exp_m3", "60")), ["exp_m3"]);
    assert_eq!(listed(&set(&before, "exp_m2", Status::Completed)), ["exp_m2", "exp_m3"]);
    // Shares are worked out where no other decides.
    let ended = set(&before, "exp_m1", Status::Paused);
    let shares = |after: &Snapshot, id: &str| before.preview(after).shares(id, at(0)).is_some();
    assert_eq!(["exp_m1", "exp_m2"].map(|id| shares(&ended, id)), [true, false]);
    let later = set(&ended, "exp_m2", Status::Paused);
    let shares = ended.preview(&later).shares("exp_m2", at(0)).unwrap();
    assert!((shares.moved() - 0.5).abs() < 1e-9, "{shares}");
    let ids: Vec<String> = (0..2_000).map(|number| format!("device-{number}")).collect();
    let counted = before.preview(&ended).counts("exp_m2", ids.iter().map(|id| Subject::new(id)));
    assert!((counted.moved() - 0.25).abs() < 0.05, "{counted}");
}

/// A draft stands last, whatever its id; who has started, where it started.
#[test]
fn a_trial_stands_where_it_would() {
    let running = started([member("exp_m1", "100"), member("exp_m3", "100")]);
    let drafted = ok(&running, member("exp_a", "100"));
    let subject = Subject::new("device-42");
    let reason = |snapshot: &Snapshot, id: &str| {
        snapshot.trial_plan(id).unwrap().assign(&subject).reason().as_str().to_owned()
    };
    assert_eq!(
        ["exp_a", "exp_m1", "exp_m3"].map(|id| reason(&drafted, id)),
        ["elsewhere", "split", "elsewhere"]
    );
    let rest = set(&set(&drafted, "exp_m1", Status::Paused), "exp_m3", Status::Paused);
    assert_eq!(reason(&rest, "exp_a"), "split");
    let active = set(&rest, "exp_a", Status::Active);
    // Resumed, each is back before it.
    assert_eq!(["exp_m1", "exp_m3"].map(|id| reason(&active, id)), ["split", "split"]);
    let resumed = set(&active, "exp_m3", Status::Active);
    let chain = resumed.chain("paywall");
    let order: Vec<_> = chain.experiments().map(|own| own.id().as_str()).collect();
    assert_eq!(order, ["exp_m1", "exp_m3", "exp_a"]);
    assert_eq!(resumed.assign("exp_a", &subject).reason().as_str(), "elsewhere");
    // Those of the world are in none, and a chain without members answers as such.
    let world = brought_to(&world(), "exp_weights", Status::Active);
    assert_eq!((world.chains().count(), world.chain("paywall").name()), (0, None));
    assert_eq!(world.chain("").assign(&subject).reason().as_str(), "not_found");
}
