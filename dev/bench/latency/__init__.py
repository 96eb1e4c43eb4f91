"""What a copy of a small object takes beside the least that any pod takes: a bare Job on the same cluster."""

from dev.bench.latency.run import run

__all__ = ["run"]
