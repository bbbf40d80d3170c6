"""What holds for every test: how hypothesis searches, and that nobody's logging reaches the next test."""

from collections.abc import Iterator

import hypothesis
import pytest
import structlog

hypothesis.settings.register_profile(
    "project",
    deadline=None,  # a speed is measured in a benchmark, never asserted in a test
    suppress_health_check=[hypothesis.HealthCheck.too_slow],  # nor is this machine's load
    print_blob=True,
)
hypothesis.settings.load_profile("project")


@pytest.fixture(autouse=True)
def _logging_ends_with_the_test() -> Iterator[None]:
    """Forget where a test, or a command it ran, has sent the log: its captured standard error is closed after it."""
    yield
    structlog.reset_defaults()
