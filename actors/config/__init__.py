"""The configuration: frozen records that can only hold what makes sense, and the loader that explains what does not."""

from .auth import ApiKeyAuth as ApiKeyAuth
from .auth import Auth as Auth
from .auth import BasicAuth as BasicAuth
from .auth import BearerAuth as BearerAuth
from .fallback import AlternativeFallback as AlternativeFallback
from .fallback import CacheFallback as CacheFallback
from .fallback import DefaultFallback as DefaultFallback
from .fallback import Fallback as Fallback
from .load import Fault as Fault
from .load import check_config as check_config
from .load import load_config as load_config
from .policy import BreakerConfig as BreakerConfig
from .policy import BulkheadConfig as BulkheadConfig
from .policy import HealthCheckConfig as HealthCheckConfig
from .policy import PushbackConfig as PushbackConfig
from .policy import RateLimit as RateLimit
from .policy import RetryPolicy as RetryPolicy
from .policy import TimeoutConfig as TimeoutConfig
from .proxy import ProxyConfig as ProxyConfig
from .runtime import MetricsConfig as MetricsConfig
from .runtime import RegistryConfig as RegistryConfig
from .runtime import RuntimeConfig as RuntimeConfig
from .secret import Secret as Secret
from .service import InstanceConfig as InstanceConfig
from .service import ServiceConfig as ServiceConfig
from .tls import TLSConfig as TLSConfig
