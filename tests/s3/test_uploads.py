"""`kubectl multipartcopy uploads` against real servers; the cluster's side is given."""

import argparse
import json
import secrets
from dataclasses import dataclass, field
from typing import Any

import pytest

from dev.servers import ACCESS_KEY, SECRET_KEY, Server
from multipartcopy.cli.arguments import parser
from multipartcopy.cli.errors import CliError, Exit
from multipartcopy.cli.uploads import uploads

MiB = 1 << 20


@dataclass
class Given:
    """A cluster; ``refuses`` to list all namespaces."""

    owners: list[dict[str, Any]] = field(default_factory=list)
    refuses: bool = False
    namespace: str = "default"

    def copies(self, namespace: str | None, selector: str | None = None) -> list[dict[str, Any]]:
        if namespace is None and self.refuses:
            raise CliError(Exit.REFUSED, "you may not")
        return self.owners

    def secret(self, name: str) -> dict[str, str] | None:
        keys = {"AWS_ACCESS_KEY_ID": ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": SECRET_KEY}
        return keys if name == "s" else None

    def own(self, bucket: str, key: str, upload: str) -> None:
        target = {"s3": {"bucket": bucket, "key": key}}
        self.owners.append({"spec": {"destination": target}, "status": {"upload": {"id": upload}}})


@dataclass
class Bucket:
    server: Server
    name: str
    cluster: Given

    def begin(self, key: str, size: int = 0) -> str:
        client, place = self.server.client(), {"Bucket": self.name, "Key": key}
        upload = str(client.create_multipart_upload(**place)["UploadId"])
        if size:
            client.upload_part(**place, UploadId=upload, PartNumber=1, Body=bytes(size))
        return upload

    def there(self, key: str) -> list[str]:
        listed = self.server.client().list_multipart_uploads(Bucket=self.name, Prefix=key)
        return [upload["UploadId"] for upload in listed.get("Uploads", [])]

    def options(self, prefix: str = "", *words: str) -> argparse.Namespace:
        where = [f"s3://{self.name}/{prefix}", f"--endpoint={self.server.endpoint}"]
        return parser().parse_args(["uploads", *where, "--secret=s", *words])

    def run(self, prefix: str = "", *words: str) -> int:
        return uploads(self.cluster, self.options(prefix, "--older-than=0", *words))


def made(server: Server) -> Bucket:
    name = f"uploads-{secrets.token_hex(4)}"
    server.client().create_bucket(Bucket=name)
    return Bucket(server, name, Given())


@pytest.fixture(params=["versitygw", "minio"])
def bucket(request: pytest.FixtureRequest) -> Bucket:
    return made(request.getfixturevalue(request.param))


def test_of_a_key_what_nobody_owns_is_listed_and_aborted(
    bucket: Bucket, capsys: pytest.CaptureFixture[str]
):
    ours, theirs = bucket.begin("a/key"), bucket.begin("a/key", 5 * MiB)
    bucket.cluster.own(bucket.name, "a/key", ours)
    assert bucket.run("a/key", "--sizes", "-o", "json") == Exit.DONE
    (found,) = json.loads(capsys.readouterr().out)
    assert (found["key"], found["uploadId"]) == ("a/key", theirs)
    assert (found["parts"], found["bytes"]) == (1, 5 * MiB)
    assert sorted(bucket.there("a/key")) == sorted([ours, theirs])
    assert bucket.run("a/key", "--abort", "--yes") == Exit.DONE
    assert bucket.there("a/key") == [ours]
    shown = capsys.readouterr().out.splitlines()
    assert shown[0].startswith("2 multipart uploads in progress, 1 owned by a copy or younger")
    assert shown[1].split() == ["KEY", "UPLOAD", "AGE"]
    assert shown[-1] == f"aborted {theirs} of s3://{bucket.name}/a/key"


def test_a_young_one_is_left_alone(bucket: Bucket, capsys: pytest.CaptureFixture[str]):
    upload = bucket.begin("key")
    options = bucket.options("key", "--abort", "--yes")
    assert uploads(bucket.cluster, options) == Exit.DONE
    assert bucket.there("key") == [upload]
    assert capsys.readouterr().out == (
        "1 multipart upload in progress, 1 owned by a copy or younger than 24h\n"
    )


def test_of_a_prefix_nothing_may_mean_nothing(bucket: Bucket, capsys: pytest.CaptureFixture[str]):
    """MinIO has the upload, and lists it of the bucket and of its key only."""
    bucket.begin("old/key")
    assert bucket.run("old/") == Exit.DONE
    shown = capsys.readouterr()
    there = shown.out.startswith("1 multipart upload in progress")
    assert there or "none for a prefix" in shown.err


def test_one_that_comes_to_be_owned_before_the_answer_is_kept(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch
):
    upload = bucket.begin("key")

    def confirm(*_: Any, **__: Any) -> None:
        bucket.cluster.own(bucket.name, "key", upload)

    monkeypatch.setattr("multipartcopy.cli.show.confirm", confirm)
    assert bucket.run("key", "--abort") == Exit.DONE
    assert bucket.there("key") == [upload]


def test_without_a_yes_nothing_is_aborted(bucket: Bucket):
    upload = bucket.begin("key")
    with pytest.raises(CliError, match="nobody is there to be asked"):
        bucket.run("key", "--abort")
    assert bucket.there("key") == [upload]


def test_who_may_not_see_all_copies_has_to_say_so(
    bucket: Bucket, capsys: pytest.CaptureFixture[str]
):
    upload = bucket.begin("key")
    bucket.cluster.refuses = True
    with pytest.raises(CliError, match="write --namespace-only"):
        bucket.run("key", "--abort", "--yes")
    assert bucket.there("key") == [upload]
    assert "only the copies of one namespace were looked at" in capsys.readouterr().out
    assert bucket.run("key", "--abort", "--yes", "--namespace-only") == Exit.DONE
    assert bucket.there("key") == []


def test_of_a_whole_bucket_and_of_a_prefix(versitygw: Server, capsys: pytest.CaptureFixture[str]):
    """MinIO lists the uploads of a key alone."""
    bucket = made(versitygw)
    for key in ("a/1", "a/2", "b/1"):
        bucket.begin(key)

    def listed(prefix: str) -> list[str]:
        bucket.run(prefix, "-o", "json")
        return [item["key"] for item in json.loads(capsys.readouterr().out)]

    assert listed("") == ["a/1", "a/2", "b/1"]
    assert listed("a/") == ["a/1", "a/2"]


def test_of_a_directory_minio_lists_nothing(minio: Server, capsys: pytest.CaptureFixture[str]):
    """What the page of the command says; when this fails, it can say more."""
    bucket = made(minio)
    bucket.begin("a/1")
    bucket.run("a/", "-o", "json")
    assert json.loads(capsys.readouterr().out) == []


def test_a_bucket_that_is_not_there(bucket: Bucket):
    bucket.name = "uploads-nowhere"
    with pytest.raises(CliError) as error:
        bucket.run("key")
    assert error.value.code is Exit.NOT_FOUND
    assert "ListMultipartUploads: NoSuchBucket" in str(error.value)
