"""The registry: which instances there are, and how they are."""

from .actor import RegistryActor as RegistryActor
from .api import Health as Health
from .api import Registry as Registry
from .records import HealthCheckResult as HealthCheckResult
from .records import InstanceSet as InstanceSet
from .records import LeaseCounts as LeaseCounts
from .records import SourceStatus as SourceStatus
