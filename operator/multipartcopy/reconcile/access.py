"""How we are let in at a store: the Secrets are read anew for each effect."""

from multipartcopy.api import names
from multipartcopy.api.location import HttpLocation, S3Location
from multipartcopy.api.reasons import Reason
from multipartcopy.kube import Kube, NotAllowedError, NotFoundError
from multipartcopy.s3 import secrets
from multipartcopy.s3.control import Access


def read_access(kube: Kube, namespace: str, location: S3Location | HttpLocation) -> Access:
    """Raises MissingSecretError, KubeError."""

    def get(name: str) -> dict[str, str] | None:
        try:
            return kube.get_secret(namespace, name)
        except NotFoundError:
            return None
        except NotAllowedError:
            message = (
                f"Secret {name} in namespace {namespace} is not for copies: this operator uses those"
                f' with the label {names.LABEL_ALLOW}: "true"'
            )
            raise secrets.MissingSecretError(Reason.SECRET_NOT_ALLOWED, message) from None

    return secrets.access(get, namespace, location)
