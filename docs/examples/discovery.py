"""The examples of docs/discovery.rst: instances from several sources, on leases, watched and chosen."""

import trio

import switchgear as sg

# --- begin sources
SEARCH = sg.ServiceConfig(
    "search",
    version="1.4",
    instances=[sg.InstanceConfig("http://10.0.0.1:8080", id="old-1")],
    sources=[
        sg.FileSource("search.toml"),
        sg.FileSource("/etc/shop/search.json", interval=10.0, name="machine"),
    ],
    health_check=sg.HealthCheckConfig("/health"),
)
# --- end sources


# --- begin networks
BANK = sg.ServiceConfig("bank", sources=[sg.DnsSource(endpoint="https://api.bank.example/v1")])
MAIL = sg.ServiceConfig("mail", sources=[sg.SrvSource(record="_https._tcp.mail.example", host="mail.example")])
USERS = sg.ServiceConfig(
    "users",
    sources=[
        sg.ConsulSource("users", tag="blue"),
        sg.EtcdSource(urls=["https://etcd-1.example:2379", "https://etcd-2.example:2379"], prefix="/services/users/"),
    ],
)
# --- end networks


# --- begin advert
SHOP = sg.RuntimeConfig(
    services=[BANK, MAIL, USERS],
    registry=sg.RegistryConfig(
        advertise=[
            sg.EtcdAdvert(
                urls=["https://etcd-1.example:2379", "https://etcd-2.example:2379"],
                key="/services/shop/web-1",
                instance=sg.InstanceConfig("https://web-1.shop.example", metadata={"zone": "eu-1"}),
            )
        ]
    ),
)
# --- end advert


# --- begin lease
async def keep_registered(runtime: sg.Runtime, mine: sg.ServiceInstance) -> None:
    while True:
        if not await runtime.registry.heartbeat(mine.name, mine.id):
            await runtime.registry.register(mine, ttl=30)  # the first time, and whenever it has been given up
        await trio.sleep(10)


# --- end lease


# --- begin watch
async def follow(runtime: sg.Runtime) -> None:
    async with runtime.registry.watch("search") as changes:
        async for now in changes:
            print(f"{now.version}: {len(now.routable)} of {len(now.instances)} get calls")


# --- end watch


# --- begin choose
async def newest_in_europe(runtime: sg.Runtime) -> list[str]:
    found = await runtime.registry.discover("search", version=">=1.4,<2", tags={"region": "eu"})
    return [one.endpoint for one in found if one.health is not sg.HealthStatus.UNHEALTHY]


# --- end choose


# --- begin status
async def report(runtime: sg.Runtime) -> None:
    for source in await runtime.registry.sources("search"):
        age = "never" if source.age is None else f"{source.age:.0f} s ago"
        how = "well" if source.ok else source.error or "silent so far"
        print(f"{source.name}: {source.instances} instances, confirmed {age}; {how}")


# --- end status
