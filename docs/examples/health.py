"""The example of docs/health.rst, and a test that runs it."""

import switchgear as sg

# --- begin config
SEARCH = sg.ServiceConfig(
    "search",
    instances=[sg.InstanceConfig(f"http://10.0.0.{n}:8080") for n in range(1, 6)],
    health_check=sg.HealthCheckConfig(path="/ready", interval=5.0, unhealthy_statuses=[503]),
    outlier=sg.OutlierConfig(consecutive_failures=3),  # on by default, with five
    slow_start=60.0,
    breaker=sg.BreakerConfig(trip="rate"),
)


async def who_is_used(search: sg.Service) -> None:
    seen = search.instances
    print(f"{len(seen.used)} are used{', whatever their checks say' if seen.panic else ''}")
    print(f"out by their checks: {', '.join(seen.unhealthy) or 'none'}")
    for name, seconds in seen.ejected.items():
        print(f"{name} fails; in {seconds:.0f} s it is tried again")


# --- end config
