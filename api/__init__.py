"""Switchgear: every external HTTP service behind its own supervised trio actor.

    import switchgear as sg

    async with sg.open_runtime("services.toml") as runtime:
        charge = await runtime.service("payments").get("/charges/42", type=Charge)

The names here and in `switchgear.events` are all there is to know; what is behind them is in `switchgear.actors` and
`switchgear.runtime`.
"""

from importlib.metadata import version as _version

from switchgear.actors.auth import AuthProvider as AuthProvider
from switchgear.actors.auth import AuthRequest as AuthRequest
from switchgear.actors.auth import Credentials as Credentials
from switchgear.actors.config import AimdConfig as AimdConfig
from switchgear.actors.config import AlternativeFallback as AlternativeFallback
from switchgear.actors.config import ApiKeyAuth as ApiKeyAuth
from switchgear.actors.config import BasicAuth as BasicAuth
from switchgear.actors.config import BearerAuth as BearerAuth
from switchgear.actors.config import BreakerConfig as BreakerConfig
from switchgear.actors.config import BulkheadConfig as BulkheadConfig
from switchgear.actors.config import CacheFallback as CacheFallback
from switchgear.actors.config import CoDelConfig as CoDelConfig
from switchgear.actors.config import ConsulSource as ConsulSource
from switchgear.actors.config import CustomAuth as CustomAuth
from switchgear.actors.config import DefaultFallback as DefaultFallback
from switchgear.actors.config import DegradeFallback as DegradeFallback
from switchgear.actors.config import DnsSource as DnsSource
from switchgear.actors.config import EtcdAdvert as EtcdAdvert
from switchgear.actors.config import EtcdSource as EtcdSource
from switchgear.actors.config import FileSource as FileSource
from switchgear.actors.config import Gradient2Config as Gradient2Config
from switchgear.actors.config import HealthCheckConfig as HealthCheckConfig
from switchgear.actors.config import HedgeConfig as HedgeConfig
from switchgear.actors.config import InstanceConfig as InstanceConfig
from switchgear.actors.config import MetricsConfig as MetricsConfig
from switchgear.actors.config import OAuth2Auth as OAuth2Auth
from switchgear.actors.config import OutlierConfig as OutlierConfig
from switchgear.actors.config import ProxyConfig as ProxyConfig
from switchgear.actors.config import PushbackConfig as PushbackConfig
from switchgear.actors.config import QueueConfig as QueueConfig
from switchgear.actors.config import QueueFallback as QueueFallback
from switchgear.actors.config import RateLimit as RateLimit
from switchgear.actors.config import RegistryConfig as RegistryConfig
from switchgear.actors.config import RetryBudget as RetryBudget
from switchgear.actors.config import RetryPolicy as RetryPolicy
from switchgear.actors.config import RuntimeConfig as RuntimeConfig
from switchgear.actors.config import Secret as Secret
from switchgear.actors.config import ServiceConfig as ServiceConfig
from switchgear.actors.config import SrvSource as SrvSource
from switchgear.actors.config import TimeoutConfig as TimeoutConfig
from switchgear.actors.config import TLSConfig as TLSConfig
from switchgear.actors.config import TokenFile as TokenFile
from switchgear.actors.config import load_config as load_config
from switchgear.actors.config import register_auth as register_auth
from switchgear.actors.errors import ActorCrashed as ActorCrashed
from switchgear.actors.errors import AuthFailed as AuthFailed
from switchgear.actors.errors import CallTimeout as CallTimeout
from switchgear.actors.errors import CircuitOpen as CircuitOpen
from switchgear.actors.errors import ConfigError as ConfigError
from switchgear.actors.errors import DecodeError as DecodeError
from switchgear.actors.errors import ErrorCode as ErrorCode
from switchgear.actors.errors import FallbackFailed as FallbackFailed
from switchgear.actors.errors import HTTPStatusError as HTTPStatusError
from switchgear.actors.errors import InvalidRequest as InvalidRequest
from switchgear.actors.errors import NoHealthyInstances as NoHealthyInstances
from switchgear.actors.errors import Overloaded as Overloaded
from switchgear.actors.errors import RateLimited as RateLimited
from switchgear.actors.errors import ResponseTooLarge as ResponseTooLarge
from switchgear.actors.errors import ServiceError as ServiceError
from switchgear.actors.errors import ShuttingDown as ShuttingDown
from switchgear.actors.errors import TransportError as TransportError
from switchgear.actors.errors import UnknownService as UnknownService
from switchgear.actors.instance import HealthStatus as HealthStatus
from switchgear.actors.instance import ServiceInstance as ServiceInstance
from switchgear.actors.machines.breaker import BreakerState as BreakerState
from switchgear.actors.machines.breaker import CircuitBreaker as CircuitBreaker
from switchgear.actors.machines.breaker import Permit as Permit
from switchgear.actors.machines.bucket import TokenBucket as TokenBucket
from switchgear.actors.machines.histogram import LatencyHistogram as LatencyHistogram
from switchgear.actors.metrics import Metrics as Metrics
from switchgear.actors.metrics import OperationMetrics as OperationMetrics
from switchgear.actors.metrics import ServiceMetrics as ServiceMetrics
from switchgear.actors.metrics import Snapshot as Snapshot
from switchgear.actors.queue import Queue as Queue
from switchgear.actors.queue import QueuedCall as QueuedCall
from switchgear.actors.queue import QueueStats as QueueStats
from switchgear.actors.registry import Health as Health
from switchgear.actors.registry import HealthCheckResult as HealthCheckResult
from switchgear.actors.registry import InstanceSet as InstanceSet
from switchgear.actors.registry import LeaseCounts as LeaseCounts
from switchgear.actors.registry import Registry as Registry
from switchgear.actors.registry import SourceStatus as SourceStatus
from switchgear.actors.service.abroad import Place as Place
from switchgear.actors.service.concurrency import BulkheadStatus as BulkheadStatus
from switchgear.actors.service.limits import LimiterStatus as LimiterStatus
from switchgear.actors.service.messages import FailedCall as FailedCall
from switchgear.actors.service.messages import ServiceResponse as ServiceResponse
from switchgear.actors.service.roster import InstanceStatus as InstanceStatus
from switchgear.actors.service.stream import StreamResponse as StreamResponse
from switchgear.actors.transport import PooledTransport as PooledTransport
from switchgear.actors.transport import PoolStatistics as PoolStatistics
from switchgear.runtime import ActorInfo as ActorInfo
from switchgear.runtime import Event as Event
from switchgear.runtime import SupervisorGaveUp as SupervisorGaveUp

from . import events as events
from .service import Service as Service
from .system import Runtime as Runtime
from .system import open_runtime as open_runtime

__version__ = _version("switchgear")
