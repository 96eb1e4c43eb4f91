"""How we are let in at a store: what the Secrets that a location names hold."""

from collections.abc import Callable, Mapping

from multipartcopy.api import names
from multipartcopy.api.location import HttpLocation, S3Location
from multipartcopy.api.reasons import Reason
from multipartcopy.s3 import headers
from multipartcopy.s3.control import Access, Credentials
from multipartcopy.s3.customer import CustomerKey, read_key

GetSecret = Callable[[str, str | None], Mapping[str, str] | None]
"""The decoded values of the Secret of this name, and of this type if one is said; None where there is none."""

_LARGEST_CA = 256 << 10
"""All public authorities together take some 220 KiB. What is trusted is kept in memory, for each client."""


class MissingSecretError(Exception):
    """There is no way in yet."""

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(message)
        self.reason = reason


def access(get: GetSecret, namespace: str, location: S3Location | HttpLocation) -> Access:
    """Raises MissingSecretError, and what ``get`` raises. ``namespace`` is for the message."""
    credentials = ca = None
    named: dict[str, str] = {}
    if isinstance(location, HttpLocation):
        if location.headers_secret_ref:
            named = _headers(get, namespace, location.headers_secret_ref.name)
    elif location.secret_ref:
        needed = (names.ACCESS_KEY_ID, names.SECRET_ACCESS_KEY)
        secret = _secret(get, namespace, location.secret_ref.name, needed)
        access_key, secret_key = (secret[key].strip() for key in needed)
        token = secret.get(names.SESSION_TOKEN, "").strip() or None
        credentials = Credentials(access_key, secret_key, token)
    if location.ca_secret_ref:
        name = location.ca_secret_ref.name
        ca = _secret(get, namespace, name, (names.CA_CERTIFICATE,))[names.CA_CERTIFICATE]
        if len(ca) > _LARGEST_CA:
            message = f"Secret {name}: {names.CA_CERTIFICATE} is larger than 256 KiB"
            raise MissingSecretError(Reason.SECRET_INVALID, message)
    key = _customer_key(get, namespace, location)
    return Access(credentials, ca, tuple(named.items()), key)


def _headers(get: GetSecret, namespace: str, name: str) -> dict[str, str]:
    values = _secret(get, namespace, name, (), names.HEADERS_TYPE)
    secret = {key: value.strip() for key, value in values.items()}
    if problem := headers.problem(secret):
        raise MissingSecretError(Reason.SECRET_INVALID, f"Secret {name}: {problem}")
    return secret


def _customer_key(
    get: GetSecret, namespace: str, location: S3Location | HttpLocation
) -> CustomerKey | None:
    if isinstance(location, HttpLocation) or location.sse_customer_key_secret_ref is None:
        return None
    name = location.sse_customer_key_secret_ref.name
    value = _secret(get, namespace, name, (names.CUSTOMER_KEY,))[names.CUSTOMER_KEY]
    try:
        return read_key(value.encode(errors="surrogateescape"))
    except ValueError as error:
        message = f"Secret {name}: {names.CUSTOMER_KEY} {error}"
        raise MissingSecretError(Reason.SECRET_INVALID, message) from None


def _secret(
    get: GetSecret,
    namespace: str,
    name: str,
    needed: tuple[str, ...],
    wanted_type: str | None = None,
) -> Mapping[str, str]:
    secret = get(name, wanted_type)
    if secret is None:
        message = f"there is no Secret {name} in namespace {namespace}"
        raise MissingSecretError(Reason.SECRET_NOT_FOUND, message)
    missing = [key for key in needed if not secret.get(key, "").strip()]
    if missing:
        message = f"Secret {name} lacks {' and '.join(missing)}; it needs {', '.join(needed)}"
        raise MissingSecretError(Reason.SECRET_INVALID, message)
    plain = {*needed, names.SESSION_TOKEN} - {names.CA_CERTIFICATE, names.CUSTOMER_KEY}
    keys = plain if needed else set()
    broken = sorted(key for key in keys if not _is_plain(secret.get(key, "")))
    if broken:
        message = f"Secret {name}: {' and '.join(broken)} must be one line of printable ASCII"
        raise MissingSecretError(Reason.SECRET_INVALID, message)
    return secret


def _is_plain(value: str) -> bool:
    """Else it would break a header, and the error that says so would show it."""
    value = value.strip()
    return value.isascii() and (value.isprintable() and " " not in value)
