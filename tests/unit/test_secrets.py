"""Which Secrets are used, by what rights, and when they are read."""

import base64
import json
import sys
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from types import SimpleNamespace

import pytest
import yaml

from dev.servers import LOOPBACK
from multipartcopy import commands
from multipartcopy.api.location import HttpLocation, Reference, S3Location
from multipartcopy.api.reasons import Reason
from multipartcopy.api.spec import Source
from multipartcopy.jobs import Image
from multipartcopy.kube import Kube, NotAllowedError
from multipartcopy.reconcile import act
from multipartcopy.reconcile.access import read_access
from multipartcopy.reconcile.act import Effects, Memory
from multipartcopy.reconcile.decide import Inspect, StartRun, decide
from multipartcopy.reconcile.facts import Limits
from multipartcopy.s3.errors import Kind, S3Error
from multipartcopy.s3.guard import parse_guard
from multipartcopy.s3.secrets import MissingSecretError
from tests.unit.facts import NEW, SPEC, UPLOADING, facts
from tests.unit.test_races import FakeKube

ROOT = Path(__file__).parents[2]
KEYS = {"AWS_ACCESS_KEY_ID": "one", "AWS_SECRET_ACCESS_KEY": "s", "ca.crt": "pem"}
ALLOWED = {"multipartcopy.dev/allow": "true"}


class Api:
    """In place of the client. ``asked`` are namespaces and names."""

    def __init__(self, labels=None, type="Opaque"):
        self.labels = labels
        self.type = type
        self.asked = []

    def read_namespaced_secret(self, name, namespace, **_):
        self.asked.append((namespace, name))
        data = {k: base64.b64encode(v.encode()).decode() for k, v in KEYS.items()}
        meta = {"labels": self.labels} if self.labels is not None else {}
        return SimpleNamespace(data=json.dumps({"metadata": meta, "type": self.type, "data": data}))


def cluster(monkeypatch, labels, opt_in):
    kube, api = Kube(secrets_opt_in=opt_in), Api(labels)
    monkeypatch.setattr(kube, "_core", api)
    return kube, api


@pytest.mark.parametrize(
    ("labels", "opt_in", "given"),
    [
        (None, False, True),
        ({"multipartcopy.dev/allow": "false"}, False, True),
        (None, True, False),
        ({}, True, False),
        ({"multipartcopy.dev/allow": "yes"}, True, False),
        ({"allow": "true"}, True, False),
        (ALLOWED, True, True),
        (ALLOWED | {"app": "a"}, True, True),
    ],
)
def test_secrets_are_used_where_they_are_for_copies(monkeypatch, labels, opt_in, given):
    kube, _ = cluster(monkeypatch, labels, opt_in)
    if given:
        assert kube.get_secret("ns", "s") == KEYS
    else:
        with pytest.raises(NotAllowedError):
            kube.get_secret("ns", "s")


@pytest.mark.parametrize("kind", ["secret_ref", "ca_secret_ref"])
def test_a_copy_says_which_secret_is_not(monkeypatch, kind):
    kube, _ = cluster(monkeypatch, {}, True)
    location = S3Location("b", "k", **{kind: Reference("mine")})
    with pytest.raises(
        MissingSecretError, match=r'Secret mine in namespace ns is not.*: "true"'
    ) as caught:
        read_access(kube, "ns", location)
    assert caught.value.reason is Reason.SECRET_NOT_ALLOWED


@pytest.mark.parametrize(
    ("kind", "sent"),
    [
        ("multipartcopy.dev/http-headers", True),
        ("Opaque", False),
        ("kubernetes.io/basic-auth", False),
        ("multipartcopy.dev/http-header", False),
        (None, False),
    ],
)
def test_only_a_secret_that_is_meant_to_be_sent_is(monkeypatch, kind, sent):
    """Else whoever may create a copy could read any Secret, by a server of their own."""
    kube, api = cluster(monkeypatch, ALLOWED, True)
    api.type = kind
    monkeypatch.setitem(KEYS, "ca.crt", "one line")
    location = HttpLocation("http://theirs.example/", headers_secret_ref=Reference("h"))
    if sent:
        assert dict(read_access(kube, "ns", location).headers) == KEYS
    else:
        words = (
            rf"Secret h in namespace ns is of the type {kind}, .*multipartcopy\.dev/http-headers$"
        )
        with pytest.raises(MissingSecretError, match=words) as caught:
            read_access(kube, "ns", location)
        assert caught.value.reason is Reason.SECRET_NOT_ALLOWED


def test_no_pod_mounts_a_secret_that_is_not_for_copies(monkeypatch):
    """The kubelet would not ask."""
    kube, _ = cluster(monkeypatch, {}, True)
    written, wait = FakeKube(UPLOADING), []
    written.get_secret = kube.get_secret  # type: ignore[method-assign]
    seen = replace(facts(UPLOADING), resource=written.read())
    effects = Effects(written, Image("i"), None, Limits())  # type: ignore[arg-type]
    step = decide(seen)
    assert isinstance(step, StartRun)
    wait.append(effects.perform(step, seen, Memory()))
    assert wait[0].reason is Reason.SECRET_NOT_ALLOWED
    assert written.jobs == []


def test_a_missing_secret_is_told_before_a_store_is_asked(monkeypatch):
    """Whoever has forgotten one shall not wait for the source's store to be told so."""
    monkeypatch.setattr(act, "Store", lambda side, *_: pytest.fail(f"the {side} is asked"))
    written = FakeKube(NEW)
    written.list_copies = list  # type: ignore[attr-defined]
    secret = SPEC.destination.s3.secret_ref
    written.get_secret = (  # type: ignore[method-assign]
        lambda _, name, __: None if secret and name == secret.name else KEYS
    )
    seen = replace(facts(NEW), resource=written.read())
    effects = Effects(written, Image("i"), None, Limits())  # type: ignore[arg-type]
    step = decide(seen)
    assert isinstance(step, Inspect)
    waiting = effects.perform(step, seen, Memory())
    assert waiting
    assert waiting.reason is Reason.SECRET_NOT_FOUND


def test_secrets_are_asked_for_in_the_namespace_of_the_copy(monkeypatch):
    kube, api = cluster(monkeypatch, None, False)
    location = S3Location("b", "k", secret_ref=Reference("a"), ca_secret_ref=Reference("c"))
    read_access(kube, "theirs", location)
    assert api.asked == [("theirs", "a"), ("theirs", "c")]


@pytest.mark.parametrize("file", ["rbac.yaml", "components/namespaced/role/role.yaml"])
def test_secrets_are_only_got(file):
    rules = [
        rule
        for document in yaml.safe_load_all((ROOT / "manifests" / file).read_text())
        for rule in document.get("rules", [])
        if {"secrets", "*"} & {*rule["resources"]}
    ]
    assert rules == [{"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"]}]


def test_nobody_gets_rights_on_secrets_by_our_roles_for_users():
    documents = yaml.safe_load_all((ROOT / "manifests/access/access.yaml").read_text())
    resources = {r for d in documents for rule in d["rules"] for r in rule["resources"]}
    assert resources == {"multipartcopies"}


class Rotating(BaseHTTPRequestHandler):
    """Knows the session token \"two\"; that before has expired."""

    def do_HEAD(self):
        good = self.headers["X-Amz-Security-Token"] == "two"
        self.send_response(200 if good else 400)
        self.send_header("ETag", '"e"')
        self.send_header("Content-Length", "1")
        self.end_headers()

    def do_GET(self):
        """Why the HEAD was refused."""
        body = b"<Error><Code>ExpiredToken</Code><Message>expired</Message></Error>"
        self.send_response(400)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def test_a_rotated_session_token_is_read_for_the_next_request():
    """An expired token is no refusal: it is waited for, and nothing has to be restarted."""
    server = HTTPServer(("127.0.0.1", 0), Rotating)
    thread = Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        side = S3Location(
            "b", "k", f"http://127.0.0.1:{server.server_port}", secret_ref=Reference("s")
        )
        seen, memory = facts(UPLOADING, replace(SPEC, source=Source(side))), Memory()
        kube, keys = FakeKube(UPLOADING), {**KEYS, "AWS_SESSION_TOKEN": "one"}
        kube.get_secret = lambda *_: keys  # type: ignore[method-assign]
        guard = parse_guard(LOOPBACK)
        effects = Effects(kube, Image("i"), None, Limits(), guard=guard)  # type: ignore[arg-type]
        with pytest.raises(S3Error) as caught:
            effects._store("source", seen, memory).head()
        assert (caught.value.code, caught.value.kind) == ("ExpiredToken", Kind.RETRY)
        keys["AWS_SESSION_TOKEN"] = "two"
        assert effects._store("source", seen, memory).head().etag == "e"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_opting_in_is_a_flag_or_environment(monkeypatch):
    chosen = []
    monkeypatch.setattr(commands, "_operate", lambda o: chosen.append(o.require_secret_opt_in))
    for flags, value in (
        ([], None),
        ([], "true"),
        ([], "false"),
        (["--require-secret-opt-in"], None),
    ):
        monkeypatch.setattr(sys, "argv", ["multipartcopy", "operator", *flags])
        monkeypatch.delenv("MULTIPARTCOPY_REQUIRE_SECRET_OPT_IN", raising=False)
        if value:
            monkeypatch.setenv("MULTIPARTCOPY_REQUIRE_SECRET_OPT_IN", value)
        commands.main()
    assert chosen == [False, True, False, True]
