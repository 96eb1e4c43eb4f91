"""What the API server accepts, refuses, fills in and protects."""

import json
from typing import Any

import pytest

from tests.apiserver.kubectl import Kubectl
from tests.apiserver.samples import ABSENT, Changes, manifest

SOURCE, DESTINATION = "source.s3", "destination.s3"

ACCEPTED: dict[str, Changes] = {
    "minimal": {},
    "anonymous source": {f"{SOURCE}.anonymous": True, f"{SOURCE}.secretRef": ABSENT},
    "anonymous false beside a Secret": {f"{SOURCE}.anonymous": False},
    "endpoint by name and port": {f"{SOURCE}.endpoint": "http://minio:9000"},
    "endpoint by IPv4": {f"{SOURCE}.endpoint": "https://10.0.0.1"},
    "endpoint by IPv6": {f"{SOURCE}.endpoint": "http://[fd00::1]:9000"},
    "endpoint of the bucket's name": {f"{SOURCE}.endpoint": "http://origin"},
    "endpoint of the bucket's name and a slash": {f"{SOURCE}.endpoint": "http://origin/"},
    "endpoint with a path": {f"{SOURCE}.endpoint": "https://gateway.example.com/storage/s3/"},
    "bucket in the old style": {f"{SOURCE}.bucket": "My_Old.Bucket"},
    "region of another store": {f"{SOURCE}.region": "auto"},
    "key of 1024 bytes": {f"{SOURCE}.key": "k" * 1024},
    "key with dots in its names": {f"{SOURCE}.key": "/.hidden/..a/b../c...d"},
    "key in other alphabets": {f"{SOURCE}.key": "資料/данные 100% + ?#&"},
    "same names at another endpoint": {
        f"{DESTINATION}.bucket": "origin",
        f"{DESTINATION}.endpoint": "http://minio:9000",
    },
    "an older version onto its own key": {
        f"{SOURCE}.versionId": "v1",
        f"{DESTINATION}.bucket": "origin",
    },
    "from a URL": {"source": {"http": {"url": "https://example.com"}}},
    "from a URL with all it can have": {
        "source": {
            "http": {
                "url": "http://[fd00::1]:8080/a%20b/~c;d=e,f@g/?x=y&z=/?%2F",
                "headersSecretRef": {"name": "h"},
                "caSecretRef": {"name": "ca"},
            }
        }
    },
    "from a long URL": {"source": {"http": {"url": "https://h/?" + "a" * 4085}}},
    "what is expected of a URL": {
        "source": {"http": {"url": "https://h/a"}, "expect": {"size": 1, "etag": "v1"}}
    },
    "size expected": {"source.expect": {"size": 0}},
    "ETag expected": {"source.expect": {"etag": "d41d8cd98f00b204e9800998ecf8427e-12"}},
    "checksum expected": {
        "source.expect": {"checksum": {"algorithm": "CRC64NVME", "value": "yuHGk7MSCvw="}}
    },
    "smallest part": {"partSize": "5Mi"},
    "largest part": {"partSize": "5Gi"},
    "part in decimal units": {"partSize": "100M"},
    "part in bytes": {"partSize": "5242880"},
    "most pods": {"parallelism": 1000},
    "most streams": {"worker.streams": 16},
    "streams by themselves": {"worker.streams": "Auto"},
    "least bandwidth": {"bandwidthLimit": "1Mi", "parallelism": 1},
    "bandwidth for each pod": {"bandwidthLimit": "8Mi", "parallelism": 8},
    "bandwidth in decimal units": {"bandwidthLimit": "100M"},
    "bandwidth beyond all measure": {"bandwidthLimit": "999999999999999T"},
    "resources": {
        "worker.resources": {"limits": {"memory": "1Gi", "cpu": 2}, "requests": {"cpu": "0.5"}}
    },
    "memory up to the limit it has": {"worker.maxMemory": "64Mi"},
    "memory up to a larger limit": {
        "worker": {"maxMemory": "64Gi", "resources": {"limits": {"memory": "1G"}}}
    },
    "CPU limit at the default request": {"worker.resources.limits": {"cpu": "100m"}},
    "labels and annotations": {
        "worker.labels": {"example.com/team": "a", "kueue.x-k8s.io/queue-name": "q", "app": ""},
        "worker.annotations": {"cluster-autoscaler.kubernetes.io/safe-to-evict": "false"},
    },
    "an annotation of a domain in capitals": {"worker.annotations": {"Example.com/A_b": "x y"}},
    "a node by the label of a domain": {
        "worker.nodeSelector": {"topology.kubernetes.io/zone": "a", "empty": ""}
    },
    "a store by its name": {f"{DESTINATION}.profile": "CloudflareR2"},
    "most labels": {"worker.labels": {f"l{n}": "v" * 63 for n in range(32)}},
    "most annotations": {"worker.annotations": {f"a{n}": "v" * 1024 for n in range(32)}},
    "a toleration of everything": {"worker.tolerations": [{"operator": "Exists"}]},
    "a toleration for a time": {
        "worker.tolerations": [{"key": "spot", "effect": "NoExecute", "tolerationSeconds": 0}]
    },
    "affinity": {"worker.affinity": {"nodeAffinity": {"whatever": [{"it": "is"}]}}},
    "spread": {"worker.topologySpreadConstraints": [{"topologyKey": "kubernetes.io/hostname"}]},
    "classes": {"worker.priorityClassName": "low", "worker.runtimeClassName": "gvisor"},
    "pull secrets": {"worker.imagePullSecrets": [{"name": "registry"}]},
    "each part's MD5": {"verification": "PartMD5"},
    "a second reading": {"verification": "ReadBack"},
    "no proof": {"verification": "None"},
    "a source that may change": {"onSourceChange": "Restart"},
    "a URL that may change": {
        "source": {"http": {"url": "https://h/a"}},
        "onSourceChange": "Restart",
    },
    "an upload that stays": {"onFailure": "Keep", "ttlSecondsAfterFinished": 0},
    "through the workers": {"mode": "Relay"},
    "by the store at AWS": {"mode": "ServerSide", f"{SOURCE}.region": "eu-central-1"},
    "by the store at one endpoint": {
        "mode": "ServerSide",
        f"{SOURCE}.endpoint": "http://minio:9000",
        f"{DESTINATION}.endpoint": "http://minio:9000",
    },
    "by the store and read again": {"mode": "ServerSide", "verification": "ReadBack"},
    "what the object is made with": {
        f"{DESTINATION}.contentType": "text/csv; charset=utf-8",
        f"{DESTINATION}.contentEncoding": "gzip",
        f"{DESTINATION}.contentDisposition": 'attachment; filename="a b.csv"',
        f"{DESTINATION}.contentLanguage": "en, de",
        f"{DESTINATION}.cacheControl": "no-cache",
        f"{DESTINATION}.metadata": {"who": "ich, Ω", "a.b_c-1": ""},
        f"{DESTINATION}.tags": {"Team/a b": "x", "k" * 128: "v" * 256},
        f"{DESTINATION}.storageClass": "STANDARD_IA",
    },
    "as much metadata as S3 takes": {f"{DESTINATION}.metadata": {"a": "x" * 1023, "b": "x" * 1023}},
    "an archived object that is not read again": {f"{DESTINATION}.storageClass": "DEEP_ARCHIVE"},
    "keys of the store's own": {f"{DESTINATION}.serverSideEncryption": {"type": "AES256"}},
    "a key of KMS": {
        f"{DESTINATION}.serverSideEncryption": {
            "type": "aws:kms",
            "kmsKeyId": "arn:aws:kms:us-east-1:111122223333:key/1234abcd-12ab-34cd",
        }
    },
    "the default key of KMS": {f"{DESTINATION}.serverSideEncryption": {"type": "aws:kms"}},
    "keys of the customer": {
        f"{SOURCE}.sseCustomerKeySecretRef": {"name": "a-key"},
        f"{DESTINATION}.sseCustomerKeySecretRef": {"name": "b-key"},
        f"{DESTINATION}.endpoint": "https://minio:9000",
    },
    "everything is kept": {
        "preserve": {
            "contentHeaders": "Required",
            "metadata": "Required",
            "tags": "Required",
            "storageClass": "BestEffort",
        }
    },
    "no retries": {"backoffLimitPerBatch": 0},
    "deadline": {"activeDeadlineSeconds": 1},
    "as late as can be": {
        "activeDeadlineSeconds": 2**31 - 1,
        "ttlSecondsAfterFinished": 2**31 - 1,
    },
    "deleted at once": {"ttlSecondsAfterFinished": 0},
}


def from_url(url: str) -> Changes:
    return {"source": {"http": {"url": url}}}


ONE_SOURCE = "write exactly one of s3, for an object in an S3-compatible store, and http, for a URL"
HTTP_URL = "write a URL of http or https, percent-encoded, without user and fragment"
EXCLUSIVE = "write either secretRef, with the name of a Secret, or anonymous: true"
URL = "write a URL of http or https, a host, and where needed a port and a path"
PART_SIZE = "write Auto, or a whole quantity from 5Mi to 5Gi, for example 64Mi"
STREAMS = "write Auto, or a number of parts from 1 to 16"
BANDWIDTH = "write a whole quantity of bytes per second of at least 1Mi, for example 100Mi"
MEMORY = "write a whole quantity of at least 16Mi, for example 64Mi"
MAX_MEMORY = "write a whole quantity from 16Mi to 64Gi, for example 256Mi"
LEAST_MAX_MEMORY = "write a maxMemory that is not below resources.limits.memory"
METADATA_KEYS = "write keys of metadata in lower-case letters, digits, '.', '_' and '-'"
TAG_KEYS = "write keys of tags of 1 to 128 characters that do not begin with aws:"
BUCKET = "write the name of a bucket, of letters, digits, '.', '_' and '-'"
CPU = "write CPU in cores, for example 2 or 0.5, or in thousandths of one, for example 500m"
LABEL_VALUE = "write a value of letters, digits, '-', '_' and '.'"
KEYS = "as Kubernetes has them: letters, digits, '-', '_' and '.', with a domain"
DOTS = 'write a key without the path segments "." and ".."'

REFUSED: dict[str, tuple[Changes, str]] = {
    "no source": ({"source": ABSENT}, "spec.source: Required value"),
    "no member of source": ({"source": {}}, ONE_SOURCE),
    "only what is expected": ({"source": {"expect": {"size": 1}}}, ONE_SOURCE),
    "two sources": ({"source.http": {"url": "https://h/a"}}, ONE_SOURCE),
    "no URL": ({"source": {"http": {}}}, "spec.source.http.url: Required value"),
    "empty URL": (from_url(""), "should be at least 1 chars long"),
    "too long a URL": (from_url("https://h/" + "a" * 4087), "may not be more than 4096"),
    "URL of another scheme": (from_url("ftp://h/a"), HTTP_URL),
    "URL without a host": (from_url("https:///a"), HTTP_URL),
    "URL with a user": (from_url("https://me:secret@h/a"), HTTP_URL),
    "URL with a fragment": (from_url("https://h/a#b"), HTTP_URL),
    "URL with a blank": (from_url("https://h/a b"), HTTP_URL),
    "URL in two lines": (from_url("https://h/a\n"), HTTP_URL),
    "URL with half an escape": (from_url("https://h/a%2"), HTTP_URL),
    "URL in another alphabet": (from_url("https://h/данные"), HTTP_URL),
    "URL that climbs": (
        from_url("https://h/a/../b"),
        'write a URL without the path segments "." and ".."',
    ),
    "URL of a destination": ({"destination.http": {"url": "https://h/a"}}, "unknown field"),
    "credentials for a URL": (
        {"source": {"http": {"url": "https://h/a", "secretRef": {"name": "s"}}}},
        "unknown field",
    ),
    "by the store from a URL": (
        {**from_url("https://h/a"), "mode": "ServerSide"},
        "which it cannot from a URL: write mode Auto",
    ),
    "no bucket": ({f"{SOURCE}.bucket": ABSENT}, "spec.source.s3.bucket: Required value"),
    "no key": ({f"{DESTINATION}.key": ABSENT}, "spec.destination.s3.key: Required value"),
    "no way in": ({f"{SOURCE}.secretRef": ABSENT}, EXCLUSIVE),
    "two ways in": ({f"{DESTINATION}.anonymous": True}, EXCLUSIVE),
    "same object": (
        {f"{DESTINATION}.bucket": "origin"},
        "source and destination are the same object",
    ),
    "same object by the version that there is without versions": (
        {f"{DESTINATION}.bucket": "origin", f"{SOURCE}.versionId": "null"},
        "source and destination are the same object",
    ),
    "version of the destination": ({f"{DESTINATION}.versionId": "v1"}, "unknown field"),
    "endpoint without scheme": ({f"{SOURCE}.endpoint": "minio:9000"}, URL),
    "endpoint of another scheme": ({f"{SOURCE}.endpoint": "ftp://minio"}, URL),
    "endpoint with a user": ({f"{SOURCE}.endpoint": "https://me:secret@minio"}, URL),
    "endpoint with a query": ({f"{DESTINATION}.endpoint": "https://minio?a=b"}, URL),
    "endpoint with a fragment": ({f"{SOURCE}.endpoint": "https://minio/#a"}, URL),
    "endpoint in two lines": ({f"{SOURCE}.endpoint": "https://minio\n"}, URL),
    "endpoint without an address": (
        {f"{SOURCE}.endpoint": "http://[1:2]"},
        "write an IPv6 address",
    ),
    "endpoint with an empty label": ({f"{SOURCE}.endpoint": "http://a..b"}, URL),
    "endpoint with a broken label": ({f"{DESTINATION}.endpoint": "http://a-.b"}, URL),
    "endpoint with a long label": ({f"{SOURCE}.endpoint": f"http://{'a' * 64}.b"}, URL),
    "region with an underscore": ({f"{SOURCE}.region": "my_region"}, "letters, digits and '-'"),
    "region of digits": ({f"{SOURCE}.region": "123"}, "write a region as the store calls it"),
    "empty endpoint": ({f"{SOURCE}.endpoint": ""}, "should be at least 1 chars long"),
    "region with a slash": ({f"{SOURCE}.region": "a/b"}, "write a region as the store calls it"),
    "short bucket": ({f"{SOURCE}.bucket": "ab"}, "should be at least 3 chars long"),
    "long bucket": ({f"{SOURCE}.bucket": "b" * 64}, "may not be more than 63"),
    "bucket with a slash": ({f"{SOURCE}.bucket": "a/b"}, BUCKET),
    "ARN for a bucket": (
        {f"{SOURCE}.bucket": "arn:aws:s3:::origin"},
        BUCKET,
    ),
    "empty key": ({f"{SOURCE}.key": ""}, "should be at least 1 chars long"),
    "bucket in the endpoint": (
        {f"{SOURCE}.endpoint": "http://minio:9000/origin"},
        "the endpoint ends with the bucket",
    ),
    "bucket at the endpoint's end": (
        {f"{DESTINATION}.endpoint": "http://minio:9000/s3/target/"},
        "the endpoint ends with the bucket",
    ),
    "long key": ({f"{SOURCE}.key": "k" * 1025}, "may not be more than 1024"),
    "key of few characters and many bytes": (
        {f"{SOURCE}.key": "ж" * 513},
        "write a key of at most 1024 bytes",
    ),
    "key that climbs": ({f"{DESTINATION}.key": "a/../b"}, DOTS),
    "key that begins with a dot segment": ({f"{SOURCE}.key": "./b"}, DOTS),
    "key that ends with a dot segment": ({f"{SOURCE}.key": "a/.."}, DOTS),
    "addressing style": ({f"{SOURCE}.addressingStyle": "path"}, '"Auto", "Path", "Virtual"'),
    "a store that is not known": ({f"{SOURCE}.profile": "Floppy"}, '"Auto", "AWS", "MinIO"'),
    "name of a Secret": (
        {f"{SOURCE}.secretRef.name": "Not_A_Name"},
        "write the name of a Secret in this namespace: lower-case letters, digits, '-' and '.'",
    ),
    "Secret in another namespace": (
        {f"{SOURCE}.secretRef.namespace": "kube-system"},
        "unknown field",
    ),
    "nothing expected": (
        {"source.expect": {}},
        "write what of the source is expected: size, etag or checksum",
    ),
    "size below zero expected": (
        {"source.expect": {"size": -1}},
        "should be greater than or equal to 0",
    ),
    "ETag in quotes expected": (
        {"source.expect": {"etag": '"a"'}},
        "write the ETag without quotes",
    ),
    "checksum of another algorithm expected": (
        {"source.expect.checksum": {"algorithm": "MD5", "value": "yuHGk7MSCvw="}},
        'supported values: "CRC64NVME"',
    ),
    "checksum in hexadecimal digits expected": (
        {"source.expect.checksum": {"algorithm": "CRC64NVME", "value": "cae1c693b3120afc"}},
        "write a CRC64NVME as S3 does, in base64",
    ),
    "expected of the destination": ({"destination.expect": {"size": 1}}, "unknown field"),
    "part below the least": ({"partSize": "4Mi"}, PART_SIZE),
    "part above the most": ({"partSize": "6Gi"}, PART_SIZE),
    "broken part": ({"partSize": "5.5Mi"}, PART_SIZE),
    "part in thousandths": ({"partSize": "6000000000m"}, PART_SIZE),
    "part in words": ({"partSize": "auto"}, PART_SIZE),
    "part as a number": ({"partSize": 5242880}, "must be of type string"),
    "no pods": ({"parallelism": 0}, "should be greater than or equal to 1"),
    "too many pods": ({"parallelism": 1001}, "should be less than or equal to 1000"),
    "no streams": ({"worker.streams": 0}, STREAMS),
    "too many streams": ({"worker.streams": 17}, STREAMS),
    "streams in words": ({"worker.streams": "auto"}, STREAMS),
    "streams as a word": ({"worker.streams": "4"}, STREAMS),
    "little bandwidth": ({"bandwidthLimit": "1Ki"}, BANDWIDTH),
    "bandwidth in bits": ({"bandwidthLimit": "100Mbit"}, BANDWIDTH),
    "broken bandwidth": ({"bandwidthLimit": "1.5Gi"}, BANDWIDTH),
    "too little bandwidth for so many pods": (
        {"bandwidthLimit": "7Mi", "parallelism": 8},
        "write a bandwidthLimit of at least 1Mi for each of the pods that parallelism allows",
    ),
    "image": ({"worker.image": "mine"}, "unknown field"),
    **{
        f"{what} in the worker": ({f"worker.{what}": value}, "unknown field")
        for what, value in {
            "serviceAccountName": "default",
            "volumes": [],
            "env": [],
            "securityContext": {},
            "hostNetwork": True,
            "initContainers": [],
        }.items()
    },
    **{
        f"label {key}": ({"worker.labels": {key: "x"}}, "write labels of your own")
        for key in (
            "multipartcopy.dev/uid",
            "batch.kubernetes.io/job-name",
            "job-name",
            "controller-uid",
            "app.kubernetes.io/managed-by",
        )
    },
    **{
        f"annotation {key}": ({"worker.annotations": {key: "x"}}, "write annotations of your own")
        for key in (
            "multipartcopy.dev/name",
            "batch.kubernetes.io/job-completion-index",
            "container.apparmor.security.beta.kubernetes.io/worker",
            "container.seccomp.security.alpha.kubernetes.io/worker",
            "seccomp.security.alpha.kubernetes.io/pod",
        )
    },
    "value of a label": ({"worker.labels": {"a": "-"}}, LABEL_VALUE),
    **{
        f"{what} that is none: {key[:9]!r}": (changes(key), f"{words} {KEYS}")
        for key in ("", "a b", "a/b/c", "-a", "É", "/a", "k" * 64)
        for what, words, changes in (
            ("key of a label", "keys of labels", lambda key: {"worker.labels": {key: "x"}}),
            (
                "key of an annotation",
                "keys of annotations",
                lambda key: {"worker.annotations": {key: "x"}},
            ),
            (
                "key of a node's label",
                "keys of a node's labels",
                lambda key: {"worker.nodeSelector": {key: "x"}},
            ),
        )
    },
    "key of a taint": (
        {"worker.tolerations": [{"key": "a b"}]},
        f"write the key of a taint {KEYS}",
    ),
    "value of a taint": ({"worker.tolerations": [{"key": "a", "value": "-"}]}, LABEL_VALUE),
    "value of a node's label": ({"worker.nodeSelector": {"a": "b c"}}, LABEL_VALUE),
    "label of a zone": (
        {"worker.topologySpreadConstraints": [{"topologyKey": "a zone"}]},
        f"write the key of a node's label {KEYS}",
    ),
    "too many labels": (
        {"worker.labels": {f"l{n}": "v" for n in range(33)}},
        "at most 32",
    ),
    "a toleration of nothing": (
        {"worker.tolerations": [{"value": "x"}]},
        "write the key of the taint, or operator: Exists for every key",
    ),
    "a toleration of every value and of one": (
        {"worker.tolerations": [{"key": "a", "operator": "Exists", "value": "x"}]},
        "write no value with operator: Exists",
    ),
    "a toleration that ends and evicts nobody": (
        {"worker.tolerations": [{"key": "a", "tolerationSeconds": 5}]},
        "write tolerationSeconds only with effect: NoExecute",
    ),
    "affinity of another kind": (
        {"worker.affinity": {"nodeAfinity": {}}},
        "unknown field",
    ),
    "spread with a selector": (
        {"worker.topologySpreadConstraints": [{"topologyKey": "a", "labelSelector": {}}]},
        "unknown field",
    ),
    "name of a PriorityClass": (
        {"worker.priorityClassName": "High"},
        "write the name of a PriorityClass: lower-case letters",
    ),
    "name of a RuntimeClass": (
        {"worker.runtimeClassName": "gVisor"},
        "write the name of a RuntimeClass: lower-case letters",
    ),
    "name of a pull secret": (
        {"worker.imagePullSecrets": [{"name": "a/b"}]},
        "write the name of a Secret in this namespace",
    ),
    "a class of the system": (
        {"worker.priorityClassName": "system-node-critical"},
        "write a PriorityClass that does not begin with system-",
    ),
    "little memory": ({"worker.resources.limits": {"memory": "8Mi"}}, MEMORY),
    "broken memory": ({"worker.resources.limits": {"memory": "64.5Mi"}}, MEMORY),
    "little more memory": ({"worker.maxMemory": "8Mi"}, MAX_MEMORY),
    "more memory than there is": ({"worker.maxMemory": "65Gi"}, MAX_MEMORY),
    "more memory in words": ({"worker.maxMemory": "Auto"}, MAX_MEMORY),
    "more memory as a number": ({"worker.maxMemory": 268435456}, "must be of type string"),
    "less memory than the default": ({"worker.maxMemory": "63Mi"}, LEAST_MAX_MEMORY),
    "less memory than the limit": (
        {"worker": {"maxMemory": "256Mi", "resources": {"limits": {"memory": "512Mi"}}}},
        LEAST_MAX_MEMORY,
    ),
    "memory apart from its limit": (
        {"worker.resources.requests": {"memory": "32Mi"}},
        "unknown field",
    ),
    "a GPU": ({"worker.resources.limits": {"nvidia.com/gpu": "1"}}, "unknown field"),
    "CPU in words": (
        {"worker.resources.requests": {"cpu": "much"}},
        CPU,
    ),
    "CPU below zero": ({"worker.resources.limits": {"cpu": -1}}, CPU),
    "both CPUs in words": (
        {"worker.resources": {"limits": {"cpu": "some"}, "requests": {"cpu": "much"}}},
        CPU,
    ),
    "CPU limit below the request": (
        {"worker.resources.limits": {"cpu": "50m"}},
        "write a requests.cpu that is not above limits.cpu",
    ),
    "overwrite": ({"overwrite": "Yes"}, '"IfDifferent", "Always", "Never"'),
    "no word for a change": ({"onSourceChange": "Ignore"}, 'supported values: "Fail", "Restart"'),
    "another version of a version": (
        {f"{SOURCE}.versionId": "v1", "onSourceChange": "Restart"},
        "a version never changes: write onSourceChange Fail, or a source without versionId",
    ),
    "no word for a failure": ({"onFailure": "Ignore"}, 'supported values: "Abort", "Keep"'),
    "verification": ({"verification": "Full"}, '"Auto", "PartMD5", "ReadBack", "None"'),
    "mode": ({"mode": "Copy"}, '"Auto", "Relay", "ServerSide"'),
    "by the store at two endpoints": (
        {"mode": "ServerSide", f"{DESTINATION}.endpoint": "http://minio:9000"},
        "write the same endpoint for source and destination, or mode Auto",
    ),
    "by the store with each part's MD5": (
        {"mode": "ServerSide", "verification": "PartMD5"},
        "write verification Auto or ReadBack, or mode Auto",
    ),
    "content type in two lines": (
        {f"{DESTINATION}.contentType": "text/csv\nx: y"},
        "write a Content-Type in one line of printable ASCII characters",
    ),
    "content type of the source": ({f"{SOURCE}.contentType": "text/csv"}, "unknown field"),
    "metadata in capitals": ({f"{DESTINATION}.metadata": {"Who": "me"}}, METADATA_KEYS),
    "metadata with a colon": ({f"{DESTINATION}.metadata": {"a:b": "me"}}, METADATA_KEYS),
    "metadata without a name": ({f"{DESTINATION}.metadata": {"": "me"}}, METADATA_KEYS),
    "metadata that marks a copy": (
        {f"{DESTINATION}.metadata": {"multipartcopy-source": "me"}},
        "write another key than multipartcopy-source",
    ),
    "metadata in two lines": (
        {f"{DESTINATION}.metadata": {"who": "a\nb"}},
        "write values of metadata in one line, without control characters",
    ),
    "more metadata than S3 takes": (
        {f"{DESTINATION}.metadata": {"a": "x" * 1024, "b": "x" * 1023}},
        "write metadata of at most 2048 characters",
    ),
    "many tags": (
        {f"{DESTINATION}.tags": {str(n): "" for n in range(11)}},
        "must have at most 10 items",
    ),
    "a tag without a key": ({f"{DESTINATION}.tags": {"": "x"}}, TAG_KEYS),
    "a tag with a long key": ({f"{DESTINATION}.tags": {"k" * 129: "x"}}, TAG_KEYS),
    "a tag of AWS": ({f"{DESTINATION}.tags": {"aws:x": "x"}}, TAG_KEYS),
    "storage class in words": (
        {f"{DESTINATION}.storageClass": "cold"},
        "write a storage class as its store calls it, in capitals",
    ),
    "an archived object that is read again": (
        {f"{DESTINATION}.storageClass": "GLACIER", "verification": "ReadBack"},
        "an archived object cannot be read again",
    ),
    "a key of KMS without it": (
        {f"{DESTINATION}.serverSideEncryption": {"type": "AES256", "kmsKeyId": "alias/a"}},
        "a key of KMS is for the type aws:kms",
    ),
    "a key of KMS with a blank": (
        {f"{DESTINATION}.serverSideEncryption": {"type": "aws:kms", "kmsKeyId": "my key"}},
        "write the ID, alias or ARN of a key, without blanks",
    ),
    "encryption of no type": (
        {f"{DESTINATION}.serverSideEncryption": {"kmsKeyId": "alias/a"}},
        "spec.destination.s3.serverSideEncryption.type: Required value",
    ),
    "another encryption": (
        {f"{DESTINATION}.serverSideEncryption": {"type": "aws:kms:dsse"}},
        '"AES256", "aws:kms"',
    ),
    "encryption of the source": (
        {f"{SOURCE}.serverSideEncryption": {"type": "AES256"}},
        "unknown field",
    ),
    "a key of the customer in the clear": (
        {
            f"{SOURCE}.sseCustomerKeySecretRef": {"name": "a-key"},
            f"{SOURCE}.endpoint": "http://minio:9000",
        },
        "write an endpoint that begins with https://",
    ),
    "two keys": (
        {
            f"{DESTINATION}.sseCustomerKeySecretRef": {"name": "a-key"},
            f"{DESTINATION}.serverSideEncryption": {"type": "AES256"},
        },
        "write either serverSideEncryption or sseCustomerKeySecretRef",
    ),
    "a key of the customer by the store": (
        {f"{SOURCE}.sseCustomerKeySecretRef": {"name": "a-key"}, "mode": "ServerSide"},
        "objects with an sseCustomerKeySecretRef go through the workers",
    ),
    "the key itself": (
        {f"{SOURCE}.sseCustomerKeySecretRef": {"name": "a-key", "key": "x"}},
        "unknown field",
    ),
    "ACLs are not kept": ({"preserve.acl": "Required"}, "unknown field"),
    "kept by a switch": ({"preserve.tags": True}, "must be of type string"),
    "kept in other words": ({"preserve.tags": "Keep"}, '"Required", "BestEffort", "Ignore"'),
    "many retries": ({"backoffLimitPerBatch": 101}, "should be less than or equal to 100"),
    "deadline at once": ({"activeDeadlineSeconds": 0}, "should be greater than or equal to 1"),
    "deadline beyond all time": (
        {"activeDeadlineSeconds": 2**31},
        "should be less than or equal to 2147483647",
    ),
    "time to live beyond all time": (
        {"ttlSecondsAfterFinished": 2**31},
        "should be less than or equal to 2147483647",
    ),
    "past time to live": ({"ttlSecondsAfterFinished": -1}, "should be greater than or equal to 0"),
    "misspelt field": ({"paralelism": 4}, "unknown field"),
}


@pytest.mark.parametrize("changes", ACCEPTED.values(), ids=ACCEPTED)
def test_accepted(kubectl: Kubectl, changes: Changes) -> None:
    kubectl("create", "--dry-run=server", "-f-", stdin=manifest(changes))


@pytest.mark.parametrize(("changes", "sentence"), REFUSED.values(), ids=REFUSED)
def test_refused(kubectl: Kubectl, changes: Changes, sentence: str) -> None:
    complaint = kubectl.refused("create", "--dry-run=server", "-f-", stdin=manifest(changes))
    assert sentence in complaint
    assert "no such key" not in complaint


def test_defaults_are_written_into_the_resource(kubectl: Kubectl) -> None:
    created = kubectl.create(manifest())
    location = {
        "region": "us-east-1",
        "addressingStyle": "Auto",
        "profile": "Auto",
        "anonymous": False,
    }
    assert created["spec"] == {
        "source": {
            "s3": {"bucket": "origin", "key": "a/key", "secretRef": {"name": "in"}, **location}
        },
        "destination": {
            "s3": {"bucket": "target", "key": "a/key", "secretRef": {"name": "out"}, **location}
        },
        "mode": "Auto",
        "partSize": "Auto",
        "parallelism": 4,
        "worker": {
            "streams": 4,
            "resources": {"limits": {"memory": "64Mi"}, "requests": {"cpu": "100m"}},
        },
        "overwrite": "IfDifferent",
        "preserve": {
            "contentHeaders": "BestEffort",
            "metadata": "BestEffort",
            "tags": "Ignore",
            "storageClass": "Ignore",
        },
        "verification": "Auto",
        "onSourceChange": "Fail",
        "onFailure": "Abort",
        "suspend": False,
        "backoffLimitPerBatch": 3,
    }
    assert created["status"] == {"observedGeneration": -1}


@pytest.mark.parametrize("side", ["source", "destination"])
@pytest.mark.parametrize(
    "change",
    [
        {"bucket": "another"},
        {"key": "another"},
        {"endpoint": "http://another:9000"},
        {"secretRef": {"name": "another"}},
        {"anonymous": True, "secretRef": None},
    ],
    ids=str,
)
def test_the_objects_are_immutable(kubectl: Kubectl, side: str, change: Changes) -> None:
    name = kubectl.create(manifest())["metadata"]["name"]
    patch = _patch({side: {"s3": change}})
    assert f"{side} is immutable: create another MultipartCopy instead" in kubectl.refused(
        "patch", "mpc", name, *patch
    )


def test_what_is_expected_is_immutable_too(kubectl: Kubectl) -> None:
    name = kubectl.create(manifest({"source.expect": {"size": 1}}))["metadata"]["name"]
    patch = _patch({"source": {"expect": {"size": 2}}})
    assert "source is immutable" in kubectl.refused("patch", "mpc", name, *patch)


@pytest.mark.parametrize(
    "change",
    [
        {"http": {"url": "https://h/b"}},
        {"http": {"headersSecretRef": {"name": "h"}}},
        {"http": None, "s3": {"bucket": "origin", "key": "a", "secretRef": {"name": "in"}}},
    ],
    ids=str,
)
def test_a_url_is_immutable(kubectl: Kubectl, change: Changes) -> None:
    name = kubectl.create(manifest(from_url("https://h/a")))["metadata"]["name"]
    assert "source is immutable" in kubectl.refused(
        "patch", "mpc", name, *_patch({"source": change})
    )


@pytest.mark.parametrize(
    "change",
    [
        {"parallelism": 8},
        {"bandwidthLimit": "100Mi"},
        {"worker": {"streams": "Auto"}},
        {"suspend": True},
        {
            "worker": {
                "streams": 8,
                "maxMemory": "1Gi",
                "resources": {"limits": {"memory": "128Mi"}},
            }
        },
        {"worker": {"labels": {"a": "b"}, "tolerations": [{"operator": "Exists"}]}},
        {"mode": "Relay"},
        {"partSize": "64Mi"},
        {"overwrite": "Always"},
        {"preserve": {"tags": "Required"}},
        {"backoffLimitPerBatch": 6},
        {"activeDeadlineSeconds": 60},
        {"ttlSecondsAfterFinished": 60},
        {"onFailure": "Keep"},
        {"onSourceChange": "Restart"},
    ],
    ids=str,
)
def test_the_rest_can_be_changed(kubectl: Kubectl, change: Changes) -> None:
    created = kubectl.create(manifest())
    name = created["metadata"]["name"]
    kubectl("patch", "mpc", name, *_patch(change))
    assert kubectl.get(name)["metadata"]["generation"] == 2


@pytest.mark.parametrize("options", [["--server-side"], []], ids=["server-side", "client-side"])
def test_applying_again_changes_nothing(kubectl: Kubectl, options: list[str]) -> None:
    """A GitOps tool does it all the time. (The first repetition stores the default of status.)"""
    copy = manifest()

    def apply() -> dict[str, Any]:
        kubectl("apply", *options, "-f-", stdin=copy)
        return kubectl.get(copy["metadata"]["name"])

    first, second, third = apply(), apply(), apply()
    assert first["metadata"]["generation"] == second["metadata"]["generation"] == 1
    assert {**first, "metadata": None} == {**second, "metadata": None}
    assert second == third


def _patch(spec: Changes) -> tuple[str, str]:
    return "--type=merge", f"--patch={json.dumps({'spec': spec})}"
