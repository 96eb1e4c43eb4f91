"""What a real API server says of a Secret, and what the operator makes of it."""

import uuid
from dataclasses import replace

import pytest

from multipartcopy.api.location import HttpLocation, Reference
from multipartcopy.kube import connect
from multipartcopy.reconcile.access import read_access
from multipartcopy.s3.secrets import MissingSecretError
from tests.apiserver.kubectl import Kubectl

URL = HttpLocation("https://theirs.example/")


def created(kubectl: Kubectl, kind: str | None, **values: str) -> HttpLocation:
    """A Secret of this type, and a URL that it is named for."""
    name = f"headers-{uuid.uuid4().hex[:8]}"
    options = [f"--type={kind}"] if kind else []
    options += [f"--from-literal={key}={value}" for key, value in values.items()]
    kubectl("create", "secret", "generic", name, *options)
    return replace(URL, headers_secret_ref=Reference(name))


@pytest.mark.parametrize("kind", [None, "Opaque", "kubernetes.io/basic-auth"])
def test_nothing_but_what_is_meant_to_be_is_sent_as_headers(
    kubectl: Kubectl, kind: str | None
) -> None:
    url = created(kubectl, kind, username="somebody", password="secret")
    with pytest.raises(MissingSecretError, match=r"multipartcopy\.dev/http-headers") as caught:
        read_access(connect(), str(kubectl.namespace), url)
    assert caught.value.reason == "SecretNotAllowed"


def test_headers_are_sent(kubectl: Kubectl) -> None:
    url = created(kubectl, "multipartcopy.dev/http-headers", Authorization="Bearer abc")
    entered = read_access(connect(), str(kubectl.namespace), url)
    assert entered.headers == (("Authorization", "Bearer abc"),)
