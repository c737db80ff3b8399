"""LaunchDarkly's own Python client against `variate serve`.

Run by `tests/clients/run`. Every section starts from what it creates itself. Every answer has to be
the same again when the client has parsed it into its type and written it out: no member that the
type does not know, no value outside its enums, no null where a member can be left out. Every
refusal is checked to have left the server's file as it was. Who gets what is what `variate assign`
says of that file, and where a rollout is shown, what LaunchDarkly's SDKs would make of it.
"""

import collections
import hashlib
import json
import subprocess
import warnings

import harness
from harness import Server, equal, holds, running, unchanged

import launchdarkly_api as ld
from launchdarkly_api.exceptions import ApiException

# Creating iterations is deprecated.
warnings.simplefilter("ignore", DeprecationWarning)

PROJECT, ENVIRONMENT = "shop", "test"
HERE = (PROJECT, ENVIRONMENT)
OPTIONS = ["--launchdarkly-project", PROJECT, "--launchdarkly-environment", ENVIRONMENT]
SEMANTIC = "application/json; domain-model=launchdarkly.semanticpatch"
EXPANDED = ",".join(
    [
        "previousIterations",
        "draftIteration",
        "secondaryMetrics",
        "treatments",
        "analysisConfig",
        "mutableFieldsByStatus",
    ]
)
IDS = [f"user-{number}" for number in range(4000)]
BUCKETS = 100_000
# What is not a matter of a new iteration.
OF_EXPERIMENT = {"name", "description", "maintainerId", "tags"}


class LaunchDarklyServer(Server):
    """One with the client for it."""

    def __init__(self, file, *options):
        super().__init__(file, *OPTIONS, *options)
        configuration = ld.Configuration(host=f"http://127.0.0.1:{self.port}")
        configuration.api_key["ApiKey"] = "any"
        self.client = ld.ApiClient(configuration)
        self.experiments = ld.ExperimentsApi(self.client)
        self.flags = ld.FeatureFlagsApi(self.client)
        self.holdouts = ld.HoldoutsApi(self.client)
        self.layers = ld.LayersApi(self.client)
        self.metrics = ld.MetricsApi(self.client)
        self.groups = ld.MetricsBetaApi(self.client)

    def send(self, method, path, body, content_type="application/json"):
        """Sends what the client has no typed form for."""
        sent = self.client.call_api(
            *self.client.param_serialize(
                method,
                path,
                header_params={"Accept": "application/json", "Content-Type": content_type},
                body=body,
                auth_settings=["ApiKey"],
            )
        )
        sent.read()
        types = {
            str(status): "object" if status < 300 else None
            for status in [200, 201, *range(400, 500)]
        }
        return self.client.response_deserialize(sent, types)

    def patch_flag(self, key, *instructions, environment=ENVIRONMENT):
        body = {"environmentKey": environment, "instructions": list(instructions)}
        raw = self.send("PATCH", f"/api/v2/flags/{PROJECT}/{key}", body, SEMANTIC).raw_data
        return typed(json.loads(raw), ld.FeatureFlag)

    def get(self, key, expand=EXPANDED):
        return got(self.experiments.get_experiment, *HERE, key, expand=expand, type=ld.Experiment)

    def patch(self, key, *instructions, comment=None):
        body = ld.ExperimentPatchInput(comment=comment, instructions=list(instructions))
        got(self.experiments.patch_experiment, *HERE, key, body, type=ld.Experiment)
        return self.get(key)

    def update(self, key, **fields):
        return self.patch(key, {"kind": "updateExperimentFields", "value": fields})

    def list(self, **query):
        listed = got(
            self.experiments.get_experiments, *HERE, type=ld.ExperimentCollectionRep, **query
        )
        return [experiment.key for experiment in listed.items], listed

    def flag(self, key):
        return got(self.flags.get_feature_flag, PROJECT, key, type=ld.FeatureFlag)

    def served(self, experiment, ids=IDS, **attributes):
        """What each id gets, by the file, as the variation's id and why."""
        options = [f"--attribute={name}={value}" for name, value in attributes.items()]
        assigned = subprocess.run(
            [Server.binary, "assign", "--config", self.file, "--experiment", experiment.id]
            + options,
            input="".join(f"{id}\n" for id in ids),
            capture_output=True,
            text=True,
            check=True,
        )
        rows = [line.split("\t") for line in assigned.stdout.splitlines()]
        equal([row[0] for row in rows], list(ids))
        return {id: (variation, reason) for id, variation, reason in rows}

    def variations(self, experiment, **attributes):
        return {id: own for id, (own, _) in self.served(experiment, **attributes).items()}


def serving(file):
    return running(LaunchDarklyServer(file))


def got(call, /, *arguments, type, status=200, **members):
    """The answer of the client's operation, which has parsed it as this type."""
    answer = getattr(call.__self__, f"{call.__name__}_with_http_info")(*arguments, **members)
    equal(answer.status_code, status)
    equal(answer.headers["content-type"], "application/json")
    equal(answer.data.__class__, type)
    same(answer.data, json.loads(answer.raw_data))
    return answer.data


def typed(raw, type):
    parsed = type.from_dict(raw)
    same(parsed, raw)
    return parsed


def same(parsed, raw):
    equal(parsed.to_dict(), raw, f"{type(parsed).__name__} written out again")
    timeless(raw)


def timeless(value, where=""):
    """Times are in milliseconds, of this century, and links lead somewhere."""
    if isinstance(value, list):
        for member in value:
            timeless(member, where)
    elif isinstance(value, dict):
        for name, member in value.items():
            if name.endswith(("Date", "edAt")):
                holds(1_700_000_000_000 < member < 4_200_000_000_000, f"{name} is {member}")
            elif name == "href":
                holds(member.startswith("/api/v2/") or where == "_site", member)
            timeless(member, name)


def refused(server, status, code, call, /, *arguments, attribute=None, **members):
    """Calls what must be refused, for this attribute if there is one; the message is returned."""
    with unchanged(server):
        try:
            answer = call(*arguments, **members)
        except ApiException as error:
            equal(error.status, status, error.body)
            body = json.loads(error.body)
            equal(set(body) - {"errors"}, {"code", "message"})
            equal(body["code"], code, body)
            holds(body["message"], "there is no message")
            for fault in body.get("errors", []):
                equal(set(fault), {"attribute", "reason"})
                holds(fault["reason"], body)
            if attribute is not None:
                named = [fault["attribute"] for fault in body.get("errors", [])]
                equal(named, [attribute], body)
            if error.data is not None:
                equal((error.data.code, error.data.message), (body["code"], body["message"]))
            return body["message"]
    raise AssertionError(f"not refused with {status} {code}: {answer!r}")


def bad(server, key, attribute, *instructions, status=400, code="invalid_request"):
    """Instructions that are refused for this attribute."""
    return refused(server, status, code, server.patch, key, *instructions, attribute=attribute)


class World:
    """A flag, which is on, and metrics, for experiments to be about."""

    def __init__(self, server, key="cart", on=True, values=("long", "short", "none")):
        self.server, self.key = server, key
        body = ld.FeatureFlagBody(
            key=key,
            name=f"Label of {key}",
            variations=[ld.Variation(value=value, name=f"the {value}") for value in values],
            is_flag_on=on,
        )
        self.flag = got(
            server.flags.post_feature_flag, PROJECT, body, type=ld.FeatureFlag, status=201
        )
        self.ids = [variation.id for variation in self.flag.variations]
        for metric in ["bought", "opened", "paid"]:
            self.metric(f"{key}-{metric}")

    def metric(self, key, **members):
        given = {"kind": "custom", "event_key": key, "success_criteria": "HigherThanBaseline"}
        body = ld.MetricPost(key=key, name=f"Metric {key}", **(given | members))
        return got(self.server.metrics.post_metric, PROJECT, body, type=ld.MetricRep, status=201)

    def reference(self, rule="fallthrough", outside=None, version=None):
        present = self.server.flag(self.key).environments[ENVIRONMENT].version
        given = {} if outside is None else {"not_in_experiment_variation_id": self.ids[outside]}
        version = present if version is None else version
        return ld.FlagInput(rule_id=rule, flag_config_version=version, **given)

    def arms(self, *percents, baseline=0):
        return [
            ld.TreatmentInput(
                name=f"arm {index}",
                baseline=index == baseline,
                allocation_percent=percent,
                parameters=[
                    ld.TreatmentParameterInput(flag_key=self.key, variation_id=self.ids[index])
                ],
            )
            for index, percent in enumerate(percents)
        ]

    def iteration(self, *percents, **members):
        given = {
            "hypothesis": "A shorter label raises sales",
            "metrics": [ld.MetricInput(key=f"{self.key}-bought")],
            "primary_single_metric_key": f"{self.key}-bought",
            "treatments": self.arms(*(percents or ["50", "50"])),
            "flags": {self.key: self.reference()},
            "randomization_unit": "user",
        }
        return ld.IterationInput(**(given | members))

    def create(self, key, *percents, top=(), **members):
        post = ld.ExperimentPost(
            key=key,
            name=f"Experiment {key}",
            iteration=self.iteration(*percents, **members),
            **dict(top),
        )
        got(self.server.experiments.create_experiment, *HERE, post, type=ld.Experiment, status=201)
        return self.server.get(key)

    def running(self, key, *percents, top=(), **members):
        self.create(key, *percents, top=top, **members)
        return self.server.patch(key, START)

    def rollout(self):
        return self.server.flag(self.key).environments[ENVIRONMENT].fallthrough.rollout

    def bucketed(self, ids=IDS):
        """What LaunchDarkly's SDKs make of the rollout that the flag shows."""
        rollout = self.rollout()
        equal(rollout.context_kind, "user")
        equal(sum(slice.weight for slice in rollout.variations), BUCKETS)
        served = {}
        for id in ids:
            digest = hashlib.sha1(f"{rollout.seed}.{id}".encode()).hexdigest()
            point, scale = int(digest[:15], 16), (1 << 60) - 1
            reached = 0
            for slice in rollout.variations:
                reached += slice.weight
                if point * BUCKETS < reached * scale:
                    break
            served[id] = (self.ids[slice.variation], not slice.untracked)
        return served

    def agrees(self, experiment):
        """That the file and the rollout say the same; what each id gets."""
        by_file, by_rollout = self.server.served(experiment), self.bucketed()
        by_file = {id: (own, why == "split") for id, (own, why) in by_file.items()}
        equal(different(by_file, by_rollout), {}, "who gets what")
        return by_rollout


START = {"kind": "startIteration"}
JUSTIFIED = START | {"changeJustification": "A fault in the label"}
AGAIN = {"kind": "saveAndStartNewIteration"}
ARCHIVE, RESTORE = {"kind": "archiveExperiment"}, {"kind": "restoreExperiment"}


def stop(winner=None, reason=None):
    given = {"winningTreatmentId": winner, "winningReason": reason}
    return {"kind": "stopIteration"} | {k: v for k, v in given.items() if v is not None}


def fields(**updates):
    return {"kind": "updateExperimentFields", "value": updates}


def updating(value):
    return {"operation": "update", "value": value}


def adding(*values):
    return {"operation": "add", "value": list(values)}


def removing(*values):
    return {"operation": "remove"} | ({"value": list(values)} if values else {})


def shares(iteration):
    return [arm.allocation_percent for arm in iteration.treatments]


def inside(served):
    """Those who are in the experiment."""
    return {id: (variation, tracked) for id, (variation, tracked) in served.items() if tracked}


def different(some, others):
    return {id: (own, others[id]) for id, own in some.items() if own != others[id]}


def about(fraction, expected, count=len(IDS)):
    """Within five standard deviations."""
    deviation = (expected * (1 - expected) / count) ** 0.5
    holds(abs(fraction - expected) <= 5 * deviation, f"{fraction} is not about {expected}")


def flags(server):
    post = server.flags.post_feature_flag
    body = ld.FeatureFlagBody(key="beta", name="Beta", description="A switch")
    flag = got(post, PROJECT, body, type=ld.FeatureFlag, status=201)
    equal(
        (flag.key, flag.name, flag.description, flag.kind), ("beta", "Beta", "A switch", "boolean")
    )
    equal([variation.value for variation in flag.variations], [True, False])
    equal(list(flag.environments), [ENVIRONMENT])
    here = flag.environments[ENVIRONMENT]
    equal((here.on, here.archived, here.off_variation, here.fallthrough), (False, False, 1, None))
    equal((flag.archived, flag.archived_date), (False, None))

    world = World(server, on=False)
    equal(world.flag.kind, "multivariate")
    equal([own.value for own in world.flag.variations], ["long", "short", "none"])
    equal([own.name for own in world.flag.variations], ["the long", "the short", "the none"])
    equal(len(set(world.ids)), 3)
    equal(server.flag("cart").to_dict(), world.flag.to_dict())
    body = ld.FeatureFlagBody(
        key="map",
        name="Maps",
        variations=[ld.Variation(value={"a": [1, None]}), ld.Variation(value={"a": []})],
        defaults=ld.Defaults(on_variation=1, off_variation=0),
        is_flag_on=True,
    )
    flag = got(post, PROJECT, body, type=ld.FeatureFlag, status=201)
    equal([own.value for own in flag.variations], [{"a": [1, None]}, {"a": []}])
    here = flag.environments[ENVIRONMENT]
    equal((here.on, here.off_variation), (True, 0))

    # A list is in the order of creation.
    listed = got(server.flags.get_feature_flags, PROJECT, type=ld.FeatureFlags)
    equal(([own.key for own in listed.items], listed.total_count), (["beta", "cart", "map"], 3))
    page = got(server.flags.get_feature_flags, PROJECT, limit=1, offset=1, type=ld.FeatureFlags)
    equal(([own.key for own in page.items], page.total_count), (["cart"], 3))
    equal(set(page.links), {"self", "prev", "next"})

    # Who finds it as wanted changes nothing.
    on, off, archive = [{"kind": kind} for kind in ["turnFlagOn", "turnFlagOff", "archiveFlag"]]
    version = server.flag("cart").environments[ENVIRONMENT].version
    turned = server.patch_flag("cart", on).environments[ENVIRONMENT]
    holds(turned.on and turned.version > version, turned)
    with unchanged(server):
        server.patch_flag("cart", on)
    equal(server.patch_flag("cart", off).environments[ENVIRONMENT].on, False)
    archived = server.patch_flag("cart", archive)
    holds(archived.archived and archived.archived_date, archived)
    with unchanged(server):
        server.patch_flag("cart", archive)

    duplicate = ld.FeatureFlagBody(key="beta", name="Another")
    refused(server, 409, "invalid_request", post, PROJECT, duplicate, attribute="key")
    for key, attribute in [("a b", "key"), ("", "key")]:
        body = ld.FeatureFlagBody(key=key, name="Another")
        refused(server, 400, "invalid_request", post, PROJECT, body, attribute=attribute)
    one = ld.FeatureFlagBody(key="one", name="One", variations=[ld.Variation(value=1)])
    refused(server, 400, "invalid_request", post, PROJECT, one, attribute="variations")
    refused(server, 404, "not_found", post, "office", duplicate)
    refused(server, 404, "not_found", server.flags.get_feature_flag, PROJECT, "none")
    refused(server, 404, "not_found", server.patch_flag, "none", on)
    refused(server, 404, "not_found", server.patch_flag, "beta", on, environment="other")
    refused(
        server,
        400,
        "invalid_request",
        server.patch_flag,
        "beta",
        on,
        environment=None,
        attribute="environmentKey",
    )
    refused(
        server,
        422,
        "patch_failed",
        server.patch_flag,
        "beta",
        on,
        {"kind": "turnFlag"},
        attribute="instructions[1].kind",
    )
    refused(server, 405, "method_not_allowed", server.flags.delete_feature_flag, PROJECT, "beta")


def metrics(server):
    post, groups = server.metrics.post_metric, server.groups
    world = World(server)
    numeric = world.metric(
        "revenue",
        is_numeric=True,
        description="What a sale brings",
        unit="USD",
        unit_aggregation_type="sum",
        analysis_type="mean",
        event_default=ld.MetricEventDefaultRep(disabled=False, value=0),
        tags=["money"],
        analysis_units=["user"],
        winsor_upper_percentile=99.5,
    )
    equal((numeric.is_numeric, numeric.unit, numeric.tags), (True, "USD", ["money"]))
    equal((numeric.unit_aggregation_type, numeric.analysis_type), ("sum", "mean"))
    equal((numeric.description, numeric.analysis_units), ("What a sale brings", ["user"]))
    equal((numeric.event_default.disabled, numeric.event_default.value), (False, 0))
    equal(numeric.winsor_upper_percentile, 99.5)
    equal(numeric.data_source.key, "launchdarkly")
    latency = world.metric(
        "latency",
        is_numeric=True,
        unit="ms",
        success_criteria="LowerThanBaseline",
        analysis_type="percentile",
        percentile_value=95,
    )
    equal((latency.success_criteria, latency.percentile_value), ("LowerThanBaseline", 95))
    url = ld.UrlPost(kind="substring", substring="/cart")
    click = world.metric("click", kind="click", event_key=None, selector="#buy", urls=[url])
    equal((click.kind, click.selector), ("click", "#buy"))
    equal(click.urls, [{"kind": "substring", "substring": "/cart"}])
    view = world.metric("view", kind="pageview", event_key=None, urls=[url])
    equal((view.kind, view.success_criteria), ("pageview", "HigherThanBaseline"))

    def group(key, kind, *entries):
        metrics = [
            ld.MetricInMetricGroupInput(key=own, name_in_group=name) for own, name in entries
        ]
        return ld.MetricGroupPost(
            key=key, name=f"Group {key}", kind=kind, maintainer_id="m", tags=[], metrics=metrics
        )

    create = groups.create_metric_group
    steps = [("view", "Seen"), ("click", "Clicked"), ("cart-bought", "Bought")]
    funnel = got(
        create, PROJECT, group("way", "funnel", *steps), type=ld.MetricGroupRep, status=201
    )
    equal((funnel.kind, funnel.name), ("funnel", "Group way"))
    equal([(own.key, own.name_in_group) for own in funnel.metrics], steps)
    standard = group("all", "standard", ("revenue", "Revenue"), ("latency", "Latency"))
    got(create, PROJECT, standard, type=ld.MetricGroupRep, status=201)

    one = got(server.metrics.get_metric, PROJECT, "revenue", type=ld.MetricRep)
    equal(one.metric_group_count, 1)
    listed = got(server.metrics.get_metrics, PROJECT, type=ld.MetricCollectionRep)
    singles = [f"cart-{own}" for own in ["bought", "opened", "paid"]]
    singles += ["revenue", "latency", "click", "view"]
    equal(([own.key for own in listed.items], listed.total_count), (singles, 7))
    page = got(server.metrics.get_metrics, PROJECT, limit=2, offset=6, type=ld.MetricCollectionRep)
    equal(([own.key for own in page.items], page.total_count), (["view"], 7))
    listed = got(groups.get_metric_groups, PROJECT, type=ld.MetricGroupCollectionRep)
    equal(([own.key for own in listed.items], listed.total_count), (["way", "all"], 2))
    got_again = got(groups.get_metric_group, PROJECT, "way", type=ld.MetricGroupRep)
    equal(got_again.to_dict(), funnel.to_dict())

    again = ld.MetricPost(key="revenue", kind="custom", event_key="revenue")
    refused(server, 409, "invalid_request", post, PROJECT, again, attribute="key")
    for wrong, attribute in [
        ({"percentile_value": 95}, "percentileValue"),
        ({"winsor_upper_percentile": 100}, "winsorUpperPercentile"),
        ({"event_key": None}, "eventKey"),
        ({"kind": "click", "event_key": None, "is_numeric": None}, "selector"),
    ]:
        given = {"key": "new", "kind": "custom", "event_key": "new", "is_numeric": True} | wrong
        message = refused(server, 400, "invalid_request", post, PROJECT, ld.MetricPost(**given))
        holds(attribute in message, message)
    missing = group("new", "funnel", ("nowhere", "Nowhere"))
    refused(server, 404, "not_found", create, PROJECT, missing)
    refused(server, 404, "not_found", server.metrics.get_metric, PROJECT, "way")
    refused(server, 404, "not_found", groups.get_metric_group, PROJECT, "revenue")

    # A funnel decides an experiment.
    created = world.create(
        "by-funnel",
        metrics=[ld.MetricInput(key="way", is_group=True), ld.MetricInput(key="revenue")],
        primary_single_metric_key=None,
        primary_funnel_key="way",
    ).current_iteration
    equal(created.primary_funnel.key, "way")
    equal([own.key for own in created.primary_funnel.metrics], [key for key, _ in steps])
    equal((created.primary_metric.key, created.primary_metric.is_group), ("way", True))
    equal(created.primary_single_metric, None)
    equal([(own.key, own.is_group) for own in created.metrics], [("way", True), ("revenue", False)])
    equal([own.key for own in created.secondary_metrics], ["revenue"])
    one = got(server.metrics.get_metric, PROJECT, "revenue", type=ld.MetricRep)
    equal((one.experiment_count, one.active_experiment_count), (1, 0))


def drafts(server):
    world = World(server)
    config = {
        "significanceThreshold": "0.05",
        "testDirection": "two-sided",
        "multipleComparisonCorrectionMethod": "benjamini-hochberg",
        "multipleComparisonCorrectionScope": "variations",
    }
    top = {
        "description": "What the button says",
        "methodology": "frequentist",
        "analysis_config": ld.AnalysisConfigInput.from_dict(config),
        "tags": ["cart"],
        "maintainer_id": "569fdeadbeef1644facecafe",
    }
    draft = world.create(
        "label",
        "25",
        "12.5",
        top=top,
        can_reshuffle_traffic=False,
        metrics=[ld.MetricInput(key="cart-bought"), ld.MetricInput(key="cart-opened")],
        attributes=["country", "device"],
        flags={"cart": world.reference(outside=2)},
    )
    equal((draft.key, draft.name), ("label", "Experiment label"))
    equal((draft.description, draft.tags), ("What the button says", ["cart"]))
    equal(draft.maintainer_id, "569fdeadbeef1644facecafe")
    equal((draft.methodology, draft.data_source), ("frequentist", "launchdarkly"))
    equal((draft.type, draft.environment_key), ("experiment", ENVIRONMENT))
    equal((draft.archived_date, draft.holdout_id), (None, None))
    equal(draft.analysis_config.to_dict(), config)
    equal(draft.previous_iterations, [])
    present = draft.current_iteration
    equal(draft.draft_iteration.to_dict(), present.to_dict())
    equal((present.status, present.hypothesis), ("not_started", "A shorter label raises sales"))
    equal((present.started_at, present.ended_at, present.winning_treatment_id), (None,) * 3)
    equal((present.can_reshuffle_traffic, present.randomization_unit), (False, "user"))
    equal(present.attributes, ["country", "device"])
    equal([own.name for own in present.treatments], ["arm 0", "arm 1"])
    equal(shares(present), ["25", "12.5"])
    equal([own.baseline for own in present.treatments], [True, False])
    equal(
        [
            (own.parameters[0].flag_key, own.parameters[0].variation_id)
            for own in present.treatments
        ],
        [("cart", world.ids[0]), ("cart", world.ids[1])],
    )
    flag = present.flags["cart"]
    equal((list(present.flags), flag.targeting_rule), (["cart"], "fallthrough"))
    equal(flag.not_in_experiment_variation_id, world.ids[2])
    equal(flag.flag_config_version, server.flag("cart").environments[ENVIRONMENT].version)
    equal((present.primary_single_metric.key, present.primary_metric.key), ("cart-bought",) * 2)
    equal([own.key for own in present.metrics], ["cart-bought", "cart-opened"])
    equal([own.key for own in present.secondary_metrics], ["cart-opened"])

    # Only what is asked for is shown.
    shown = {
        "treatments": ("current_iteration", "treatments"),
        "secondaryMetrics": ("current_iteration", "secondary_metrics"),
        "draftIteration": ("draft_iteration",),
        "previousIterations": ("previous_iterations",),
        "analysisConfig": ("analysis_config",),
        "mutableFieldsByStatus": ("mutable_fields_by_status",),
    }
    for expand in [None, *shown]:
        experiment = server.get("label", expand)
        for name, path in shown.items():
            member = experiment
            for part in path:
                member = getattr(member, part)
            equal(member is not None, name == expand, f"{name} of {expand}")
    mutable = draft.mutable_fields_by_status
    equal(mutable.not_started["hypothesis"], ["update"])
    equal(mutable.not_started["treatments"], ["add", "update", "remove"])
    equal((mutable.running["metrics"], mutable.running["attributes"]), (["add"], ["add"]))
    holds("hypothesis" not in mutable.running and "flags" not in mutable.running, mutable)
    equal(set(mutable.stopped), OF_EXPERIMENT)

    # What is left out has its default.
    plain = world.create("plain", randomization_unit=None)
    present = plain.current_iteration
    equal((plain.methodology, plain.type, plain.tags), ("frequentist", "experiment", []))
    equal((present.can_reshuffle_traffic, present.randomization_unit), (True, "user"))
    equal(present.flags["cart"].not_in_experiment_variation_id, world.ids[0])
    equal((present.attributes, plain.description), (None, None))
    bandit = world.create("bandit", top={"type": "mab"}, reallocation_frequency_millis=3_600_000)
    equal((bandit.type, bandit.methodology), ("mab", "bayesian"))
    equal(bandit.current_iteration.reallocation_frequency_millis, 3_600_000)

    # A draft can become anything.
    edited = server.patch(
        "label",
        {"kind": "updateName", "value": "Button"},
        {"kind": "updateDescription", "value": "Its label"},
        fields(
            hypothesis=updating("A longer one"),
            treatments=updating(
                [own.to_dict() for own in world.arms("10", "20", "30", baseline=1)]
            ),
            tags=adding("button", "cart"),
            metrics=adding({"key": "cart-paid"}),
            primarySingleMetricKey=updating("cart-opened"),
            attributes=removing("country"),
            canReshuffleTraffic=updating(True),
            methodology=updating("bayesian"),
            analysisConfig=updating({"bayesianThreshold": "95"}),
            randomizationUnit=updating("account"),
            covariateId=updating("cov-1"),
            flags=updating({"cart": world.reference().to_dict()}),
        ),
        comment="All at once",
    )
    equal((edited.name, edited.description), ("Button", "Its label"))
    equal((edited.tags, edited.methodology), (["cart", "button"], "bayesian"))
    equal(edited.analysis_config.to_dict(), {"bayesianThreshold": "95"})
    present = edited.current_iteration
    equal((present.hypothesis, present.attributes), ("A longer one", ["device"]))
    equal(shares(present), ["10", "20", "30"])
    equal([own.baseline for own in present.treatments], [False, True, False])
    equal([own.key for own in present.metrics], ["cart-bought", "cart-opened", "cart-paid"])
    equal(present.primary_single_metric.key, "cart-opened")
    equal((present.can_reshuffle_traffic, present.randomization_unit), (True, "account"))
    equal(present.covariate_info.id, "cov-1")
    equal(present.flags["cart"].not_in_experiment_variation_id, world.ids[1])
    with unchanged(server):
        server.update("label", name=updating("Button"), tags=adding("cart"))
        server.update("label", hypothesis=updating("A longer one"), metrics=adding())
    edited = server.update(
        "label",
        description=removing(),
        tags=removing(),
        covariateId=removing(),
        metrics=removing("cart-paid"),
    )
    equal((edited.description, edited.tags), (None, []))
    equal(edited.current_iteration.covariate_info, None)
    equal([own.key for own in edited.current_iteration.metrics], ["cart-bought", "cart-opened"])

    for name, value in [("dataSource", ""), ("covariateId", ""), ("methodology", "other")]:
        bad(server, "label", f"instructions[0].value.{name}", fields(**{name: updating(value)}))

    # What cannot be created.
    def wrong(status, attribute, *percents, key="new", code="invalid_request", top=(), **members):
        return refused(
            server,
            status,
            code,
            world.create,
            key,
            *percents,
            top=top,
            attribute=attribute,
            **members,
        )

    wrong(409, "key", key="label")
    wrong(400, "key", key="a b")
    wrong(400, "iteration.primarySingleMetricKey", primary_single_metric_key=None)
    wrong(400, "iteration.primaryFunnelKey", primary_funnel_key="cart-paid")
    wrong(400, "iteration.treatments", "60", "60")
    wrong(400, "iteration.treatments", treatments=world.arms("50", "50", baseline=7))
    wrong(400, "iteration.treatments[1].allocationPercent", "50", "101")
    wrong(400, "iteration.treatments[1].allocationPercent", "50", "0.0001")
    wrong(400, "iteration.treatments[1].allocationPercent", "50", "half")
    strange = world.arms("50", "50")
    strange[1].parameters[0].variation_id = "var_none"
    wrong(400, "iteration.treatments[1].parameters[0].variationId", treatments=strange)
    strange = world.arms("50", "50")
    strange[0].parameters[0].flag_key = "other"
    wrong(400, "iteration.treatments[0].parameters[0].flagKey", treatments=strange)
    old = {"cart": world.reference(version=99)}
    wrong(409, None, flags=old, code="optimistic_locking_error")
    wrong(404, None, flags={"cart": world.reference("rule-none")}, code="not_found")
    wrong(404, None, flags={"none": world.reference()}, code="not_found")
    wrong(400, "iteration.flags", flags={})
    wrong(404, None, metrics=[ld.MetricInput(key="none")], code="not_found")
    odd = [ld.MetricInput(key="cart-bought", analysis_unit="a b")]
    wrong(400, "iteration.metrics[0].analysisUnit", metrics=odd)
    wrong(400, "iteration.covariateId", covariate_id="")
    wrong(404, None, top={"holdout_id": "hol_none"}, code="not_found")
    config = ld.AnalysisConfigInput(significance_threshold="5")
    wrong(400, "analysisConfig.significanceThreshold", top={"analysis_config": config})
    refused(server, 404, "not_found", server.get, "none")
    refused(server, 404, "not_found", server.patch, "none", START)
    refused(server, 400, "invalid_request", server.get, "label", "everything", attribute="expand")
    for project, environment in [("other", ENVIRONMENT), (PROJECT, "other")]:
        call = server.experiments.get_experiment
        refused(server, 404, "not_found", call, project, environment, "label")


def patches(server):
    """Instructions that are refused, all of them or none."""
    world = World(server)
    world.running("label")
    rename = {"kind": "updateName", "value": "Another"}
    at = "instructions[1].value"
    for update, attribute in [
        ({"hypothesis": updating("Another")}, f"{at}.hypothesis"),
        ({"treatments": updating([])}, f"{at}.treatments"),
        ({"treatments": adding()}, f"{at}.treatments"),
        ({"flags": updating({})}, f"{at}.flags"),
        ({"randomizationUnit": updating("account")}, f"{at}.randomizationUnit"),
        ({"canReshuffleTraffic": updating(False)}, f"{at}.canReshuffleTraffic"),
        ({"methodology": updating("bayesian")}, f"{at}.methodology"),
        ({"analysisConfig": updating({})}, f"{at}.analysisConfig"),
        ({"dataSource": updating("snowflake")}, f"{at}.dataSource"),
        ({"covariateId": updating("c")}, f"{at}.covariateId"),
        ({"reallocationFrequencyMillis": updating(1000)}, f"{at}.reallocationFrequencyMillis"),
        ({"primarySingleMetricKey": updating("cart-paid")}, f"{at}.primarySingleMetricKey"),
        ({"metrics": updating([])}, f"{at}.metrics"),
        ({"metrics": removing("cart-bought")}, f"{at}.metrics"),
        ({"attributes": removing("country")}, f"{at}.attributes"),
        ({"name": {"operation": "add", "value": "Another"}}, f"{at}.name"),
        ({"colour": updating("red")}, f"{at}.colour"),
        ({"tags": adding("one"), "hypothesis": updating("Another")}, f"{at}.hypothesis"),
        ({"name": {"operation": "set", "value": "A"}}, f"{at}.name.operation"),
        ({"name": {"operation": "update"}}, f"{at}.name.value"),
        ({"name": {"value": "A"}}, f"{at}.name.operation"),
        ({"tags": updating("one")}, f"{at}.tags.value"),
    ]:
        message = bad(server, "label", attribute, rename, fields(**update))
        holds(attribute in message, message)
    for instruction, attribute in [
        ({"kind": "updateName"}, at),
        ({"kind": "updateName", "value": 7}, at),
        ({"kind": "updateName", "value": ""}, "instructions[1].name"),
        ({"kind": "updateExperimentFields"}, at),
        ({"value": "Another"}, "instructions[1].kind"),
        (ARCHIVE, "instructions[1].kind"),
        (START, "instructions[1].changeJustification"),
        (stop(), "instructions[1].winningTreatmentId"),
        (stop(reason="Nobody"), "instructions[1].winningTreatmentId"),
        (stop("var_none"), "instructions[1].winningTreatmentId"),
        (stop(world.ids[2]), "instructions[1].winningTreatmentId"),
        (AGAIN | {"value": {"hypothesis": removing()}}, f"{at}.hypothesis"),
        (AGAIN | {"value": {"treatments": removing(world.ids[0])}}, "instructions[1].treatments"),
    ]:
        bad(server, "label", attribute, rename, instruction)
    bad(
        server,
        "label",
        "instructions[0].kind",
        {"kind": "pauseIteration"},
        rename,
        status=422,
        code="patch_failed",
    )
    bad(server, "label", "instructions")
    unknown = fields(metrics=adding({"key": "none"}))
    message = bad(server, "label", None, rename, unknown, status=404, code="not_found")
    holds("instructions[1]" in message, message)
    path = f"/api/v2/projects/{PROJECT}/environments/{ENVIRONMENT}/experiments/label"
    replace = [{"op": "replace", "path": "/name", "value": "Another"}]
    refused(server, 422, "patch_failed", server.send, "PATCH", path, replace)
    refused(
        server,
        400,
        "invalid_request",
        server.send,
        "PATCH",
        path,
        {"instructions": {}},
        attribute="instructions",
    )
    refused(
        server,
        400,
        "invalid_request",
        server.send,
        "PATCH",
        path,
        {"comment": "Nothing"},
        attribute="instructions",
    )
    body = {"instructions": [rename]}
    refused(server, 400, "invalid_request", server.send, "PATCH", path, body, "text/json; json")
    refused(server, 405, "method_not_allowed", server.send, "DELETE", path, None)
    equal(server.send("PATCH", path, body | {"more": 1}, SEMANTIC).data["name"], "Another")


def lives(directory):
    """From a draft to the end and on, with the server stopped in between."""
    file = directory / "lives.json"
    with serving(file) as server:
        world = World(server, on=False)
        draft = world.create("label", "20", "30", flags={"cart": world.reference(outside=2)})
        rival = world.create("rival", randomization_unit="user")
        equal(set(server.variations(draft).values()), {""})

        # Gates.
        message = refused(server, 400, "invalid_request", server.patch, "label", START)
        holds("off" in message, message)
        server.patch_flag("cart", {"kind": "turnFlagOn"})
        server.update("label", treatments=updating([own.to_dict() for own in world.arms("50")]))
        bad(server, "label", "instructions[0].treatments", START)
        none = [own.to_dict() for own in world.arms("0", "0")]
        server.update("label", treatments=updating(none))
        bad(server, "label", "instructions[0].treatments", START)
        arms = [own.to_dict() for own in world.arms("20", "30")]
        server.update("label", treatments=updating(arms))
        server.patch("label", ARCHIVE)
        bad(server, "label", "instructions[0].kind", START)
        server.patch("label", RESTORE)

        first = server.patch("label", START, comment="Off we go")
        present = first.current_iteration
        equal((present.status, first.draft_iteration), ("running", None))
        equal(shares(present), ["20", "30"])
        holds(present.started_at >= present.created_at, present)
        served = world.agrees(first)
        counts = collections.Counter(served.values())
        for arm, share, tracked in [(0, 0.2, True), (1, 0.3, True), (2, 0.5, False)]:
            about(counts[world.ids[arm], tracked] / len(IDS), share)
        equal(sum(counts.values()), len(IDS))
        seed = world.rollout().seed
        equal(world.rollout().experiment_allocation.default_variation, 2)

        message = bad(server, "rival", None, START, status=409, code="optimistic_locking_error")
        holds("label" in message, message)
        equal(server.get("rival").current_iteration.status, "not_started")

        # What can change while it runs, without another iteration and without anybody noticing.
        grown = server.update(
            "label",
            name=updating("Button"),
            description=updating("Its label"),
            maintainerId=updating("somebody"),
            tags=adding("running"),
            metrics=adding({"key": "cart-opened"}, {"key": "cart-bought"}),
            attributes=adding("country"),
        )
        equal((grown.name, grown.description, grown.tags), ("Button", "Its label", ["running"]))
        equal(grown.maintainer_id, "somebody")
        equal(grown.current_iteration.id, present.id)
        equal([own.key for own in grown.current_iteration.metrics], ["cart-bought", "cart-opened"])
        equal(grown.current_iteration.attributes, ["country"])
        equal(grown.previous_iterations, [])
        equal(world.agrees(grown), served)
        with unchanged(server):
            server.update("label", metrics=adding({"key": "cart-opened"}))

        # A flag that is off serves its own variation to all.
        server.patch_flag("cart", {"kind": "turnFlagOff"})
        equal(set(server.variations(grown).values()), {world.ids[2]})
        server.patch_flag("cart", {"kind": "turnFlagOn"})
        equal(world.agrees(grown), served)

        # More traffic: whoever is in stays.
        more = AGAIN | {
            "changeJustification": "More traffic",
            "value": {
                "treatments": updating([own.to_dict() for own in world.arms("30", "40")]),
                "hypothesis": updating("A shorter label raises sales a lot"),
            },
        }
        second = server.patch("label", more)
        present, past = second.current_iteration, second.previous_iterations
        equal((present.status, [own.status for own in past]), ("running", ["stopped"]))
        equal((shares(present), shares(past[0])), (["30", "40"], ["20", "30"]))
        equal(past[0].hypothesis, "A shorter label raises sales")
        equal(present.hypothesis, "A shorter label raises sales a lot")
        equal([own.key for own in present.metrics], ["cart-bought", "cart-opened"])
        equal((past[0].id, past[0].winning_treatment_id), (grown.current_iteration.id, None))
        holds(past[0].ended_at >= past[0].started_at, past[0])
        holds(present.id != past[0].id, present.id)
        wider = world.agrees(second)
        equal(world.rollout().seed, seed)
        equal(different(inside(served), wider), {}, "who was in")
        counts = collections.Counter(wider.values())
        for arm, share, tracked in [(0, 0.3, True), (1, 0.4, True), (2, 0.3, False)]:
            about(counts[world.ids[arm], tracked] / len(IDS), share)

        # An iteration begins anew without any edit, in place of a draft beside.
        got(
            server.experiments.create_iteration,
            *HERE,
            "label",
            world.iteration("1", "1"),
            type=ld.IterationRep,
        )
        third = server.patch("label", AGAIN)
        equal((third.draft_iteration, len(third.previous_iterations)), (None, 2))
        equal(shares(third.current_iteration), ["30", "40"])
        equal(world.agrees(third), wider)

        # A draft beside the running one.
        bad(server, "label", "instructions[0].changeJustification", START)
        bad(server, "label", "instructions[0].kind", JUSTIFIED)
        beside = got(
            server.experiments.create_iteration,
            *HERE,
            "label",
            world.iteration("10", "10", hypothesis="Fewer are enough", can_reshuffle_traffic=False),
            type=ld.IterationRep,
        )
        equal((beside.status, beside.hypothesis), ("not_started", "Fewer are enough"))
        both = server.get("label")
        equal(both.draft_iteration.to_dict(), beside.to_dict())
        equal(both.current_iteration.to_dict(), third.current_iteration.to_dict())
        equal(world.agrees(both), wider)
        before = {key: server.get(key).to_dict() for key in ["label", "rival"]}
        flag_before = server.flag("cart").to_dict()

    with serving(file) as server:
        world.server = server
        with unchanged(server):
            equal({key: server.get(key).to_dict() for key in before}, before)
            equal(server.flag("cart").to_dict(), flag_before)
            equal(world.agrees(both), wider)

        bad(server, "label", "instructions[0].changeJustification", START)
        fourth = server.patch("label", JUSTIFIED)
        equal((fourth.draft_iteration, len(fourth.previous_iterations)), (None, 3))
        equal(fourth.current_iteration.hypothesis, "Fewer are enough")
        equal(fourth.current_iteration.id, beside.id)
        equal(shares(fourth.current_iteration), ["10", "10"])
        # Newest first.
        numbers = [own.id for own in fourth.previous_iterations]
        equal(numbers[0], third.current_iteration.id)
        equal(numbers[1:], [own.id for own in third.previous_iterations])
        fewer = world.agrees(fourth)
        equal(different(inside(fewer), wider), {}, "who is still in")
        about(sum(tracked for _, tracked in fewer.values()) / len(IDS), 0.2)

        # The end: a winner, which everybody has.
        stopped = server.patch("label", stop(world.ids[1], "It sells"))
        present = stopped.current_iteration
        equal((present.status, present.winning_reason), ("stopped", "It sells"))
        equal(present.winning_treatment_id, world.ids[1])
        equal(present.winning_treatment_id, present.treatments[1].id)
        holds(present.ended_at >= present.started_at, present)
        equal(len(stopped.previous_iterations), 3)
        equal(set(server.variations(stopped).values()), {world.ids[1]})
        here = server.flag("cart").environments[ENVIRONMENT]
        equal((here.fallthrough.variation, here.fallthrough.rollout), (1, None))
        with unchanged(server):
            server.patch("label", stop(world.ids[1], "It sells"))
        bad(server, "label", "instructions[0].kind", stop(world.ids[0], "It does not"))
        bad(server, "label", "instructions[0].kind", AGAIN)
        bad(server, "label", "instructions[0].kind", START)
        bad(server, "label", "instructions[0].value.hypothesis", fields(hypothesis=updating("New")))
        equal(server.update("label", name=updating("Done")).name, "Done")

        archived = server.patch("label", ARCHIVE)
        holds(archived.archived_date, archived)
        with unchanged(server):
            server.patch("label", ARCHIVE)
        bad(server, "label", "instructions[0].kind", START)
        equal(set(server.variations(stopped).values()), {world.ids[1]})
        restored = server.patch("label", RESTORE)
        equal(restored.archived_date, None)
        with unchanged(server):
            server.patch("label", RESTORE)

        # Anew, with everybody drawn anew.
        draft = got(
            server.experiments.create_iteration,
            *HERE,
            "label",
            world.iteration("50", "50", hypothesis="It still does"),
            type=ld.IterationRep,
        )
        equal(draft.status, "not_started")
        equal(server.get("label").current_iteration.status, "stopped")
        edited = server.update("label", hypothesis=updating("It does"))
        equal(edited.draft_iteration.hypothesis, "It does")
        anew = server.patch("label", START)
        equal((anew.current_iteration.status, anew.draft_iteration), ("running", None))
        equal(anew.current_iteration.hypothesis, "It does")
        equal(len(anew.previous_iterations), 4)
        equal(anew.previous_iterations[0].winning_treatment_id, world.ids[1])
        holds(world.rollout().seed != seed, "the seed has stayed")
        counts = collections.Counter(world.agrees(anew).values())
        for arm in range(2):
            about(counts[world.ids[arm], True] / len(IDS), 0.5)
        server.patch("label", stop(world.ids[0], "Nothing has won"))
        second = server.patch("rival", START)
        equal(second.current_iteration.status, "running")
        server.patch("rival", stop(world.ids[1]))
        equal(server.get("rival").current_iteration.winning_reason, None)

        # Each instruction sees what those before it have done.
        world.create("short")
        short = server.patch("short", START, stop(world.ids[1]), ARCHIVE)
        equal((short.current_iteration.status, short.previous_iterations), ("stopped", []))
        holds(short.archived_date, short)
        world.create("shorter")
        bad(server, "shorter", "instructions[2].kind", START, stop(world.ids[1]), AGAIN)
        equal(server.get("shorter").current_iteration.status, "not_started")


def reweighting(server):
    """Arms that grow take from those that shrink, and nobody else is moved."""
    for key, reshuffles in [("free", True), ("fixed", False)]:
        world = World(server, key)
        first = world.running(key, "60", "30", can_reshuffle_traffic=reshuffles)
        seed, served = world.rollout().seed, world.agrees(first)
        arms = [own.to_dict() for own in world.arms("10", "85.5")]
        second = server.patch(key, AGAIN | {"value": {"treatments": updating(arms)}})
        equal(shares(second.current_iteration), ["10", "85.5"])
        equal(world.rollout().seed, seed)
        after = world.agrees(second)
        grown = {id: own for id, own in served.items() if own == (world.ids[1], True)}
        equal(different(grown, after), {}, "who was in the arm that grows")
        for arm, share in [(0, 0.1), (1, 0.855)]:
            about(sum(own == (world.ids[arm], True) for own in after.values()) / len(IDS), share)


def lists(server):
    worlds = {key: World(server, key) for key in ["cart", "menu"]}
    for number in range(5):
        worlds["cart"].create(f"cart-{number}")
    worlds["menu"].running("menu-0", metrics=[ld.MetricInput(key="cart-paid")])
    worlds["menu"].create("menu-1")
    server.patch("cart-0", START)
    server.patch("cart-0", stop(worlds["cart"].ids[0]))
    server.patch("cart-1", START)
    server.patch("cart-4", ARCHIVE)
    carts = ["cart-0", "cart-1", "cart-2", "cart-3"]
    everything = [*carts, "menu-0", "menu-1"]
    for query, keys in [
        ({}, everything),
        ({"lifecycle_state": "active"}, everything),
        ({"lifecycle_state": "archived"}, ["cart-4"]),
        ({"lifecycle_state": "archived,active"}, [*carts, "cart-4", "menu-0", "menu-1"]),
        ({"filter": "flagKey:cart"}, carts),
        ({"filter": "flagKey:cart,flagKey:menu"}, everything),
        ({"filter": "flagKey:none"}, []),
        ({"filter": "metricKey:cart-paid"}, ["menu-0"]),
        ({"filter": "metricKey:menu-bought"}, ["menu-0", "menu-1"]),
        ({"filter": "metricKey:none"}, []),
        ({"filter": "status:running"}, ["cart-1", "menu-0"]),
        ({"filter": "status:stopped"}, ["cart-0"]),
        ({"filter": "status:not_started,flagKey:cart"}, ["cart-2", "cart-3"]),
        ({"filter": "status:running,status:stopped"}, ["cart-0", "cart-1", "menu-0"]),
        ({"filter": "flagKey:cart", "lifecycle_state": "archived"}, ["cart-4"]),
    ]:
        found, listed = server.list(**query)
        equal((found, listed.total_count), (keys, len(keys)), query)
        anywhere = got(
            server.experiments.get_experiments_any_env,
            PROJECT,
            type=ld.ExperimentCollectionRep,
            **query,
        )
        equal([own.key for own in anywhere.items], keys, query)
    for limit, offset, keys, links in [
        (2, None, everything[:2], {"self", "next"}),
        (2, 2, everything[2:4], {"self", "prev", "next"}),
        (2, 4, everything[4:], {"self", "prev"}),
        (4, 4, everything[4:], {"self", "prev"}),
        (6, 0, everything, {"self"}),
        (6, 9, [], {"self", "prev"}),
    ]:
        found, listed = server.list(limit=limit, offset=offset)
        equal((found, listed.total_count, set(listed.links)), (keys, 6, links))
    # A link leads to what it says, whatever was asked for.
    _, listed = server.list(limit=2, filter="flagKey:cart", expand="treatments")
    following = json.loads(server.http.get(listed.links["next"].href).content)
    equal([own["key"] for own in following["items"]], ["cart-2", "cart-3"])
    equal(following["total_count"], 4)
    holds("treatments" in following["items"][0]["currentIteration"], following)
    _, listed = server.list(expand=EXPANDED)
    for experiment in listed.items:
        equal(experiment.to_dict(), server.get(experiment.key).to_dict())
    for query, attribute in [
        ({"filter": "status:paused"}, "filter"),
        ({"filter": "flag:cart"}, "filter"),
        ({"lifecycle_state": "deleted"}, "lifecycleState"),
        ({"expand": "all"}, "expand"),
        ({"limit": 0}, "limit"),
        ({"offset": -1}, "offset"),
    ]:
        refused(server, 400, "invalid_request", server.list, attribute=attribute, **query)


def settings(server):
    get = server.experiments.get_experimentation_settings
    put = server.experiments.put_experimentation_settings

    def units(settings):
        return {own.randomization_unit: own.default for own in settings.randomization_units}

    def wanted(**units):
        inputs = [
            ld.RandomizationUnitInput(randomization_unit=unit, default=default)
            for unit, default in units.items()
        ]
        return ld.RandomizationSettingsPut(randomization_units=inputs)

    present = got(get, PROJECT, type=ld.RandomizationSettingsRep)
    equal((present.project_key, units(present)), (PROJECT, {"user": True}))
    changed = got(put, PROJECT, wanted(user=False, account=True), type=ld.RandomizationSettingsRep)
    equal(units(changed), {"user": False, "account": True})
    equal(got(get, PROJECT, type=ld.RandomizationSettingsRep).to_dict(), changed.to_dict())
    with unchanged(server):
        got(put, PROJECT, wanted(user=False, account=True), type=ld.RandomizationSettingsRep)
    for units in [{"user": False}, {"user": True, "account": True}, {}]:
        refused(server, 400, "invalid_request", put, PROJECT, wanted(**units))
    refused(server, 404, "not_found", get, "other")

    # Experiments go by them.
    world = World(server)
    equal(
        world.create("by-default", randomization_unit=None).current_iteration.randomization_unit,
        "account",
    )
    equal(world.create("by-user").current_iteration.randomization_unit, "user")
    refused(server, 400, "invalid_request", world.create, "by-device", randomization_unit="device")
    unit = fields(randomizationUnit=updating("device"))
    refused(server, 400, "invalid_request", server.patch, "by-user", unit)


def layers(server):
    create, update = server.layers.create_layer, server.layers.update_layer

    def patch(key, *instructions, environment=ENVIRONMENT, **query):
        body = ld.LayerPatchInput(
            comment="So", environment_key=environment, instructions=list(instructions)
        )
        return got(update, PROJECT, key, body, type=ld.LayerRep, **query)

    def reserve(experiment, percent):
        return {
            "kind": "updateExperimentReservation",
            "experimentKey": experiment,
            "reservationPercent": percent,
        }

    def remove(experiment):
        return {"kind": "removeExperiment", "experimentKey": experiment}

    def reserved(layer):
        here = (layer.environments or {}).get(ENVIRONMENT)
        return (
            {own.experiment_key: own.reservation_percent for own in here.reservations or []}
            if here
            else {}
        )

    post = ld.LayerPost(key="pages", name="Pages", description="All that show the cart")
    layer = got(create, PROJECT, post, type=ld.LayerRep, status=201)
    equal((layer.key, layer.name), ("pages", "Pages"))
    equal((layer.description, layer.randomization_unit), ("All that show the cart", "user"))
    equal(reserved(layer), {})
    refused(server, 409, "invalid_request", create, PROJECT, post)
    layer = patch(
        "pages",
        {"kind": "updateName", "name": "Shop"},
        {"kind": "updateDescription", "description": "The shop"},
        environment=None,
    )
    equal((layer.name, layer.description), ("Shop", "The shop"))

    worlds = {key: World(server, key) for key in ["cart", "menu", "sale"]}
    for key, world in worlds.items():
        world.create(key)
    layer = patch("pages", reserve("cart", 0), reserve("menu", 40), reserve("sale", 10))
    equal(reserved(layer), {"cart": 0, "menu": 40, "sale": 10})
    equal({own.flag_key for own in layer.environments[ENVIRONMENT].reservations}, set(worlds))
    bad(server, "cart", "instructions[0].reservationPercent", START)
    layer = patch("pages", reserve("cart", 25), remove("sale"))
    equal(reserved(layer), {"cart": 25, "menu": 40})
    with unchanged(server):
        patch("pages", remove("sale"), reserve("cart", 25))
    for experiment in ["cart", "menu"]:
        server.patch(experiment, START)
    ran = {key: server.get(key) for key in ["cart", "menu"]}
    # At most one of them has anybody.
    members = {
        key: {id for id, (_, why) in server.served(own).items() if why == "split"}
        for key, own in ran.items()
    }
    about(len(members["cart"]) / len(IDS), 0.25)
    about(len(members["menu"]) / len(IDS), 0.4)
    equal(members["cart"] & members["menu"], set())

    listed = got(server.layers.get_layers, PROJECT, type=ld.LayerCollectionRep)
    equal(([own.key for own in listed.items], listed.total_count), (["pages"], 1))
    equal(listed.items[0].to_dict(), layer.to_dict())

    # An iteration that is over says what the layer was like.
    server.patch("menu", AGAIN)
    snapshot = server.get("menu").previous_iterations[0].layer_snapshot
    equal((snapshot.key, snapshot.name), ("pages", "Shop"))
    equal((snapshot.reservation_percent, snapshot.other_reservation_percent), (40, 25))

    def wrong(status, attribute, *instructions, key="pages", code="invalid_request", **members):
        return refused(
            server, status, code, patch, key, *instructions, attribute=attribute, **members
        )

    rename = {"kind": "updateName", "name": "Other"}
    wrong(404, None, rename, key="none", code="not_found")
    wrong(422, "instructions[1].kind", rename, {"kind": "endLayer"}, code="patch_failed")
    wrong(400, "instructions[1].name", rename, {"kind": "updateName", "value": "A"})
    for percent in [-1, 101, 12.5, "10"]:
        wrong(400, "instructions[1].reservationPercent", rename, reserve("sale", percent))
    wrong(404, None, rename, reserve("none", 10), code="not_found")
    wrong(400, "environmentKey", rename, reserve("sale", 10), environment=None)
    wrong(404, None, rename, reserve("sale", 10), environment="other", code="not_found")
    refused(server, 400, "invalid_request", patch, "pages", rename, reserve("sale", 60))
    refused(server, 400, "invalid_request", patch, "pages", rename, remove("cart"))
    held = ld.HoldoutPostRequest(key="held", name="Held", holdoutamount="5")
    held = got(server.holdouts.post_holdout, *HERE, held, type=ld.HoldoutRep, status=201)
    worlds["sale"].create("held-sale", top={"holdout_id": held.id})
    wrong(400, "instructions[1].experimentKey", rename, reserve("held-sale", 10))
    server.patch("cart", stop(worlds["cart"].ids[0]))
    bad(server, "cart", "instructions[0].kind", ARCHIVE)
    equal(reserved(patch("pages", remove("cart"))), {"menu": 40})
    server.patch("cart", ARCHIVE)


def holdouts(server):
    api, world = server.holdouts, World(server)
    post = ld.HoldoutPostRequest(
        key="winter",
        name="Winter",
        description="Nothing new for some",
        randomizationunit="user",
        holdoutamount="10",
        primarymetrickey="cart-bought",
        metrics=[ld.MetricInput(key="cart-bought"), ld.MetricInput(key="cart-paid")],
        attributes=["country"],
        maintainer_id="somebody",
    )
    created = got(api.post_holdout, *HERE, post, type=ld.HoldoutRep, status=201)
    equal((created.status, created.holdout_amount), ("created", "10"))
    equal(created.description, "Nothing new for some")
    base = created.base_experiment
    equal((base.key, base.name, base.type), ("winter", "Winter", "holdout"))
    equal(base.maintainer_id, "somebody")
    equal(base.current_iteration.primary_single_metric.key, "cart-bought")
    refused(server, 409, "invalid_request", api.post_holdout, *HERE, post)
    for wrong in [{"holdoutamount": "101"}, {"holdoutamount": "some"}]:
        body = ld.HoldoutPostRequest(**{"key": "new", "name": "New", "holdoutamount": "5"} | wrong)
        refused(server, 400, "invalid_request", api.post_holdout, *HERE, body)

    # Members join when they are created.
    member = world.create("label", "50", "50", top={"holdout_id": created.id})
    equal(member.holdout_id, created.id)

    def detail():
        return got(api.get_holdout, *HERE, "winter", type=ld.HoldoutDetailRep)

    def patch(*instructions):
        body = ld.HoldoutPatchInput(comment="So", instructions=list(instructions))
        return got(api.patch_holdout, *HERE, "winter", body, type=ld.HoldoutRep)

    equal(detail().status, "enabled")
    equal([own.key for own in detail().related_experiments], ["label"])
    running = server.patch("label", START)
    equal(detail().status, "running")
    served = server.served(running)
    held = {id for id, (_, why) in served.items() if why != "split"}
    about(len(held) / len(IDS), 0.1)
    off = server.flag("cart").environments[ENVIRONMENT].off_variation
    equal({served[id][0] for id in held}, {world.ids[off]})

    by_id = got(api.get_holdout_by_id, *HERE, created.id, type=ld.HoldoutRep)
    equal([(own.key, own.environment) for own in by_id.experiments], [("label", ENVIRONMENT)])
    listed = got(api.get_all_holdouts, *HERE, type=ld.HoldoutsCollectionRep)
    equal(([own.key for own in listed.items], listed.total_count), (["winter"], 1))
    equal((listed.items[0].id, listed.items[0].status), (created.id, "running"))
    patch(
        {"kind": "updateName", "value": "Long winter"},
        {"kind": "updateDescription", "value": "Still nothing"},
    )
    equal(detail().base_experiment.name, "Long winter")
    equal(detail().description, "Still nothing")
    wrong = [{"kind": "updateName", "value": "A"}, {"kind": "thaw"}]
    refused(server, 422, "patch_failed", patch, *wrong, attribute="instructions[1].kind")
    refused(server, 404, "not_found", api.get_holdout, *HERE, "none")
    refused(server, 404, "not_found", api.get_holdout_by_id, *HERE, "none")
    world.create("other")
    with unchanged(server):
        patch({"kind": "removeExperiment", "value": "other"})
    remove = {"kind": "removeExperiment", "value": "none"}
    refused(server, 404, "not_found", patch, wrong[0], remove)
    refused(server, 400, "invalid_request", patch, wrong[0], remove | {"value": "label"})

    # Once it is over, nobody is held out any more.
    equal(patch({"kind": "endHoldout"}).status, "ended")
    equal({why for _, why in server.served(running).values()}, {"split"})
    with unchanged(server):
        patch({"kind": "endHoldout"})
    equal(patch(remove | {"value": "label"}).experiments, [])
    equal(server.get("label").holdout_id, None)


def main():
    sections = [
        flags,
        metrics,
        drafts,
        patches,
        reweighting,
        lists,
        settings,
        layers,
        holdouts,
    ]
    harness.run([*(harness.alone(serving, section) for section in sections), lives])


if __name__ == "__main__":
    main()
