# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Where does the time go, and is there room for more?
#
# Percentiles by step, how they changed, what waited for workers and gates, and how busy the workers were.

# %% tags=["parameters"]
SOURCE = None  # None: the configured database; "incident.ffz": a bundle; a profile; a Postgres URL
SINCE = None  # "1h", "2026-01-31T12:00:00Z"; None: all there is
WORKFLOW = None

# %%
from flowforge import forensics as fx

fx.connect(SOURCE)
runs = fx.runs(SINCE, workflow=WORKFLOW)
bucket = fx.bucket(runs)
latency = fx.latency(since=SINCE, workflow=WORKFLOW)
latency

# %% [markdown]
# ## Is the time spent waiting for a worker, or working?

# %%
fx.plot.latency(latency)

# %% [markdown]
# ## Did a step become slow, and when?

# %%
trend = fx.trend(since=SINCE, workflow=WORKFLOW)
fx.plot.trend(trend)

# %% [markdown]
# ## Was there more to do than workers to do it?

# %%
depth = fx.queue_depth(SINCE, bucket=bucket, workflow=WORKFLOW)
fx.plot.queue_depth(depth)

# %% [markdown]
# ## How busy were the workers?

# %%
workers = fx.workers(SINCE, workflow=WORKFLOW)
workers[["worker", "status", "concurrency", "attempts", "lost", "busy_s", "busy_share"]]

# %% [markdown]
# ## Did a concurrency limit hold runs back?

# %%
gates = fx.gates(SINCE, workflow=WORKFLOW)
gates

# %% [markdown]
# ## Findings

# %%
found = fx.findings(SINCE, workflow=WORKFLOW, about="latency")
fx.tell(found)

# %%
assert (latency["exec_p50_s"].dropna() <= latency["exec_p99_s"].dropna() + 1e-9).all(), "percentiles are in order"
assert abs(latency["exec_share"].sum() - 1) < 1e-6 or latency.empty or not latency["exec_sum_s"].sum(), (
    "shares sum to 1"
)
assert (depth[["depth", "running"]] >= 0).all(axis=None), "nothing leaves a queue that was not in it"
assert depth["queued"].sum() >= depth["started"].sum(), "nothing begins that was not queued"
