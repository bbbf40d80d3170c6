"""What holds for every test: how hypothesis searches."""

import hypothesis

hypothesis.settings.register_profile(
    "project",
    deadline=None,  # a speed is measured in a benchmark, never asserted in a test
    suppress_health_check=[hypothesis.HealthCheck.too_slow],  # nor is this machine's load
    print_blob=True,
)
hypothesis.settings.load_profile("project")
