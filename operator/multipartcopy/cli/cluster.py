"""What the commands ask of the cluster, by pykube-ng: plain dicts in, plain dicts out, CliError for a refusal."""

import base64
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote, urlencode

import pykube
import requests

from multipartcopy import __version__
from multipartcopy.api.names import GROUP, KIND, LABEL_UID, PLURAL, VERSION
from multipartcopy.cli.errors import CliError, Exit, UnreachableError

Object = dict[str, Any]

_API = f"{GROUP}/{VERSION}"
_MERGE = {"Content-Type": "application/merge-patch+json"}
_TIMEOUT = 20
_PAGE = 50
"""A copy with a large ledger has half a megabyte."""


class Cluster:
    """``namespace`` is the one given, else that of the context."""

    def __init__(self, context: str | None = None, namespace: str | None = None) -> None:
        self._context = context
        self._api = _connect(context)
        self.namespace: str = namespace or self._api.config.namespace

    # The resource.

    def get(self, name: str, namespace: str | None = None) -> Object:
        where = namespace or self.namespace
        return self._ask("GET", _API, where, _path(PLURAL, name), what=f"{KIND} {name}")

    def copies(self, namespace: str | None, selector: str | None = None) -> list[Object]:
        """Those of one namespace, or of all (None)."""
        query = {"labelSelector": selector} if selector else {}
        items = list(self._pages(_API, namespace, PLURAL, query))
        return [{"apiVersion": _API, "kind": KIND, **item} for item in items]

    def create(self, manifest: Object) -> Object:
        namespace = manifest["metadata"].get("namespace", self.namespace)
        return self._ask("POST", _API, namespace, PLURAL, body=manifest)

    def set_suspend(self, name: str, value: bool) -> Object:
        body = {"spec": {"suspend": value}}
        return self._ask("PATCH", _API, self.namespace, _path(PLURAL, name), body=body)

    def annotate(self, name: str, annotation: str, value: str) -> Object:
        body = {"metadata": {"annotations": {annotation: value}}}
        return self._ask("PATCH", _API, self.namespace, _path(PLURAL, name), body=body)

    def delete(self, resource: Object) -> None:
        """Exactly this one: another of the same name, made meanwhile, is refused as a conflict."""
        meta = resource["metadata"]
        path = _path(PLURAL, meta["name"])
        body = {"preconditions": {"uid": meta["uid"]}}
        self._ask("DELETE", _API, meta["namespace"], path, body=body)

    def find(self, name: str, namespace: str | None = None) -> Object | None:
        try:
            return self.get(name, namespace)
        except CliError as error:
            if error.code is Exit.NOT_FOUND:
                return None
            raise

    # Around it.

    def events(self, resource: Object) -> list[Object]:
        query = {"fieldSelector": f"involvedObject.uid={resource['metadata']['uid']}"}
        return list(self._pages("v1", resource["metadata"]["namespace"], "events", query))

    def jobs(self, resource: Object) -> list[Object]:
        return self._children("batch/v1", resource, "jobs")

    def pods(self, resource: Object) -> list[Object]:
        return self._children("v1", resource, "pods")

    def secret(self, name: str) -> dict[str, str] | None:
        """The decoded values; None where there is none."""
        try:
            secret = self._ask("GET", "v1", self.namespace, _path("secrets", name))
        except CliError as error:
            if error.code is Exit.NOT_FOUND:
                return None
            raise
        data = secret.get("data") or {}
        return {k: base64.b64decode(v).decode(errors="replace") for k, v in data.items()}

    def _children(self, version: str, resource: Object, plural: str) -> list[Object]:
        meta = resource["metadata"]
        query = {"labelSelector": f"{LABEL_UID}={meta['uid']}"}
        return list(self._pages(version, meta["namespace"], plural, query))

    # Asking.

    def _pages(
        self, version: str, namespace: str | None, plural: str, query: dict[str, str]
    ) -> Iterator[Object]:
        token = ""
        while True:
            words = {**query, "limit": str(_PAGE), **({"continue": token} if token else {})}
            page = self._ask("GET", version, namespace, f"{plural}?{urlencode(words)}")
            yield from page["items"]
            token = page["metadata"].get("continue", "")
            if not token:
                return

    def _ask(
        self,
        method: str,
        version: str,
        namespace: str | None,
        path: str,
        *,
        body: Object | None = None,
        what: str = "",
    ) -> Object:
        """Raises UnreachableError for no answer, CliError for a refusal."""
        more: dict[str, Any] = {"namespace": namespace} if namespace else {}
        if body is not None:
            more["data"] = json.dumps(body)
            more["headers"] = _MERGE if method == "PATCH" else {"Content-Type": "application/json"}
        for last in (False, True):
            try:
                answer = self._api.request(method, version=version, url=path, **more)
            except requests.RequestException as error:
                raise UnreachableError(f"the cluster does not answer: {_words(error)}") from None
            if answer.status_code != 401 or last:
                break
            self._api = _connect(self._context)  # a token of `exec` has its time
        if answer.ok:
            made: Object = answer.json()
            return made
        raise _refusal(answer, namespace, what)


def _path(plural: str, name: str) -> str:
    return f"{plural}/{quote(name, safe='')}"


def _refusal(answer: requests.Response, namespace: str | None, what: str) -> CliError:
    try:
        message = str(answer.json()["message"])
    except (ValueError, KeyError, TypeError):
        message = answer.reason or f"HTTP status {answer.status_code}"
    if answer.status_code == 404:
        if what and PLURAL in message:
            return CliError(Exit.NOT_FOUND, f"there is no {what} in namespace {namespace}")
        if "page not found" in answer.text or "could not find the requested" in message:
            return CliError(
                Exit.NOT_FOUND, f"this cluster knows no {KIND}: the operator is not installed"
            )
        return CliError(Exit.NOT_FOUND, message)
    if answer.status_code >= 500 or answer.status_code == 429:
        return UnreachableError(f"the cluster does not answer: {message}")
    if answer.status_code == 401:
        return CliError(Exit.REFUSED, f"the cluster does not know you: {message}")
    return CliError(Exit.REFUSED, message)


def _connect(context: str | None) -> Any:
    try:
        view = _kubeconfig(context)
        for entry in view.get("users") or []:
            if command := entry["user"].get("exec"):
                entry["user"] = _credentials(command)
        client = pykube.HTTPClient(pykube.KubeConfig(view), timeout=_TIMEOUT)
        # The API server keeps its first word as who has set a field.
        client.session.headers["User-Agent"] = f"kubectl-multipartcopy/{__version__}"
        return client
    except FileNotFoundError as error:
        raise CliError(Exit.UNREACHABLE, f"no {error.filename} on the PATH") from None
    except subprocess.SubprocessError as error:
        words = _words(getattr(error, "stderr", "") or error).removeprefix("error: ")
        if words.startswith("current-context must exist"):
            words = "the kubeconfig has no current context: set KUBECONFIG, or write --context"
        raise CliError(Exit.UNREACHABLE, f"no cluster to ask: {words}") from None
    except (pykube.exceptions.PyKubeError, OSError, KeyError, ValueError, TypeError) as error:
        raise CliError(Exit.UNREACHABLE, f"no cluster to ask: {_words(error)}") from None


def _kubeconfig(context: str | None) -> Object:
    """As kubectl sees it: pykube does not merge the files that KUBECONFIG may list."""
    command = ["kubectl", "config", "view", "--raw", "--minify", "--flatten", "--output=json"]
    if context:
        command.append(f"--context={context}")
    view = subprocess.run(command, capture_output=True, text=True, check=True, timeout=20)
    made: Object = json.loads(view.stdout)
    return made


def _credentials(command: Object) -> Object:
    """A user of a kubeconfig, from its ``exec``; pykube knows no ``client.authentication.k8s.io/v1``.

    https://kubernetes.io/docs/reference/access-authn-authz/authentication/#client-go-credential-plugins
    """
    version = command["apiVersion"]
    request = {"apiVersion": version, "kind": "ExecCredential"}
    environment = os.environ | {item["name"]: item["value"] for item in command.get("env") or []}
    environment["KUBERNETES_EXEC_INFO"] = json.dumps(
        {**request, "spec": {"interactive": sys.stdin.isatty()}}
    )
    line = [command["command"], *(command.get("args") or [])]
    done = subprocess.run(
        line, env=environment, stdout=subprocess.PIPE, text=True, check=True, timeout=120
    )
    status = json.loads(done.stdout)["status"]
    if token := status.get("token"):
        return {"token": token}
    return {
        name: base64.b64encode(status[key].encode()).decode()
        for name, key in (
            ("client-certificate-data", "clientCertificateData"),
            ("client-key-data", "clientKeyData"),
        )
    }


def _words(error: object) -> str:
    """On one line, and not a page of it."""
    return " ".join(str(error).split())[:300]
