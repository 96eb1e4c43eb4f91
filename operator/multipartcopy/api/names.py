"""Names that other programs see: changing one is a change of the API."""

GROUP = "multipartcopy.dev"
VERSION = "v1alpha1"
KIND = "MultipartCopy"
PLURAL = "multipartcopies"

FINALIZER = f"{GROUP}/abort-upload"
"""Held from before the claim until the upload is completed or aborted."""

MANAGED_BY = "app.kubernetes.io/managed-by"
MANAGER = "multipartcopy"
LABEL_UID = f"{GROUP}/uid"
ANNOTATION_NAME = f"{GROUP}/name"
LABEL_ATTEMPT = f"{GROUP}/attempt"
LABEL_RUN = f"{GROUP}/run"
ANNOTATION_WORKER = f"{GROUP}/worker"
"""Annotation of a Job: the ``spec.worker`` that it was made for."""

ANNOTATION_BYTES_PER_SECOND = f"{GROUP}/bytes-per-second"
"""Annotation of a Job: what each of its pods may move, its share of ``spec.bandwidthLimit``; 0: any number."""

ANNOTATION_UPLOAD = f"{GROUP}/upload-id"
"""Annotation of a Job: the upload that its workers send to, known even where the status has been edited."""

ANNOTATION_RETRY = f"{GROUP}/retry"
"""Annotation of a copy: with another value than ``status.handledRetry``, one that has failed begins again."""

LABEL_ALLOW = f"{GROUP}/allow"
"""Label of a Secret, with the value "true": an operator with ``--require-secret-opt-in`` uses no other."""

HEADERS_TYPE = f"{GROUP}/http-headers"
"""Type of a Secret that may be sent as headers. Else whoever may create a copy could read every Secret by
naming it, and a server of their own.
"""

KUEUE = "kueue.x-k8s.io/"
"""Begins the labels that Kueue looks for on a Job, and not on its pods."""

SOURCE_STAMP = "multipartcopy-source"
"""User metadata key on the destination (sent as ``x-amz-meta-multipartcopy-source``): which source it is a copy of."""

ACCESS_KEY_ID = "AWS_ACCESS_KEY_ID"
SECRET_ACCESS_KEY = "AWS_SECRET_ACCESS_KEY"  # noqa: S105 - the name of a key, not a secret
SESSION_TOKEN = "AWS_SESSION_TOKEN"  # noqa: S105
CA_CERTIFICATE = "ca.crt"
CUSTOMER_KEY = "key"
"""Of a Secret with a key for SSE-C."""

TASK_VARIABLE = "MULTIPARTCOPY_TASK"
"""Environment variable of the worker that holds its :class:`~multipartcopy.api.task.Task` as JSON."""
INDEX_VARIABLE = "JOB_COMPLETION_INDEX"
"""Set by the Job controller in every pod of an Indexed Job."""
PROXY_VARIABLES = (
    *("HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY"),
    *("https_proxy", "http_proxy", "no_proxy"),
)
"""Environment variables of the operator that its workers get as well."""
ALLOW_ENDPOINTS_VARIABLE = "MULTIPARTCOPY_ALLOW_ENDPOINTS"
"""Environment variable of the operator and its workers: which endpoints may be spoken to; see ``s3/guard.py``."""
SECRETS_DIRECTORY = "/var/run/secrets/multipartcopy"
"""Of the worker: ``source/``, ``destination/`` hold credentials, ``source-ca/``, ``destination-ca/`` a CA each,
``source-key/``, ``destination-key/`` a key for SSE-C."""

EXIT_PERMANENT = 42
"""The worker's exit status for an error that no repetition can mend; anything else but 0 is retried."""
EXIT_KILLED = 137
"""A container's exit status after SIGKILL: at its memory limit, mostly."""
