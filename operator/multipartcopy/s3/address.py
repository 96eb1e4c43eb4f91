"""Where an object's URL points: endpoint, bucket and key to scheme, host and path.

https://docs.aws.amazon.com/AmazonS3/latest/userguide/VirtualHosting.html
"""

from dataclasses import dataclass
from urllib.parse import quote, urlsplit

from multipartcopy.api.location import AddressingStyle, HttpLocation, S3Location

_PORTS = {"http": 80, "https": 443}
_UNRESERVED = "/-_.~"


@dataclass(frozen=True)
class Address:
    """``path`` is percent-encoded as it goes on the wire and into the signature."""

    scheme: str
    host: str
    port: int
    path: str

    @property
    def authority(self) -> str:
        """The Host header: the port only where it is not the scheme's own."""
        default = _PORTS[self.scheme]
        return self.host if self.port == default else f"{self.host}:{self.port}"

    @property
    def url(self) -> str:
        return f"{self.scheme}://{self.authority}{self.path}"


def endpoint_url(location: S3Location) -> str:
    """The endpoint as given, or that of AWS in the location's region."""
    return location.endpoint or f"https://s3.{location.region}.amazonaws.com"


def same_endpoint(a: S3Location, b: S3Location) -> bool:
    """Whether both are asked for at one place; so are all regions of AWS, each of which copies from any other."""
    return endpoint_parts(a) == endpoint_parts(b) or a.endpoint == b.endpoint


def endpoint_parts(location: S3Location) -> tuple[str, str, int | None, str]:
    """Scheme, host, port and path: equal however the endpoint is written; of what is no URL, all as the path.

    It is asked of everybody's copies, so it must not fail of one.
    """
    text = endpoint_url(location)
    try:
        url = urlsplit(text)
        return (
            url.scheme,
            url.hostname or "",
            url.port or _PORTS.get(url.scheme),
            url.path.rstrip("/"),
        )
    except ValueError:  # The CRD lets a port of five digits pass.
        return "", "", None, text


def copy_source(location: S3Location) -> str:
    """The object as the header ``x-amz-copy-source`` names it, percent-encoded.

    https://docs.aws.amazon.com/AmazonS3/latest/API/API_UploadPartCopy.html
    """
    name = quote(f"{location.bucket}/{location.key}", safe=_UNRESERVED)
    version = location.version_id and quote(location.version_id, safe="-_.~")
    return f"/{name}?versionId={version}" if version else f"/{name}"


def http_address(location: HttpLocation) -> Address:
    """With the query as part of the path. Raises ValueError for what is not an http or https URL."""
    url = urlsplit(location.url)
    if url.scheme not in ("http", "https") or not url.hostname:
        raise ValueError(f"{location} is not an http:// or https:// URL")
    host = f"[{url.hostname}]" if ":" in url.hostname else url.hostname
    path = (url.path or "/") + (f"?{url.query}" if url.query else "")
    return Address(url.scheme, host, url.port or _PORTS[url.scheme], path)


def is_virtual(location: S3Location) -> bool:
    """Whether the bucket goes into the host name. Auto: where the store is known for it, as AWS is, unless a
    dot in the bucket breaks its TLS name.
    """
    if location.addressing_style is AddressingStyle.AUTO:
        # Only here: a worker is told which, and need not know the stores.
        from multipartcopy.s3.profiles import store_of

        return store_of(location).virtual and "." not in location.bucket
    return location.addressing_style is AddressingStyle.VIRTUAL


def object_address(location: S3Location) -> Address:
    """Raises ValueError for an endpoint that is not an http or https URL."""
    url = urlsplit(endpoint_url(location))
    if url.scheme not in ("http", "https") or not url.hostname:
        raise ValueError(f"endpoint {location.endpoint!r} is not an http:// or https:// URL")
    host = f"[{url.hostname}]" if ":" in url.hostname else url.hostname
    port = url.port or _PORTS[url.scheme]
    key = quote(location.key, safe=_UNRESERVED)
    prefix = url.path.rstrip("/")
    if is_virtual(location):
        return Address(url.scheme, f"{location.bucket}.{host}", port, f"{prefix}/{key}")
    return Address(url.scheme, host, port, f"{prefix}/{location.bucket}/{key}")
