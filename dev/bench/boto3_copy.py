"""An object through boto3's own transfer: the body of a GET into `upload_fileobj`; `python -I`.

With ``server_side``, `copy` within one store instead.

That is its one way between two stores. It reads the body part by part into memory, one GET for all,
and sends the parts with several threads. Each part carries a CRC64NVME, the cheapest checksum it has
(awscrt makes it), instead of a signed SHA-256. Its other client, `crt`, takes no endpoint with a port.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import boto3
from boto3.s3.transfer import TransferConfig
from botocore.config import Config


def main() -> int:
    task = json.loads(sys.argv[1])
    source_endpoint, source_ca, source_bucket, source_key = task["source"]
    endpoint, ca, bucket, key = task["destination"]
    config = TransferConfig(
        multipart_threshold=task["part_size"],
        multipart_chunksize=task["part_size"],
        max_concurrency=task["streams"],
    )
    if task["server_side"]:
        source = {"Bucket": source_bucket, "Key": source_key}
        _client(endpoint, ca).copy(source, bucket, key, Config=config)
        return 0
    body = _client(source_endpoint, source_ca).get_object(Bucket=source_bucket, Key=source_key)
    crc = {"ChecksumAlgorithm": "CRC64NVME"}
    _client(endpoint, ca).upload_fileobj(body["Body"], bucket, key, ExtraArgs=crc, Config=config)
    return 0


def _client(endpoint: str, ca: str | None) -> Any:
    config = Config(
        s3={"addressing_style": "path", "payload_signing_enabled": False},
        response_checksum_validation="when_required",
    )
    return boto3.client("s3", endpoint_url=endpoint, verify=ca, config=config)


if __name__ == "__main__":
    sys.exit(main())
