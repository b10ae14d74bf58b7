"""What all tests share: how Hypothesis runs here."""

from hypothesis import HealthCheck, settings

# A deadline would be a timing assertion, and so would the check for slow generation: CI measures coverage on two busy
# cores. The blob that a failure prints reproduces it anywhere.
settings.register_profile("switchgear", deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True)
settings.load_profile("switchgear")
