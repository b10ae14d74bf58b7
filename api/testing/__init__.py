"""A bad network for the tests of your own program: a TCP proxy that does to its bytes what you say.

    from switchgear.testing import FaultProxy, Latency, Reset

    async with FaultProxy.open("127.0.0.1", 8080, seed=1) as proxy:
        proxy.faults = (Latency(0.02), Reset(after=100))
        ...                                            # call proxy.url instead of http://127.0.0.1:8080

`switchgear.testing.strategies` makes schedules of faults for Hypothesis (``pip install 'switchgear[testing]'``).
"""

from .faults import Bandwidth as Bandwidth
from .faults import BlackHole as BlackHole
from .faults import Corrupt as Corrupt
from .faults import Drip as Drip
from .faults import Fault as Fault
from .faults import HalfClose as HalfClose
from .faults import Latency as Latency
from .faults import Reset as Reset
from .faults import Truncate as Truncate
from .proxy import FaultProxy as FaultProxy
from .proxy import FaultProxyStatistics as FaultProxyStatistics
