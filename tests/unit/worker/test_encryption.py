"""What the answer to a part must say of its encryption."""

from typing import Any
from unittest.mock import Mock

import pytest

from multipartcopy.api.reasons import Reason
from multipartcopy.worker.answers import check_encryption
from multipartcopy.worker.errors import Failure


def answer(**headers: str) -> Any:
    return Mock(headers={name.replace("_", "-"): value for name, value in headers.items()})


@pytest.mark.parametrize(
    ("wanted", "headers"),
    [
        ("", {}),
        ("", {"x_amz_server_side_encryption": "aws:kms"}),
        ("AES256", {"x_amz_server_side_encryption": "AES256"}),
        ("aws:kms", {"x_amz_server_side_encryption": "aws:kms"}),
    ],
)
def test_as_it_was_asked_for(wanted: str, headers: dict[str, str]) -> None:
    check_encryption(answer(**headers), wanted)


@pytest.mark.parametrize(
    ("found", "told"), [({}, "none"), ({"x_amz_server_side_encryption": "AES256"}, "AES256")]
)
def test_a_part_that_is_not_ends_the_copy(found: dict[str, str], told: str) -> None:
    with pytest.raises(
        Failure, match=f"encryption {told}, by what its store says, instead of aws:kms"
    ) as caught:
        check_encryption(answer(**found), "aws:kms")
    assert caught.value.permanent
    assert caught.value.reason is Reason.NOT_ENCRYPTED
