"""How properties of the past are tried: the same examples every time, and not too many."""

from hypothesis import HealthCheck, Phase, settings

steadily = settings(
    derandomize=True,
    database=None,
    deadline=None,
    max_examples=30,
    phases=[Phase.generate, Phase.shrink],
    report_multiple_bugs=False,
    suppress_health_check=list(HealthCheck),
)
