"""What keeps secrets from being shown: records that mask themselves, names that betray one, texts without them."""

from .masked import Masked as Masked
from .masked import shown_names as shown_names
from .masked import shown_target as shown_target
from .names import looks_secret as looks_secret
from .sealed import sealed as sealed
