"""Calls that are kept on disk until their service takes them again."""

from .api import Queue as Queue
from .records import QueuedCall as QueuedCall
from .schedule import QueueStats as QueueStats
