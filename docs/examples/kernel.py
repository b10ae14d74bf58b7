"""The example of docs/kernel.rst, as it stands there. tests/runtime/test_examples.py runs it."""

# --- begin total
import msgspec

from switchgear.runtime import Actor, ActorCrashed, Context, open_system


class Share(msgspec.Struct, frozen=True):
    of: int


class Total(Actor):
    async def setup(self, ctx: Context) -> None:
        self.total = ctx.previous or 0  # what the last life knew

    async def handle(self, message: Share) -> float:
        self.total += 100 / message.of
        return self.total

    def snapshot(self) -> float:
        return self.total


async def main() -> None:
    async with open_system() as system:
        total = await system.start(Total, "total")
        print(await total.ask(Share(4), timeout=1))  # 25.0
        try:
            await total.ask(Share(0), timeout=1)
        except ActorCrashed as crash:
            print(crash.__cause__)  # division by zero
        print(await total.ask(Share(2), timeout=1))  # 75.0: another life, behind the same ref


# --- end total
