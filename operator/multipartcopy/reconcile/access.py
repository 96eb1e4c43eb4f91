"""How we are let in at a store: the Secrets are read anew for each effect."""

from multipartcopy.api.location import HttpLocation, S3Location
from multipartcopy.api.reasons import Reason
from multipartcopy.kube import Kube, NotAllowedError, NotFoundError
from multipartcopy.s3 import secrets
from multipartcopy.s3.control import Access


def read_access(kube: Kube, namespace: str, location: S3Location | HttpLocation) -> Access:
    """Raises MissingSecretError, KubeError."""

    def get(name: str, wanted_type: str | None) -> dict[str, str] | None:
        try:
            return kube.get_secret(namespace, name, wanted_type)
        except NotFoundError:
            return None
        except NotAllowedError as error:
            message = f"Secret {name} in namespace {namespace} {error}"
            raise secrets.MissingSecretError(Reason.SECRET_NOT_ALLOWED, message) from None

    return secrets.access(get, namespace, location)
