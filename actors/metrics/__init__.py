"""The metrics: what services report, added up, and streamed to whoever watches."""

from .api import Metrics as Metrics
from .records import OperationMetrics as OperationMetrics
from .records import Report as Report
from .records import ServiceMetrics as ServiceMetrics
from .records import Snapshot as Snapshot
