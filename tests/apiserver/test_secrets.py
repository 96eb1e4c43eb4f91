"""What a real API server says of a Secret, and what the operator makes of it."""

import pytest

from multipartcopy.api.location import HttpLocation, Reference
from multipartcopy.kube import connect
from multipartcopy.reconcile.access import read_access
from multipartcopy.s3.secrets import MissingSecretError
from tests.apiserver.kubectl import Kubectl

URL = HttpLocation("https://theirs.example/", headers_secret_ref=Reference("h"))


@pytest.mark.parametrize("kind", [None, "Opaque", "kubernetes.io/basic-auth"])
def test_nothing_but_what_is_meant_to_be_is_sent_as_headers(
    kubectl: Kubectl, kind: str | None
) -> None:
    values = ["--from-literal=username=somebody", "--from-literal=password=secret"]
    kubectl("create", "secret", "generic", "h", *([f"--type={kind}"] if kind else []), *values)
    with pytest.raises(MissingSecretError, match="multipartcopy.dev/http-headers") as caught:
        read_access(connect(), str(kubectl.namespace), URL)
    assert caught.value.reason == "SecretNotAllowed"


def test_headers_are_sent(kubectl: Kubectl) -> None:
    kind = "--type=multipartcopy.dev/http-headers"
    kubectl("create", "secret", "generic", "h", kind, "--from-literal=Authorization=Bearer abc")
    entered = read_access(connect(), str(kubectl.namespace), URL)
    assert entered.headers == (("Authorization", "Bearer abc"),)
