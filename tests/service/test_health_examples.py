"""The example of docs/health.rst, run as it stands there."""

import runpy
from pathlib import Path

import trio
from support.service import QUIET, Upstream

import switchgear as sg

EXAMPLE = runpy.run_path(str(Path(__file__).parents[2] / "docs" / "examples" / "health.py"))


async def test_who_is_used_is_told(autojump_clock, capsys) -> None:
    def answer(request):
        if request.url.path == "/ready":
            return 503 if request.url.host == "10.0.0.1" else 200
        return 500 if request.url.host == "10.0.0.2" else 200

    config = sg.RuntimeConfig((EXAMPLE["SEARCH"],), metrics=QUIET)
    async with sg.open_runtime(config, transport=Upstream(answer), seed=1) as runtime:
        await trio.sleep(1)
        search = runtime.service("search")
        await search.try_request("GET", "/")
        await EXAMPLE["who_is_used"](search)
        for _ in range(500):
            await search.try_request("GET", "/")
            if search.instances.ejected:
                break
            await trio.sleep(1)
        await EXAMPLE["who_is_used"](search)
    before, ill, after, again, ejected = capsys.readouterr().out.splitlines()
    assert (before, after) == ("4 are used", "4 are used")  # as of the last call
    assert ill == again == "out by their checks: http://10.0.0.1:8080"
    assert ejected.startswith("http://10.0.0.2:8080 fails; in 3")
