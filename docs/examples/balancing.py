"""The examples of docs/balancing.rst, as they stand there. tests/service/test_balancing_examples.py runs them."""

# --- begin zones
import switchgear as sg

SEARCH = sg.ServiceConfig(
    "search",
    zone="eu-1",  # where we are
    instances=[
        sg.InstanceConfig("http://10.1.0.1:8080", metadata={"zone": "eu-1"}, weight=2),
        sg.InstanceConfig("http://10.1.0.2:8080", metadata={"zone": "eu-1"}),
        sg.InstanceConfig("http://10.2.0.1:8080", metadata={"zone": "us-1"}),
        sg.InstanceConfig("http://10.9.0.1:8080", metadata={"priority": "1"}),  # when nothing else is left
    ],
    health_check=sg.HealthCheckConfig(path="/health"),
)
# --- end zones

# --- begin affinity
BASKETS = sg.ServiceConfig(
    "baskets",
    balancer="ring_hash",
    instances=[sg.InstanceConfig(f"http://10.0.0.{n}:8080") for n in range(1, 6)],
)


async def basket(runtime: sg.Runtime, user: str) -> list[str]:
    """Asked of the instance that has this user's basket in memory, as long as it can take the call."""
    response = await runtime.service("baskets").get(f"/{user}", type=list[str], affinity=user)
    return response.data


# --- end affinity
