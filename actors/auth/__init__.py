"""Who we are to a service: where its credentials come from, how they are kept, and what they add to a request."""

from .credentials import Authenticator as Authenticator
from .credentials import Credentials as Credentials
from .source import Grant as Grant
from .source import Source as Source
