"""A real Kubernetes on one Linux machine, from package registries alone.

etcd, containerd and the build tools are Debian packages; Kubernetes, CoreDNS and the S3 servers are
built from their Go modules and cached; every image is made here. Nothing is pulled from an image
registry. The package needs nothing but the system's own python3.
"""
