"""Will it fit? What a program would need on a thousand ranks, found out on one, in seconds.

python examples/will_it_fit.py
"""

from __future__ import annotations

import heat_array_api as xp


def of_anomalies(temperature, stations=10):
    """Return how the anomaly everywhere goes with that at the first stations."""
    mean = xp.mean(temperature, axis=0)
    anomaly = temperature - mean
    rows = xp.reshape(anomaly, (anomaly.shape[0], -1))
    return rows.T @ rows[:, :stations] / rows.shape[0]


def of_products(temperature, stations=10):
    """Return the same without the anomalies, which take as much memory as the data."""
    rows = xp.reshape(temperature, (temperature.shape[0], -1))
    mean = xp.mean(rows, axis=0)
    return rows.T @ rows[:, :stations] / rows.shape[0] - mean[:, None] * mean[:stations]


def main(ranks=1024, node=64, memory="256 GB", hours=745_000):
    # 85 years of hours on a quarter degree grid: 3.1 TB.
    data = xp.ShapeDtype((hours, 721, 1440), xp.float32, split=0)
    found = {}
    for f in (of_anomalies, of_products):
        plan = xp.dry_run(f, data, ranks=ranks, node=node)
        try:
            plan.check(memory=memory)
            verdict = "it fits"
        except xp.PlanError as error:
            verdict = str(error)
        found[f.__name__] = plan, verdict
    return found


if __name__ == "__main__":
    result = main()
    if xp.world().rank == 0:
        for name, (plan, verdict) in result.items():
            print(f"{name}\n{plan}\n\n{verdict}\n")
