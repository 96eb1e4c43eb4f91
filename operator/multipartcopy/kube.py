"""A thin adapter over the Kubernetes client: plain dicts in, plain dicts out, a time limit on every call."""

import base64
import contextlib
import json
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any

import kubernetes
import urllib3

from multipartcopy import __version__
from multipartcopy.api import names

Object = dict[str, Any]

_JSON_PATCH = "application/json-patch+json"
_MERGE_PATCH = "application/merge-patch+json"
_TIMEOUT = 20.0


class KubeError(Exception):
    """The API server refused or did not answer; ``status`` is the HTTP status, 0 for no answer."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class NotFoundError(KubeError):
    """404."""


class ConflictError(KubeError):
    """The object is no longer at the resourceVersion that the write was made for."""


class NotAllowedError(KubeError):
    """A Secret that is there, and not for copies."""


class TooLargeError(KubeError):
    """etcd does not take an object of this size; writing it again would not help."""


class Kube:
    """All that the operator asks of the API server. ``namespaces`` are those that it works in, none for all."""

    def __init__(
        self,
        namespaces: Collection[str] = (),
        *,
        direct: bool = False,
        secrets_opt_in: bool = False,
    ) -> None:
        """``direct``: whatever the environment says of proxies; they are for the stores.

        ``secrets_opt_in``: only Secrets with the label of ours are given out.
        """
        self._namespaces = namespaces
        self._secrets_opt_in = secrets_opt_in
        configuration = kubernetes.client.Configuration.get_default_copy()
        if direct:
            configuration.proxy = None
        configuration.retries = False  # The loop over it asks again, having looked again.
        configuration.connection_pool_maxsize = 32  # More than the threads of the reconcile.
        client = kubernetes.client.ApiClient(configuration)
        # The API server keeps its first word as who has set a field.
        client.user_agent = f"multipartcopy-operator/{__version__}"
        self._core = kubernetes.client.CoreV1Api(client)
        self._batch = kubernetes.client.BatchV1Api(client)
        self._custom = kubernetes.client.CustomObjectsApi(client)

    # The resource.

    def get_copy(self, namespace: str, name: str) -> Object:
        return self._call(
            self._custom.get_namespaced_custom_object,
            *(names.GROUP, names.VERSION, namespace, names.PLURAL, name),
        )

    def list_copies(self) -> Iterator[Object]:
        """Of all namespaces that we work in, a page at a time: a resource can be half a megabyte."""
        kind = names.GROUP, names.VERSION
        if not self._namespaces:
            list_all = self._custom.list_cluster_custom_object
            yield from self._pages(list_all, *kind, names.PLURAL)
        for namespace in self._namespaces:
            list_some = self._custom.list_namespaced_custom_object
            yield from self._pages(list_some, *kind, namespace, names.PLURAL)

    def _pages(
        self, call: Callable[..., Any], *arguments: str, limit: int = 10, **options: str
    ) -> Iterator[Object]:
        """All pages are of the moment of the first; one that comes too late for that is a KubeError, 410.

        https://kubernetes.io/docs/reference/using-api/api-concepts/#retrieving-large-results-sets-in-chunks
        """
        token = ""
        while True:
            page = self._call(call, *arguments, limit=limit, _continue=token, **options)
            yield from page["items"]
            token = page["metadata"].get("continue", "")
            if not token:
                return

    def check_namespaces(self) -> None:
        """Raises KubeError where the copies of a namespace that we are to work in cannot be listed."""
        kind = names.GROUP, names.VERSION
        for namespace in self._namespaces:
            try:
                self._call(
                    self._custom.list_namespaced_custom_object,
                    *(*kind, namespace, names.PLURAL),
                    limit=1,
                )
            except KubeError as error:
                message = (
                    f"cannot list the MultipartCopies of namespace {namespace};"
                    f" is the definition installed, and the Role? ({error})"
                )
                raise KubeError(error.status, message) from None

    def patch_copy(self, namespace: str, name: str, patch: list[Object]) -> Object:
        """A JSON-patch of metadata. Raises ConflictError where its ``test`` fails."""
        return self._call(
            self._custom.patch_namespaced_custom_object,
            *(names.GROUP, names.VERSION, namespace, names.PLURAL, name, patch),
            _content_type=_JSON_PATCH,
        )

    def patch_copy_status(self, namespace: str, name: str, patch: list[Object]) -> Object:
        """A JSON-patch of the status subresource. Raises ConflictError, TooLargeError."""
        return self._call(
            self._custom.patch_namespaced_custom_object_status,
            *(names.GROUP, names.VERSION, namespace, names.PLURAL, name, patch),
            _content_type=_JSON_PATCH,
        )

    def delete_copy(self, namespace: str, name: str, uid: str) -> None:
        self._call(
            self._custom.delete_namespaced_custom_object,
            *(names.GROUP, names.VERSION, namespace, names.PLURAL, name),
            body={"preconditions": {"uid": uid}},
        )

    # Its children.

    def list_jobs(self, namespace: str, uid: str) -> list[Object]:
        selector = f"{names.LABEL_UID}={uid}"
        answer = self._call(self._batch.list_namespaced_job, namespace, label_selector=selector)
        return list(answer["items"])

    def list_pods(self, namespace: str, uid: str) -> Iterator[Object]:
        """By label, not by owner: a pod whose Job is gone is still a pod that sends.

        A page at a time, for a Job keeps a pod of some 10 KB for each of its batches.
        """
        selector = f"{names.LABEL_UID}={uid}"
        list_pods = self._core.list_namespaced_pod
        return self._pages(list_pods, namespace, limit=50, label_selector=selector)

    def create_job(self, namespace: str, manifest: Object) -> None:
        """An existing Job of that name is as good, if it is of the same owner.

        Strict: what of the resource's ``affinity`` is misspelt must not get lost without a word.
        """
        try:
            self._call(
                self._batch.create_namespaced_job,
                *(namespace, manifest),
                field_validation="Strict",
            )
        except ConflictError as conflict:
            name = manifest["metadata"]["name"]
            try:
                there = self._call(self._batch.read_namespaced_job, name, namespace)
            except NotFoundError:
                # Not that it exists: a quota, for one, conflicts when it is changed meanwhile.
                raise KubeError(conflict.status, str(conflict)) from None
            wanted = manifest["metadata"]["ownerReferences"][0]["uid"]
            owners = [o["uid"] for o in there["metadata"].get("ownerReferences", [])]
            if wanted not in owners:
                raise KubeError(409, f"Job {namespace}/{name} exists and is not ours") from None

    def set_parallelism(self, namespace: str, job: str, parallelism: int) -> None:
        body = {"spec": {"parallelism": parallelism}}
        self._call(
            self._batch.patch_namespaced_job, job, namespace, body, _content_type=_MERGE_PATCH
        )

    def delete_job(self, namespace: str, job: str) -> None:
        """In the foreground: by the default policy the pods were seen to run on without an owner."""
        with contextlib.suppress(NotFoundError):
            self._call(
                self._batch.delete_namespaced_job,
                *(job, namespace),
                body={"propagationPolicy": "Foreground"},
            )

    # Around it.

    def get_secret(
        self, namespace: str, name: str, wanted_type: str | None = None
    ) -> dict[str, str]:
        """The decoded values; bytes that are no UTF-8 as surrogates.

        Raises NotFoundError; NotAllowedError, whose words go on after the Secret's name, where it lacks the label
        that the operator demands, or the type that its use demands.
        """
        secret = self._call(self._core.read_namespaced_secret, name, namespace)
        labels = secret["metadata"].get("labels") or {}
        if self._secrets_opt_in and labels.get(names.LABEL_ALLOW) != "true":
            words = "is not for copies: this operator uses those with the label"
            raise NotAllowedError(403, f'{words} {names.LABEL_ALLOW}: "true"')
        if wanted_type and secret.get("type") != wanted_type:
            words = f"is of the type {secret.get('type')}, and is not sent as headers"
            raise NotAllowedError(403, f"{words}: one that may be has the type {wanted_type}")
        data = secret.get("data") or {}
        return {k: base64.b64decode(v).decode(errors="surrogateescape") for k, v in data.items()}

    def list_warnings(self, namespace: str, uid: str) -> list[Object]:
        """Warning Events about the object with this UID."""
        selector = f"involvedObject.uid={uid},type=Warning"
        answer = self._call(self._core.list_namespaced_event, namespace, field_selector=selector)
        return list(answer["items"])

    def create_event(self, namespace: str, event: Object) -> None:
        self._call(self._core.create_namespaced_event, namespace, event)

    def get_pod(self, namespace: str, name: str) -> Object:
        return self._call(self._core.read_namespaced_pod, name, namespace)

    @staticmethod
    def _call(method: Callable[..., Any], *args: Any, **kwargs: Any) -> Object:
        try:
            answer = method(*args, **kwargs, _preload_content=False, _request_timeout=_TIMEOUT)
            body: Object = json.loads(answer.data)
            return body
        except kubernetes.client.ApiException as error:
            raise _error(error.status or 0, _message(error)) from None
        except (urllib3.exceptions.HTTPError, OSError, json.JSONDecodeError) as error:
            raise KubeError(0, f"the API server did not answer: {error}") from None
        except ValueError as error:
            # Of the client's own models, before it has asked: pydantic's errors are ValueErrors.
            words = " ".join(str(error).partition("For further information")[0].split())
            raise KubeError(422, f"the request is invalid: {words}") from None


def connect(namespaces: Collection[str] = (), *, secrets_opt_in: bool = False) -> Kube:
    """With the pod's service account, else the current kubeconfig. Raises KubeError for neither."""
    in_cluster = Path("/var/run/secrets/kubernetes.io/serviceaccount/token").exists()
    try:
        if in_cluster:
            kubernetes.config.load_incluster_config()  # type: ignore[no-untyped-call]
        else:
            kubernetes.config.load_kube_config()  # type: ignore[no-untyped-call]
    except kubernetes.config.ConfigException as error:
        raise KubeError(0, f"no cluster to work for: {error}") from None
    return Kube(namespaces, direct=in_cluster, secrets_opt_in=secrets_opt_in)


def _message(error: Any) -> str:
    try:
        return str(json.loads(error.body)["message"])
    except (ValueError, KeyError, TypeError):
        return str(error.reason)


def _error(status: int, message: str) -> KubeError:
    if status == 404:
        return NotFoundError(status, message)
    # A JSON-patch whose `test` fails is 422 as is a refusal by validation, which says what is invalid.
    test_failed = status == 422 and "is invalid" not in message
    if status == 409 or test_failed:
        return ConflictError(status, message)
    if "request is too large" in message or "Request entity too large" in message:
        return TooLargeError(status, message)
    return KubeError(status, message)
