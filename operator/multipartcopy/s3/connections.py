"""The operator's connections under a guard: no byte goes to an address that it does not allow.

botocore has no hook below a request, and a name that is looked up before it may stand for another address
when the connection is made. So the classes of connections are replaced, in each session.
"""

import socket
from typing import Any

from botocore.awsrequest import (
    AWSHTTPConnection,
    AWSHTTPConnectionPool,
    AWSHTTPSConnection,
    AWSHTTPSConnectionPool,
)

from multipartcopy.s3.guard import Guard


def watch(session: Any, guard: Guard) -> None:
    """From now on, connections of botocore's HTTP session raise EndpointRefusedError."""

    class Watched:
        """Not those to a proxy, which whoever runs the operator has named."""

        def _new_conn(self: Any) -> socket.socket:
            host = self._dns_host
            if self.proxy:
                return super()._new_conn()  # type: ignore[misc, no-any-return]
            for *_, address in _addresses(host, self.port):
                guard.check_address(host, str(address[0]))
            sock: socket.socket = super()._new_conn()  # type: ignore[misc]
            try:
                guard.check_address(host, sock.getpeername()[0])
            except BaseException:
                sock.close()
                raise
            return sock

    class Http(Watched, AWSHTTPConnection):  # type: ignore[misc]
        pass

    class Https(Watched, AWSHTTPSConnection):  # type: ignore[misc]
        pass

    class HttpPool(AWSHTTPConnectionPool):
        ConnectionCls = Http

    class HttpsPool(AWSHTTPSConnectionPool):
        ConnectionCls = Https

    session._pool_classes_by_scheme = {"http": HttpPool, "https": HttpsPool}
    session._manager.pool_classes_by_scheme = session._pool_classes_by_scheme


def _addresses(host: str, port: int) -> list[Any]:
    try:
        return socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM)
    except OSError:
        return []  # To be told by the attempt to connect.
