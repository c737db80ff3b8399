//! What is not exactly right is refused, with its JSON path, its value, the rule and a stable code:
//! every key of every document with every kind of value, keys unknown, missing and twice, numbers,
//! text, nesting, size and limits. A refusal changes nothing, and nothing at all panics.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "a test may"
)]

mod common;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::time::{Duration, Instant};

use common::{apply, p, world};
use proptest::prelude::*;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use variate::{
    Allocation, Change, Code, Commit, Effect, Error, Event, ExperimentPatch, Expression, Flag,
    FlagPatch, FlagStatus, Holdout, HoldoutPatch, Layer, LayerPatch, Limits, NewExperiment,
    NewFlag, NewHoldout, NewLayer, NewSegment, NewVariation, Parameter, Percentage, Rule, Segment,
    SegmentPatch, SegmentStatus, Settings, SettingsPatch, Snapshot, Stage, Status, Transaction,
    VariationPatch, Weight,
};

/// A document that uses every key there is.
const FULL: &str = r#"{
  "format": "variate/1",
  "sequence": 9,
  "updated_at": "2026-11-21T12:00:00.250Z",
  "settings": {
    "active_limit": "per_flow",
    "subject_kinds": ["device", "user"],
    "default_subject_kind": "user"
  },
  "flags": [{
    "id": "flg_a",
    "name": "Sign-in screen",
    "description": "What a visitor sees",
    "key": "sign-in",
    "status": "active",
    "on": true,
    "off_variation_id": "var_c",
    "parameters": {
      "bold": {"type": "boolean", "value": true},
      "headline": {"type": "string", "value": "Welcome back", "description": "The first line"},
      "list": {"type": "array", "value": [1, "two", {"three": null}]},
      "map": {"type": "object", "value": {"deep": {"er": [false]}}},
      "size": {"type": "number", "value": 12}
    },
    "variations": [
      {
        "id": "var_a", "name": "control", "description": "As it is", "overrides": {},
        "version": 1, "created_at": "2026-11-20T12:00:00.000Z",
        "updated_at": "2026-11-20T13:00:00.000Z"
      },
      {"id": "var_b", "name": "short", "overrides": {"headline": "Hi", "map": {"x": 1}}},
      {"id": "var_c", "name": "bare"}
    ],
    "version": 3,
    "created_at": "2026-11-20T12:00:00.000Z",
    "updated_at": "2026-11-20T14:00:00.000Z"
  }],
  "segments": [{
    "id": "seg_a",
    "name": "German phones",
    "description": "Phones in Germany",
    "status": "active",
    "rules": [{
      "match": {
        "country": ["DE", "AT"],
        "mail": {"ends_with": ["@example.com"]},
        "platform": {"starts_with": ["ios"]},
        "url": {"contains": ["sign"]}
      },
      "not_match": {"partner": {"exists": true}}
    }, {
      "match": {
        "age": {"number": {"gte": 18, "lt": 65}},
        "app": {"semver": {"gt": "4.2.0", "lte": "5.0.0"}},
        "joined": {"date": {"eq": "2026-11-20T12:00:00.000Z"}},
        "geo": {"path": ["country"], "is": ["DE"]},
        "user": {"listed": ["u-1"]},
        "vip": {"boolean": true}
      },
      "all": [{"match": {"x": {"exists": true}}}],
      "any": [{"match": {"x": {"exists": true}}}],
      "not": [{"match": {"x": {"exists": false}}}]
    }],
    "version": 2,
    "created_at": "2026-11-20T12:00:00.000Z",
    "updated_at": "2026-11-20T14:00:00.000Z"
  },
  {
    "id": "seg_b",
    "name": "Swedish partners",
    "rules": [{
      "match": {"country": ["SE"], "mail": {"ends_with": ["@example.com"]}},
      "not_match": {"partner": {"exists": true}}
    }]
  }],
  "experiments": [
    {
      "id": "exp_a",
      "name": "By weight",
      "description": "Which headline",
      "key": "sign-in.headline_2",
      "maintainer": "ann@example.com",
      "chain": "paywall",
      "tags": ["autumn", "copy"],
      "flag_id": "flg_a",
      "flow": "login",
      "subject_kind": "user",
      "strategy": "percentage",
      "allocations": [
        {"variation_id": "var_a", "weight": 40, "is_control": true, "name": "As it is"},
        {"variation_id": "var_b", "weight": 60, "is_control": false}
      ],
      "traffic": 80,
      "audience_id": "seg_b",
      "outside_variation_id": "var_c",
      "keep": "always",
      "starts_at": "2026-11-20T12:00:00.000Z",
      "ends_at": "2026-12-20T12:00:00.000Z",
      "stages": [
        {"at": "2026-11-21T12:00:00.000Z", "traffic": 85},
        {"at": "2026-11-22T12:00:00.000Z", "traffic": 90}
      ],
      "hash": "xxh64-v1",
      "salt": "pepper",
      "status": "paused",
      "iteration": {
        "number": 2,
        "started_at": "2026-11-20T15:00:00.000Z",
        "flag_version": 2,
        "allocations": [
          {"variation_id": "var_a", "weight": 50, "is_control": true},
          {"variation_id": "var_b", "weight": 50, "is_control": false}
        ],
        "audience_id": null,
        "outside_variation_id": null,
        "salt": "thyme",
        "partition": [
          {"start": 0, "variation_id": "var_b"},
          {"start": 2147483648, "variation_id": "var_a"}
        ]
      },
      "analysis": {
        "hypothesis": "Shorter is better\nthan longer",
        "kind": "holdout",
        "methodology": "frequentist",
        "data_source": "events",
        "metrics": [
          {"metric_id": "met_a", "is_primary": false, "unit": "device"},
          {"metric_id": "met_d", "is_primary": true}
        ],
        "attributes": ["country"],
        "covariate_id": "before",
        "bayesian_threshold": 95,
        "significance_threshold": 0.05,
        "test_direction": "two_sided",
        "correction": {"method": "bonferroni", "scope": "variations"},
        "sequential": false,
        "goal": {"metric": "sales", "value": 2.5, "direction": "increase"}
      },
      "version": 6,
      "created_at": "2026-11-20T12:00:00.000Z",
      "updated_at": "2026-11-20T16:00:00.000Z"
    },
    {
      "id": "exp_b",
      "name": "By segment",
      "flag_id": "flg_a",
      "strategy": "segment",
      "allocations": [
        {"variation_id": "var_b", "segment_id": "seg_a", "priority": 1, "is_control": false},
        {"variation_id": "var_a", "is_control": true, "is_fallback": true}
      ],
      "status": "completed",
      "iteration": {
        "started_at": "2026-11-20T15:00:00.000Z",
        "turn": 1,
        "ended_at": "2026-11-20T17:00:00.000Z",
        "flag_version": 3,
        "segment_versions": {"seg_a": 1}
      }
    },
    {
      "id": "exp_d",
      "name": "By level",
      "flag_id": "flg_a",
      "strategy": "percentage",
      "allocations": [
        {"variation_id": "var_a", "is_control": true},
        {"variation_id": "var_b", "is_control": false}
      ],
      "levels": [25],
      "weights": "relative",
      "annotations": {"ticket": "EX-1"},
      "analysis": {
        "kind": "mab",
        "methodology": "bayesian",
        "metrics": [{"metric_id": "met_b", "is_primary": true}],
        "reallocation_interval": 3600000
      }
    },
    {
      "id": "exp_e",
      "name": "By segment and weight",
      "flag_id": "flg_a",
      "strategy": "segment",
      "allocations": [
        {"variation_id": "var_b", "weight": 40, "segment_id": "seg_b", "priority": 1},
        {"variation_id": "var_c", "weight": 60, "segment_id": "seg_b", "priority": 1},
        {"variation_id": "var_a", "weight": 50, "is_control": true, "is_fallback": true},
        {"variation_id": "var_b", "weight": 50, "is_fallback": true}
      ],
      "status": "active",
      "iteration": {
        "flag_version": 3,
        "segment_versions": {"seg_b": 1},
        "splits": [
          {
            "segment_id": "seg_b",
            "partition": [
              {"start": 0, "variation_id": "var_c"},
              {"start": 2576980378, "variation_id": "var_b"}
            ]
          },
          {
            "partition": [
              {"start": 0, "variation_id": "var_b"},
              {"start": 2147483648, "variation_id": "var_a"}
            ]
          }
        ]
      }
    },
    {
      "id": "exp_f",
      "name": "By iteration",
      "flag_id": "flg_a",
      "strategy": "percentage",
      "allocations": [
        {"variation_id": "var_a", "weight": 50, "is_control": true},
        {"variation_id": "var_b", "weight": 50, "is_control": false}
      ],
      "status": "completed",
      "iteration": {
        "number": 2,
        "created_at": "2026-11-20T16:00:00.000Z",
        "started_at": "2026-11-20T17:00:00.000Z",
        "ended_at": "2026-11-20T18:00:00.000Z",
        "flag_version": 3,
        "winner": {"variation_id": "var_b", "reason": "It sells", "is_shipped": true},
        "layer": {"layer_id": "lay_gone", "name": "Sign-in", "share": 25, "others": 50}
      },
      "can_reshuffle": false,
      "shelved_at": "2026-11-20T19:00:00.000Z",
      "draft": {
        "subject_kind": "user",
        "allocations": [{"variation_id": "var_a", "weight": 100, "is_control": true}],
        "traffic": 50,
        "audience_id": "seg_b",
        "outside_variation_id": "var_c",
        "can_reshuffle": true,
        "created_at": "2026-11-20T18:30:00.000Z",
        "analysis": {"hypothesis": "Green is better"}
      },
      "previous_iterations": [{
        "iteration": {
          "started_at": "2026-11-20T15:00:00.000Z",
          "ended_at": "2026-11-20T17:00:00.000Z",
          "flag_version": 3
        },
        "subject_kind": "user",
        "traffic": 50,
        "can_reshuffle": true,
        "analysis": {"hypothesis": "Red is better"}
      }]
    }
  ],
  "layers": [{
    "id": "lay_a",
    "name": "Sign-in",
    "description": "What is on the screen",
    "key": "sign-in",
    "salt": "rosemary",
    "subject_kind": "device",
    "members": {"exp_d": 25, "exp_e": 50},
    "partition": [
      {"start": 0, "experiment_id": "exp_e"},
      {"start": 2147483648},
      {"start": 3221225472, "experiment_id": "exp_d"}
    ],
    "version": 3,
    "created_at": "2026-11-20T12:00:00.000Z",
    "updated_at": "2026-11-20T14:00:00.000Z"
  }],
  "holdouts": [{
    "id": "hld_a",
    "name": "Winter",
    "description": "Who sees nothing new",
    "key": "2026-winter",
    "ended_at": "2026-11-20T14:00:00.000Z",
    "salt": "sage",
    "subject_kind": "device",
    "share": 5,
    "experiments": ["exp_d", "exp_e"],
    "maintainer": "Ann",
    "analysis": {"hypothesis": "All together sell more"},
    "version": 2,
    "created_at": "2026-11-20T12:00:00.000Z",
    "updated_at": "2026-11-20T14:00:00.000Z"
  }],
  "metrics": [
    {
      "id": "met_a",
      "name": "Load time",
      "description": "How long it takes",
      "tags": ["speed"],
      "key": "page-views",
      "maintainer": "Ann",
      "kind": "custom",
      "is_numeric": true,
      "event_key": "load",
      "unit": "ms",
      "success_criteria": "lower_than_baseline",
      "analysis_units": ["device"],
      "unit_aggregation": "average",
      "analysis_type": "percentile",
      "percentile": 95,
      "event_default": {"disabled": true, "value": 0},
      "data_source": "events",
      "winsor_lower_percentile": 1,
      "winsor_upper_percentile": 99,
      "winsor_include_imputed": false,
      "unit_aggregation_field": "page",
      "value_column": "value",
      "denominator": "visits",
      "filters": [1, "two"],
      "window_start_offset": 0,
      "window_end_offset": 1000,
      "version": 1,
      "created_at": "2026-11-20T12:00:00.000Z",
      "updated_at": "2026-11-20T12:00:00.000Z"
    },
    {
      "id": "met_b",
      "name": "Clicks",
      "kind": "click",
      "selector": ".buy",
      "urls": [
        {"kind": "exact", "url": "https://example.com/"},
        {"kind": "substring", "substring": "buy"},
        {"kind": "regex", "pattern": "^a+$"}
      ]
    },
    {
      "id": "met_c",
      "name": "Spans",
      "kind": "trace",
      "trace_query": "name=load",
      "trace_value_location": "duration"
    },
    {
      "id": "met_d",
      "name": "Way in",
      "kind": "funnel",
      "members": [
        {"metric_id": "met_e", "name_in_group": "sees"},
        {"metric_id": "met_b", "name_in_group": "clicks"}
      ]
    },
    {"id": "met_e", "name": "Views", "kind": "pageview"}
  ],
  "kept_assignments": [
    {"experiment_id": "exp_a", "subject_id": "device-1", "variation_id": "var_b", "attached": true},
    {"experiment_id": "exp_a", "subject_id": "device-2", "variation_id": "var_gone"}
  ],
  "revisions": {
    "flags": [{
      "id": "flg_a",
      "name": "Sign-in screen",
      "parameters": {"headline": {"type": "string", "value": "Welcome"}},
      "variations": [
        {"id": "var_a", "name": "control"},
        {"id": "var_b", "name": "short", "overrides": {"headline": "Hi"}}
      ],
      "version": 2
    }],
    "segments": [{
      "id": "seg_a",
      "name": "German phones",
      "rules": [{"match": {"country": ["DE"]}}]
    }]
  }
}"#;

/// Every kind of change, with every key.
const CHANGES: &str = r#"[
  {
    "change": "create_flag",
    "id": "flg_b",
    "name": "Checkout",
    "description": "What a buyer sees",
    "parameters": {
      "color": {"type": "string", "value": "red", "description": "Of the button"},
      "list": {"type": "array", "value": [1, {"two": null}]}
    },
    "variations": [
      {"id": "var_x", "name": "control", "description": "As it is", "overrides": {}},
      {"id": "var_y", "name": "blue", "overrides": {"color": "blue", "list": [[]]}}
    ],
    "key": "checkout",
    "on": false,
    "off_variation_id": "var_x"
  },
  {
    "change": "create_segment",
    "id": "seg_b",
    "name": "Partners",
    "description": "Who comes from a partner",
    "rules": [{"match": {"partner": {"exists": true}}, "not_match": {"country": ["US"]}}]
  },
  {
    "change": "create_experiment",
    "id": "exp_c",
    "name": "Colors",
    "description": "Which color",
    "tags": ["autumn"],
    "flag_id": "flg_b",
    "flow": "checkout",
    "subject_kind": "user",
    "strategy": "segment",
    "allocations": [
      {"variation_id": "var_y", "segment_id": "seg_b", "priority": 1, "is_control": false},
      {"variation_id": "var_x", "is_control": true, "is_fallback": true},
      {"variation_id": "var_x", "weight": 0.5, "name": "red"}
    ],
    "traffic": 12.5,
    "levels": [12.5, 100],
    "weights": "relative",
    "annotations": {"ticket": "EX-1"},
    "audience_id": "seg_b",
    "outside_variation_id": "var_x",
    "keep": "never",
    "starts_at": "2026-11-20T12:00:00.000Z",
    "ends_at": "2026-12-20T12:00:00.000Z",
    "stages": [{"at": "2026-11-21T12:00:00.000Z", "traffic": 20}],
    "hash": "xxh64-v1",
    "salt": "pepper",
    "key": "colors",
    "maintainer": "Ann",
    "chain": "paywall",
    "can_reshuffle": false,
    "analysis": {
      "hypothesis": "Blue is better",
      "kind": "mab",
      "methodology": "bayesian",
      "data_source": "events",
      "metrics": [{"metric_id": "met_a", "is_primary": true, "unit": "user"}],
      "attributes": ["country"],
      "covariate_id": "before",
      "bayesian_threshold": 95,
      "significance_threshold": 0.05,
      "test_direction": "one_sided",
      "correction": {"method": "benjamini_hochberg", "scope": "metrics"},
      "sequential": true,
      "reallocation_interval": 3600000,
      "goal": {"metric": "sales", "value": 2.5, "direction": "increase"}
    }
  },
  {
    "change": "create_layer",
    "id": "lay_b",
    "name": "Checkout",
    "description": "One at a time",
    "salt": "dill",
    "subject_kind": "user",
    "members": {"exp_c": 33.3},
    "key": "checkout"
  },
  {
    "change": "create_holdout",
    "id": "hld_b",
    "name": "Spring",
    "description": "Nothing new",
    "salt": "mint",
    "subject_kind": "user",
    "share": 2.5,
    "experiments": ["exp_c"],
    "key": "spring",
    "maintainer": "Ann",
    "analysis": {"hypothesis": "All together sell more"}
  },
  {
    "change": "create_variation",
    "flag_id": "flg_b",
    "variation": {
      "id": "var_z", "name": "green", "description": "Calm", "overrides": {"color": "green"}
    }
  },
  {
    "change": "patch_flag",
    "id": "flg_b",
    "if_version": 2,
    "patch": {
      "name": "Check-out",
      "parameters": {"color": {"type": "string", "value": "black", "description": "Of it"}},
      "description": null,
      "on": true,
      "off_variation_id": "var_y"
    }
  },
  {
    "change": "patch_variation",
    "id": "var_z",
    "if_version": 1,
    "patch": {"name": "dark green", "overrides": {"color": "olive"}, "description": "Calmer"}
  },
  {
    "change": "patch_segment",
    "id": "seg_b",
    "if_version": 1,
    "patch": {
      "name": "Partner",
      "rules": [{"match": {"partner": {"contains": ["x"]}}}],
      "description": "Who came"
    }
  },
  {
    "change": "patch_experiment",
    "id": "exp_c",
    "if_version": 1,
    "patch": {
      "name": "Colours",
      "tags": [],
      "annotations": {"ticket": "EX-2"},
      "subject_kind": "device",
      "allocations": [{"variation_id": "var_x", "is_control": true, "is_fallback": true}],
      "traffic": 99.999999,
      "levels": [0.000001, 99.999999],
      "description": "Which one",
      "flow": "pay",
      "audience_id": "seg_b",
      "outside_variation_id": "var_y",
      "keep": "always",
      "starts_at": "2026-11-20T12:00:00.000Z",
      "ends_at": null,
      "stages": [{"at": "2026-11-21T12:00:00.000Z", "traffic": 20}],
      "maintainer": null,
      "chain": "",
      "can_reshuffle": true,
      "analysis": {
        "kind": "holdout",
        "metrics": [{"metric_id": "met_a", "is_primary": true, "unit": "user"}],
        "attributes": ["country"],
        "hypothesis": "Blue is worse",
        "methodology": "export_only",
        "data_source": null,
        "covariate_id": "after",
        "bayesian_threshold": 90,
        "significance_threshold": 1,
        "test_direction": "two_sided",
        "correction": {"method": "bonferroni", "scope": "variations_and_metrics"},
        "sequential": false,
        "reallocation_interval": 1,
        "goal": {"metric": "sales", "value": 2.5, "direction": "increase"}
      }
    }
  },
  {
    "change": "patch_layer",
    "id": "lay_b",
    "if_version": 1,
    "patch": {
      "name": "Check-out", "members": {"exp_c": 40}, "leave": ["exp_d"], "description": null
    }
  },
  {
    "change": "patch_holdout",
    "id": "hld_b",
    "if_version": 1,
    "patch": {
      "name": "Summer", "share": 3, "join": ["exp_c"], "leave": ["exp_d", "exp_e"],
      "description": "None"
    }
  },
  {
    "change": "patch_settings",
    "patch": {
      "active_limit": "one", "subject_kinds": ["device", "user"], "default_subject_kind": null
    }
  },
  {"change": "set_flag_status", "id": "flg_b", "if_version": 2, "status": "active"},
  {"change": "set_segment_status", "id": "seg_b", "if_version": 2, "status": "archived"},
  {
    "change": "set_experiment_status", "id": "exp_c", "if_version": 2,
    "status": "active", "refresh": true
  },
  {"change": "advance_ramp", "id": "exp_c", "if_version": 3, "level": 100},
  {"change": "reshuffle", "id": "exp_c", "if_version": 3, "salt": "thyme"},
  {"change": "delete_flag", "id": "flg_b", "if_version": 3},
  {"change": "delete_variation", "id": "var_z", "if_version": 2},
  {"change": "delete_segment", "id": "seg_b", "if_version": 2},
  {"change": "delete_experiment", "id": "exp_c", "if_version": 9},
  {"change": "delete_layer", "id": "lay_b", "if_version": 4},
  {"change": "delete_holdout", "id": "hld_b", "if_version": 4},
  {"change": "end_holdout", "id": "hld_b", "if_version": 3},
  {
    "change": "draft_iteration",
    "id": "exp_c",
    "if_version": 4,
    "patch": {
      "subject_kind": "device",
      "allocations": [{"variation_id": "var_x", "is_control": true, "is_fallback": true}],
      "traffic": 99.999999,
      "can_reshuffle": true,
      "audience_id": "seg_b",
      "outside_variation_id": "var_y",
      "analysis": {"hypothesis": "Green is better"}
    }
  },
  {"change": "discard_draft", "id": "exp_c", "if_version": 4},
  {
    "change": "start_iteration", "id": "exp_c", "if_version": 4, "reshuffle": true, "salt": "thyme",
    "carryover": "served_only"
  },
  {
    "change": "stop_iteration", "id": "exp_c", "if_version": 4,
    "winner": "var_x", "reason": "It sells", "ship": true
  },
  {"change": "shelve_experiment", "id": "exp_c", "if_version": 4, "shelved": true},
  {
    "change": "create_metric",
    "id": "met_b",
    "name": "Revenue",
    "description": "What comes in",
    "tags": ["money"],
    "key": "revenue",
    "maintainer": "Ann",
    "kind": "custom",
    "is_numeric": true,
    "event_key": "bought",
    "selector": ".buy",
    "urls": [
      {"kind": "exact", "url": "https://example.com/"},
      {"kind": "substring", "substring": "buy"},
      {"kind": "regex", "pattern": "^a+$"}
    ],
    "unit": "EUR",
    "success_criteria": "higher_than_baseline",
    "analysis_units": ["user"],
    "unit_aggregation": "sum",
    "analysis_type": "mean",
    "percentile": 50,
    "event_default": {"disabled": true, "value": 0},
    "data_source": "events",
    "winsor_lower_percentile": 1,
    "winsor_upper_percentile": 99,
    "winsor_include_imputed": true,
    "trace_query": "name=load",
    "trace_value_location": "duration",
    "unit_aggregation_field": "page",
    "value_column": "value",
    "denominator": "visits",
    "filters": [1, "two"],
    "window_start_offset": 1,
    "window_end_offset": 1000,
    "members": [{"metric_id": "met_a", "name_in_group": "sees"}]
  },
  {"change": "delete_metric", "id": "met_b", "if_version": 1}
]"#;

const TRANSACTION: &str = r#"{
  "changes": [{"change": "delete_flag", "id": "flg_b"}],
  "comment": "the autumn test"
}"#;

const EVENT: &str = r#"{
  "sequence": 7,
  "at": "2026-11-21T12:00:00.250Z",
  "comment": "the autumn test",
  "changes": [{"change": "delete_flag", "id": "flg_b"}],
  "effects": [
    {
      "effect": "transitioned",
      "entity": "experiment",
      "id": "exp_c",
      "version": 3,
      "fields": ["name"],
      "from": "draft",
      "to": "active",
      "froze": true
    }
  ]
}"#;

/// What is put in the place of every value in turn.
const REPLACEMENTS: [&str; 9] = ["null", "true", "7", "-1", "1.5", "1e300", "\"x\"", "[]", "{}"];

/// What comes of each replacement at each key of a snapshot's document.
///
/// After the path stand the replacements that load, `any` for all; those that are refused for
/// another reason than their type, with the code; and what comes of leaving the key out, if it does
/// not load, `required` for a key that is missed. After `@` stands the path of the error if it is
/// not this one or one within, `^` for the one above. Everything else is of the wrong type. `[]` is
/// every item that has no line of its own, and what holds for `flags` and `segments` holds for
/// those of `revisions` that have no lines of their own.
const SNAPSHOT_RULES: &str = r#"
: {}=missing_key
format: required "x"=unsupported_format
sequence: 7
updated_at: "x"=invalid_value
settings: {}
settings.active_limit: "x"=invalid_value
settings.subject_kinds: []
settings.subject_kinds[0]: "x"
settings.subject_kinds[1]: "x"=invalid_value@settings.default_subject_kind
settings.default_subject_kind: "x"=invalid_value

flags: []=unknown_reference@experiments[0].flag_id absent=unknown_reference@experiments[0].flag_id
flags[]: {}=missing_key
flags[].id: required "x"=invalid_value
flags[].name: required "x"
flags[].description: "x"
flags[].status: "x"=invalid_value
flags[].parameters: required {}=limit_exceeded
flags[].parameters.bold: {}=missing_key
flags[].parameters.bold.type: required "x"=invalid_value
flags[].parameters.bold.value: required true
flags[].parameters.headline: {}=missing_key absent=unknown_reference@flags[0].variations[1].overrides.headline
flags[].parameters.headline.type: required "x"=invalid_value
flags[].parameters.headline.value: required "x"
flags[].parameters.headline.description: "x"
flags[].parameters.list: {}=missing_key
flags[].parameters.list.type: required "x"=invalid_value
flags[].parameters.list.value: required []
flags[].parameters.list.value[]: any
flags[].parameters.list.value[].three: any
flags[].parameters.map: {}=missing_key absent=unknown_reference@flags[0].variations[1].overrides.map
flags[].parameters.map.type: required "x"=invalid_value
flags[].parameters.map.value: required {}
flags[].parameters.map.value.deep: any
flags[].parameters.map.value.deep.er: any
flags[].parameters.map.value.deep.er[]: any
flags[].parameters.size: {}=missing_key
flags[].parameters.size.type: required "x"=invalid_value
flags[].parameters.size.value: required 7 -1 1.5 1e300
flags[].key: "x"
flags[].on: true
flags[].off_variation_id: "x"=invalid_value
flags[].variations: []=unknown_reference@flags[0].off_variation_id absent=unknown_reference@flags[0].off_variation_id
flags[].variations[]: {}=missing_key
flags[].variations[].id: required "x"=invalid_value
flags[].variations[].name: required "x"
flags[].variations[].description: "x"
flags[].variations[].overrides: {}
flags[].variations[].overrides.headline: "x"
flags[].variations[].overrides.map: {}
flags[].variations[].overrides.map.x: any
flags[].variations[].version: 7
flags[].variations[].created_at: "x"=invalid_value
flags[].variations[].updated_at: "x"=invalid_value
flags[].version: 7=unknown_reference@experiments[1].iteration.flag_version absent=invalid_value@revisions.flags[0].version
flags[].created_at: "x"=invalid_value
flags[].updated_at: "x"=invalid_value

segments: []=unknown_reference@experiments[0].audience_id absent=unknown_reference@experiments[0].audience_id
segments[]: {}=missing_key
segments[].id: required "x"=invalid_value
segments[].name: required "x"
segments[].description: "x"
segments[].status: "x"=invalid_value
segments[].rules: required []=invalid_value
segments[].rules[]: {}=invalid_value
segments[].rules[].match: {}=invalid_value
segments[].rules[].match.country: []=invalid_value
segments[].rules[].match.country[]: "x"
segments[].rules[].match.mail: []=invalid_value
segments[].rules[].match.mail.ends_with: []=invalid_value absent=wrong_type@^
segments[].rules[].match.mail.ends_with[]: "x"
segments[].rules[].match.platform: []=invalid_value
segments[].rules[].match.platform.starts_with: []=invalid_value absent=wrong_type@^
segments[].rules[].match.platform.starts_with[]: "x"
segments[].rules[].match.url: []=invalid_value
segments[].rules[].match.url.contains: []=invalid_value absent=wrong_type@^
segments[].rules[].match.url.contains[]: "x"
segments[].rules[].not_match: {}=invalid_value
segments[].rules[].not_match.partner: []=invalid_value absent=invalid_value@^
segments[].rules[].not_match.partner.exists: true absent=wrong_type@^
segments[].rules[].match.age: []=invalid_value
segments[].rules[].match.age.number: {}=invalid_value absent=wrong_type@^
segments[].rules[].match.age.number.gte: 7 -1 1.5 1e300
segments[].rules[].match.age.number.lt: 7 -1 1.5 1e300
segments[].rules[].match.app: []=invalid_value
segments[].rules[].match.app.semver: {}=invalid_value absent=wrong_type@^
segments[].rules[].match.app.semver.gt: "x"=invalid_value
segments[].rules[].match.app.semver.lte: "x"=invalid_value
segments[].rules[].match.geo: []=invalid_value
segments[].rules[].match.geo.is: required []=invalid_value
segments[].rules[].match.geo.is[]: "x"
segments[].rules[].match.geo.path: []=invalid_value absent=wrong_type@^
segments[].rules[].match.geo.path[]: "x"
segments[].rules[].match.joined: []=invalid_value
segments[].rules[].match.joined.date: {}=invalid_value absent=wrong_type@^
segments[].rules[].match.joined.date.eq: "x"=invalid_value absent=invalid_value@^
segments[].rules[].match.mask: []=invalid_value
segments[].rules[].match.mask.regex: "x" absent=wrong_type@^
segments[].rules[].match.user: []=invalid_value
segments[].rules[].match.user.listed: []=invalid_value absent=wrong_type@^
segments[].rules[].match.user.listed[]: "x"
segments[].rules[].match.vip: []=invalid_value
segments[].rules[].match.vip.boolean: true absent=wrong_type@^
segments[].rules[].all: []=invalid_value
segments[].rules[].all[]: {}=invalid_value
segments[].rules[].all[].match: {}=invalid_value absent=invalid_value@^
segments[].rules[].all[].match.x: []=invalid_value absent=invalid_value@^
segments[].rules[].all[].match.x.exists: true absent=wrong_type@^
segments[].rules[].any: []=invalid_value
segments[].rules[].any[]: {}=invalid_value
segments[].rules[].any[].match: {}=invalid_value absent=invalid_value@^
segments[].rules[].any[].match.x: []=invalid_value absent=invalid_value@^
segments[].rules[].any[].match.x.exists: true absent=wrong_type@^
segments[].rules[].not: []=invalid_value
segments[].rules[].not[]: {}=invalid_value
segments[].rules[].not[].match: {}=invalid_value absent=invalid_value@^
segments[].rules[].not[].match.x: []=invalid_value absent=invalid_value@^
segments[].rules[].not[].match.x.exists: true absent=wrong_type@^
segments[].version: 7 absent=invalid_value@revisions.segments[0].version
segments[].created_at: "x"=invalid_value
segments[].updated_at: "x"=invalid_value

experiments: []=unknown_reference@layers[0].members absent=unknown_reference@layers[0].members
experiments[]: {}=missing_key
experiments[].id: required "x"=invalid_value
experiments[].name: required "x"
experiments[].description: "x"
experiments[].key: "x"
experiments[].maintainer: "x"
experiments[].chain: "x"
experiments[].tags: []
experiments[].tags[]: "x"
experiments[].flag_id: required "x"=invalid_value
experiments[].flow: "x"
experiments[].subject_kind: "x"
experiments[].strategy: required "x"=invalid_value
experiments[].allocations: required []
experiments[].allocations[]: {}=missing_key
experiments[].allocations[].variation_id: required "x"=invalid_value
experiments[].allocations[].weight: 7 1.5 -1=invalid_value 1e300=invalid_value
experiments[].allocations[].is_control: true
experiments[].allocations[].name: "x"
experiments[].traffic: 7 1.5 -1=invalid_value 1e300=invalid_value
experiments[].audience_id: "x"=invalid_value
experiments[].outside_variation_id: "x"=invalid_value
experiments[].keep: "x"=invalid_value
experiments[].starts_at: "x"=invalid_value
experiments[].ends_at: "x"=invalid_value
experiments[].stages: []
experiments[].stages[]: {}=missing_key
experiments[].stages[].at: required "x"=invalid_value
experiments[].stages[].traffic: required 7 1.5 -1=invalid_value 1e300=invalid_value
experiments[0].stages[1].traffic: required 7=invalid_value 1.5=invalid_value -1=invalid_value 1e300=invalid_value
experiments[].hash: "x"=invalid_value
experiments[].weights: "x"=invalid_value
experiments[].annotations: {}
experiments[].annotations.ticket: "x"
experiments[].salt: "x"
experiments[].status: "x"=invalid_value absent=invalid_value@experiments[0].iteration.started_at
experiments[].version: 7
experiments[].created_at: "x"=invalid_value
experiments[].updated_at: "x"=invalid_value
experiments[].iteration: {}=invalid_value@revisions.flags[0] absent=invalid_value@revisions.flags[0]
experiments[].iteration.number: 7
experiments[].iteration.started_at: "x"=invalid_value
experiments[].iteration.ended_at: "x"=invalid_value
experiments[].iteration.turn: 7
experiments[].iteration.flag_version: 7=unknown_reference absent=invalid_value@experiments[0].iteration.allocations
experiments[].iteration.allocations: []=not_ready absent=invalid_value@experiments[0].iteration.partition
experiments[].iteration.allocations[]: {}=missing_key
experiments[].iteration.allocations[].variation_id: required "x"=invalid_value
experiments[].iteration.allocations[].weight: 7=not_ready@experiments[0].iteration.allocations 1.5=not_ready@experiments[0].iteration.allocations -1=invalid_value 1e300=invalid_value absent=not_ready@experiments[0].iteration.allocations
experiments[0].iteration.allocations[0].is_control: true absent=not_ready@experiments[0].iteration.allocations
experiments[0].iteration.allocations[1].is_control: true=not_ready@experiments[0].iteration.allocations
experiments[].iteration.audience_id: null "x"=invalid_value absent=invalid_value@experiments[0].iteration.segment_versions
experiments[].iteration.outside_variation_id: null "x"=invalid_value absent=unknown_reference
experiments[].iteration.salt: "x"
experiments[].iteration.partition: []=invalid_value
experiments[].iteration.partition[]: {}=missing_key
experiments[].iteration.partition[].start: required 7=invalid_value@experiments[0].iteration.partition
experiments[].iteration.partition[].variation_id: required "x"=invalid_value

experiments[].levels: []
experiments[].levels[]: 7 1.5 -1=invalid_value 1e300=invalid_value
experiments[2].status: "x"=invalid_value
experiments[1].status: "x"=invalid_value absent=invalid_value@experiments[1].iteration.started_at
experiments[1].allocations: required []=not_ready@experiments[1].iteration.allocations
experiments[1].allocations[0].segment_id: "x"=invalid_value absent=not_ready@experiments[1].iteration.allocations
experiments[1].allocations[0].priority: 7 absent=not_ready@experiments[1].iteration.allocations
experiments[1].allocations[0].is_control: true=not_ready@experiments[1].iteration.allocations
experiments[1].allocations[1].is_control: true absent=not_ready@experiments[1].iteration.allocations
experiments[1].allocations[1].is_fallback: true absent=not_ready@experiments[1].iteration.allocations
experiments[1].iteration: {}=invalid_value@revisions.segments[0] absent=invalid_value@revisions.segments[0]
experiments[1].iteration.flag_version: 7=unknown_reference absent=invalid_value@experiments[1].iteration.segment_versions
experiments[1].iteration.segment_versions: {}=invalid_value absent=invalid_value@experiments[1].iteration.segment_versions
experiments[1].iteration.segment_versions.seg_a: 7=unknown_reference absent=invalid_value@experiments[1].iteration.segment_versions

experiments[3].allocations: required []=not_ready@experiments[3].iteration.allocations
experiments[3].allocations[0].weight: 7=not_ready@experiments[3].iteration.allocations 1.5=not_ready@experiments[3].iteration.allocations -1=invalid_value 1e300=invalid_value absent=not_ready@experiments[3].iteration.allocations
experiments[3].allocations[0].segment_id: "x"=invalid_value absent=not_ready@experiments[3].iteration.allocations
experiments[3].allocations[0].priority: 7=not_ready@experiments[3].iteration.allocations absent=not_ready@experiments[3].iteration.allocations
experiments[3].allocations[1].weight: 7=not_ready@experiments[3].iteration.allocations 1.5=not_ready@experiments[3].iteration.allocations -1=invalid_value 1e300=invalid_value absent=not_ready@experiments[3].iteration.allocations
experiments[3].allocations[1].segment_id: "x"=invalid_value absent=not_ready@experiments[3].iteration.allocations
experiments[3].allocations[1].priority: 7=not_ready@experiments[3].iteration.allocations absent=not_ready@experiments[3].iteration.allocations
experiments[3].allocations[2].weight: 7=not_ready@experiments[3].iteration.allocations 1.5=not_ready@experiments[3].iteration.allocations -1=invalid_value 1e300=invalid_value absent=not_ready@experiments[3].iteration.allocations
experiments[3].allocations[2].is_fallback: true absent=not_ready@experiments[3].iteration.allocations
experiments[3].allocations[3].weight: 7=not_ready@experiments[3].iteration.allocations 1.5=not_ready@experiments[3].iteration.allocations -1=invalid_value 1e300=invalid_value absent=not_ready@experiments[3].iteration.allocations
experiments[3].allocations[3].is_fallback: true absent=not_ready@experiments[3].iteration.allocations
experiments[3].allocations[2].is_control: true absent=not_ready@experiments[3].iteration.allocations
experiments[3].status: "x"=invalid_value absent=invalid_value@experiments[3].iteration.flag_version
experiments[3].iteration: {}
experiments[3].iteration.flag_version: 7=unknown_reference absent=invalid_value@experiments[3].iteration.segment_versions
experiments[3].iteration.segment_versions: {}=invalid_value absent=invalid_value@experiments[3].iteration.segment_versions
experiments[3].iteration.segment_versions.seg_b: 7=unknown_reference absent=invalid_value@experiments[3].iteration.segment_versions
experiments[3].iteration.splits: []
experiments[].iteration.splits[]: {}=missing_key
experiments[3].iteration.splits[0].segment_id: "x"=invalid_value absent=invalid_value@experiments[3].iteration.splits[0].partition[0]
experiments[].iteration.splits[].partition: required []=invalid_value
experiments[].iteration.splits[].partition[]: {}=missing_key
experiments[3].iteration.splits[0].partition[0].start: required 7=invalid_value@experiments[3].iteration.splits[0].partition
experiments[3].iteration.splits[0].partition[1].start: required 7=invalid_value@experiments[3].iteration.splits[0].partition
experiments[3].iteration.splits[1].partition[0].start: required 7=invalid_value@experiments[3].iteration.splits[1].partition
experiments[3].iteration.splits[1].partition[1].start: required 7=invalid_value@experiments[3].iteration.splits[1].partition
experiments[].iteration.splits[].partition[].variation_id: required "x"=invalid_value

experiments[4].allocations: required []=not_ready@experiments[4].iteration.allocations
experiments[4].allocations[0].weight: 7=not_ready@experiments[4].iteration.allocations 1.5=not_ready@experiments[4].iteration.allocations -1=invalid_value 1e300=invalid_value absent=not_ready@experiments[4].iteration.allocations
experiments[4].allocations[1].weight: 7=not_ready@experiments[4].iteration.allocations 1.5=not_ready@experiments[4].iteration.allocations -1=invalid_value 1e300=invalid_value absent=not_ready@experiments[4].iteration.allocations
experiments[4].allocations[0].is_control: true absent=not_ready@experiments[4].iteration.allocations
experiments[4].allocations[1].is_control: true=not_ready@experiments[4].iteration.allocations
experiments[4].status: "x"=invalid_value absent=invalid_value@experiments[4].draft
experiments[4].iteration: {}=invalid_value@experiments[4].previous_iterations[0].iteration.number absent=invalid_value@experiments[4].previous_iterations[0].iteration.number
experiments[4].iteration.number: 7 absent=invalid_value@experiments[4].previous_iterations[0].iteration.number
experiments[4].iteration.flag_version: 7=unknown_reference absent=invalid_value@experiments[4].iteration.winner
experiments[].iteration.created_at: "x"=invalid_value
experiments[].iteration.winner: {}=missing_key
experiments[].iteration.winner.variation_id: required "x"=invalid_value
experiments[].iteration.winner.reason: "x"
experiments[].iteration.winner.is_shipped: true
experiments[].iteration.layer: {}=missing_key
experiments[].iteration.layer.layer_id: required "x"=invalid_value
experiments[].iteration.layer.name: required "x"
experiments[].iteration.layer.share: required 7 1.5 -1=invalid_value 1e300=invalid_value
experiments[].iteration.layer.others: required 7 1.5 -1=invalid_value 1e300=invalid_value
experiments[].can_reshuffle: true
experiments[].shelved_at: "x"=invalid_value
experiments[].draft: {}
experiments[].draft.subject_kind: "x"
experiments[].draft.allocations: []
experiments[].draft.allocations[]: {}=missing_key
experiments[].draft.allocations[].variation_id: required "x"=invalid_value
experiments[].draft.allocations[].weight: 7 1.5 -1=invalid_value 1e300=invalid_value
experiments[].draft.allocations[].is_control: true
experiments[].draft.traffic: 7 1.5 -1=invalid_value 1e300=invalid_value
experiments[].draft.audience_id: null "x"=invalid_value
experiments[].draft.outside_variation_id: null "x"=invalid_value
experiments[].draft.can_reshuffle: true
experiments[].draft.created_at: "x"=invalid_value
experiments[].draft.analysis: {}
experiments[].draft.analysis.hypothesis: "x"
experiments[].previous_iterations: []
experiments[].previous_iterations[]: {}=missing_key
experiments[].previous_iterations[].iteration: required {}=missing_key
experiments[].previous_iterations[].iteration.started_at: required "x"=invalid_value
experiments[].previous_iterations[].iteration.ended_at: required "x"=invalid_value
experiments[].previous_iterations[].iteration.flag_version: 7=unknown_reference
experiments[].previous_iterations[].subject_kind: "x"
experiments[].previous_iterations[].traffic: 7 1.5 -1=invalid_value 1e300=invalid_value
experiments[].previous_iterations[].can_reshuffle: true
experiments[].previous_iterations[].analysis: {}
experiments[].previous_iterations[].analysis.hypothesis: "x"

layers: []
layers[]: {}=missing_key
layers[].id: required "x"=invalid_value
layers[].name: required "x"
layers[].description: "x"
layers[].key: "x"
layers[].salt: "x"
layers[].subject_kind: "x"=invalid_value@layers[0].members
layers[].members: {}=invalid_value@layers[0].partition[0].experiment_id absent=invalid_value@layers[0].partition[0].experiment_id
layers[].members.exp_d: 7=invalid_value@layers[0].partition 1.5=invalid_value@layers[0].partition -1=invalid_value 1e300=invalid_value absent=invalid_value@layers[0].partition[2].experiment_id
layers[].members.exp_e: 7=invalid_value@layers[0].partition 1.5=invalid_value@layers[0].partition -1=invalid_value 1e300=invalid_value absent=invalid_value@layers[0].partition[0].experiment_id
layers[].partition: []=invalid_value
layers[].partition[]: {}=missing_key
layers[].partition[].start: required 7=invalid_value@layers[0].partition
layers[0].partition[2].start: required 7=invalid_value@layers[0].partition[2]
layers[0].partition[0].experiment_id: "x"=invalid_value absent=invalid_value@layers[0].partition[1]
layers[0].partition[2].experiment_id: "x"=invalid_value absent=invalid_value@layers[0].partition[2]
layers[].version: 7
layers[].created_at: "x"=invalid_value
layers[].updated_at: "x"=invalid_value

holdouts: []
holdouts[]: {}=missing_key
holdouts[].id: required "x"=invalid_value
holdouts[].name: required "x"
holdouts[].description: "x"
holdouts[].key: "x"
holdouts[].ended_at: "x"=invalid_value
holdouts[].salt: "x"
holdouts[].subject_kind: "x"=invalid_value@holdouts[0].experiments
holdouts[].share: required 7 1.5 -1=invalid_value 1e300=invalid_value
holdouts[].experiments: []
holdouts[].experiments[]: "x"=invalid_value
holdouts[].maintainer: "x"
holdouts[].analysis: {}
holdouts[].analysis.hypothesis: "x"
holdouts[].version: 7
holdouts[].created_at: "x"=invalid_value
holdouts[].updated_at: "x"=invalid_value

metrics: []=unknown_reference@experiments[0].analysis.metrics[0].metric_id absent=unknown_reference@experiments[0].analysis.metrics[0].metric_id
metrics[]: {}=missing_key
metrics[].id: required "x"=invalid_value
metrics[].name: required "x"
metrics[].description: "x"
metrics[].tags: []
metrics[].tags[]: "x"
metrics[].key: "x"
metrics[].maintainer: "x"
metrics[].kind: required "x"=invalid_value
metrics[].is_numeric: true absent=invalid_value@metrics[0].analysis_type
metrics[].event_key: required "x"
metrics[].selector: required "x"
metrics[].urls: []
metrics[].urls[]: {}=missing_key
metrics[].urls[].kind: required "x"
metrics[].urls[].url: "x" absent=invalid_value@^
metrics[].urls[].substring: "x" absent=invalid_value@^
metrics[].urls[].pattern: "x" absent=invalid_value@^
metrics[].unit: "x"
metrics[].success_criteria: "x"=invalid_value
metrics[].analysis_units: []
metrics[].analysis_units[]: "x"
metrics[].unit_aggregation: "x"=invalid_value
metrics[].analysis_type: "x"=invalid_value absent=invalid_value@metrics[0].percentile
metrics[].percentile: required 7 1.5 -1=invalid_value 1e300=invalid_value
metrics[].event_default: {}
metrics[].event_default.disabled: true
metrics[].event_default.value: 7=invalid_value
metrics[].data_source: "x"
metrics[].winsor_lower_percentile: 7 1.5 -1=invalid_value 1e300=invalid_value
metrics[].winsor_upper_percentile: 7 1.5 -1=invalid_value 1e300=invalid_value
metrics[].winsor_include_imputed: true
metrics[].trace_query: "x"
metrics[].trace_value_location: "x"
metrics[].unit_aggregation_field: "x"
metrics[].value_column: "x"
metrics[].denominator: true 7 -1 1.5 1e300 "x" [] {}
metrics[].filters: true 7 -1 1.5 1e300 "x" [] {}
metrics[].filters[]: any
metrics[].window_start_offset: 7
metrics[].window_end_offset: 7
metrics[].members: []=limit_exceeded absent=limit_exceeded
metrics[].members[]: {}=missing_key
metrics[].members[].metric_id: required "x"=invalid_value
metrics[].members[].name_in_group: required "x"
metrics[].version: 7
metrics[].created_at: "x"=invalid_value
metrics[].updated_at: "x"=invalid_value

experiments[].analysis: {}
experiments[].analysis.hypothesis: "x"
experiments[].analysis.kind: "x"=invalid_value
experiments[].analysis.methodology: "x"=invalid_value
experiments[].analysis.data_source: "x"
experiments[].analysis.metrics: []
experiments[].analysis.metrics[]: {}=missing_key
experiments[].analysis.metrics[].metric_id: required "x"=invalid_value
experiments[].analysis.metrics[].is_primary: true
experiments[].analysis.metrics[].unit: "x"
experiments[].analysis.attributes: []
experiments[].analysis.attributes[]: "x"
experiments[].analysis.covariate_id: "x"
experiments[].analysis.bayesian_threshold: 7 1.5 -1=invalid_value 1e300=invalid_value
experiments[].analysis.significance_threshold: 7=invalid_value 1.5=invalid_value -1=invalid_value 1e300=invalid_value
experiments[].analysis.test_direction: "x"=invalid_value
experiments[].analysis.correction: {}=invalid_value
experiments[].analysis.correction.method: "x"=invalid_value
experiments[].analysis.correction.scope: "x"=invalid_value
experiments[].analysis.sequential: true
experiments[].analysis.reallocation_interval: 7
experiments[].analysis.goal: {}
experiments[].analysis.goal.metric: "x"
experiments[].analysis.goal.value: 7 -1 1.5 1e300
experiments[].analysis.goal.direction: "x"
experiments[0].analysis.metrics[0].is_primary: true=invalid_value@experiments[0].analysis.metrics[1].is_primary
experiments[2].analysis.kind: "x"=invalid_value absent=invalid_value@experiments[2].analysis.reallocation_interval
experiments[2].analysis.methodology: "x"=invalid_value absent=invalid_value
experiments[2].analysis.metrics: []=invalid_value absent=invalid_value
experiments[2].analysis.metrics[0].is_primary: true absent=invalid_value@experiments[2].analysis.metrics

kept_assignments: []
kept_assignments[]: {}=missing_key
kept_assignments[].experiment_id: required "x"=invalid_value
kept_assignments[].subject_id: required "x"
kept_assignments[].variation_id: required "x"=invalid_value
kept_assignments[].attached: true

revisions: {}=unknown_reference@experiments[0].iteration.flag_version absent=unknown_reference@experiments[0].iteration.flag_version
revisions.flags: []=unknown_reference@experiments[0].iteration.flag_version absent=unknown_reference@experiments[0].iteration.flag_version
revisions.flags[].parameters.headline: {}=missing_key absent=limit_exceeded@^
revisions.flags[].variations: []=unknown_reference@experiments[0].iteration.allocations absent=unknown_reference@experiments[0].iteration.allocations
revisions.flags[].version: 7=invalid_value absent=unknown_reference@experiments[0].iteration.flag_version
revisions.segments: []=unknown_reference@experiments[1].iteration.segment_versions.seg_a absent=unknown_reference@experiments[1].iteration.segment_versions.seg_a
revisions.segments[].rules[].match: {}=invalid_value absent=invalid_value@^
revisions.segments[].rules[].match.country: []=invalid_value absent=invalid_value@^
"#;

/// The same for changes, which are read before they are checked: texts are any, and lists may be
/// empty. Before `/` stands the kind of change where it matters.
const CHANGE_RULES: &str = r#"
: {}=missing_key
change: required "x"=invalid_value
id: required "x"=invalid_value
create_flag/id: "x"=invalid_value
create_segment/id: "x"=invalid_value
create_experiment/id: "x"=invalid_value
create_layer/id: "x"=invalid_value
create_holdout/id: "x"=invalid_value
if_version: 7
name: required "x"
description: "x"
parameters: required {}
parameters.color: {}=missing_key
parameters.color.type: required "x"=invalid_value
parameters.color.value: required "x"
parameters.color.description: "x"
parameters.list: {}=missing_key
parameters.list.type: required "x"=invalid_value
parameters.list.value: required []
parameters.list.value[]: any
parameters.list.value[].two: any
variations: []
variations[]: {}=missing_key
variations[].id: "x"=invalid_value
variations[].name: required "x"
variations[].description: "x"
variations[].overrides: {}
variations[].overrides.color: any
variations[].overrides.list: any
variations[].overrides.list[]: any
rules: required []
rules[]: {}
rules[].match: {}=invalid_value
rules[].match.partner: [] absent=invalid_value@^
rules[].match.partner.exists: true absent=wrong_type@^
rules[].not_match: {}=invalid_value
rules[].not_match.country: [] absent=invalid_value@^
rules[].not_match.country[]: "x"
tags: []
tags[]: "x"
flag_id: required "x"=invalid_value
flow: "x"
subject_kind: "x"
strategy: required "x"=invalid_value
allocations: []
allocations[]: {}=missing_key
allocations[].variation_id: required "x"=invalid_value
allocations[].weight: 7 1.5 -1=invalid_value 1e300=invalid_value
allocations[].segment_id: "x"=invalid_value
allocations[].priority: 7
allocations[].is_control: true
allocations[].is_fallback: true
allocations[].name: "x"
key: "x"
on: true
off_variation_id: "x"=invalid_value
maintainer: "x"
chain: "x"
traffic: 7 1.5 -1=invalid_value 1e300=invalid_value
levels: []
levels[]: 7 1.5 -1=invalid_value 1e300=invalid_value
audience_id: "x"=invalid_value
keep: "x"=invalid_value
starts_at: "x"=invalid_value
ends_at: "x"=invalid_value
stages: []
stages[]: {}=missing_key
stages[].at: required "x"=invalid_value
stages[].traffic: required 7 1.5 -1=invalid_value 1e300=invalid_value
members: {}
members.exp_c: 7 1.5 -1=invalid_value 1e300=invalid_value
share: required 7 1.5 -1=invalid_value 1e300=invalid_value
experiments: []
experiments[]: "x"=invalid_value
level: required 7 1.5 -1=invalid_value 1e300=invalid_value
outside_variation_id: "x"=invalid_value
hash: "x"=invalid_value
weights: "x"=invalid_value
annotations: {}
annotations.ticket: "x"
salt: "x"
variation: required {}=missing_key
variation.id: "x"=invalid_value
variation.name: required "x"
variation.description: "x"
variation.overrides: {}
variation.overrides.color: any
status: required "x"=invalid_value
refresh: true
patch: required {}
patch.name: "x" null=not_nullable
patch.description: null "x"
patch.parameters: {} null=not_nullable
patch.parameters.color: {}=missing_key
patch.parameters.color.type: required "x"=invalid_value
patch.parameters.color.value: required "x"
patch.parameters.color.description: "x"
patch.overrides: {} null=not_nullable
patch.overrides.color: any
patch.rules: [] null=not_nullable
patch.rules[]: {}
patch.rules[].match: {}=invalid_value
patch.rules[].match.partner: [] absent=invalid_value@^
patch.rules[].match.partner.contains: [] absent=wrong_type@^
patch.rules[].match.partner.contains[]: "x"
patch.annotations: {} null=not_nullable
patch.annotations.ticket: null "x"
patch.tags: [] null=not_nullable
patch.tags[]: "x"
patch.subject_kind: "x" null=not_nullable
patch.allocations: [] null=not_nullable
patch.allocations[]: {}=missing_key
patch.allocations[].variation_id: required "x"=invalid_value
patch.allocations[].is_control: true
patch.allocations[].is_fallback: true
patch.traffic: 7 1.5 null=not_nullable -1=invalid_value 1e300=invalid_value
patch.levels: [] null=not_nullable
patch.levels[]: 7 1.5 -1=invalid_value 1e300=invalid_value
patch.flow: null "x"
patch.audience_id: null "x"=invalid_value
patch.keep: null=not_nullable "x"=invalid_value
patch.starts_at: null "x"=invalid_value
patch.ends_at: null "x"=invalid_value
patch.stages: [] null=not_nullable
patch.stages[]: {}=missing_key
patch.stages[].at: required "x"=invalid_value
patch.stages[].traffic: required 7 1.5 -1=invalid_value 1e300=invalid_value
patch.members: {} null=not_nullable
patch.members.exp_c: 7 1.5 -1=invalid_value 1e300=invalid_value
patch.share: 7 1.5 null=not_nullable -1=invalid_value 1e300=invalid_value
patch.join: [] null=not_nullable
patch.join[]: "x"=invalid_value
patch.leave: [] null=not_nullable
patch.leave[]: "x"=invalid_value
patch.outside_variation_id: null "x"=invalid_value
patch.active_limit: null=not_nullable "x"=invalid_value
patch.subject_kinds: [] null=not_nullable
patch.subject_kinds[]: "x"
patch.default_subject_kind: null "x"
patch.on: true null=not_nullable
patch.off_variation_id: null "x"=invalid_value
patch.maintainer: null "x"
patch.chain: null "x"
patch.can_reshuffle: true null=not_nullable
can_reshuffle: true
reshuffle: true
carryover: "x"=invalid_value
winner: "x"=invalid_value
reason: "x"
ship: true
shelved: required true
analysis: {}
analysis.hypothesis: "x"
analysis.kind: "x"=invalid_value
analysis.methodology: "x"=invalid_value
analysis.data_source: "x"
analysis.metrics: []
analysis.metrics[]: {}=missing_key
analysis.metrics[].metric_id: required "x"=invalid_value
analysis.metrics[].is_primary: true
analysis.metrics[].unit: "x"
analysis.attributes: []
analysis.attributes[]: "x"
analysis.covariate_id: "x"
analysis.bayesian_threshold: 7 1.5 -1=invalid_value 1e300=invalid_value
analysis.significance_threshold: 7=invalid_value 1.5=invalid_value -1=invalid_value 1e300=invalid_value
analysis.test_direction: "x"=invalid_value
analysis.correction: {}
analysis.correction.method: "x"=invalid_value
analysis.correction.scope: "x"=invalid_value
analysis.sequential: true
analysis.reallocation_interval: 7
analysis.goal: {}
analysis.goal.metric: "x"
analysis.goal.value: 7 -1 1.5 1e300
analysis.goal.direction: "x"
patch.analysis: {} null=not_nullable
patch.analysis.hypothesis: null "x"
patch.analysis.kind: "x"=invalid_value null=not_nullable
patch.analysis.methodology: null "x"=invalid_value
patch.analysis.data_source: null "x"
patch.analysis.metrics: [] null=not_nullable
patch.analysis.metrics[]: {}=missing_key
patch.analysis.metrics[].metric_id: required "x"=invalid_value
patch.analysis.metrics[].is_primary: true
patch.analysis.metrics[].unit: "x"
patch.analysis.attributes: [] null=not_nullable
patch.analysis.attributes[]: "x"
patch.analysis.covariate_id: null "x"
patch.analysis.bayesian_threshold: null 7 1.5 -1=invalid_value 1e300=invalid_value
patch.analysis.significance_threshold: null 7=invalid_value 1.5=invalid_value -1=invalid_value 1e300=invalid_value
patch.analysis.test_direction: null "x"=invalid_value
patch.analysis.correction: null {}
patch.analysis.correction.method: "x"=invalid_value
patch.analysis.correction.scope: "x"=invalid_value
patch.analysis.sequential: null true
patch.analysis.reallocation_interval: null 7
patch.analysis.goal: null {}
patch.analysis.goal.metric: "x"
patch.analysis.goal.value: 7 -1 1.5 1e300
patch.analysis.goal.direction: "x"
create_metric/id: "x"=invalid_value
create_metric/key: "x"
create_metric/maintainer: "x"
create_metric/kind: required "x"=invalid_value
create_metric/is_numeric: true
create_metric/event_key: "x"
create_metric/selector: "x"
create_metric/urls: []
create_metric/urls[]: {}=missing_key
create_metric/urls[].kind: required "x"
create_metric/urls[].url: "x" absent=invalid_value@^
create_metric/urls[].substring: "x" absent=invalid_value@^
create_metric/urls[].pattern: "x" absent=invalid_value@^
create_metric/unit: "x"
create_metric/success_criteria: "x"=invalid_value
create_metric/analysis_units: []
create_metric/analysis_units[]: "x"
create_metric/unit_aggregation: "x"=invalid_value
create_metric/analysis_type: "x"=invalid_value
create_metric/percentile: 7 1.5 -1=invalid_value 1e300=invalid_value
create_metric/event_default: {}
create_metric/event_default.disabled: true
create_metric/event_default.value: 7
create_metric/data_source: "x"
create_metric/winsor_lower_percentile: 7 1.5 -1=invalid_value 1e300=invalid_value
create_metric/winsor_upper_percentile: 7 1.5 -1=invalid_value 1e300=invalid_value
create_metric/winsor_include_imputed: true
create_metric/trace_query: "x"
create_metric/trace_value_location: "x"
create_metric/unit_aggregation_field: "x"
create_metric/value_column: "x"
create_metric/denominator: any
create_metric/filters: any
create_metric/filters[]: any
create_metric/window_start_offset: 7
create_metric/window_end_offset: 7
create_metric/members: []
create_metric/members[]: {}=missing_key
create_metric/members[].metric_id: required "x"=invalid_value
create_metric/members[].name_in_group: "x"
"#;

/// The same for transactions and events.
const EVENT_RULES: &str = r#"
: {}=missing_key
sequence: required 7
at: required "x"=invalid_value
comment: "x"
changes: required []
changes[]: {}=missing_key
changes[].change: required "x"=invalid_value
changes[].id: required "x"=invalid_value
effects: required []
effects[]: {}=missing_key
effects[].effect: required "x"=invalid_value
effects[].entity: required "x"=invalid_value
effects[].id: "x"
effects[].version: 7
effects[].fields: []
effects[].fields[]: "x"
effects[].from: "x"
effects[].to: "x"
effects[].froze: true
"#;

/// A value in a document: its path as errors write it, and as a JSON pointer.
#[derive(Debug, Clone, Default)]
struct Place {
    path: String,
    pointer: String,
}

/// Every place in a document, the root first.
fn places(document: &Value) -> Vec<Place> {
    fn visit(value: &Value, place: Place, all: &mut Vec<Place>) {
        all.push(place.clone());
        let Place { path, pointer } = place;
        match value {
            Value::Array(items) => {
                for (index, item) in items.iter().enumerate() {
                    let path = format!("{path}[{index}]");
                    visit(item, Place { path, pointer: format!("{pointer}/{index}") }, all);
                }
            }
            Value::Object(members) => {
                for (key, member) in members {
                    let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                    visit(member, Place { path, pointer: format!("{pointer}/{key}") }, all);
                }
            }
            _ => {}
        }
    }
    let mut all = Vec::new();
    visit(document, Place::default(), &mut all);
    all
}

/// What is read from a document and prints as one.
trait Read: Sized + PartialEq + serde::Serialize + DeserializeOwned {
    fn read(json: &[u8]) -> Result<Self, Error>;
}

macro_rules! reads {
    ($($name:ident)+) => {$(
        impl Read for $name {
            fn read(json: &[u8]) -> Result<Self, Error> {
                Self::from_json(json)
            }
        }
    )+};
}

reads! { Snapshot Change Transaction Event }

/// Reads a document that must be right, by serde alone as well, and shows that it prints as one
/// that leads to the same.
#[track_caller]
fn loads<T: Read>(json: &str) -> T {
    let read = T::read(json.as_bytes()).unwrap_or_else(|error| panic!("{error}\n{json}"));
    let printed = serde_json::to_string(&read).unwrap();
    let again = T::read(printed.as_bytes()).unwrap_or_else(|error| panic!("{error}\n{printed}"));
    assert!(again == read, "{json}\nmust survive\n{printed}");
    assert_eq!(serde_json::to_string(&again).unwrap(), printed);
    assert!(serde_json::from_str::<T>(json).unwrap() == read, "serde reads {json} otherwise");
    read
}

/// Reads a document that must be refused, by serde alone as well.
#[track_caller]
fn refuses<T: Read>(json: &str) -> Error {
    assert!(serde_json::from_str::<T>(json).is_err(), "serde alone must refuse {json}");
    refuses_strictly::<T>(json.as_bytes())
}

/// Reads a document that must be refused by the crate's own functions.
#[track_caller]
fn refuses_strictly<T: Read>(json: &[u8]) -> Error {
    let Err(error) = T::read(json) else {
        panic!("must be refused: {}", String::from_utf8_lossy(json));
    };
    let text = error.to_string();
    assert!(!error.rule().is_empty() && text.contains(error.rule()), "{text}");
    assert!(text.starts_with(error.path()), "{text}");
    assert!(text.contains(error.value().unwrap_or_default()), "{text}");
    assert_eq!(error.change(), None);
    error
}

/// The line of rules for a path.
fn line<'r>(rules: &'r str, path: &str) -> Option<&'r str> {
    let find =
        |path: &str| rules.lines().find_map(|line| line.strip_prefix(path)?.strip_prefix(':'));
    let mut inside = false;
    let general: String = path
        .chars()
        .filter(|c| {
            inside = *c == '[' || (inside && *c != ']');
            *c == '[' || !inside
        })
        .collect();
    let present = general.strip_prefix("revisions.");
    find(path).or_else(|| find(&general)).or_else(|| find(present?))
}

/// What must come of a document: it loads, or is refused with this code at this path or, if the
/// flag is set, within.
type Wanted = Option<(String, String, bool)>;

/// What the rules say of a replacement, or of leaving the key out (`absent`).
fn wanted(line: &str, path: &str, token: &str) -> Wanted {
    let here = |code: &str, within| Some((code.to_owned(), path.to_owned(), within));
    for word in line.split_whitespace() {
        if word == token || (word == "any" && token != "absent") {
            return None;
        }
        if word == "required" && token == "absent" {
            return here("missing_key", false);
        }
        let Some(outcome) = word.strip_prefix(token).and_then(|rest| rest.strip_prefix('=')) else {
            continue;
        };
        return match outcome.split_once('@') {
            None => here(outcome, true),
            Some((code, "^")) => {
                let above = path.rfind(['.', '[']).map_or("", |end| &path[..end]);
                Some((code.to_owned(), above.to_owned(), false))
            }
            Some((code, path)) => Some((code.to_owned(), path.to_owned(), false)),
        };
    }
    if token == "absent" { None } else { here("wrong_type", false) }
}

/// Compares what comes of a document with what must; `None` if it is the same.
fn difference<T: Read>(json: &Value, replacement: Option<&str>, wanted: &Wanted) -> Option<String> {
    let text = json.to_string();
    let Some((code, path, within)) = wanted else {
        return match T::read(text.as_bytes()) {
            Ok(_) => {
                loads::<T>(&text);
                None
            }
            Err(error) => Some(format!("must load, but {error:?}")),
        };
    };
    if T::read(text.as_bytes()).is_ok() {
        return Some(format!("must be {code} at {path}, but loads"));
    }
    let error = refuses::<T>(&text);
    let fits = error.path() == path || (*within && error.path().starts_with(&**path));
    if error.code().as_str() != code || !fits {
        return Some(format!("must be {code} at {path}, but {error:?}"));
    }
    let shown = error.value().map(|value| value.parse::<Value>().unwrap());
    let put = replacement.map(|replacement| replacement.parse::<Value>().unwrap());
    if error.code() == Code::WrongType && put.is_some() && shown != put {
        return Some(format!("must show the value, but {error:?}"));
    }
    None
}

/// Replaces every value of a document by every replacement and leaves out every key, and compares
/// what comes of it with the rules. `kind` is put before a path where the rules have it so.
#[track_caller]
fn check_replacements<T: Read>(document: &Value, kind: &str, rules: &str) {
    loads::<T>(&document.to_string());
    let mut faults = String::new();
    for Place { path, pointer } in places(document) {
        let line = line(rules, &format!("{kind}{path}")).or_else(|| line(rules, &path));
        let Some(line) = line else {
            writeln!(faults, "{kind}{path}: has no rule").unwrap();
            continue;
        };
        for token in REPLACEMENTS {
            let mut changed = document.clone();
            *changed.pointer_mut(&pointer).unwrap() = token.parse().unwrap();
            let wanted = wanted(line, &path, token);
            if let Some(fault) = difference::<T>(&changed, Some(token), &wanted) {
                writeln!(faults, "{kind}{path} as {token}: {fault}").unwrap();
            }
        }
        let mut changed = document.clone();
        let parent = pointer
            .rsplit_once('/')
            .and_then(|(parent, key)| Some((changed.pointer_mut(parent)?.as_object_mut()?, key)));
        if let Some((parent, key)) = parent {
            parent.remove(key).unwrap();
            let wanted = wanted(line, &path, "absent");
            if let Some(fault) = difference::<T>(&changed, None, &wanted) {
                writeln!(faults, "{kind}{path} left out: {fault}").unwrap();
            }
        }
    }
    assert!(faults.is_empty(), "{faults}");
}

fn full() -> Value {
    let mut document: Value = FULL.parse().unwrap();
    if cfg!(feature = "regex") {
        document["segments"][0]["rules"][1]["match"]["mask"] = json!({"regex": "^a+$"});
    }
    document
}

/// Each kind of change, with its name.
fn changes() -> Vec<(String, Value)> {
    let all: Vec<Value> = serde_json::from_str(CHANGES).unwrap();
    all.into_iter().map(|change| (change["change"].as_str().unwrap().to_owned(), change)).collect()
}

#[test]
fn every_value_of_a_snapshot_is_of_its_type() {
    check_replacements::<Snapshot>(&full(), "", SNAPSHOT_RULES);
}

#[test]
fn every_value_of_a_change_is_of_its_type() {
    for (kind, change) in changes() {
        check_replacements::<Change>(&change, &format!("{kind}/"), CHANGE_RULES);
    }
}

#[test]
fn every_value_of_a_transaction_and_an_event_is_of_its_type() {
    check_replacements::<Transaction>(&TRANSACTION.parse().unwrap(), "", EVENT_RULES);
    check_replacements::<Event>(&EVENT.parse().unwrap(), "", EVENT_RULES);
}

/// The documents above use every key of every object: those that the refusal of another lists.
#[test]
fn the_documents_use_every_key() {
    let mut used: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for document in documents() {
        for place in places(&document).iter().filter(|place| has_fixed_keys(&document, place)) {
            let error = unknown_key(&document, place);
            let (_, listed) = error.rule().split_once("the keys are ").unwrap();
            let members = document.pointer(&place.pointer).unwrap().as_object().unwrap();
            used.entry(listed.to_owned()).or_default().extend(members.keys().cloned());
        }
    }
    let mut missing = Vec::new();
    for (listed, used) in used {
        // A key that needs a feature is listed without it, too.
        let known = |key: &str| {
            used.contains(key)
                || (key == "regex" && !cfg!(feature = "regex"))
                // Only under a hash of LaunchDarkly's, and read in tests/laws/rollouts.rs.
                || key == "rollout"
                || (key == "traffic" && listed.starts_with("number, "))
        };
        let unused: Vec<_> = listed.split(", ").filter(|key| !known(key)).collect();
        if !unused.is_empty() {
            missing.push(format!("{unused:?} of {listed}"));
        }
    }
    assert_eq!(missing, Vec::<String>::new());
}

/// Whether a place holds an object whose keys are not data.
fn has_fixed_keys(document: &Value, place: &Place) -> bool {
    let last = place.pointer.rsplit('/').next().unwrap();
    let maps = [
        "parameters",
        "overrides",
        "match",
        "not_match",
        "segment_versions",
        "members",
        "value",
        "annotations",
    ];
    document.pointer(&place.pointer).unwrap().is_object()
        && !maps.contains(&last)
        && !["/value/", "/overrides/"].iter().any(|data| place.pointer.contains(data))
}

/// Reads a text as a document of the same kind as another.
#[track_caller]
fn read_like(document: &Value, text: &str) -> Result<(), Error> {
    #[track_caller]
    fn read<T: Read>(text: &str) -> Result<(), Error> {
        match T::read(text.as_bytes()) {
            Ok(_) => Ok(()),
            Err(_) => Err(refuses::<T>(text)),
        }
    }
    let has = |key: &str| document.get(key).is_some();
    match () {
        () if has("format") => read::<Snapshot>(text),
        () if has("effects") => read::<Event>(text),
        () if has("changes") => read::<Transaction>(text),
        () => read::<Change>(text),
    }
}

/// All four kinds of documents.
fn documents() -> Vec<Value> {
    let mut all = vec![full(), EVENT.parse().unwrap(), TRANSACTION.parse().unwrap()];
    all.extend(changes().into_iter().map(|(_, change)| change));
    all
}

/// A key put into the document at a place, and how it is refused.
#[track_caller]
fn unknown_key(document: &Value, place: &Place) -> Error {
    let mut changed = document.clone();
    let object = changed.pointer_mut(&place.pointer).unwrap().as_object_mut().unwrap();
    object.insert("zz top".to_owned(), json!(null));
    let error = read_like(document, &changed.to_string()).unwrap_err();
    assert_eq!(error.code(), Code::UnknownKey, "{error}");
    assert_eq!(error.path(), format!("{}[\"zz top\"]", place.path));
    error
}

#[test]
fn an_unknown_key_is_refused_at_every_level() {
    let mut checked = 0;
    for document in documents() {
        for place in places(&document) {
            if has_fixed_keys(&document, &place) {
                let error = unknown_key(&document, &place);
                assert!(error.rule().contains("the keys are "), "{error}");
                checked += 1;
            }
        }
    }
    assert!(checked > 50, "{checked}");
}

/// Prints a document; the object at a path, if one is named, with its first key a second time at
/// the end, spelled with an escape.
fn print(value: &Value, here: &str, twice: Option<&str>, escape: bool) -> String {
    match value {
        Value::Array(items) => {
            let items = items.iter().enumerate();
            let printed: Vec<_> = items
                .map(|(index, item)| print(item, &format!("{here}/{index}"), twice, escape))
                .collect();
            format!("[{}]", printed.join(","))
        }
        Value::Object(members) => {
            let mut printed: Vec<_> = members
                .iter()
                .map(|(key, member)| {
                    let member = print(member, &format!("{here}/{key}"), twice, escape);
                    format!("{}:{member}", json!(key))
                })
                .collect();
            if twice == Some(here) {
                let (key, member) = members.iter().next().unwrap();
                let (first, rest) = key.split_at(1);
                let spelled = match escape {
                    true => format!("\\u{:04x}{rest}", first.as_bytes()[0]),
                    false => key.clone(),
                };
                printed.push(format!("\"{spelled}\":{member}"));
            }
            format!("{{{}}}", printed.join(","))
        }
        _ => value.to_string(),
    }
}

#[test]
fn a_key_that_stands_twice_is_refused_at_every_level() {
    let mut checked = 0;
    for document in documents() {
        for Place { path, pointer } in places(&document) {
            let first = match document.pointer(&pointer).unwrap() {
                Value::Object(members) if !members.is_empty() => members.keys().next().unwrap(),
                _ => continue,
            };
            for escape in [false, true] {
                let text = print(&document, "", Some(&pointer), escape);
                let error = read_like(&document, &text).unwrap_err();
                assert_eq!((error.code(), error.path()), (Code::DuplicateKey, &*path), "{text}");
                assert_eq!(error.value(), Some(&*json!(first).to_string()));
                checked += 1;
            }
        }
    }
    assert!(checked > 150, "{checked}");
    // In a long object too, wherever the two stand.
    for (one, other) in [(0, 40), (0, 1), (17, 18), (39, 40), (5, 23)] {
        let mut keys: Vec<_> = (0..40).map(|number| format!("\"k{number}\":0")).collect();
        keys.insert(other, keys[one].clone());
        let value = format!("{{{}}}", keys.join(","));
        let parameter = format!(r#"{{"type":"object","value":{value}}}"#);
        let json =
            format!(r#"{{"change":"create_flag","name":"x","parameters":{{"p":{parameter}}}}}"#);
        let error = refuses::<Change>(&json);
        assert_eq!((error.code(), error.path()), (Code::DuplicateKey, "parameters.p.value"));
        assert_eq!(error.value(), Some(&*format!("\"k{one}\"")));
    }
}

#[test]
fn an_array_is_no_object_at_any_level() {
    let mut checked = 0;
    for document in documents() {
        for Place { path, pointer } in places(&document) {
            let values: Vec<Value> = match document.pointer(&pointer).unwrap() {
                Value::Object(members) => members.values().cloned().collect(),
                _ => continue,
            };
            // Within a value an array is as good as an object.
            if ["/value/", "/overrides/"].iter().any(|data| pointer.contains(data)) {
                continue;
            }
            for array in [json!(values), json!([])] {
                // Which is how a condition writes a list of texts.
                let texts = array.as_array().unwrap().iter().all(Value::is_string);
                if texts && pointer.rsplit('/').nth(1).unwrap_or_default().ends_with("match") {
                    continue;
                }
                let mut changed = document.clone();
                *changed.pointer_mut(&pointer).unwrap() = array;
                let error = read_like(&document, &changed.to_string()).unwrap_err();
                assert_eq!(error.code(), Code::WrongType, "{error}");
                let within = pointer.contains("match/") && error.path() == format!("{path}[0]");
                assert!(within || error.path() == path, "{path}: {error}");
                checked += 1;
            }
        }
    }
    assert!(checked > 150, "{checked}");
}

/// serde alone reads a part of a document, but not from a list of its values.
#[track_caller]
fn check_part<T: DeserializeOwned>(part: &Value) {
    let text = part.to_string();
    assert!(serde_json::from_str::<T>(&text).is_ok(), "{text}");
    let values: Vec<_> = part.as_object().unwrap().values().collect();
    let text = json!(values).to_string();
    assert!(serde_json::from_str::<T>(&text).is_err(), "{text}");
    for wrong in ["[]", "null", "7", "\"x\"", "true"] {
        assert!(serde_json::from_str::<T>(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn serde_alone_takes_no_array_for_an_object() {
    let full = full();
    check_part::<Snapshot>(&full);
    check_part::<Settings>(&full["settings"]);
    check_part::<Flag>(&full["flags"][0]);
    check_part::<Parameter>(&full["flags"][0]["parameters"]["headline"]);
    check_part::<Segment>(&full["segments"][0]);
    check_part::<Rule>(&full["segments"][0]["rules"][0]);
    check_part::<Allocation>(&full["experiments"][0]["allocations"][0]);
    check_part::<Stage>(&full["experiments"][0]["stages"][0]);
    check_part::<Layer>(&full["layers"][0]);
    check_part::<Holdout>(&full["holdouts"][0]);
    let event: Value = EVENT.parse().unwrap();
    check_part::<Event>(&event);
    check_part::<Effect>(&event["effects"][0]);
    check_part::<Transaction>(&TRANSACTION.parse().unwrap());
    for (kind, mut change) in changes() {
        check_part::<Change>(&change);
        match &*kind {
            "patch_flag" => check_part::<FlagPatch>(&change["patch"]),
            "patch_variation" => check_part::<VariationPatch>(&change["patch"]),
            "patch_segment" => check_part::<SegmentPatch>(&change["patch"]),
            "patch_experiment" => check_part::<ExperimentPatch>(&change["patch"]),
            "patch_layer" => check_part::<LayerPatch>(&change["patch"]),
            "patch_holdout" => check_part::<HoldoutPatch>(&change["patch"]),
            "patch_settings" => check_part::<SettingsPatch>(&change["patch"]),
            "create_variation" => check_part::<NewVariation>(&change["variation"]),
            _ => {}
        }
        change.as_object_mut().unwrap().remove("change");
        match &*kind {
            "create_flag" => check_part::<NewFlag>(&change),
            "create_segment" => check_part::<NewSegment>(&change),
            "create_experiment" => check_part::<NewExperiment>(&change),
            "create_layer" => check_part::<NewLayer>(&change),
            "create_holdout" => check_part::<NewHoldout>(&change),
            _ => {}
        }
    }
}

/// What is created is read by itself without the key that says so in a change.
#[test]
fn a_creation_by_itself_names_no_change() {
    #[track_caller]
    fn check<T: DeserializeOwned>(change: &Value) {
        loads::<Change>(&change.to_string());
        let Err(error) = serde_json::from_value::<T>(change.clone()) else {
            panic!("{change} must be refused");
        };
        assert!(error.to_string().starts_with("change: has no such key"), "{error}");
        let mut bare = change.clone();
        bare.as_object_mut().unwrap().remove("change");
        assert!(serde_json::from_value::<T>(bare.clone()).is_ok());
        let error = refuses::<Change>(&bare.to_string());
        assert_eq!((error.code(), error.path()), (Code::MissingKey, "change"));
        // The keys that are listed are those beside it.
        bare["zz"] = json!(1);
        let Err(error) = serde_json::from_value::<T>(bare) else { panic!("{change} with zz") };
        assert!(error.to_string().starts_with("zz: has no such key; the keys are id, name"));
    }
    for (kind, change) in changes() {
        match &*kind {
            "create_flag" => check::<NewFlag>(&change),
            "create_segment" => check::<NewSegment>(&change),
            "create_experiment" => check::<NewExperiment>(&change),
            "create_layer" => check::<NewLayer>(&change),
            "create_holdout" => check::<NewHoldout>(&change),
            _ => {}
        }
    }
}

/// A flag with one parameter of this default, as JSON text, in a document.
fn with_default(kind: &str, value: &str) -> String {
    let parameter = format!(r#"{{"type":"{kind}","value":{value}}}"#);
    let flag = format!(r#"{{"id":"flg_a","name":"Flag","parameters":{{"p":{parameter}}}}}"#);
    format!(r#"{{"format":"variate/1","flags":[{flag}]}}"#)
}

/// As much of a text as a message repeats.
fn cut(text: &str) -> String {
    match text.chars().count() {
        0..=80 => text.to_owned(),
        _ => text.chars().take(80).chain(['…']).collect(),
    }
}

/// A number as the default of a parameter: what it reads as, or the code of the refusal.
#[track_caller]
fn check_number(literal: &str, wanted: &Result<Value, Code>) {
    let path = "flags[0].parameters.p.value";
    for (text, path) in [
        (with_default("number", literal), path.to_owned()),
        (with_default("array", &format!("[0,[{literal}]]")), format!("{path}[1][0]")),
        (
            with_default("object", &format!(r#"{{"a\"b":{literal}}}"#)),
            format!("{path}[\"a\\\"b\"]"),
        ),
    ] {
        match wanted {
            Ok(value) => {
                let snapshot = loads::<Snapshot>(&text);
                let parameters = snapshot.flag("flg_a").unwrap().parameters();
                let read = parameters.get("p").unwrap().value();
                let read = read.get(1).map_or(read, |list| &list[0]);
                let read = read.get("a\"b").unwrap_or(read);
                assert_eq!(read, value, "{literal}");
                assert_eq!(read.to_string(), value.to_string(), "{literal}");
            }
            Err(code) => {
                let error = refuses_strictly::<Snapshot>(text.as_bytes());
                assert_eq!(error.code(), *code, "{literal}: {error}");
                if *code == Code::InvalidValue {
                    assert_eq!(error.path(), path, "{literal}: {error}");
                    let shown = cut(literal);
                    assert!(error.to_string().contains(&shown), "{error} must show {shown}");
                } else {
                    // What begins like a number is missed only after its end.
                    let near = error.path().starts_with("flags[0].parameters.p");
                    assert!(near, "{literal}: {error}");
                }
            }
        }
    }
}

#[test]
fn a_number_is_read_exactly_or_not_at_all() {
    for (literal, value) in [
        ("0", json!(0)),
        ("-0", json!(-0.0)),
        ("-0.0", json!(-0.0)),
        ("1.0", json!(1.0)),
        ("1e2", json!(100.0)),
        ("0.1", json!(0.1)),
        ("0e-400", json!(0.0)),
        ("0e400", json!(0.0)),
        ("0.000e-99999", json!(0.0)),
        ("1e308", json!(1e308)),
        ("5e-324", json!(5e-324)),
        ("2.225073858507201e-308", json!(2.225_073_858_507_201e-308)),
        ("9007199254740993", json!(9_007_199_254_740_993_u64)),
        ("18446744073709551615", json!(u64::MAX)),
        ("-9223372036854775808", json!(i64::MIN)),
        // Each prints and reads as itself only with `float_roundtrip`.
        ("0.30000000000000004", json!(0.300_000_000_000_000_04)),
        ("8.41", json!(8.41)),
        ("1.7976931348623157e308", json!(f64::MAX)),
    ] {
        check_number(literal, &Ok(value));
    }
    for literal in [
        "18446744073709551616",
        "-9223372036854775809",
        "123456789012345678901234567890",
        "100000000000000000000000000000000000000000",
        "1e-400",
        "-1e-400",
        "1E-400",
        "0.1e-400",
        "2e-324",
        "1e-99999",
        // More digits than a double keeps would be rounded to another number.
        "49.99999999999999999999",
        "100.000000000000001",
        "33.33300000000000000000000001",
        "3.14159265358979323846",
        "2.2250738585072011e-308",
    ] {
        check_number(literal, &Err(Code::InvalidValue));
    }
    check_number(&format!("0.{}1", "0".repeat(400)), &Err(Code::InvalidValue));
    for literal in [
        "1e400",
        "-1e400",
        "1E+400",
        "1e99999",
        "NaN",
        "-NaN",
        "nan",
        "Infinity",
        "-Infinity",
        "inf",
        "+1",
        "01",
        "-01",
        ".5",
        "1.",
        "1.e1",
        "1e",
        "1e+",
        "0x10",
        "1_000",
        "--1",
        "-",
        "١",
    ] {
        check_number(literal, &Err(Code::InvalidJson));
    }
}

/// A number at a key of the full document: whether it is taken, or the code.
#[track_caller]
fn check_number_at(pointer: &str, literal: &str, wanted: Option<Code>) {
    let marker = 4_321_012_345_u64;
    let mut document = full();
    let path = places(&document).into_iter().find(|place| place.pointer == pointer).unwrap().path;
    *document.pointer_mut(pointer).unwrap() = json!(marker);
    let text = document.to_string().replace(&marker.to_string(), literal);
    match wanted {
        None => drop(loads::<Snapshot>(&text)),
        Some(code) => {
            let error = refuses_strictly::<Snapshot>(text.as_bytes());
            assert_eq!((error.code(), error.path()), (code, &*path), "{literal}: {error}");
            if let Some(shown) = error.value() {
                let [shown, literal] = [shown, literal].map(|text| text.parse::<Value>().unwrap());
                let is_same = shown == literal || shown.as_f64() == literal.as_f64();
                assert!(is_same && shown.is_number() == literal.is_number(), "{error}");
            }
        }
    }
}

#[test]
fn each_number_has_its_range_and_decimals() {
    let (value, kind, json) =
        (Some(Code::InvalidValue), Some(Code::WrongType), Some(Code::InvalidJson));
    for pointer in
        ["/experiments/0/allocations/0/weight", "/experiments/0/traffic", "/experiments/2/levels/0"]
    {
        let taken = [
            "0",
            "100",
            "100.0",
            "1e2",
            "0.000001",
            "1e-6",
            "99.999999",
            "33.333333",
            "50.0000000",
            "0e0",
            "0.1e1",
        ];
        for literal in taken {
            check_number_at(pointer, literal, None);
        }
        for literal in [
            "-0",
            "-1",
            "-0.000001",
            "100.000001",
            "101",
            "1e3",
            "1000000001",
            "0.0000001",
            "1e-7",
            "33.3333333",
            "99.9999999",
            "1e300",
            "18446744073709551615",
        ] {
            check_number_at(pointer, literal, value);
        }
        check_number_at(pointer, "18446744073709551616", value);
        check_number_at(pointer, "1e-400", value);
        check_number_at(pointer, "1e400", json);
        check_number_at(pointer, "NaN", json);
        for text in ["\"50\"", "\"33.333\"", "\"0\""] {
            check_number_at(pointer, text, kind);
        }
    }
    let whole = |pointer: &str, taken: &[&str], beyond: &[&str]| {
        for literal in taken {
            check_number_at(pointer, literal, None);
        }
        for literal in beyond {
            check_number_at(pointer, literal, value);
        }
        for literal in ["-0", "-1", "1.0", "1e2", "1.5", "0.1e1", "\"1\""] {
            check_number_at(pointer, literal, kind);
        }
        for literal in ["18446744073709551616", "123456789012345678901234567890", "1e-400"] {
            check_number_at(pointer, literal, value);
        }
        check_number_at(pointer, "1e400", json);
    };
    let largest = "9007199254740991";
    let too_large = "9007199254740992";
    whole("/sequence", &["0", "1", largest], &[]);
    whole("/experiments/0/version", &["1", largest], &["0", too_large]);
    whole("/segments/0/version", &["2", "1000", largest], &["0", too_large]);
    whole("/flags/0/variations/0/version", &["1", largest], &["0", too_large]);
    whole("/experiments/0/iteration/number", &["1", "4294967295"], &["0"]);
    whole("/experiments/1/allocations/0/priority", &["1", "4294967295"], &["0"]);
    for pointer in [
        "/experiments/0/iteration/number",
        "/experiments/1/allocations/0/priority",
        "/experiments/0/iteration/partition/1/start",
    ] {
        check_number_at(pointer, "4294967296", kind);
        check_number_at(pointer, "18446744073709551615", kind);
    }
}

#[test]
fn numbers_from_rust_are_held_to_the_same() {
    let refused = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -1.0, -0.0, 1e-7, 1e10, f64::MAX];
    for float in refused {
        for error in [Weight::try_from(float).err(), Percentage::try_from(float).err()] {
            let error = error.unwrap_or_else(|| panic!("{float}"));
            assert_eq!(error.code(), Code::InvalidValue);
            assert!(error.value().is_some());
        }
    }
    // What serde_json makes of a float that is not finite is no value of a parameter.
    for float in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        let default = NewFlag::new("Flag").parameter("p", float);
        let error = refuses_change(&Snapshot::new(), default.into());
        assert_eq!((error.code(), error.path()), (Code::WrongType, "parameters.p.value"));
        let variation = NewVariation::new("variation").with("size", float);
        let error = refuses_change(&world(), Change::create_variation(&p("flg_a"), variation));
        assert_eq!((error.code(), error.path()), (Code::WrongType, "variation.overrides.size"));
    }
    // A weight beyond 100 exists, but not in an allocation.
    let arms = vec![common::share("var_a", "100.000001").control()];
    let patch = ExperimentPatch::new().allocations(arms);
    let error = refuses_change(&world(), Change::patch_experiment(&p("exp_weights"), patch));
    assert_eq!((error.code(), error.path()), (Code::InvalidValue, "patch.allocations[0].weight"));
    assert_eq!(error.value(), Some("100.000001"));
    assert!(Allocation::segment(p("var_a"), p("seg_ios"), 0).is_err());
}

#[test]
fn rules_from_rust_are_held_to_the_same() {
    let none: [&str; 0] = [];
    let any = || Expression::Exists(true);
    let eleven = (0..11).fold(Rule::new(), |rule, number| rule.unless(format!("a{number}"), any()));
    for (rule, code, path) in [
        (Rule::new(), Code::InvalidValue, "rules[1]"),
        (Rule::new().when("a", any()).when("a", any()), Code::DuplicateKey, "rules[1].match"),
        (
            Rule::new().unless("a", any()).unless("a", any()),
            Code::DuplicateKey,
            "rules[1].not_match",
        ),
        (Rule::new().when("", any()), Code::InvalidValue, "rules[1].match"),
        (Rule::new().when("a", Expression::one_of(none)), Code::InvalidValue, "rules[1].match.a"),
        (
            Rule::new().when("a b", Expression::contains(none)),
            Code::InvalidValue,
            "rules[1].match[\"a b\"].contains",
        ),
        (eleven, Code::LimitExceeded, "rules[1].not_match"),
    ] {
        let good = Rule::new().when("a", any()).unless("a", Expression::one_of(["x"]));
        let create = NewSegment::new("Segment").rule(good.clone()).rule(rule.clone());
        let patch = SegmentPatch::new().rules([good, rule]);
        let patch = Change::patch_segment(&p("seg_ios"), patch);
        for (change, prefix) in [(create.into(), ""), (patch, "patch.")] {
            let error = refuses_change(&world(), change);
            let path = format!("{prefix}{path}");
            assert_eq!((error.code(), error.path()), (code, &*path), "{error}");
        }
    }
}

/// Applies a change that must be refused, and shows that it left no trace.
#[track_caller]
fn refuses_change(snapshot: &Snapshot, change: Change) -> Error {
    let before = snapshot.to_json();
    let error = apply(snapshot, change).unwrap_err();
    assert_eq!(snapshot.to_json(), before);
    error
}

/// Text in place of the name of a flag; it is refused as no JSON, at that place if the parser gets
/// there.
#[track_caller]
fn check_no_json(text: impl AsRef<[u8]>, path: &str) {
    let text = text.as_ref();
    let error = refuses_strictly::<Snapshot>(text);
    let shown = String::from_utf8_lossy(text);
    assert_eq!((error.code(), error.path()), (Code::InvalidJson, path), "{shown}: {error}");
    assert!(serde_json::from_slice::<Snapshot>(text).is_err());
    for refused in [
        Change::from_json(text).err(),
        Transaction::from_json(text).err(),
        Event::from_json(text).err(),
    ] {
        assert_eq!(refused.unwrap().code(), Code::InvalidJson, "{shown}");
    }
}

#[test]
fn what_is_not_json_is_refused() {
    let good = r#"{"format":"variate/1"}"#;
    loads::<Snapshot>(good);
    loads::<Snapshot>(&format!(" \t\r\n{good}\n"));
    for text in [
        String::new(),
        " ".to_owned(),
        format!("\u{feff}{good}"),
        format!("{good},"),
        format!("{good}{good}"),
        format!("{good}x"),
        format!("{good}\0"),
        format!("{good}\u{a0}"),
        format!("// {good}"),
        format!("/* c */{good}"),
        format!("{good} # c"),
        r#"{"format":"variate/1",}"#.to_owned(),
        r#"{"format":"variate/1" "sequence":1}"#.to_owned(),
        "{'format':'variate/1'}".to_owned(),
        r#"{format:"variate/1"}"#.to_owned(),
        "{1:2}".to_owned(),
        "{null:2}".to_owned(),
        "}".to_owned(),
        "]".to_owned(),
    ] {
        check_no_json(text, "");
    }
    check_no_json(format!("[{good}"), "[1]");
    check_no_json(r#"{"format" "variate/1"}"#, "format");
    for (value, path) in [
        ("nul", "sequence"),
        ("True", "sequence"),
        ("'1'", "sequence"),
        ("undefined", "sequence"),
        ("", "sequence"),
        ("/**/1", "sequence"),
        ("[1,]", "sequence[1]"),
        ("[1 2]", "sequence[1]"),
        ("[", "sequence[0]"),
        ("[1", "sequence[1]"),
        (r#"{"a":1,}"#, "sequence"),
        (r#"{"a":[0,{"b":nul}]}"#, "sequence.a[1].b"),
    ] {
        check_no_json(format!(r#"{{"format":"variate/1","sequence":{value}}}"#), path);
    }
    for string in [
        r"\ud800",
        r"\udc00",
        r"\ud800\ud800",
        r"\ud800x",
        r"\udc00\ud800",
        r"\u12",
        r"\u{41}",
        r"\x41",
        r"\'",
        "\n",
        "\t",
        "\0",
        "\u{1f}",
        "\\",
    ] {
        check_no_json(format!(r#"{{"format":"{string}"}}"#), "format");
        check_no_json(format!(r#"{{"{string}":1}}"#), "");
    }
}

#[test]
fn what_is_not_utf_8_is_refused() {
    let faults: [&[u8]; 8] = [
        b"\x80",
        b"\xff",
        b"\xc3",
        b"\xc0\x80",
        b"\xed\xa0\x80",
        b"\xf4\x90\x80\x80",
        b"\xf0\x9f\x91",
        b"\xe9",
    ];
    for fault in faults {
        for (before, after) in [
            (&br#"{"format":""#[..], &br#""}"#[..]),
            (br#"{""#, br#"":1}"#),
            (b"", br#"{"format":"variate/1"}"#),
            (br#"{"format":"variate/1"}"#, b""),
        ] {
            let text = [before, fault, after].concat();
            check_no_json(&text, "");
            let error = refuses_strictly::<Snapshot>(&text);
            let end = format!("byte {}", before.len());
            assert!(error.rule().contains(&end), "{error} must say {end}");
        }
    }
    let wide: Vec<u8> =
        r#"{"format":"variate/1"}"#.encode_utf16().flat_map(u16::to_le_bytes).collect();
    check_no_json(wide, "");
}

#[test]
fn text_of_every_kind_survives() {
    let parameters: serde_json::Map<_, _> =
        ["\0", "\u{7f}", "\u{10ffff}", "👩‍🚀", "e\u{301}", "\u{feff}", "\"\\/"]
            .iter()
            .map(|text| {
                let key = format!("{text} key");
                (key, json!({"type": "string", "value": text, "description": text}))
            })
            .collect();
    let flag = json!({"id": "flg_a", "name": "Flag \u{10ffff} 👩‍🚀", "parameters": parameters});
    let document = json!({"format": "variate/1", "flags": [flag]});
    let snapshot = loads::<Snapshot>(&document.to_string());
    let escaped = document.to_string().replace("👩", r"\ud83d\udc69");
    assert!(escaped.contains(r"\ud83d"));
    assert!(loads::<Snapshot>(&escaped) == snapshot);
}

/// No text that ends early is a document.
#[test]
fn every_prefix_is_refused() {
    for document in documents() {
        let text = document.to_string();
        for end in 0..text.len() {
            let error = read_like(&document, &text[..end]).unwrap_err();
            assert_eq!(error.code(), Code::InvalidJson, "{}: {error}", &text[..end]);
        }
        read_like(&document, &text).unwrap();
    }
}

/// Nested arrays, or objects.
fn nested(depth: usize, arrays: bool) -> String {
    let (open, close, last) = if arrays { ("[", "]", "") } else { ("{\"a\":", "}", "0") };
    format!("{}{last}{}", open.repeat(depth), close.repeat(depth))
}

/// A default stands five deep in a document, and is itself nested at most 32 deep.
#[test]
fn nesting_is_bounded() {
    for arrays in [true, false] {
        let kind = if arrays { "array" } else { "object" };
        let document = |depth: usize| with_default(kind, &nested(depth - 5, arrays));
        loads::<Snapshot>(&document(36));
        loads::<Snapshot>(&document(37));
        for depth in [38, 63, 64] {
            let error = refuses::<Snapshot>(&document(depth));
            assert_eq!(error.code(), Code::LimitExceeded);
            assert_eq!(error.path(), "flags[0].parameters.p.value");
            assert_eq!(error.rule(), "must be nested at most 32 deep");
        }
        for depth in [65, 66, 127, 128, 129, 200, 10_000, 1_000_000] {
            let error = refuses::<Snapshot>(&document(depth));
            assert_eq!(error.code(), Code::InvalidJson);
            assert!(error.path().starts_with("flags[0].parameters.p.value"), "{error}");
            assert!(error.rule().contains("at most 64 deep"), "{}", error.rule());
            // Not closed, or the whole text.
            for text in [nested(depth, arrays), "[".repeat(depth), "{\"a\":".repeat(depth)] {
                for code in [
                    refuses::<Snapshot>(&text).code(),
                    refuses::<Change>(&text).code(),
                    refuses::<Transaction>(&text).code(),
                    refuses::<Event>(&text).code(),
                ] {
                    assert_eq!(code, Code::InvalidJson);
                }
            }
        }
        // Beyond its own limit the parser's takes over.
        for limit in [0, 3, 37, 120, 1_000, usize::MAX] {
            let limits = Limits { depth: limit, ..Limits::DEFAULT };
            for depth in [6, 37, 38, 119, 120, 121, 128, 129, 10_000] {
                let outcome = Snapshot::from_json_within(document(depth), &limits);
                match outcome.as_ref().map_err(Error::code) {
                    Ok(_) => assert!(depth <= limit.min(37), "{depth} within {limit}"),
                    Err(Code::LimitExceeded) => {
                        assert!((38..=limit.min(127)).contains(&depth), "{depth} within {limit}");
                    }
                    Err(code) => {
                        assert_eq!(code, Code::InvalidJson);
                        assert!(depth > limit.min(120), "{depth} within {limit}");
                    }
                }
            }
        }
    }
}

#[test]
fn the_nesting_of_every_value_is_bounded() {
    for depth in [1, 31, 32, 33, 34] {
        for arrays in [true, false] {
            let value: Value = nested(depth, arrays).parse().unwrap();
            // The deepest part may stand anywhere.
            let (kind, values) = match arrays {
                true => ("array", [value.clone(), json!([0, value[0], [{"a": []}]])]),
                false => ("object", [value.clone(), json!({"a": value["a"], "b": 0, "c": [[0]]})]),
            };
            let values = if depth < 4 { &values[..1] } else { &values };
            for value in values {
                let limit = |path| (depth > 32).then_some((Code::LimitExceeded, path));
                let parameter = json!({"type": kind, "value": value});
                check_field(Kind::Flag, "/parameters/p", &parameter, limit("parameters.p.value"));
                check_overrides(kind, value, limit("overrides.p"));
                check_from_rust(value, depth <= 32);
            }
        }
    }
    // However deep it is, Rust can hand it over.
    let deep = (0..1_000).fold(json!(0), |inner, _| json!([inner]));
    check_from_rust(&deep, false);
}

/// The small document with a parameter of the kind of a value, and that value to override it with.
#[track_caller]
fn check_overrides(kind: &str, value: &Value, wanted: Option<(Code, &str)>) {
    let mut document = small();
    let empty = if kind == "array" { json!([]) } else { json!({}) };
    document["flags"][0]["parameters"]["p"] = json!({"type": kind, "value": empty});
    let before = loads::<Snapshot>(&document.to_string());
    document["flags"][0]["variations"][0]["overrides"] = json!({"p": value});
    let text = document.to_string();
    match wanted {
        None => drop(loads::<Snapshot>(&text)),
        Some((code, path)) => {
            let error = refuses::<Snapshot>(&text);
            let path = format!("flags[0].variations[0].{path}");
            assert_eq!((error.code(), error.path()), (code, &*path), "{error}");
        }
    }
    let overrides = json!({"p": value});
    let variation = json!({"name": "other", "overrides": overrides});
    let flag = json!({
        "change": "create_flag", "name": "Other", "variations": [variation],
        "parameters": {"p": {"type": kind, "value": empty}}
    });
    let create = json!({"change": "create_variation", "flag_id": "flg_a", "variation": variation});
    let patch =
        json!({"change": "patch_variation", "id": "var_a", "patch": {"overrides": overrides}});
    for (change, prefix) in [(flag, "variations[0]"), (create, "variation"), (patch, "patch")] {
        let wanted = wanted.map(|(code, path)| (code, format!("{prefix}.{path}")));
        check_change(&before, &change, wanted, kind);
    }
}

/// A value as a default and as an override, in changes made in Rust.
#[track_caller]
fn check_from_rust(value: &Value, is_taken: bool) {
    let empty = if value.is_array() { json!([]) } else { json!({}) };
    let flag = NewFlag::new("Flag").id(p("flg_a"));
    let control = || NewVariation::new("control").id(p("var_a"));
    let before = flag.clone().parameter("p", empty.clone()).variation(control());
    let before = common::ok(&Snapshot::new(), before);
    let parameters = [("p".to_owned(), value.clone().into())].into();
    let overrides = [("p".to_owned(), value.clone())].into();
    let other = || NewVariation::new("other").with("p", value.clone());
    let several = NewFlag::new("Other").parameter("p", empty).variation(other());
    for (snapshot, change, path) in [
        (&Snapshot::new(), flag.parameter("p", value.clone()).into(), "parameters.p.value"),
        (&before, several.into(), "variations[0].overrides.p"),
        (&before, Change::create_variation(&p("flg_a"), other()), "variation.overrides.p"),
        (
            &before,
            Change::patch_flag(&p("flg_a"), FlagPatch::new().parameters(parameters)),
            "patch.parameters.p.value",
        ),
        (
            &before,
            Change::patch_variation(&p("var_a"), VariationPatch::new().overrides(overrides)),
            "patch.overrides.p",
        ),
    ] {
        if is_taken {
            check_survives(&apply(snapshot, change).unwrap());
            continue;
        }
        let error = refuses_change(snapshot, change);
        assert_eq!((error.code(), error.path()), (Code::LimitExceeded, path), "{error}");
        assert_eq!(error.rule(), "must be nested at most 32 deep");
    }
}

#[test]
fn the_length_of_a_text_is_bounded() {
    let text = format!("{{\"format\":\"variate/1\"}}{}", " ".repeat(100));
    let within = |bytes| Snapshot::from_json_within(&text, &Limits { bytes, ..Limits::DEFAULT });
    assert!(within(text.len()).is_ok());
    let error = within(text.len() - 1).unwrap_err();
    assert_eq!((error.code(), error.path()), (Code::InvalidJson, ""));
    assert_eq!(error.value(), Some(&*text.len().to_string()));
    assert!(error.rule().contains(&(text.len() - 1).to_string()));

    let mut huge = text.into_bytes();
    huge.resize(64 << 20, b' ');
    assert!(Snapshot::from_json(&huge).is_ok());
    huge.push(b' ');
    assert_eq!(refuses_strictly::<Snapshot>(&huge).code(), Code::InvalidJson);
    // Whatever it is, it is not even looked at.
    let huge = vec![b'{'; 100_000_000];
    let start = Instant::now();
    for error in [
        Snapshot::from_json(&huge).unwrap_err(),
        Change::from_json(&huge).unwrap_err(),
        Transaction::from_json(&huge).unwrap_err(),
        Event::from_json(&huge).unwrap_err(),
    ] {
        assert_eq!(error.value(), Some("100000000"));
    }
    assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
}

/// Counts what the thread holds of the heap.
struct Counting;

thread_local! {
    static HELD: Cell<usize> = const { Cell::new(0) };
    static MOST: Cell<usize> = const { Cell::new(0) };
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn count(taken: usize, given: usize) {
    HELD.set(HELD.get().saturating_add(taken).saturating_sub(given));
    MOST.set(MOST.get().max(HELD.get()));
}

// SAFETY: every call goes to the system's allocator as it is.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size(), 0);
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        count(0, layout.size());
        unsafe { System.dealloc(at, layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size, layout.size());
        unsafe { System.realloc(at, layout, size) }
    }
}

/// The most that a call holds of the heap at once.
fn most<T>(call: impl FnOnce() -> T) -> (T, usize) {
    let before = HELD.get();
    MOST.set(before);
    let result = call();
    (result, MOST.get() - before)
}

#[test]
fn the_number_of_values_is_bounded() {
    // The document, its format and the list are three.
    let list = |items: usize| {
        let items = vec!["0"; items].join(",");
        format!(r#"{{"format":"variate/1","flags":[{items}]}}"#)
    };
    for values in [4, 10, 1_000] {
        let limits = Limits { values, ..Limits::DEFAULT };
        let read = |items| Snapshot::from_json_within(list(items), &limits).unwrap_err();
        assert_eq!(read(values - 3).code(), Code::WrongType, "read, and then no flag");
        let error = read(values - 2);
        assert_eq!(error.code(), Code::InvalidJson);
        assert_eq!(error.path(), format!("flags[{}]", values - 3));
        assert!(error.rule().contains(&format!("at most {values} values")));
    }
    // A level or a member is a value too.
    for text in
        ["[[[[[]]]]]", r#"{"a":{"b":{"c":{"d":{}}}}}"#, "[[],{},[],{}]", "[1,null,\"x\",true]"]
    {
        let read = |values| {
            let limits = Limits { values, ..Limits::DEFAULT };
            Snapshot::from_json_within(text, &limits).unwrap_err().code()
        };
        assert_eq!(read(4), Code::InvalidJson, "{text}");
        assert_ne!(read(5), Code::InvalidJson, "{text}");
    }
    let text = format!("[{}0]", "0,".repeat((8 << 20) + 1));
    let error = refuses_strictly::<Snapshot>(text.as_bytes());
    assert_eq!(error.code(), Code::InvalidJson);
    assert!(error.rule().contains("at most 8388608 values"), "{error}");
}

/// Whatever a text is made of, reading it takes at most 128 bytes for each value that it may have,
/// beside as many as the text is long.
#[test]
fn the_memory_that_a_reading_takes_is_bounded() {
    let deep = |open: &str, close: &str| (format!("{}0{},", open.repeat(60), close.repeat(60)), 61);
    let one = |item: &str, values: usize| (item.to_owned(), values);
    for (item, each) in [
        one("0,", 1),
        one("[],", 1),
        one("{},", 1),
        one("[0],", 2),
        one("[0,0,0,0,0],", 6),
        one("{\"a\":0},", 2),
        one("{\"a\":0,\"b\":0},", 3),
        one("\"\\n\",", 1),
        one(&format!("\"{}\\n\",", "x".repeat(100)), 1),
        one(&format!("{{\"{}\\n\":0}},", "x".repeat(100)), 2),
        deep("[", "]"),
        deep("{\"a\":", "}"),
        // Two and three values a level.
        (format!("{}0{},", "[0,".repeat(60), "]".repeat(60)), 121),
        (format!("{}0{},", "{\"a\":0,\"b\":".repeat(60), "}".repeat(60)), 121),
    ] {
        // A list of as many doubles its room, or has just done so.
        for values in [1 << 16, (1 << 16) + 2] {
            let text = format!("[{}0]", item.repeat(values / each + 1));
            check_memory(&text, values, Code::InvalidJson);
        }
    }
    // Lists and objects whose end is reached.
    for values in [1 << 16, (1 << 16) + 2] {
        let items = values - 1;
        check_memory(&format!("[{}0]", "0,".repeat(items - 1)), values, Code::WrongType);
        let keys: Vec<_> = (0..items).map(|number| format!("\"{number:x}\":0")).collect();
        check_memory(&format!("{{{}}}", keys.join(",")), values, Code::UnknownKey);
    }
}

#[track_caller]
fn check_memory(text: &str, values: usize, code: Code) {
    let limits = Limits { values, ..Limits::DEFAULT };
    let (outcome, most) = most(|| Snapshot::from_json_within(text, &limits));
    assert_eq!(outcome.unwrap_err().code(), code);
    assert!(most <= 128 * values + text.len(), "{most} bytes for {}", &text[..20]);
}

/// A small document, one of each kind.
fn small() -> Value {
    json!({
        "format": "variate/1",
        "flags": [{
            "id": "flg_a",
            "name": "Flag",
            "parameters": {"p": {"type": "string", "value": "v"}},
            "variations": [{"id": "var_a", "name": "control"}]
        }],
        "segments": [{
            "id": "seg_a",
            "name": "Segment",
            "rules": [{"match": {"country": ["DE"]}}]
        }],
        "experiments": [{
            "id": "exp_a",
            "name": "Experiment",
            "flag_id": "flg_a",
            "strategy": "percentage",
            "allocations": [{"variation_id": "var_a", "weight": 100, "is_control": true}]
        }],
        "layers": [{"id": "lay_a", "name": "Layer"}],
        "holdouts": [{"id": "hld_a", "name": "Holdout", "share": 5}]
    })
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Kind {
    Flag,
    Variation,
    Segment,
    Experiment,
    Layer,
    Holdout,
}

impl Kind {
    /// Where it stands in `small()`.
    fn place(self) -> Place {
        let (path, pointer) = match self {
            Self::Flag => ("flags[0]", "/flags/0"),
            Self::Variation => ("flags[0].variations[0]", "/flags/0/variations/0"),
            Self::Segment => ("segments[0]", "/segments/0"),
            Self::Experiment => ("experiments[0]", "/experiments/0"),
            Self::Layer => ("layers[0]", "/layers/0"),
            Self::Holdout => ("holdouts[0]", "/holdouts/0"),
        };
        Place { path: path.to_owned(), pointer: pointer.to_owned() }
    }

    /// What creates this entity, where its fields stand in it, and the world before.
    fn creation(self, entity: &Value) -> (Value, &'static str, Snapshot) {
        let mut before = small();
        let mut change = entity.clone();
        let (name, path) = match self {
            Self::Flag => {
                before["experiments"] = json!([]);
                before["flags"] = json!([]);
                ("create_flag", "")
            }
            Self::Variation => {
                before["experiments"] = json!([]);
                before["flags"][0]["variations"] = json!([]);
                change = json!({"flag_id": "flg_a", "variation": entity});
                ("create_variation", "variation.")
            }
            Self::Segment => {
                before["segments"] = json!([]);
                ("create_segment", "")
            }
            Self::Experiment => {
                before["experiments"] = json!([]);
                ("create_experiment", "")
            }
            Self::Layer => {
                before["layers"] = json!([]);
                ("create_layer", "")
            }
            Self::Holdout => {
                before["holdouts"] = json!([]);
                ("create_holdout", "")
            }
        };
        change["change"] = json!(name);
        (change, path, Snapshot::from_json(before.to_string()).unwrap())
    }

    /// The change that gives a field this value, if there is one.
    fn edit(self, field: &str, value: &Value) -> Option<Value> {
        let (name, id, fields): (_, _, &[&str]) = match self {
            Self::Flag => {
                let fields = &["name", "description", "parameters", "on", "off_variation_id"];
                ("patch_flag", "flg_a", fields)
            }
            Self::Variation => ("patch_variation", "var_a", &["name", "description", "overrides"]),
            Self::Segment => ("patch_segment", "seg_a", &["name", "description", "rules"]),
            Self::Experiment => {
                let fields = &[
                    "name",
                    "description",
                    "tags",
                    "flow",
                    "subject_kind",
                    "allocations",
                    "traffic",
                    "levels",
                    "audience_id",
                    "outside_variation_id",
                    "keep",
                    "starts_at",
                    "ends_at",
                    "stages",
                    "maintainer",
                    "chain",
                    "annotations",
                ];
                ("patch_experiment", "exp_a", fields)
            }
            Self::Layer => ("patch_layer", "lay_a", &["name", "description", "members"]),
            Self::Holdout => ("patch_holdout", "hld_a", &["name", "description", "share"]),
        };
        let there_is = fields.contains(&field);
        there_is.then(|| json!({"change": name, "id": id, "patch": {field: value}}))
    }
}

/// Gives a field of an entity this value, in a document, when it is created and when it is edited:
/// whether that is taken, or refused with this code at this path within the entity.
#[track_caller]
fn check_field(kind: Kind, pointer: &str, value: &Value, wanted: Option<(Code, &str)>) {
    let mut document = small();
    let place = kind.place();
    let entity = document.pointer_mut(&place.pointer).unwrap();
    put(entity, pointer, value);
    let entity = entity.clone();
    let shown: String = format!("{kind:?} {pointer} {value}").chars().take(120).collect();

    match wanted {
        None => drop(loads::<Snapshot>(&document.to_string())),
        Some((code, path)) => {
            let error = refuses::<Snapshot>(&document.to_string());
            let path = format!("{}.{path}", place.path);
            assert_eq!((error.code(), error.path()), (code, &*path), "{shown}: {error}");
        }
    }
    let (creation, prefix, before) = kind.creation(&entity);
    check_change(
        &before,
        &creation,
        wanted.map(|(code, path)| (code, format!("{prefix}{path}"))),
        &shown,
    );
    let field = pointer[1..].split('/').next().unwrap();
    if let Some(edit) = kind.edit(field, &entity[field]) {
        let before = Snapshot::from_json(small().to_string()).unwrap();
        let wanted = wanted.map(|(code, path)| (code, format!("patch.{path}")));
        check_change(&before, &edit, wanted, &shown);
    }
}

/// Puts a value into another, where there may be none yet.
fn put(entity: &mut Value, pointer: &str, value: &Value) {
    let (parent, key) = pointer.rsplit_once('/').unwrap();
    let parent = entity.pointer_mut(parent).unwrap();
    let key = key.replace("~1", "/").replace("~0", "~");
    match parent {
        Value::Array(items) => items[key.parse::<usize>().unwrap()] = value.clone(),
        _ => parent[&key] = value.clone(),
    }
}

/// Reads a change and applies it: it is taken, or refused with this code at this path, whether that
/// is found when it is read or when it is applied. What it leads to survives, and so does its event.
#[track_caller]
fn check_change(before: &Snapshot, json: &Value, wanted: Option<(Code, String)>, shown: &str) {
    let text = before.to_json();
    let outcome = Change::from_json(json.to_string()).and_then(|change| {
        loads::<Change>(&json.to_string());
        apply(before, change)
    });
    assert_eq!(before.to_json(), text, "{shown}");
    match (outcome, wanted) {
        (Ok(commit), None) => check_survives(&commit),
        (Err(error), Some((code, path))) => {
            assert_eq!((error.code(), error.path()), (code, &*path), "{shown}: {error}");
        }
        (Ok(_), Some(wanted)) => panic!("{shown}: must be refused with {wanted:?}"),
        (Err(error), None) => panic!("{shown}: {error}"),
    }
}

/// What was accepted survives its document, and what happened survives its event's.
#[track_caller]
fn check_survives(commit: &Commit) {
    assert!(loads::<Snapshot>(&commit.snapshot.to_json()) == *commit.snapshot);
    if let Some(event) = &commit.event {
        assert!(loads::<Event>(&serde_json::to_string(event).unwrap()) == **event);
    }
}

/// Texts of one, two and four bytes a character.
const LETTERS: [&str; 4] = ["x", "é", "水", "🦀"];

/// A text field takes from `min` to `max` characters, counted as code points.
#[track_caller]
fn check_length(kind: Kind, pointer: &str, letters: &[&str], [min, max]: [usize; 2], code: Code) {
    let path = pointer[1..].replace('/', ".").replace(".0", "[0]");
    for letter in letters {
        for length in [min.saturating_sub(1), min, min + 1, max - 1, max, max + 1, 4 * max + 1] {
            let good = (min..=max).contains(&length);
            let wanted = (!good).then_some((code, &*path));
            check_field(kind, pointer, &json!(letter.repeat(length)), wanted);
        }
    }
}

#[test]
fn the_length_of_every_text_is_bounded() {
    use Kind::{Experiment, Flag, Holdout, Layer, Segment, Variation};
    for kind in [Flag, Variation, Segment, Experiment, Layer, Holdout] {
        check_length(kind, "/name", &LETTERS, [1, 255], Code::InvalidValue);
        check_length(kind, "/description", &LETTERS, [1, 2048], Code::InvalidValue);
    }
    for kind in [Flag, Experiment, Layer, Holdout] {
        check_length(kind, "/key", &["x"], [1, 256], Code::InvalidValue);
    }
    check_length(Experiment, "/maintainer", &LETTERS, [1, 255], Code::InvalidValue);
    check_length(Experiment, "/chain", &LETTERS, [0, 255], Code::InvalidValue);
    check_length(Experiment, "/allocations/0/name", &LETTERS, [1, 255], Code::InvalidValue);
    check_length(Experiment, "/flow", &LETTERS, [1, 255], Code::InvalidValue);
    check_length(Experiment, "/salt", &LETTERS, [1, 255], Code::InvalidValue);
    check_length(Experiment, "/subject_kind", &["x"], [1, 64], Code::InvalidValue);
    for (letter, length) in LETTERS.iter().zip([0, 1, 254, 255, 256, 300].iter().cycle()) {
        let wanted = (!(1..=255).contains(length)).then_some((Code::InvalidValue, "tags[1]"));
        check_field(Experiment, "/tags", &json!(["first", letter.repeat(*length)]), wanted);
        let wanted = wanted.map(|(code, _)| (code, "annotations"));
        check_field(Experiment, "/annotations", &json!({letter.repeat(*length): "x"}), wanted);
    }
    for (letter, length) in LETTERS.iter().zip([0, 1, 2047, 2048, 2049, 9_000].iter().cycle()) {
        let wanted =
            (!(1..=2048).contains(length)).then_some((Code::InvalidValue, "annotations.ticket"));
        let noted = json!({"ticket": letter.repeat(*length)});
        check_field(Experiment, "/annotations", &noted, wanted);
    }
    for letter in LETTERS {
        for length in [0, 1, 254, 255, 256, 1_021] {
            let described =
                json!({"type": "string", "value": "v", "description": letter.repeat(length)});
            let wanted = (length > 255).then_some((Code::InvalidValue, "parameters.p.description"));
            check_field(Flag, "/parameters/p", &described, wanted);
            let named = json!({letter.repeat(length): {"type": "string", "value": "v"}});
            let wanted =
                (!(1..=255).contains(&length)).then_some((Code::InvalidValue, "parameters"));
            check_field(Flag, "/parameters", &named, wanted);
        }
        for length in [0, 1, 1_023, 1_024, 1_025] {
            let item = letter.repeat(length);
            for (condition, path) in [
                (json!(["DE", item]), "rules[0].match.country[1]"),
                (json!({"contains": ["DE", item]}), "rules[0].match.country.contains[1]"),
                (json!({"starts_with": ["DE", item]}), "rules[0].match.country.starts_with[1]"),
                (json!({"ends_with": ["DE", item]}), "rules[0].match.country.ends_with[1]"),
            ] {
                let rules = json!([{"match": {"country": condition}}]);
                // A rule has at most 4096 bytes, which 1024 crabs exceed.
                let too_large = rules[0].to_string().len() > 4096;
                let wanted = match () {
                    () if length > 1_024 => Some((Code::InvalidValue, path)),
                    () if too_large => Some((Code::LimitExceeded, "rules[0]")),
                    () => None,
                };
                check_field(Segment, "/rules", &rules, wanted);
            }
        }
        for length in [0, 1, 254, 255, 256] {
            let rules = json!([{"not_match": {letter.repeat(length): ["DE"]}}]);
            let wanted = (!(1..=255).contains(&length))
                .then_some((Code::InvalidValue, "rules[0].not_match"));
            check_field(Segment, "/rules", &rules, wanted);
        }
    }
}

#[test]
fn every_text_is_of_its_pattern() {
    use Kind::{Experiment, Flag, Holdout, Layer, Segment, Variation};
    let bad_lines = [
        " abc",
        "abc ",
        "\tabc",
        "abc\n",
        "a\nbc",
        "a\rbc",
        "a\u{2028}bc",
        "a\u{2029}bc",
        "a\0bc",
        "abc\u{a0}",
        "\u{3000}abc",
        "\u{feff}abc",
        "   ",
    ];
    for kind in [Flag, Variation, Segment, Experiment, Layer, Holdout] {
        for field in ["name", "description"] {
            for text in bad_lines {
                let wanted = Some((Code::InvalidValue, field));
                check_field(kind, &format!("/{field}"), &json!(text), wanted);
            }
            for text in ["a b", "a\tb", "a\u{a0}b", "\u{200b}ab", "a\u{85}b", "---", "\"a\""] {
                check_field(kind, &format!("/{field}"), &json!(text), None);
            }
        }
    }
    for text in bad_lines {
        check_field(Experiment, "/flow", &json!(text), Some((Code::InvalidValue, "flow")));
        check_field(Experiment, "/tags", &json!([text]), Some((Code::InvalidValue, "tags[0]")));
        let wanted = Some((Code::InvalidValue, "annotations"));
        check_field(Experiment, "/annotations", &json!({text: "x"}), wanted);
        let wanted = Some((Code::InvalidValue, "maintainer"));
        check_field(Experiment, "/maintainer", &json!(text), wanted);
        let wanted = Some((Code::InvalidValue, "allocations[0].name"));
        check_field(Experiment, "/allocations/0/name", &json!(text), wanted);
        check_field(Experiment, "/salt", &json!(text), None);
        let wanted = text.contains('\0').then_some((Code::InvalidValue, "chain"));
        check_field(Experiment, "/chain", &json!(text), wanted);
    }
    for text in ["a b", "ä", "a/b", "a:b", " a", "a\n", "a\0"] {
        let wanted = Some((Code::InvalidValue, "subject_kind"));
        check_field(Experiment, "/subject_kind", &json!(text), wanted);
    }
    check_field(Experiment, "/subject_kind", &json!("a.B_9-"), None);
    for kind in [Flag, Experiment, Layer, Holdout] {
        for text in ["a b", "ä", "a/b", "a:b", " a", "a\n", "a\0"] {
            check_field(kind, "/key", &json!(text), Some((Code::InvalidValue, "key")));
        }
        for text in ["a", "7", "a.B_9-", "0..", "exp_a", ".a", "_a", "-a"] {
            check_field(kind, "/key", &json!(text), None);
        }
    }
    let twice = json!(["a", "b", "a"]);
    check_field(Experiment, "/tags", &twice, Some((Code::InvalidValue, "tags[2]")));
    check_field(Experiment, "/tags", &json!(["a", "A", "á", "a\u{301}"]), None);
}

#[test]
fn every_id_is_of_its_pattern() {
    let long = |prefix: &str, length: usize| format!("{prefix}{}", "Z".repeat(length - 4));
    for (kind, prefix) in [
        (Kind::Flag, "flg_"),
        (Kind::Variation, "var_"),
        (Kind::Segment, "seg_"),
        (Kind::Experiment, "exp_"),
        (Kind::Layer, "lay_"),
        (Kind::Holdout, "hld_"),
    ] {
        // Nobody refers to it here.
        let check = |id: &str, is_good: bool| {
            let mut document = small();
            if kind != Kind::Experiment {
                document["experiments"] = json!([]);
            }
            *document.pointer_mut(&format!("{}/id", kind.place().pointer)).unwrap() = json!(id);
            if is_good {
                loads::<Snapshot>(&document.to_string());
                return;
            }
            let error = refuses::<Snapshot>(&document.to_string());
            let path = format!("{}.id", kind.place().path);
            assert_eq!((error.code(), error.path()), (Code::InvalidValue, &*path), "{id}");
        };
        for good in ["1", "z", "Z", "AHJNPZakmz19"] {
            check(&format!("{prefix}{good}"), true);
        }
        check(&long(prefix, 255), true);
        check(&long(prefix, 256), false);
        check(&long(prefix, 100_000), false);
        let others = ["flg_a", "var_a", "seg_a", "exp_a", "lay_a", "hld_a"];
        for bad in others.iter().filter(|id| !id.starts_with(prefix)) {
            check(bad, false);
        }
        for bad in ["0", "O", "I", "l", "a_b", "a-b", "a b", "ä", "a\0", " a", "a ", "１", ""] {
            check(&format!("{prefix}{bad}"), false);
        }
        for bad in ["", "a", &prefix[..3], &prefix.to_uppercase(), &format!(" {prefix}a")] {
            check(bad, false);
        }
    }
}

#[test]
fn every_list_is_bounded() {
    use Kind::{Experiment, Flag, Segment};
    let limit = Code::LimitExceeded;
    for count in [0, 1, 2, 9, 10, 11, 12, 500] {
        let parameters: serde_json::Map<_, _> = (0..count)
            .map(|number| (format!("p{number}"), json!({"type": "number", "value": number})))
            .collect();
        let wanted = (!(1..=10).contains(&count)).then_some((limit, "parameters"));
        check_field(Flag, "/parameters", &json!(parameters), wanted);
        let conditions: serde_json::Map<_, _> =
            (0..count).map(|number| (format!("a{number}"), json!(["x"]))).collect();
        for (key, other, path) in
            [("match", "not_match", "rules[0].match"), ("not_match", "match", "rules[0].not_match")]
        {
            let wanted = match count {
                0 => continue,
                1..=10 => None,
                _ => Some((limit, path)),
            };
            let rules = json!([{key: conditions, other: {"b": {"exists": false}}}]);
            check_field(Segment, "/rules", &rules, wanted);
        }
    }
    for count in [0, 1, 19, 20, 21, 22, 300] {
        let arms = vec![json!({"variation_id": "var_a", "weight": 5}); count];
        let wanted = (count > 20).then_some((limit, "allocations"));
        check_field(Experiment, "/allocations", &json!(arms), wanted);
    }
    for count in [0, 1, 63, 64, 65, 500] {
        let noted: BTreeMap<_, _> = (0..count).map(|n| (format!("k{n}"), "x")).collect();
        let wanted = (count > 64).then_some((limit, "annotations"));
        check_field(Experiment, "/annotations", &json!(noted), wanted);
    }
    for count in [0, 1, 99, 100, 101, 102, 1_000] {
        let tags: Vec<_> = (0..count).map(|number| format!("tag {number}")).collect();
        let wanted = (count > 100).then_some((limit, "tags"));
        check_field(Experiment, "/tags", &json!(tags), wanted);
        let levels: Vec<_> = (0..count).map(|number| f64::from(number) / 10.0).collect();
        let wanted = (count > 101).then_some((limit, "levels"));
        check_field(Experiment, "/levels", &json!(levels), wanted);
        let stages: Vec<_> = (0..count)
            .map(|number| json!({"at": moment(number), "traffic": f64::from(number) / 10.0}))
            .collect();
        let wanted = (count > 101).then_some((limit, "stages"));
        check_field(Experiment, "/stages", &json!(stages), wanted);
        let mut variations: Vec<_> = (1..count)
            .map(|number| {
                let id = format!("var_b{}", number.to_string().replace('0', "z"));
                json!({"id": id, "name": format!("variation {number}")})
            })
            .collect();
        variations.insert(0, json!({"id": "var_a", "name": "control"}));
        let wanted = (variations.len() > 100).then_some((limit, "variations"));
        check_field(Flag, "/variations", &json!(variations), wanted);
        if variations.len() == 100 {
            let mut document = small();
            document["flags"][0]["variations"] = json!(variations);
            let full = loads::<Snapshot>(&document.to_string());
            let one_more = json!({
                "change": "create_variation", "flag_id": "flg_a", "variation": {"name": "one more"}
            });
            check_change(&full, &one_more, Some((limit, "variations".to_owned())), "101st");
        }
    }
    let one = json!([{"match": {"a": {"exists": true}}}]);
    check_field(Segment, "/rules", &one, None);
    check_field(Segment, "/rules", &json!([]), Some((Code::InvalidValue, "rules")));
    check_field(Segment, "/rules", &json!([{}]), Some((Code::InvalidValue, "rules[0]")));
    for form in ["contains", "starts_with", "ends_with"] {
        let rules = json!([{"match": {"a": {form: []}}}]);
        let path = format!("rules[0].match.a.{form}");
        check_field(Segment, "/rules", &rules, Some((Code::InvalidValue, &path)));
    }
    let rules = json!([{"match": {"a": []}}]);
    check_field(Segment, "/rules", &rules, Some((Code::InvalidValue, "rules[0].match.a")));
    let both = json!([{"match": {"a": {"contains": ["x"], "exists": true}}}]);
    check_field(Segment, "/rules", &both, Some((Code::WrongType, "rules[0].match.a")));
}

/// Far too many cost nothing: they are counted before the first is looked at.
#[test]
fn too_many_variations_are_refused_before_the_work() {
    let flag = NewFlag::new("Flag").id(p("flg_a")).parameter("p", 1);
    let flag = (0..40_000).fold(flag, |flag, number| {
        flag.variation(NewVariation::new(format!("variation {number}")))
    });
    let mut asked = 0;
    let mut entropy = || {
        asked += 1;
        asked
    };
    let start = Instant::now();
    let error = Snapshot::new().apply(flag, common::at(1), &mut entropy).unwrap_err();
    assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
    assert_eq!((error.code(), error.path()), (Code::LimitExceeded, "variations"));
    assert_eq!(error.value(), Some("40000"));
    assert_eq!(asked, 0, "no id must be made up for a variation");
}

/// What stands in the place of a condition and is none.
#[test]
fn a_condition_is_a_list_or_an_object_of_one_form() {
    const RULE: &str = "must be a list of values, or an object with one of contains, \
        starts_with, ends_with, exists, number, semver, date, boolean, regex, listed, path";
    let none = [json!(null), json!(true), json!(7), json!("DE")];
    let forms = [json!({}), json!({"contains": ["x"], "exists": true})];
    for condition in none.into_iter().chain(forms) {
        for key in ["match", "not_match"] {
            let rules = json!([{key: {"country": condition}}]);
            let path = format!("rules[0].{key}.country");
            check_field(Kind::Segment, "/rules", &rules, Some((Code::WrongType, &path)));
            let path = format!("segments[0].{path}");
            let edit = |document: &mut Value| document["segments"][0]["rules"] = rules;
            let error = check_document(edit, Code::WrongType, &path);
            assert_eq!(error.rule(), RULE);
            assert_eq!(error.value(), Some(&*condition.to_string()));
        }
    }
}

#[test]
fn the_size_of_every_value_is_bounded() {
    use Kind::{Flag, Segment, Variation};
    let limit = Code::LimitExceeded;
    // Each value has as many bytes as compact JSON.
    let text = |unit: &str, cost: usize, room: usize| {
        json!(unit.repeat(room / cost) + &"x".repeat(room % cost))
    };
    for size in [1_023, 1_024, 1_025, 5_000] {
        for (kind, value) in [
            ("string", text("x", 1, size - 2)),
            ("string", text("é", 2, size - 2)),
            ("string", text("\n", 2, size - 2)),
            ("array", json!([1, text("x", 1, size - 6)])),
            ("object", json!({"k": text("🦀", 4, size - 8)})),
        ] {
            assert_eq!(value.to_string().len(), size);
            let parameter = json!({"type": kind, "value": value});
            let wanted = (size > 1_024).then_some((limit, "parameters.p.value"));
            check_field(Flag, "/parameters/p", &parameter, wanted);
            if kind == "string" {
                let wanted = (size > 1_024).then_some((limit, "overrides.p"));
                check_field(Variation, "/overrides", &json!({"p": value}), wanted);
            }
        }
    }
    // A rule, and all rules together: the brackets and commas count.
    let rule = |size: usize| {
        let empty = json!({"match": {"a": ["", "", "", "", ""]}}).to_string().len();
        let each = (size - empty) / 5;
        let items =
            [each, each, each, each, size - empty - 4 * each].map(|length| "x".repeat(length));
        let rule = json!({"match": {"a": items}});
        assert_eq!(rule.to_string().len(), size);
        rule
    };
    for size in [4_095, 4_096, 4_097] {
        let wanted = (size > 4_096).then_some((limit, "rules[1]"));
        check_field(Segment, "/rules", &json!([rule(100), rule(size)]), wanted);
    }
    for size in [10_239, 10_240, 10_241] {
        let rules = json!([rule(4_000), rule(4_000), rule(size - 8_004)]);
        assert_eq!(rules.to_string().len(), size);
        check_field(Segment, "/rules", &rules, (size > 10_240).then_some((limit, "rules")));
    }
}

#[test]
fn a_comment_is_bounded() {
    for letter in LETTERS {
        for length in [0, 1, 4_095, 4_096, 4_097] {
            let patch = ExperimentPatch::new().name("Another name");
            let change = Change::patch_experiment(&p("exp_weights"), patch);
            let comment = letter.repeat(length);
            let transaction = Transaction::from(change).comment(comment.clone());
            let snapshot = world();
            match apply(&snapshot, transaction) {
                Ok(commit) => {
                    assert!(length <= 4_096);
                    let event = commit.event.unwrap();
                    assert_eq!(event.comment.as_deref(), Some(&*comment));
                    loads::<Event>(&serde_json::to_string(&event).unwrap());
                }
                Err(error) => {
                    assert!(length > 4_096);
                    assert_eq!((error.code(), error.path()), (Code::InvalidValue, "comment"));
                }
            }
            assert!(snapshot == world_again(&snapshot));
        }
    }
}

/// The same snapshot by way of its document.
fn world_again(snapshot: &Snapshot) -> Snapshot {
    Snapshot::from_json(snapshot.to_json()).unwrap()
}

#[test]
fn the_value_in_an_error_is_cut() {
    for (letter, length) in [("x", 300), ("🦀", 300), ("\n", 500), ("\"", 100_000)] {
        let name = letter.repeat(length);
        let error = refuses_change(&Snapshot::new(), NewFlag::new(name.clone()).into());
        let value = error.value().unwrap();
        assert_eq!(value.chars().count(), 81);
        assert!(value.ends_with('…'));
        assert!(json!(name).to_string().starts_with(value.trim_end_matches('…')));
        assert!(error.to_string().len() < 1_000);
    }
    // 78 letters and two quotes still fit.
    let tag = "-".repeat(78);
    let experiment = NewExperiment::by_percentage("Experiment", p("flg_a"));
    let error = refuses_change(&world(), experiment.tag(tag.clone()).tag(tag.clone()).into());
    assert_eq!(error.value(), Some(&*json!(tag).to_string()));
}

/// However long a key, a value or a number is, a message repeats 80 characters of it, each escaped
/// where it is a key.
#[test]
fn a_message_repeats_little_of_the_input() {
    #[track_caller]
    fn check(text: &str, code: Code) {
        let error = refuses_strictly::<Snapshot>(text.as_bytes());
        assert_eq!(error.code(), code, "{error}");
        let message = error.to_string();
        assert!(message.contains('…') && message.chars().count() < 700, "{message:.1000}");
        for refused in [
            serde_json::from_str::<Snapshot>(text).err().map(|error| error.to_string()),
            Change::from_json(text).err().map(|error| error.to_string()),
            Transaction::from_json(text).err().map(|error| error.to_string()),
            Event::from_json(text).err().map(|error| error.to_string()),
        ] {
            let length = refused.map_or(0, |message| message.chars().count());
            assert!(length < 700, "{length} characters");
        }
    }
    let document = |rest: &str| format!(r#"{{"format":"variate/1",{rest}}}"#);
    for letter in ["k", "é", "\u{1}", "🦀", "\"", " "] {
        let long = json!(letter.repeat((1 << 20) / letter.len())).to_string();
        check(&document(&format!("{long}:1")), Code::UnknownKey);
        check(&document(&format!(r#""settings":{{{long}:1}}"#)), Code::UnknownKey);
        check(&document(&format!(r#""settings":{long}"#)), Code::WrongType);
        check(&document(&format!(r#""sequence":[{long}]"#)), Code::WrongType);
        check(&document(&format!("{long}:1,{long}:1")), Code::DuplicateKey);
        check(&document(&format!("{long}:[1,1e-400]")), Code::InvalidValue);
        check(&document(&format!("{long}:[1,nul]")), Code::InvalidJson);
        check(&document(&format!(r#""updated_at":{long}"#)), Code::InvalidValue);
        check(&format!(r#"{{"format":{long}}}"#), Code::UnsupportedFormat);
        check(&with_default(&long[1..long.len() - 1], "1"), Code::InvalidValue);
        let flag = format!(r#""id":"flg_a","name":"Flag","parameters":{{{long}:{{}}}}"#);
        check(&document(&format!(r#""flags":[{{{flag}}}]"#)), Code::MissingKey);
        let experiment = format!(r#""id":{long},"name":"Experiment""#);
        check(&document(&format!(r#""experiments":[{{{experiment}}}]"#)), Code::InvalidValue);
    }
    for literal in ["9".repeat(300), format!("0.{}1", "0".repeat(1 << 20))] {
        check(&document(&format!(r#""sequence":{literal}"#)), Code::InvalidValue);
        check(&with_default("number", &literal), Code::InvalidValue);
    }
    // 80 characters are not too many, and the cut is at the last of them.
    for length in [79, 80, 81] {
        let key = "k".repeat(length);
        let error = refuses::<Snapshot>(&document(&format!("\"{key}\":1")));
        assert_eq!(error.path(), cut(&key));
        let literal = format!("1e-{}", "4".repeat(length - 3));
        let text = document(&format!(r#""sequence":{literal}"#));
        let error = refuses_strictly::<Snapshot>(text.as_bytes());
        assert!(error.rule().ends_with(&format!("not {}", cut(&literal))), "{error}");
    }
}

/// Changes a small document and reads it: refused with this code at this path.
#[track_caller]
fn check_document(edit: impl FnOnce(&mut Value), code: Code, path: &str) -> Error {
    let mut document = small();
    edit(&mut document);
    let error = refuses::<Snapshot>(&document.to_string());
    assert_eq!((error.code(), error.path()), (code, path), "{document}\n{error}");
    error
}

#[test]
fn only_its_own_format_is_read() {
    loads::<Snapshot>(r#"{"format":"variate/1"}"#);
    for other in
        ["variate/2", "variate/1 ", "Variate/1", "variate/01", "variate/1.0", "variate", ""]
    {
        let code = Code::UnsupportedFormat;
        let error = check_document(|document| document["format"] = json!(other), code, "format");
        assert_eq!(error.value(), Some(&*json!(other).to_string()));
        assert!(error.rule().contains("variate/1"));
    }
    let remove = |document: &mut Value| drop(document.as_object_mut().unwrap().remove("format"));
    check_document(remove, Code::MissingKey, "format");
}

fn kept(experiment: &str, subject: &str) -> Value {
    json!({"experiment_id": experiment, "subject_id": subject, "variation_id": "var_a"})
}

#[test]
fn a_subject_is_kept_once_in_an_experiment_and_has_an_id() {
    let (taken, invalid) = (Code::AlreadyExists, Code::InvalidValue);
    for (subjects, wanted) in [
        (vec!["a", "b", "A", " ", "a "], None),
        (vec!["a", "b", "a"], Some((taken, "kept_assignments[2].subject_id"))),
        (vec!["a", ""], Some((invalid, "kept_assignments[1].subject_id"))),
    ] {
        let list: Vec<_> = subjects.into_iter().map(|subject| kept("exp_a", subject)).collect();
        let edit = |document: &mut Value| document["kept_assignments"] = json!(list);
        match wanted {
            Some((code, path)) => drop(check_document(edit, code, path)),
            None => {
                let mut document = small();
                edit(&mut document);
                let read = loads::<Snapshot>(&document.to_string());
                assert!(read == loads::<Snapshot>(&small().to_string()));
                assert_eq!(read.to_json(), loads::<Snapshot>(&small().to_string()).to_json());
            }
        }
    }
}

#[test]
fn a_reference_leads_somewhere() {
    let unknown = Code::UnknownReference;
    let segment_arms = json!([
        {"variation_id": "var_a", "segment_id": "seg_x", "priority": 1},
        {"variation_id": "var_a", "is_fallback": true, "is_control": true}
    ]);
    let by_segment = |document: &mut Value, arms: &Value| {
        document["experiments"][0]["strategy"] = json!("segment");
        document["experiments"][0]["allocations"] = arms.clone();
    };
    for status in ["draft", "active", "paused", "completed"] {
        let at = |path: &str, edit: &dyn Fn(&mut Value)| {
            let edit = |document: &mut Value| {
                document["flags"][0]["status"] = json!("active");
                document["experiments"][0]["status"] = json!(status);
                edit(document);
            };
            let error = check_document(edit, unknown, path);
            assert!(error.value().unwrap().ends_with("_x\""), "{error}");
        };
        at("experiments[0].flag_id", &|d| d["experiments"][0]["flag_id"] = json!("flg_x"));
        at("experiments[0].allocations[0].variation_id", &|d| {
            d["experiments"][0]["allocations"][0]["variation_id"] = json!("var_x");
        });
        at("experiments[0].outside_variation_id", &|d| {
            d["experiments"][0]["outside_variation_id"] = json!("var_x");
        });
        at("experiments[0].allocations[0].segment_id", &|d| by_segment(d, &segment_arms));
        at("experiments[0].audience_id", &|d| {
            d["experiments"][0]["audience_id"] = json!("seg_x");
        });
        at("layers[0].members", &|d| d["layers"][0]["members"] = json!({"exp_x": 0}));
        at("holdouts[0].experiments", &|d| d["holdouts"][0]["experiments"] = json!(["exp_x"]));
        at("kept_assignments[0].experiment_id", &|d| {
            d["kept_assignments"] = json!([kept("exp_x", "device-1")]);
        });
        // A variation of another flag is none of this one's.
        at("experiments[0].outside_variation_id", &|d| {
            let mut other = d["flags"][0].clone();
            other["id"] = json!("flg_b");
            other["name"] = json!("Other");
            other["variations"] = json!([{"id": "var_x", "name": "control"}]);
            d["flags"].as_array_mut().unwrap().push(other);
            d["experiments"][0]["outside_variation_id"] = json!("var_x");
        });
    }
    check_document(
        |d| d["flags"][0]["variations"][0]["overrides"] = json!({"q": 1}),
        unknown,
        "flags[0].variations[0].overrides.q",
    );
    // The same in changes.
    let create = |change: Value, path: &str| {
        let error = refuses_change(&world(), Change::from_json(change.to_string()).unwrap());
        assert_eq!((error.code(), error.path()), (unknown, path), "{error}");
    };
    let experiment = |flag: &str, strategy: &str, arms: Value| {
        json!({
            "change": "create_experiment", "name": "New", "flag_id": flag, "strategy": strategy,
            "allocations": arms
        })
    };
    create(experiment("flg_x", "segment", json!([])), "flag_id");
    let arms = json!([{"variation_id": "var_a"}, {"variation_id": "var_x"}]);
    create(experiment("flg_a", "percentage", arms), "allocations[1].variation_id");
    create(experiment("flg_a", "segment", segment_arms), "allocations[0].segment_id");
    for patch in [
        json!({"allocations": [{"variation_id": "var_x"}]}),
        json!({"outside_variation_id": "var_x"}),
        json!({"audience_id": "seg_x"}),
    ] {
        let (key, _) = patch.as_object().unwrap().iter().next().unwrap();
        let path = match key.as_str() {
            "allocations" => "patch.allocations[0].variation_id",
            key => &format!("patch.{key}"),
        };
        create(json!({"change": "patch_experiment", "id": "exp_weights", "patch": patch}), path);
    }
}

/// The minute of this number.
fn moment(number: u32) -> String {
    common::at(i64::from(number) * 60).to_string()
}

#[test]
fn a_schedule_is_in_order() {
    use Kind::Experiment;
    let invalid = Code::InvalidValue;
    let stages = |list: &[(u32, f64)]| -> Value {
        list.iter().map(|(at, traffic)| json!({"at": moment(*at), "traffic": traffic})).collect()
    };
    for (list, wanted) in [
        (&[(2, 0.0), (3, 0.000_001), (9, 100.0)][..], None),
        (&[(2, 5.0), (2, 6.0)], Some("stages[1].at")),
        (&[(2, 5.0), (3, 6.0), (1, 7.0)], Some("stages[2].at")),
        (&[(2, 5.0), (3, 5.0)], Some("stages[1].traffic")),
        (&[(2, 5.0), (3, 4.999_999)], Some("stages[1].traffic")),
    ] {
        check_field(Experiment, "/stages", &stages(list), wanted.map(|path| (invalid, path)));
    }
    // What two fields come to, in a document and in both kinds of changes.
    let both = |fields: Value, wanted: Option<&str>| {
        let mut document = small();
        let mut creation = json!({
            "change": "create_experiment", "name": "Other", "flag_id": "flg_a",
            "strategy": "percentage"
        });
        for (key, value) in fields.as_object().unwrap() {
            document["experiments"][0][key] = value.clone();
            creation[key] = value.clone();
        }
        match wanted {
            None => drop(loads::<Snapshot>(&document.to_string())),
            Some(path) => {
                let error = refuses::<Snapshot>(&document.to_string());
                let path = format!("experiments[0].{path}");
                assert_eq!((error.code(), error.path()), (invalid, &*path), "{error}");
            }
        }
        let before = loads::<Snapshot>(&small().to_string());
        let shown = fields.to_string();
        check_change(&before, &creation, wanted.map(|path| (invalid, path.to_owned())), &shown);
        let edit = json!({"change": "patch_experiment", "id": "exp_a", "patch": fields});
        let wanted = wanted.map(|path| (invalid, format!("patch.{path}")));
        check_change(&before, &edit, wanted, &shown);
    };
    both(json!({"starts_at": moment(2), "ends_at": moment(3)}), None);
    both(json!({"starts_at": moment(2), "ends_at": moment(2)}), Some("ends_at"));
    both(json!({"starts_at": moment(3), "ends_at": moment(2)}), Some("ends_at"));
    both(json!({"levels": [5], "stages": stages(&[(1, 5.0)])}), Some("stages"));
    both(json!({"levels": [], "stages": stages(&[(1, 5.0)])}), None);
    both(json!({"levels": [5], "stages": []}), None);
    // An edit of one is held against the other, which stands.
    let scheduled = json!({"change": "patch_experiment", "id": "exp_a", "patch": {
        "starts_at": moment(2), "stages": stages(&[(1, 5.0)])
    }});
    let before = loads::<Snapshot>(&small().to_string());
    let before = common::ok(&before, Change::from_json(scheduled.to_string()).unwrap());
    for (patch, path) in
        [(json!({"ends_at": moment(2)}), "patch.ends_at"), (json!({"levels": [7]}), "patch.levels")]
    {
        let edit = json!({"change": "patch_experiment", "id": "exp_a", "patch": patch});
        check_change(&before, &edit, Some((invalid, path.to_owned())), path);
    }
}

/// So many drafts of `flg_a`, of which the first is `exp_bz`.
fn several(count: usize) -> Vec<Value> {
    let draft = |number: usize| {
        json!({
            "id": format!("exp_b{}", number.to_string().replace('0', "z")),
            "name": format!("experiment {number}"), "flag_id": "flg_a",
            "strategy": "percentage", "allocations": []
        })
    };
    (0..count).map(draft).collect()
}

#[test]
fn the_members_of_a_layer_or_holdout_are_bounded_and_of_its_kind() {
    // In a document, when it is created and when it is edited.
    let check = |experiments: &[Value], kind: &str, key: &str, value: Value, code: Option<Code>| {
        let (list, create, edit, id) = match kind {
            "layer" => ("layers", "create_layer", "patch_layer", "lay_a"),
            _ => ("holdouts", "create_holdout", "patch_holdout", "hld_a"),
        };
        let mut document = small();
        document["experiments"] = json!(experiments);
        let before = loads::<Snapshot>(&document.to_string());
        document[list][0][key] = value.clone();
        match code {
            None => drop(loads::<Snapshot>(&document.to_string())),
            Some(code) => {
                let error = refuses::<Snapshot>(&document.to_string());
                assert!(error.path().starts_with(&format!("{list}[0].{key}")), "{error}");
                assert_eq!(error.code(), code, "{error}");
            }
        }
        let shown: String = format!("{kind} {key} {value}").chars().take(120).collect();
        let mut creation = json!({"change": create, "name": "Other", key: value});
        if kind == "holdout" && key != "share" {
            creation["share"] = json!(1);
        }
        let error = |path: &str| code.map(|code| (code, path.to_owned()));
        check_change(&before, &creation, error(key), &shown);
        // Nobody was in it before, so whom it gets by a patch is whom that names.
        let key = if key == "experiments" { "join" } else { key };
        let edit = json!({"change": edit, "id": id, "patch": {key: value}});
        check_change(&before, &edit, error(&format!("patch.{key}")), &shown);
    };
    for count in [0, 1, 99, 100, 101, 102] {
        let experiments = several(count);
        let members: serde_json::Map<_, _> = experiments
            .iter()
            .map(|own| (own["id"].as_str().unwrap().to_owned(), json!(0.5)))
            .collect();
        let code = (count > 100).then_some(Code::LimitExceeded);
        check(&experiments, "layer", "members", json!(members), code);
        let ids: Vec<_> = experiments.iter().map(|own| own["id"].clone()).collect();
        check(&experiments, "holdout", "experiments", json!(ids), None);
    }
    let two = several(2);
    for (shares, code) in [
        ([100.0, 0.0], None),
        ([99.999_999, 0.000_001], None),
        ([99.999_999, 0.000_002], Some(Code::InvalidValue)),
        ([100.0, 100.0], Some(Code::InvalidValue)),
    ] {
        let members = json!({"exp_bz": shares[0], "exp_b1": shares[1]});
        check(&two, "layer", "members", members, code);
    }
    let mut users = several(1);
    users[0]["subject_kind"] = json!("user");
    check(&users, "layer", "members", json!({"exp_bz": 1}), Some(Code::InvalidValue));
    check(&users, "holdout", "experiments", json!(["exp_bz"]), Some(Code::InvalidValue));
    // Too many are refused before any is looked up.
    let many: Vec<_> = (0..10_001)
        .map(|number: usize| format!("exp_c{}", number.to_string().replace('0', "z")))
        .collect();
    for (count, code) in [(10_000, Code::UnknownReference), (10_001, Code::LimitExceeded)] {
        check(&two, "holdout", "experiments", json!(many[..count]), Some(code));
    }
    for (layer, holdout, path) in [
        (json!({"exp-bz": 1}), json!(["exp_bz", "exp-bz"]), "holdouts[0].experiments[1]"),
        (json!({"": 1}), json!(["exp_b1", "exp_bz", "exp_b1"]), "holdouts[0].experiments[2]"),
    ] {
        let members = |document: &mut Value| document["layers"][0]["members"] = layer;
        check_document(members, Code::InvalidValue, "layers[0].members");
        let held = |document: &mut Value| document["holdouts"][0]["experiments"] = holdout;
        check_document(held, Code::InvalidValue, path);
    }
    // Of one layer alone.
    let mut document = small();
    document["layers"] = json!([
        {"id": "lay_a", "name": "Layer", "members": {"exp_a": 1}},
        {"id": "lay_b", "name": "Other layer", "members": {"exp_a": 1}}
    ]);
    let error = refuses::<Snapshot>(&document.to_string());
    assert_eq!((error.code(), error.path()), (Code::InUse, "layers[1].members"), "{error}");
}

/// Whom a patch names stands once in a list, and in one list alone.
#[test]
fn a_patch_names_who_joins_and_who_leaves_once() {
    let before = loads::<Snapshot>(&small().to_string());
    let patch = |change: &str, patch: Value, wanted: Option<(Code, &str)>| {
        let id = if change == "patch_layer" { "lay_a" } else { "hld_a" };
        let edit = json!({"change": change, "id": id, "patch": patch});
        let wanted = wanted.map(|(code, path)| (code, format!("patch.{path}")));
        check_change(&before, &edit, wanted, &edit.to_string());
    };
    let invalid = Code::InvalidValue;
    for (change, key) in
        [("patch_layer", "leave"), ("patch_holdout", "leave"), ("patch_holdout", "join")]
    {
        let (second, third) = (format!("{key}[1]"), format!("{key}[2]"));
        patch(change, json!({key: ["exp_a", "exp-a"]}), Some((invalid, &second)));
        patch(change, json!({key: ["exp_b", "exp_a", "exp_b"]}), Some((invalid, &third)));
        patch(change, json!({key: {"exp_a": 1}}), Some((Code::WrongType, key)));
        patch(change, json!({key: "exp_a"}), Some((Code::WrongType, key)));
    }
    patch("patch_layer", json!({"members": {"exp_a": 1}, "leave": []}), None);
    patch("patch_holdout", json!({"join": ["exp_a"], "leave": []}), None);
    let both = Some((invalid, "leave"));
    patch("patch_layer", json!({"members": {"exp_a": 1}, "leave": ["exp_a"]}), both);
    patch("patch_holdout", json!({"join": ["exp_a"], "leave": ["exp_a"]}), both);
    // Who joins must be there; who leaves need not.
    let unknown = Code::UnknownReference;
    patch("patch_layer", json!({"members": {"exp_x": 1}}), Some((unknown, "members")));
    patch("patch_holdout", json!({"join": ["exp_x"]}), Some((unknown, "join")));
    for change in ["patch_layer", "patch_holdout"] {
        patch(change, json!({"leave": ["exp_a", "exp_x"]}), None);
    }
    // The whole of a document's field is nothing that a patch names.
    let whole = Some((Code::UnknownKey, "experiments"));
    patch("patch_holdout", json!({"experiments": ["exp_a"]}), whole);
    patch("patch_layer", json!({"join": ["exp_a"]}), Some((Code::UnknownKey, "join")));
}

/// What bounds the members of a layer counts those too that a patch does not name.
#[test]
fn a_patch_leads_to_no_more_members_than_there_can_be() {
    let mut document = small();
    let all = several(102);
    let ids: Vec<&str> = all.iter().map(|own| own["id"].as_str().unwrap()).collect();
    document["experiments"] = json!(all);
    let members: BTreeMap<_, _> = ids[..99].iter().map(|id| (id, 1)).collect();
    document["layers"][0]["members"] = json!(members);
    let before = loads::<Snapshot>(&document.to_string());
    let check = |join: &[(usize, f64)], leave: &[usize], code: Option<Code>| {
        let join: BTreeMap<_, _> = join.iter().map(|(own, share)| (ids[*own], share)).collect();
        let leave: Vec<_> = leave.iter().map(|own| ids[*own]).collect();
        let patch = json!({"members": join, "leave": leave});
        let edit = json!({"change": "patch_layer", "id": "lay_a", "patch": patch});
        let wanted = code.map(|code| (code, "patch.members".to_owned()));
        check_change(&before, &edit, wanted, &edit.to_string());
    };
    let (many, share) = (Some(Code::LimitExceeded), Some(Code::InvalidValue));
    check(&[(99, 0.0)], &[], None);
    check(&[(99, 0.0), (100, 0.0)], &[], many);
    check(&[(99, 0.0), (100, 0.0)], &[101], many);
    check(&[(99, 0.0), (100, 0.0)], &[0], None);
    check(&[(99, 0.0), (100, 0.0), (101, 0.0)], &[0], many);
    // So does what bounds their shares.
    check(&[(99, 1.0)], &[], None);
    check(&[(99, 1.000_001)], &[], share);
    check(&[(99, 2.0)], &[98], None);
    check(&[(0, 2.0)], &[], None);
    check(&[(0, 2.000_001)], &[], share);
    check(&[(0, 3.000_001)], &[98], share);
}

/// More slices, or other ones, than a layer or a split can have.
#[test]
fn slots_and_splits_are_as_the_shares_say() {
    let slot = |start: u64, id: Option<&str>| match id {
        Some(id) => json!({"start": start, "experiment_id": id}),
        None => json!({"start": start}),
    };
    let half = 1_u64 << 31;
    let layer = |slots: Value, code: Code, path: &str| {
        let path = format!("layers[0].partition{path}");
        let edit = |document: &mut Value| {
            document["layers"][0]["members"] = json!({"exp_a": 50});
            document["layers"][0]["partition"] = slots;
        };
        check_document(edit, code, &path);
    };
    let invalid = Code::InvalidValue;
    let own = Some("exp_a");
    layer(json!([slot(1, own), slot(half, None)]), invalid, "");
    layer(json!([slot(0, own), slot(half + 1, None)]), invalid, "");
    layer(json!([slot(0, None), slot(half + 1, own)]), invalid, "");
    layer(json!([slot(0, own)]), invalid, "");
    layer(json!([slot(0, own), slot(0, None)]), invalid, "[1]");
    layer(json!([slot(0, own), slot(7, own), slot(half, None)]), invalid, "[1]");
    layer(json!([slot(0, own), slot(half, Some("exp_b"))]), invalid, "[1].experiment_id");
    let many = |count: u64| -> Value {
        let width = (1 << 32) / count;
        (0..count).map(|n| slot(n * width, own.filter(|_| n.is_multiple_of(2)))).collect()
    };
    layer(many(8_192), Code::LimitExceeded, "");
    let mut document = small();
    document["layers"][0]["members"] = json!({"exp_a": 50});
    document["layers"][0]["partition"] = many(4_096);
    loads::<Snapshot>(&document.to_string());

    let splits = |splits: Value, path: &str| {
        let mut document = full();
        document["experiments"][3]["iteration"]["splits"] = splits;
        let error = refuses::<Snapshot>(&document.to_string());
        let path = format!("experiments[3].iteration.splits{path}");
        assert_eq!((error.code(), error.path()), (invalid, &*path), "{error}");
    };
    let part = |start: u64, id: &str| json!({"start": start, "variation_id": id});
    let fallback = || json!({"partition": [part(0, "var_b"), part(half, "var_a")]});
    let segment = |list: Value| json!({"segment_id": "seg_b", "partition": list});
    let good = || segment(json!([part(0, "var_c"), part(2_576_980_378, "var_b")]));
    splits(json!([good(), fallback(), good()]), "[2].segment_id");
    splits(json!([fallback(), fallback()]), "[1].segment_id");
    splits(
        json!([good(), {"segment_id": "seg_a", "partition": [part(0, "var_b")]}]),
        "[1].segment_id",
    );
    splits(
        json!([fallback(), segment(json!([part(0, "var_c"), part(half, "var_b")]))]),
        "[1].partition",
    );
    splits(json!([fallback(), segment(json!([part(7, "var_c")]))]), "[1].partition");
    // An arm of the fallback is none of the segment's.
    splits(json!([segment(json!([part(0, "var_c"), part(9, "var_a")]))]), "[0].partition[1]");
    splits(json!([segment(json!([part(0, "var_c"), part(9, "var_c")]))]), "[0].partition[1]");
    for (index, key, rule) in [
        (0, "splits", "is only for experiments that assign by segment"),
        (3, "partition", "is only for experiments that assign by percentage"),
    ] {
        let mut document = full();
        let run = &mut document["experiments"][index]["iteration"];
        run[key] = match key {
            "splits" => json!([good()]),
            _ => json!([part(0, "var_a")]),
        };
        let error = refuses::<Snapshot>(&document.to_string());
        let path = format!("experiments[{index}].iteration.{key}");
        assert_eq!((error.path(), error.rule()), (&*path, rule), "{error}");
    }
}

#[test]
fn a_run_rests_on_what_the_document_has() {
    #[track_caller]
    fn check(edit: impl FnOnce(&mut Value), code: Code, path: &str) {
        let mut document = full();
        edit(&mut document);
        let error = refuses::<Snapshot>(&document.to_string());
        assert_eq!((error.code(), error.path()), (code, path), "{error}");
    }
    let run = |document: &mut Value, index: usize, key: &str, value: Value| {
        document["experiments"][index]["iteration"][key] = value;
    };
    let unknown = Code::UnknownReference;
    let invalid = Code::InvalidValue;
    let by_weight = "experiments[0].iteration";
    let by_segment = "experiments[1].iteration";
    check(|d| run(d, 0, "flag_version", json!(1)), unknown, &format!("{by_weight}.flag_version"));
    let versions = |versions: Value| move |d: &mut Value| run(d, 1, "segment_versions", versions);
    let path = format!("{by_segment}.segment_versions");
    check(versions(json!({"seg_a": 3})), unknown, &format!("{path}.seg_a"));
    check(versions(json!({"seg_x": 1})), unknown, &format!("{path}.seg_x"));
    check(versions(json!({"seg_a": 1, "seg_x": 1})), unknown, &format!("{path}.seg_x"));
    check(versions(json!({"var_a": 1})), invalid, &path);
    check(versions(json!({})), invalid, &path);
    check(
        |d| run(d, 0, "segment_versions", json!({"seg_a": 1})),
        invalid,
        &format!("{by_weight}.segment_versions"),
    );
    let partition = json!([{"start": 0, "variation_id": "var_a"}]);
    check(|d| run(d, 1, "partition", partition), invalid, &format!("{by_segment}.partition"));
    let unknown_arm = json!([
        {"variation_id": "var_a", "weight": 50, "is_control": true},
        {"variation_id": "var_x", "weight": 50}
    ]);
    let edit = |d: &mut Value| {
        run(d, 0, "allocations", unknown_arm);
        d["experiments"][0]["iteration"].as_object_mut().unwrap().remove("partition");
    };
    check(edit, unknown, &format!("{by_weight}.allocations"));
    // Slices: from the first point, in order, of arms, by turns, as much as each weighs.
    let slice = |start: u64, id: &str| json!({"start": start, "variation_id": id});
    let half = 1_u64 << 31;
    for (slices, at) in [
        (vec![slice(1, "var_b"), slice(half, "var_a")], ""),
        (vec![slice(0, "var_b"), slice(half, "var_x")], "[1]"),
        (vec![slice(0, "var_b"), slice(half, "var_a"), slice(half, "var_b")], "[2]"),
        (vec![slice(0, "var_b"), slice(half, "var_a"), slice(7, "var_b")], "[2]"),
        (vec![slice(0, "var_b"), slice(7, "var_b"), slice(half, "var_a")], "[1]"),
        (vec![slice(0, "var_b"), slice(half + 1, "var_a")], ""),
        (vec![slice(0, "var_b")], ""),
        (vec![], ""),
    ] {
        let path = format!("{by_weight}.partition{at}");
        check(|d| run(d, 0, "partition", json!(slices)), invalid, &path);
    }
    // A draft rests on nothing yet, and has not begun; what runs has not ended.
    let draft = |d: &mut Value| d["experiments"][0]["status"] = json!("draft");
    check(draft, invalid, &format!("{by_weight}.started_at"));
    let not_begun = |d: &mut Value| {
        draft(d);
        d["experiments"][0]["iteration"].as_object_mut().unwrap().remove("started_at");
    };
    check(not_begun, invalid, &format!("{by_weight}.flag_version"));
    let has_turn = |d: &mut Value| {
        draft(d);
        d["experiments"][0]["iteration"] = json!({"turn": 1});
    };
    check(has_turn, invalid, &format!("{by_weight}.turn"));
    let ended = |d: &mut Value| run(d, 0, "ended_at", json!("2026-11-20T17:00:00.000Z"));
    check(ended, invalid, &format!("{by_weight}.ended_at"));
    // Each revision is one that something rests on, and stands once.
    for (list, id) in [("flags", "flg_x"), ("segments", "seg_x")] {
        let add = |key: &'static str, value: Value| {
            move |d: &mut Value| {
                let list = d["revisions"][list].as_array_mut().unwrap();
                let mut revision = list[0].clone();
                revision[key] = value;
                list.push(revision);
            }
        };
        let path = format!("revisions.{list}[1]");
        check(add("description", json!("Once more")), invalid, &path);
        check(add("id", json!(id)), invalid, &path);
        // Of an entity that is there, no version that it has yet to reach, nor the present one.
        let present = if list == "flags" { 3 } else { 2 };
        for version in [present, present + 1, 99] {
            check(add("version", json!(version)), invalid, &format!("{path}.version"));
        }
    }
    check(add_unused_flag_version, invalid, "revisions.flags[1]");
    let mut document = full();
    add_unused_flag_version(&mut document);
    let rule = refuses::<Snapshot>(&document.to_string()).rule().to_owned();
    assert_eq!(rule, "must be a version that a run rests on, and stand once");
    // Nor a version that the present one stands for, even if a run rests on that.
    let current = |d: &mut Value| {
        d["revisions"]["flags"][0]["version"] = json!(3);
        run(d, 0, "flag_version", json!(3));
    };
    check(current, invalid, "revisions.flags[0].version");
    // What is gone has no present version.
    let mut gone = full();
    gone["revisions"]["segments"][0]["version"] = json!(99);
    gone["experiments"][1]["iteration"]["segment_versions"] = json!({"seg_a": 99});
    gone["experiments"][1]["status"] = json!("archived");
    gone["segments"].as_array_mut().unwrap().remove(0);
    loads::<Snapshot>(&gone.to_string());
}

/// Gives the full document a revision of an earlier version that nothing rests on.
fn add_unused_flag_version(document: &mut Value) {
    let list = document["revisions"]["flags"].as_array_mut().unwrap();
    let mut revision = list[0].clone();
    revision["version"] = json!(1);
    list.push(revision);
}

#[test]
fn what_runs_in_a_document_is_ready() {
    for status in ["active", "paused"] {
        let error = check_document(
            |document| document["experiments"][0]["status"] = json!(status),
            Code::NotReady,
            "experiments[0].status",
        );
        let codes: Vec<_> = error.violations().iter().map(|violation| violation.code()).collect();
        assert_eq!(codes, [variate::ViolationCode::FeatureFlagNotActive]);
    }
    let mut document = small();
    document["flags"][0]["status"] = json!("active");
    document["experiments"][0]["status"] = json!("active");
    let snapshot = loads::<Snapshot>(&document.to_string());
    assert!(snapshot.experiment("exp_a").unwrap().iteration().flag().is_some());
    // Two of which only one may run.
    let mut second = document["experiments"][0].clone();
    second["id"] = json!("exp_b");
    second["name"] = json!("Second");
    document["experiments"].as_array_mut().unwrap().push(second);
    loads::<Snapshot>(&document.to_string());
    document["settings"] = json!({"active_limit": "one"});
    let error = refuses::<Snapshot>(&document.to_string());
    assert_eq!((error.code(), error.path()), (Code::NotReady, "experiments[1].status"));
}

/// What is counted is counted no further than every reader of JSON can hold exactly.
#[test]
fn counting_ends_in_an_error() {
    let last = (1_u64 << 53) - 1;
    let from = |sequence: u64| {
        let mut document = small();
        document["sequence"] = json!(sequence);
        loads::<Snapshot>(&document.to_string())
    };
    let edit = || Change::patch_flag(&p("flg_a"), FlagPatch::new().name("Another name"));
    let commit = apply(&from(last - 1), edit()).unwrap();
    assert_eq!(commit.snapshot.sequence(), last);
    loads::<Snapshot>(&commit.snapshot.to_json());
    let error = refuses_change(&from(last), edit());
    assert_eq!((error.code(), error.path()), (Code::LimitExceeded, "sequence"));
    assert_eq!(error.value(), Some(&*last.to_string()));
    // What makes no difference needs no number.
    let nothing = Change::patch_flag(&p("flg_a"), FlagPatch::new());
    assert!(apply(&from(last), nothing).unwrap().event.is_none());

    for (pointer, edits) in versioned() {
        let at = |version: u64| {
            let mut document = small();
            document["flags"][0]["variations"].as_array_mut().unwrap().extend([
                json!({"id": "var_b", "name": "second"}),
                json!({"id": "var_c", "name": "third"}),
            ]);
            document["segments"].as_array_mut().unwrap().push(json!({
                "id": "seg_b", "name": "Second", "rules": [{"match": {"x": {"exists": true}}}]
            }));
            document["flags"][0]["status"] = json!("active");
            let mut ramp = document["experiments"][0].clone();
            ramp["id"] = json!("exp_b");
            ramp["name"] = json!("Ramp");
            ramp["status"] = json!("active");
            ramp["levels"] = json!([10, 20]);
            ramp["traffic"] = json!(10);
            document["experiments"].as_array_mut().unwrap().push(ramp);
            put(&mut document, &format!("{pointer}/version"), &json!(version));
            loads::<Snapshot>(&document.to_string())
        };
        for edit in edits {
            let commit = apply(&at(last - 1), edit.clone()).unwrap();
            check_survives(&commit);
            let document = serde_json::to_value(&*commit.snapshot).unwrap();
            assert_eq!(document.pointer(&format!("{pointer}/version")).unwrap(), last, "{edit:?}");
            let error = refuses_change(&at(last), edit);
            assert_eq!((error.code(), error.path()), (Code::LimitExceeded, "version"), "{error}");
            assert_eq!(error.value(), Some(&*last.to_string()));
        }
    }
    // To go, it needs no number.
    let mut document = small();
    document["experiments"] = json!([]);
    document["flags"][0]["version"] = json!(last);
    let commit = apply(&loads(&document.to_string()), Change::delete_flag(&p("flg_a"))).unwrap();
    check_survives(&commit);
}

/// Every kind of edit, by what it gives the next version.
fn versioned() -> [(&'static str, Vec<Change>); 7] {
    let flag = p("flg_a");
    let (variation, segment, experiment) = (p("var_a"), p("seg_b"), p("exp_a"));
    let patch_variation =
        || Change::patch_variation(&variation, VariationPatch::new().name("Another name"));
    [
        (
            "/flags/0",
            vec![
                Change::patch_flag(&flag, FlagPatch::new().name("Another name")),
                Change::set_flag_status(&flag, FlagStatus::Archived),
                Change::create_variation(&flag, NewVariation::new("fourth")),
                patch_variation(),
                Change::delete_variation(&p("var_c")),
            ],
        ),
        ("/flags/0/variations/0", vec![patch_variation()]),
        (
            "/segments/1",
            vec![
                Change::patch_segment(&segment, SegmentPatch::new().name("Another name")),
                Change::set_segment_status(&segment, SegmentStatus::Archived),
            ],
        ),
        (
            "/layers/0",
            vec![Change::patch_layer(&p("lay_a"), LayerPatch::new().name("Another name"))],
        ),
        (
            "/holdouts/0",
            vec![Change::patch_holdout(&p("hld_a"), HoldoutPatch::new().share(p("6")))],
        ),
        (
            "/experiments/0",
            vec![
                Change::patch_experiment(&experiment, ExperimentPatch::new().name("Another name")),
                Change::set_experiment_status(&experiment, Status::Active),
                Change::set_experiment_status(&experiment, Status::Archived),
                Change::reshuffle(&experiment),
            ],
        ),
        ("/experiments/1", vec![Change::advance_ramp(&p("exp_b"), p("20"))]),
    ]
}

#[test]
fn a_field_belongs_to_its_strategy() {
    let invalid = Code::InvalidValue;
    for (key, value) in
        [("segment_id", json!("seg_a")), ("priority", json!(1)), ("is_fallback", json!(true))]
    {
        let mut arms = json!([{"variation_id": "var_a", "weight": 100, "is_control": true}]);
        arms[0][key] = value;
        let path = format!("allocations[0].{key}");
        check_field(Kind::Experiment, "/allocations", &arms, Some((invalid, &path)));
    }
    // A weight belongs to both.
    let mut weighted = small();
    weighted["experiments"][0]["strategy"] = json!("segment");
    loads::<Snapshot>(&weighted.to_string());
    let targeted = |levels: Value| {
        move |document: &mut Value| {
            let experiment = &mut document["experiments"][0];
            experiment["strategy"] = json!("segment");
            experiment["allocations"] = json!([]);
            experiment["levels"] = levels;
        }
    };
    check_document(targeted(json!([5])), invalid, "experiments[0].levels");
    let mut document = small();
    targeted(json!([]))(&mut document);
    loads::<Snapshot>(&document.to_string());
}

#[test]
fn an_id_and_a_name_stand_once_in_a_document() {
    for (list, other_id) in [
        ("flags", "flg_b"),
        ("segments", "seg_b"),
        ("experiments", "exp_b"),
        ("layers", "lay_b"),
        ("holdouts", "hld_b"),
    ] {
        let twin = |key: &'static str, value: Value| {
            move |document: &mut Value| {
                let mut twin = document[list][0].clone();
                if list == "flags" {
                    twin["variations"] = json!([]);
                }
                twin[key] = value;
                document[list].as_array_mut().unwrap().push(twin);
            }
        };
        let id = format!("{list}[1].id");
        check_document(twin("name", json!("Other name")), Code::AlreadyExists, &id);
        let name = format!("{list}[1].name");
        check_document(twin("id", json!(other_id)), Code::NameTaken, &name);
    }
    let push = |variation: Value| {
        move |document: &mut Value| {
            document["flags"][0]["variations"].as_array_mut().unwrap().push(variation);
        }
    };
    check_document(
        push(json!({"id": "var_a", "name": "other"})),
        Code::AlreadyExists,
        "flags[0].variations[1].id",
    );
    check_document(
        push(json!({"id": "var_b", "name": "control"})),
        Code::NameTaken,
        "flags[0].variations[1].name",
    );
    // A variation's id stands once among all flags.
    let other_flag = |document: &mut Value| {
        let mut other = document["flags"][0].clone();
        other["id"] = json!("flg_b");
        other["name"] = json!("Other");
        document["flags"].as_array_mut().unwrap().push(other);
    };
    check_document(other_flag, Code::AlreadyExists, "flags[1].variations");
}

#[test]
fn an_error_in_a_list_of_changes_says_where() {
    let changes = json!([{"change": "delete_flag", "id": "flg_a"}, {"change": "reshuffle"}]);
    let transaction = json!({"changes": changes});
    let error = refuses::<Transaction>(&transaction.to_string());
    assert_eq!((error.code(), error.path()), (Code::MissingKey, "changes[1].id"));
    let mut event: Value = EVENT.parse().unwrap();
    event["changes"] = changes;
    let error = refuses::<Event>(&event.to_string());
    assert_eq!((error.code(), error.path()), (Code::MissingKey, "changes[1].id"));
}

/// Text that is JSON more often than not.
fn any_json() -> impl Strategy<Value = String> {
    let word = prop::sample::select(vec![
        "format",
        "variate/1",
        "flags",
        "id",
        "flg_a",
        "name",
        "Flag",
        "parameters",
        "type",
        "value",
        "change",
        "create_flag",
        "changes",
        "effects",
        "patch",
        "",
        "é",
    ]);
    let leaf = prop_oneof![
        Just("null".to_owned()),
        any::<bool>().prop_map(|value| value.to_string()),
        any::<i64>().prop_map(|value| value.to_string()),
        any::<f64>().prop_map(|value| json!(value).to_string()),
        word.clone().prop_map(|word| json!(word).to_string()),
        "[-+0-9.eE]{1,12}",
    ];
    leaf.prop_recursive(5, 64, 6, move |inner| {
        let member = (word.clone(), inner.clone()).prop_map(|(k, v)| format!("{}:{v}", json!(k)));
        prop_oneof![
            prop::collection::vec(inner, 0..6).prop_map(|items| format!("[{}]", items.join(","))),
            prop::collection::vec(member, 0..6)
                .prop_map(|items| format!("{{{}}}", items.join(","))),
        ]
    })
}

/// A byte that means something to a JSON parser, more often than not.
fn any_byte() -> impl Strategy<Value = u8> {
    prop::sample::select(&b"\"\"{{}}[[]],,::0123456789-+eE.\\/nulltruefas \x00\xff\xc3"[..])
}

/// Reads whatever it is as each kind of document: what loads survives, and what is refused is
/// refused with a rule.
#[track_caller]
fn check_any(bytes: &[u8]) {
    #[track_caller]
    fn check<T: Read>(bytes: &[u8]) {
        match T::read(bytes) {
            Ok(_) => drop(loads::<T>(std::str::from_utf8(bytes).unwrap())),
            Err(_) => drop(refuses_strictly::<T>(bytes)),
        }
    }
    check::<Snapshot>(bytes);
    check::<Change>(bytes);
    check::<Transaction>(bytes);
    check::<Event>(bytes);
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..256)) {
        check_any(&bytes);
    }

    #[test]
    fn any_json_is_read_or_refused(text in any_json()) {
        check_any(text.as_bytes());
    }

    /// A good document with a few bytes overwritten, taken out or put in.
    #[test]
    fn any_damage_is_read_or_refused(
        which in any::<prop::sample::Index>(),
        edits in prop::collection::vec((any::<prop::sample::Index>(), 0..3_u8, any_byte()), 1..4),
    ) {
        let documents = documents();
        let mut bytes = documents[which.index(documents.len())].to_string().into_bytes();
        for (at, how, byte) in edits {
            let at = at.index(bytes.len());
            match how {
                0 => bytes[at] = byte,
                1 => drop(bytes.remove(at)),
                _ => bytes.insert(at, byte),
            }
        }
        check_any(&bytes);
    }

    /// Any value at any place of a good document.
    #[test]
    fn any_value_anywhere_is_read_or_refused(
        which in any::<prop::sample::Index>(),
        at in any::<prop::sample::Index>(),
        text in any_json(),
    ) {
        let documents = documents();
        let mut document = documents[which.index(documents.len())].clone();
        let places = places(&document);
        let marker = 4_321_012_345_u64;
        *document.pointer_mut(&places[at.index(places.len())].pointer).unwrap() = json!(marker);
        check_any(document.to_string().replace(&marker.to_string(), &text).as_bytes());
    }
}
