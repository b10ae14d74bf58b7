"""Sources of instances: each an actor of its own, which tells the registry what it finds.

A new kind of source is a record in `switchgear.actors.config.sources`, a file here with

    async def follow(source: ItsRecord, publish: Publish) -> None

and a line in the table of `kinds.py`. See `publish.py` for what such a function says and may rely on.
"""

from .keeper import SourceKeeper as SourceKeeper
from .publish import Publish as Publish
