"""The seam to the wire: how a service actor exchanges one request for one reply.

`Door` is what the service actor knows; what is behind it can be changed without touching the rest: connections of our
own (`DirectDoor`), or transports of httpx's shape (`HttpxDoor`). `PooledTransport` is the other way round: our
connections for any httpx client.
"""

from .direct import DirectDoor as DirectDoor
from .door import Answer as Answer
from .door import Door as Door
from .door import Reply as Reply
from .door import Wire as Wire
from .for_httpx import PooledTransport as PooledTransport
from .httpx_door import HttpxDoor as HttpxDoor
from .httpx_library import AsyncTransport as AsyncTransport
from .pool import Pool as Pool
from .pool import PoolCounts as PoolCounts
from .pool import PoolStatistics as PoolStatistics
from .tls import TLSContexts as TLSContexts
