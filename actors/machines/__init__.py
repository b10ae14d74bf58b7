"""State machines: what the actors decide by. Each file is one machine, and can be read and used alone.

None of them awaits, does I/O, reads a clock or draws from a randomness of its own: the time comes in as ``now`` (in
seconds, of any one clock), a `random.Random` at construction. So the tests drive them through hours in milliseconds.
The names are given here for whoever wants them together; inside the project each module is imported by itself.
"""

from .adaptive_rate import AdaptiveRate as AdaptiveRate
from .balancers import Balancer as Balancer
from .balancers import Endpoint as Endpoint
from .balancers import PeakEwma as PeakEwma
from .balancers import RoundRobin as RoundRobin
from .balancers import WeightedRandom as WeightedRandom
from .breaker import BreakerState as BreakerState
from .breaker import CircuitBreaker as CircuitBreaker
from .breaker import Permit as Permit
from .bucket import TokenBucket as TokenBucket
from .buckets import AllOf as AllOf
from .codel import CoDel as CoDel
from .concurrency import AimdLimit as AimdLimit
from .concurrency import Gradient2Limit as Gradient2Limit
from .health import HealthTracker as HealthTracker
from .histogram import LatencyHistogram as LatencyHistogram
from .leases import Leases as Leases
from .limiter import Limiter as Limiter
from .limiter import Waiter as Waiter
from .meter import Delta as Delta
from .meter import Meter as Meter
from .outlier import OutlierDetector as OutlierDetector
from .tokens import Token as Token
from .tokens import TokenCache as TokenCache
