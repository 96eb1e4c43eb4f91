"""What a copy of 10,000 parts costs the cluster: bytes in etcd, requests, and the operator's CPU and memory."""

from dev.bench.ledger.run import run

__all__ = ["run"]
