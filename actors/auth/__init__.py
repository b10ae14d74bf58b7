"""Who we are to a service: where its credentials come from, how they are kept, and what they add to a request."""

from .authenticator import Authenticator as Authenticator
from .credentials import NOTHING as NOTHING
from .credentials import Credentials as Credentials
from .identity import Identity as Identity
from .make import make_means as make_means
from .oauth2 import OAuth2Memory as OAuth2Memory
from .provider import AuthProvider as AuthProvider
from .provider import AuthRequest as AuthRequest
from .provider import Signer as Signer
from .provider import Way as Way
from .source import Grant as Grant
from .source import Source as Source
from .source import Surroundings as Surroundings
