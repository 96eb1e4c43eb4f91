"""What is written to the cluster, and how what it says is read."""

import json
import sys
from dataclasses import replace
from types import SimpleNamespace

import kubernetes
import pytest
from hypothesis import given
from hypothesis import strategies as st
from kubernetes.client import ApiException

from multipartcopy import commands
from multipartcopy.api.codec import to_json
from multipartcopy.api.location import Reference, S3Location
from multipartcopy.api.reasons import Reason
from multipartcopy.api.spec import Source, Spread, Target, Toleration
from multipartcopy.api.status import Upload
from multipartcopy.api.task import decode_task, split
from multipartcopy.handlers import settings
from multipartcopy.jobs import (
    Image,
    build_job,
    build_task,
    bytes_per_second,
    image_of,
    job_name,
    placement,
    proxies_of,
)
from multipartcopy.kube import ConflictError, Kube, KubeError, NotFoundError, TooLargeError, _error
from multipartcopy.plan import make_plan
from multipartcopy.reconcile.facts import failure_of, read_job, read_pod, refusal
from multipartcopy.reconcile.ledger import missing
from multipartcopy.reconcile.writer import difference
from multipartcopy.s3.errors import Kind, kind_of
from tests.unit.facts import OWNER, SPEC, UPLOADING, MiB, report, with_parts

IMAGE = Image("example/multipartcopy:1", pull_secrets=("pull",))


def the_job(spec=SPEC, status=UPLOADING):
    return build_job(OWNER, spec, status, missing(status), IMAGE)


def test_a_job_has_an_index_for_each_batch_with_a_missing_part():
    job = the_job(status=with_parts(UPLOADING, range(1, 8)))
    assert job["spec"]["completions"] == 3
    assert job["spec"]["parallelism"] == 3
    assert "backoffLimit" not in job["spec"]
    for absent in ("ttlSecondsAfterFinished", "activeDeadlineSeconds", "maxFailedIndexes"):
        assert absent not in job["spec"]
    (variable,) = job["spec"]["template"]["spec"]["containers"][0]["env"]
    task = decode_task(variable["value"])
    assert [(w.batch, w.parts) for w in task.work] == [(1, "8-10"), (2, "11-15"), (3, "16-20")]


def test_a_task_fits_into_an_environment_string():
    """Of which Linux takes 128 KiB: the longest names, and what is left of a run that lost every other part."""
    key = "\x7f" * 1024
    long = {"key": key, "endpoint": "https://" + "h" * 200}
    source = Source(replace(SPEC.source.s3, **long))
    destination = Target(replace(SPEC.destination.s3, **long, metadata={"long": "x" * 2048}))
    spec = replace(SPEC, source=source, destination=destination)
    upload = replace(UPLOADING, upload=Upload("u" * 2048))
    work = split(range(1, 10_001, 2), batch_size=4)
    task = build_task(spec, replace(upload, plan=replace(UPLOADING.plan, batch_size=4)), work)
    assert len(task.encode()) < 64 * 1024
    assert decode_task(task.encode()).work == work


def test_a_pod_does_not_name_all_batches():
    """A Job keeps one for each batch, and the operator reads all of them."""
    plan = make_plan(10_000 * 512 * MiB, part_size="512Mi", parallelism=1000)
    source = replace(UPLOADING.source, size=10_000 * 512 * MiB)
    job = the_job(status=replace(UPLOADING, plan=plan, source=source))
    assert job["spec"]["completions"] == 1000
    assert len(json.dumps(job)) < 4096


@given(st.sets(st.integers(1, 10_000)), st.integers(1, 96))
def test_parts_are_split_by_batch(parts, batch_size):
    batches = split(parts, batch_size)
    assert [number for batch in batches for number in batch.numbers()] == sorted(parts)
    assert all((n - 1) // batch_size == b.batch for b in batches for n in b.numbers())
    assert len({batch.batch for batch in batches}) == len(batches)


def test_permanent_errors_come_before_disruptions():
    first, second = the_job()["spec"]["podFailurePolicy"]["rules"]
    assert (first["action"], first["onExitCodes"]["values"]) == ("FailJob", [42])
    assert (second["action"], second["onPodConditions"]) == (
        "Ignore",
        [{"type": "DisruptionTarget"}],
    )


def grown(own="64Mi", most="256Mi", needed=None):
    resources = {"limits": {"memory": own}}
    spec = replace(SPEC, worker=replace(SPEC.worker, resources=resources, max_memory=most))
    return spec, replace(UPLOADING, worker_memory=needed)


@pytest.mark.parametrize(
    ("spec_and_status", "limit", "more"),
    [
        (grown(), "64Mi", True),
        (grown(needed="128Mi"), "128Mi", True),
        (grown(needed="256Mi"), "256Mi", False),
        (grown(needed="256Mi", most="100M"), "100M", False),
        (grown(needed="128Mi", most=None), "64Mi", False),
        (grown(needed="128Mi", own="200Mi"), "200Mi", True),
        (grown(own="1Gi", most="1024Mi"), "1Gi", False),
    ],
)
def test_a_job_is_made_with_the_memory_that_was_found_to_be_needed(spec_and_status, limit, more):
    spec, status = spec_and_status
    job = the_job(spec, status)["spec"]
    resources = job["template"]["spec"]["containers"][0]["resources"]
    assert resources["limits"]["memory"] == resources["requests"]["memory"] == limit
    rules = job["podFailurePolicy"]["rules"]
    # Only the last: a disruption kills as well.
    killed = rules[-1].get("onExitCodes", {}).get("values") == [137]
    assert (killed, len(rules)) == (more, 2 + more)
    assert not more or rules[-1]["action"] == "FailIndex"


def test_more_memory_is_not_for_more_streams():
    spec, status = grown(needed="256Mi")
    spec = replace(spec, worker=replace(spec.worker, streams="Auto"))
    assert build_task(spec, status, missing(status)).streams == 7


def test_a_pod_may_do_nothing_but_its_work():
    pod = the_job()["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert pod["restartPolicy"] == "Never"
    assert pod["automountServiceAccountToken"] is False
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    assert pod["imagePullSecrets"] == [{"name": "pull"}]


@pytest.mark.parametrize(
    ("wanted", "made"),
    [
        ({}, ({"memory": "64Mi"}, {"memory": "64Mi"})),
        ({"limits": {"memory": "1Gi"}}, ({"memory": "1Gi"}, {"memory": "1Gi"})),
        (
            {"limits": {"cpu": "1"}, "requests": {"cpu": "10m"}},
            ({"memory": "64Mi", "cpu": "1"}, {"cpu": "10m", "memory": "64Mi"}),
        ),
    ],
)
def test_memory_is_requested_as_it_is_limited(wanted, made):
    spec = replace(SPEC, worker=replace(SPEC.worker, resources=wanted))
    container = the_job(spec)["spec"]["template"]["spec"]["containers"][0]
    assert (container["resources"]["limits"], container["resources"]["requests"]) == made


def test_secrets_are_mounted_key_by_key_and_an_anonymous_side_has_none():
    source = S3Location("from", "k", anonymous=True, ca_secret_ref=Reference("ca"))
    pod = the_job(replace(SPEC, source=Source(source)))["spec"]["template"]["spec"]
    assert {v["name"] for v in pod["volumes"]} == {"source-ca", "destination"}
    keys = [
        item["key"]
        for volume in pod["volumes"]
        for projection in volume["projected"]["sources"]
        for item in projection["secret"]["items"]
    ]
    assert sorted(keys) == [
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_SESSION_TOKEN",
        "ca.crt",
    ]


PLACED = replace(
    SPEC.worker,
    labels={"team": "a", "kueue.x-k8s.io/queue-name": "q"},
    annotations={"note": "b"},
    node_selector={"disk": "ssd"},
    tolerations=(Toleration("spot", value="true", effect="NoExecute", toleration_seconds=9),),
    affinity={"nodeAffinity": {"whatever": ["it", "is"]}},
    topology_spread_constraints=(Spread("zone"),),
    priority_class_name="low",
    runtime_class_name="gvisor",
    image_pull_secrets=(Reference("pull"), Reference("mine")),
)


def test_pods_are_placed_as_the_spec_says():
    template = the_job(replace(SPEC, worker=PLACED))["spec"]["template"]
    plain = the_job()["spec"]["template"]["spec"]
    ours = {"matchLabels": {"multipartcopy.dev/uid": OWNER.uid}}
    added = {k: v for k, v in template["spec"].items() if plain.get(k) != v}
    assert added == {
        "nodeSelector": {"disk": "ssd"},
        "tolerations": [
            {
                "key": "spot",
                "operator": "Equal",
                "value": "true",
                "effect": "NoExecute",
                "tolerationSeconds": 9,
            }
        ],
        "affinity": {"nodeAffinity": {"whatever": ["it", "is"]}},
        "topologySpreadConstraints": [
            {
                "topologyKey": "zone",
                "maxSkew": 1,
                "whenUnsatisfiable": "ScheduleAnyway",
                "labelSelector": ours,
            }
        ],
        "priorityClassName": "low",
        "runtimeClassName": "gvisor",
        "imagePullSecrets": [{"name": "pull"}, {"name": "mine"}],
    }
    assert template["metadata"]["annotations"]["note"] == "b"


def test_the_labels_of_kueue_are_on_the_job_alone():
    job = the_job(replace(SPEC, worker=PLACED))
    assert job["metadata"]["labels"].items() >= PLACED.labels.items()
    inside = job["spec"]["template"]["metadata"]["labels"]
    assert inside["team"] == "a"
    assert "kueue.x-k8s.io/queue-name" not in inside


def test_the_labels_that_the_fence_looks_for_are_ours():
    """The definition refuses them; should it be an old one, they win all the same."""
    name = "multipartcopy.dev/uid"
    theirs = replace(SPEC.worker, labels={name: "x"}, annotations={"multipartcopy.dev/name": "x"})
    job = the_job(replace(SPEC, worker=theirs))
    for meta in (job["metadata"], job["spec"]["template"]["metadata"]):
        assert meta["labels"][name] == OWNER.uid
        assert meta["annotations"]["multipartcopy.dev/name"] == OWNER.name


def test_a_pod_of_a_plain_spec_says_nothing_of_its_place():
    assert placement(SPEC.worker, OWNER) == {}


def test_a_job_that_somebody_has_suspended():
    body = the_job()
    body["metadata"]["uid"] = "u"
    assert not read_job(body).suspended
    body["spec"]["suspend"] = True
    assert read_job(body).suspended


def test_job_names_are_the_same_for_the_same_run_and_short():
    assert job_name("u", 1, 2) == job_name("u", 1, 2)
    assert len({job_name("u", 1, 2), job_name("v", 1, 2), job_name("u", 2, 2)}) == 3
    assert len(job_name("u" * 36, 999, 99_999)) < 58


def the_task(spec):
    (variable,) = the_job(spec)["spec"]["template"]["spec"]["containers"][0]["env"]
    return decode_task(variable["value"])


@pytest.mark.parametrize(
    ("streams", "memory", "told"),
    [
        (4, "64Mi", (4, False)),
        (16, "16Mi", (16, False)),
        ("Auto", "64Mi", (7, True)),
        ("Auto", "43Mi", (2, True)),
        ("Auto", "1G", (16, True)),
    ],
)
def test_auto_is_told_what_the_memory_has_room_for(streams, memory, told):
    worker = replace(SPEC.worker, streams=streams, resources={"limits": {"memory": memory}})
    task = the_task(replace(SPEC, worker=worker))
    assert (task.streams, task.adaptive) == told


@pytest.mark.parametrize(
    ("limit", "parallelism", "share"),
    [
        (None, 4, 0),
        ("100Mi", 4, 25 * MiB),
        ("100Mi", 3, 34_952_533),
        ("100Mi", 1000, 25 * MiB),
        ("8M", 1, 8_000_000),
    ],
)
def test_pods_that_run_at_once_share_the_bandwidth(limit, parallelism, share):
    """Four batches are left, so no more than four run."""
    spec = replace(SPEC, bandwidth_limit=limit, parallelism=parallelism)
    assert the_task(spec).bytes_per_second == share
    seen = read_job({**the_job(spec), "metadata": {**the_job(spec)["metadata"], "uid": "u"}})
    assert seen.bytes_per_second == share == bytes_per_second(spec, UPLOADING, seen.completions)


@pytest.mark.parametrize(("annotation", "rate"), [(None, 0), ("7", 7), ("", -1), ("fast", -1)])
def test_the_share_that_a_job_says_it_has(annotation, rate):
    body = the_job()
    body["metadata"]["uid"] = "u"
    name = "multipartcopy.dev/bytes-per-second"
    body["metadata"]["annotations"] = {} if annotation is None else {name: annotation}
    assert read_job(body).bytes_per_second == rate


def test_workers_go_through_the_proxies_that_the_operator_goes_through():
    environ = {"HTTPS_PROXY": "http://proxy:1", "no_proxy": "a", "HTTP_PROXY": "", "PATH": "/"}
    image = replace(IMAGE, proxies=proxies_of(environ))
    job = build_job(OWNER, SPEC, UPLOADING, missing(UPLOADING), image)
    task, *rest = job["spec"]["template"]["spec"]["containers"][0]["env"]
    assert task["name"] == "MULTIPARTCOPY_TASK"
    assert {v["name"]: v["value"] for v in rest} == {
        "HTTPS_PROXY": "http://proxy:1",
        "no_proxy": "a",
    }
    assert "proxy:1" not in repr(image)


def test_workers_speak_to_what_the_operator_speaks_to():
    image = replace(IMAGE, allow_endpoints="*.example")
    job = build_job(OWNER, SPEC, UPLOADING, missing(UPLOADING), image)
    _, allowed = job["spec"]["template"]["spec"]["containers"][0]["env"]
    assert allowed == {"name": "MULTIPARTCOPY_ALLOW_ENDPOINTS", "value": "*.example"}


@pytest.mark.parametrize("direct", [True, False])
def test_in_a_cluster_its_api_server_is_asked_directly(monkeypatch, direct):
    """NO_PROXY need not name it."""
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy:1")
    default = kubernetes.client.Configuration()
    default.host = "https://10.0.0.1:443"
    monkeypatch.setattr(kubernetes.client.Configuration, "_default", default)
    pools = Kube(direct=direct)._core.api_client.rest_client.pool_manager
    assert (pools.proxy is None) is direct


def test_the_workers_run_what_the_operator_runs():
    container = {"name": "operator", "image": "i:1", "imagePullPolicy": "Always"}
    pod = {"spec": {"containers": [{"name": "x"}, container], "imagePullSecrets": [{"name": "p"}]}}
    assert image_of(pod) == Image("i:1", "Always", ("p",))
    assert image_of(pod, "mirror/i:1") == Image("mirror/i:1", "Always", ("p",))


@pytest.mark.parametrize(
    ("status", "message", "kind"),
    [
        (404, "not found", NotFoundError),
        (409, "exists", ConflictError),
        (422, "the server rejected our request due to an error in our request", ConflictError),
        (422, 'MultipartCopy "x" is invalid: uploadId: set once', KubeError),
        (500, "etcdserver: request is too large", TooLargeError),
        (500, "boom", KubeError),
    ],
)
def test_errors_of_the_api_server(status, message, kind):
    assert type(_error(status, message)) is kind


def test_a_status_is_patched_batch_by_batch():
    one = to_json(with_parts(UPLOADING, range(1, 6)))
    two = to_json(replace(with_parts(UPLOADING, range(1, 11)), run=2))
    assert difference(one, one) == []
    assert [(o["op"], o["path"]) for o in difference(one, two)] == [
        ("add", "/status/batches/1"),
        ("replace", "/status/run"),
    ]
    assert [(o["op"], o["path"]) for o in difference(two, one)] == [
        ("remove", "/status/batches/1"),
        ("replace", "/status/run"),
    ]
    first = difference({"observedGeneration": -2}, one)
    assert {o["op"] for o in first} == {"add", "replace"}


def body(state=None, *, conditions=(), phase="Running", **status):
    meta = {"name": "p", "uid": "u", "labels": {"multipartcopy.dev/run": "1"}}
    containers = [{"name": "worker", "resources": {"limits": {"memory": "64Mi"}}}]
    statuses = {"containerStatuses": [{"name": "worker", "state": state}]} if state else {}
    return {
        "metadata": meta,
        "spec": {"containers": containers},
        "status": {"phase": phase, "conditions": list(conditions), **statuses, **status},
    }


@pytest.mark.parametrize(
    ("seen", "waiting"),
    [
        (body({"waiting": {"reason": "ContainerCreating"}}), None),
        (
            body({"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}}),
            (Reason.IMAGE_PULL_FAILED, "no such image"),
        ),
        (
            body({"waiting": {"reason": "CreateContainerConfigError", "message": "runAsNonRoot"}}),
            (Reason.POD_NOT_STARTING, "runAsNonRoot"),
        ),
        (
            body(
                conditions=[{"type": "PodScheduled", "status": "False", "message": "0/3 nodes"}],
                phase="Pending",
            ),
            (Reason.UNSCHEDULABLE, "0/3 nodes"),
        ),
    ],
)
def test_why_a_pod_does_not_start(seen, waiting):
    assert read_pod(seen).waiting == waiting


RUNNING = {"running": {}}
ENDED = {"terminated": {"exitCode": 0, "reason": "Completed", "message": ""}}
FINAL = {"terminated": {"exitCode": 42, "reason": "Error", "message": ""}}


@pytest.mark.parametrize("first", ["worker", "istio-proxy"])
@pytest.mark.parametrize(
    ("worker", "other", "finished"),
    [(RUNNING, ENDED, False), (FINAL, RUNNING, True), (FINAL, ENDED, True)],
)
def test_what_others_put_beside_the_worker_says_nothing_of_it(first, worker, other, finished):
    """A mesh, or a collector of logs; the kubelet sorts by name."""
    there = {"worker": worker, "istio-proxy": other}
    statuses = [{"name": name, "state": state} for name, state in there.items()]
    statuses.sort(key=lambda status: status["name"] != first)
    seen = body(containerStatuses=statuses)
    seen["spec"]["containers"].insert(0, {"name": "istio-proxy"})
    pod = read_pod(seen)
    assert (pod.finished, pod.stopped, pod.running) == (finished, finished, not finished)
    assert pod.memory_limit == "64Mi"
    assert not finished or pod.terminated.exit_code == 42


def test_how_a_pod_ended():
    good = {
        "terminated": {
            "exitCode": 0,
            "reason": "Completed",
            "message": report("1", range(1, 2)).encode().decode(),
        }
    }
    pod = read_pod(body(good))
    assert pod.stopped
    assert failure_of(pod) is None
    assert pod.report
    killed = read_pod(body({"terminated": {"exitCode": 137, "reason": "OOMKilled"}}))
    failure = failure_of(killed)
    assert failure
    assert (failure.reason, failure.exit_code) == ("OOMKilled", 137)
    assert "64Mi" in failure.message
    assert "when it last reported" not in failure.message
    told = replace(report("1", range(1, 2)), peak_rss=60 << 20).encode().decode()
    killed = read_pod(
        body({"terminated": {"exitCode": 137, "reason": "OOMKilled", "message": told}})
    )
    assert "it had used 60.0 MiB when it last reported" in failure_of(killed).message
    refused = read_pod(body(phase="Failed", reason="OutOfcpu", message="not enough cpu"))
    assert refused.stopped  # the kubelet itself says so
    failure = failure_of(refused)
    assert failure
    assert failure.time is None
    assert "not enough cpu" in failure.message
    mark = {"type": "DisruptionTarget", "status": "True", "message": "node is gone"}
    lost = read_pod(body(phase="Failed", conditions=[mark]))
    assert lost.finished
    assert not lost.stopped  # it may still run, where nobody sees it


def test_why_the_pods_of_a_job_are_refused():
    old = {"reason": "FailedCreate", "message": "old", "lastTimestamp": "2026-01-01T00:00:00Z"}
    new = {
        "reason": "FailedCreate",
        "message": "forbidden: exceeded quota: q",
        "lastTimestamp": "2026-01-02T00:00:00Z",
    }
    assert refusal([new, old]) == (Reason.QUOTA_EXCEEDED, new["message"])
    assert refusal([old]) == (Reason.POD_REFUSED, "old")
    assert refusal([{"reason": "Other"}]) is None


@pytest.mark.parametrize(
    ("code", "status", "kind"),
    [
        ("NoSuchUpload", 404, Kind.NO_UPLOAD),
        ("Unheard", 404, Kind.RETRY),
        ("NoSuchBucket", 404, Kind.NO_BUCKET),
        ("AccessDenied", 403, Kind.DENIED),
        ("ExpiredToken", 400, Kind.RETRY),
        ("TokenRefreshRequired", 400, Kind.RETRY),
        ("Unauthorized", 401, Kind.DENIED),
        ("RequestTimeout", 400, Kind.RETRY),
        ("SlowDown", 503, Kind.RETRY),
        ("InternalError", 200, Kind.RETRY),
        ("TooManyRequests", 429, Kind.RETRY),
        ("PreconditionFailed", 412, Kind.PRECONDITION),
        ("EntityTooSmall", 400, Kind.PERMANENT),
        ("NotImplemented", 501, Kind.UNSUPPORTED),
        ("PermanentRedirect", 301, Kind.PERMANENT),
        ("301", 301, Kind.PERMANENT),
        ("TemporaryRedirect", 307, Kind.RETRY),
    ],
)
def test_errors_of_a_store(code, status, kind):
    assert kind_of(code, status, "GetObject") is kind


def test_a_bare_404_is_about_the_object_only_where_there_can_be_no_body():
    assert kind_of("404", 404, "HeadObject") is Kind.NO_OBJECT
    assert kind_of("404", 404, "AbortMultipartUpload") is Kind.RETRY


class Lists:
    """In place of the client: copies by namespace, a page for each."""

    def __init__(self, copies: dict[str, list[str]]) -> None:
        self.copies = copies

    def list_cluster_custom_object(self, group, version, plural, **options):
        return self.page([name for names in self.copies.values() for name in names], **options)

    def list_namespaced_custom_object(self, group, version, namespace, plural, **options):
        if namespace not in self.copies:
            raise ApiException(403, "Forbidden")
        return self.page(self.copies[namespace], **options)

    @staticmethod
    def page(names, *, limit, _continue="", **_):
        first = int(_continue or 0)
        more = {"continue": str(first + 1)} if first + 1 < len(names) else {}
        body = {"items": names[first : first + 1], "metadata": more}
        return SimpleNamespace(data=json.dumps(body))


@pytest.mark.parametrize(
    ("namespaces", "listed"),
    [((), ["1", "2", "3", "4"]), (("a",), ["1", "2"]), (("a", "c"), ["1", "2", "4"])],
)
def test_copies_are_those_of_the_namespaces_that_it_works_in(monkeypatch, namespaces, listed):
    kube = Kube(namespaces)
    monkeypatch.setattr(kube, "_custom", Lists({"a": ["1", "2"], "b": ["3"], "c": ["4"]}))
    assert list(kube.list_copies()) == listed
    kube.check_namespaces()


def test_a_namespace_that_cannot_be_worked_in_is_named(monkeypatch):
    kube = Kube(("a", "away"))
    monkeypatch.setattr(kube, "_custom", Lists({"a": []}))
    with pytest.raises(KubeError, match="of namespace away; is the definition installed") as caught:
        kube.check_namespaces()
    assert caught.value.status == 403


def test_namespaces_are_names_and_never_patterns(monkeypatch, capsys):
    chosen = []
    monkeypatch.setattr(commands, "_operate", lambda options: chosen.append(options.namespaces))
    flags = ["--namespace=a", "--namespace", "b-1"]
    monkeypatch.setattr(sys, "argv", ["multipartcopy", "operator", *flags])
    commands.main()
    assert chosen == [["a", "b-1"]]
    for wrong in ("*", "a*", "!a", "A", "", "a,b", "-a"):
        monkeypatch.setattr(sys, "argv", ["multipartcopy", "operator", f"--namespace={wrong}"])
        with pytest.raises(SystemExit):
            commands.main()
        assert "is no name of a namespace" in capsys.readouterr().err


def test_rights_in_the_whole_cluster_are_needed_only_for_all_namespaces():
    assert settings(("a",)).scanning.disabled
    assert not settings().scanning.disabled
