import pytest

from multipartcopy.worker.errors import Failure
from multipartcopy.worker.listing import StoredPart, parse_parts

NAMESPACE = 'xmlns="http://s3.amazonaws.com/doc/2006-03-01/"'
PARTS = """
    <Part><PartNumber>2</PartNumber><ETag>&quot;abc&quot;</ETag><Size>5</Size>
      <ChecksumCRC64NVME>AAAAAAAAAAc=</ChecksumCRC64NVME></Part>
    <Part><PartNumber>3</PartNumber><ETag>def</ETag><Size>6</Size></Part>
"""


@pytest.mark.parametrize("namespace", [NAMESPACE, ""])
@pytest.mark.parametrize("truncated", [True, False])
def test_parse(namespace: str, truncated: bool) -> None:
    flag = f"<IsTruncated>{str(truncated).lower()}</IsTruncated>"
    body = f"<ListPartsResult {namespace}>{flag}{PARTS}</ListPartsResult>"
    assert parse_parts(body.encode()) == (
        [StoredPart(2, 5, "abc", 7), StoredPart(3, 6, "def", None)],
        truncated,
    )


@pytest.mark.parametrize("body", [b"", b"<html>", b"<L><Part><Size>x</Size></Part></L>"])
def test_not_a_listing(body: bytes) -> None:
    with pytest.raises(Failure) as failure:
        parse_parts(body)
    assert not failure.value.permanent
