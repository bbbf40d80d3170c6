"""What a process takes of the processor, by the kernel's own table."""

import os
import time

from fairlead.adapters.process_table import processor_s

BURNT_S = 0.05


def test_a_process_has_taken_what_it_has_computed() -> None:
    """As the process itself counts it, to a clock tick or two; somebody who is not there has taken nothing."""
    before_s, own_s = processor_s(os.getpid()), time.process_time()
    while time.process_time() - own_s < BURNT_S:
        pass
    after_s = processor_s(os.getpid())
    assert before_s is not None
    assert after_s is not None
    assert after_s - before_s >= BURNT_S - 2.0 / os.sysconf("SC_CLK_TCK")
    assert after_s <= time.process_time() + 2.0 / os.sysconf("SC_CLK_TCK")
    assert processor_s(2**22 + 1) is None
