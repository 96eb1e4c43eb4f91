"""Where an object is, and how to be let in: what of a ``spec`` a worker is told as well."""

import re
from dataclasses import dataclass
from enum import StrEnum

CUSTOMER = "SSE-C"
"""Beside the values of the header ``x-amz-server-side-encryption``: with a key of the customer."""


class AddressingStyle(StrEnum):
    AUTO = "Auto"
    PATH = "Path"
    VIRTUAL = "Virtual"


class Profile(StrEnum):
    """Which store it is, where the endpoint's host does not tell; what is known of each: ``s3/profiles.toml``."""

    AUTO = "Auto"
    AWS = "AWS"
    MINIO = "MinIO"
    CEPH_RGW = "CephRGW"
    CLOUDFLARE_R2 = "CloudflareR2"
    GOOGLE_CLOUD_STORAGE = "GoogleCloudStorage"
    BACKBLAZE_B2 = "BackblazeB2"
    WASABI = "Wasabi"
    ORACLE_CLOUD = "OracleCloud"
    ALIBABA_OSS = "AlibabaOSS"
    DIGITAL_OCEAN = "DigitalOcean"
    SCALEWAY = "Scaleway"
    STORJ = "Storj"
    SEAWEED_FS = "SeaweedFS"
    VERSITY_GW = "VersityGW"
    GARAGE = "Garage"
    OTHER = "Other"


@dataclass(frozen=True)
class Reference:
    """A Secret in the namespace of the resource."""

    name: str


@dataclass(frozen=True)
class S3Location:
    """Where one object is, and how to be let in."""

    bucket: str
    key: str
    endpoint: str | None = None
    region: str = "us-east-1"
    version_id: str | None = None
    addressing_style: AddressingStyle = AddressingStyle.AUTO
    profile: Profile = Profile.AUTO
    secret_ref: Reference | None = None
    ca_secret_ref: Reference | None = None
    anonymous: bool = False
    sse_customer_key_secret_ref: Reference | None = None

    def __str__(self) -> str:
        return f"s3://{self.bucket}/{self.key}"


@dataclass(frozen=True)
class HttpLocation:
    """What is at a URL. Its query may hold a signature, so the URL is a secret; in words it is without."""

    url: str
    headers_secret_ref: Reference | None = None
    ca_secret_ref: Reference | None = None

    def __str__(self) -> str:
        return public_url(self.url)


def public_url(url: str) -> str:
    """Fit for messages and logs: without user, password, query and fragment."""
    return re.sub(r"//[^/?#]*@", "//", re.split("[?#]", url, maxsplit=1)[0])
