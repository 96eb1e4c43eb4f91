"""What of an answer that is an error may be repeated to people: an S3 error's own code and message, in bounds.

Who answers may be no store, but something that somebody wants to read through us.
"""

import re
from xml.etree import ElementTree

_CODE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,59}")
"""MinIO writes ``kms:KeyNotFound``."""
_MESSAGE_LIMIT = 200


def readable(code: object, message: object) -> tuple[str, str]:
    """Empty where the code is none; a message comes with a code only, in one line."""
    code = str(code or "").strip()
    if not _CODE.fullmatch(code):
        return "", ""
    words = " ".join(str(message or "").split())
    return code, "".join(c for c in words if c.isprintable())[:_MESSAGE_LIMIT]


def parse_error(body: bytes) -> tuple[str, str]:
    """Code and message of an S3 error, or empty; the rest of the body may hold secrets."""
    try:
        # Blanks before it keep the connection alive while a store is busy.
        root = ElementTree.fromstring(body.strip())  # noqa: S314 - expat bounds expansion by itself
    except ElementTree.ParseError:
        return "", ""
    if root.tag.rpartition("}")[2] != "Error":
        return "", ""
    return readable(root.findtext("{*}Code"), root.findtext("{*}Message"))
