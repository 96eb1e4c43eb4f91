"""How near to linear more pods are, where the store and not the machine is what limits a pod."""

from dev.bench.pods.run import run

__all__ = ["run"]
