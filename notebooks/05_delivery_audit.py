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
# # Was everything delivered, and nothing done twice?
#
# From the outbox to the effect outside: how long dispatches took, which attempts were lost with their worker, and which
# effects may have happened more than once.

# %% tags=["parameters"]
SOURCE = None  # None: the configured database; "incident.ffz": a bundle; a profile; a Postgres URL
SINCE = None  # "1h", "2026-01-31T12:00:00Z"; None: all there is
WORKFLOW = None
EFFECTS = None  # a CSV of the other side: a row for each effect, with a column `key`, the Idempotency-Key it was sent

# %%
import pandas as pd

from flowforge import forensics as fx

fx.connect(SOURCE)
runs = fx.runs(SINCE, workflow=WORKFLOW)
bucket = fx.bucket(runs)
effects = None if EFFECTS is None else pd.read_csv(EFFECTS)

# %% [markdown]
# ## How long did dispatches take to reach a worker?

# %%
lag = fx.outbox_lag(SINCE, bucket=bucket, workflow=WORKFLOW)
lag

# %% [markdown]
# ## Which attempts were lost with their worker, and who went on?

# %%
lost = fx.lease_expiries(SINCE, workflow=WORKFLOW)
lost[["run", "step", "attempt", "worker", "held_s", "taken_over_by", "delay_s"]]

# %% [markdown]
# ## Which effects happened twice?
#
# FlowForge commits one result for each step and sends every attempt with the same idempotency key. Whether the other
# side honours it, only the other side knows: give its list as `EFFECTS`, and what is `possible` is decided.

# %%
duplicates = fx.duplicates(SINCE, effects=effects, workflow=WORKFLOW)
fx.plot.duplicates(duplicates)

# %%
duplicates

# %% [markdown]
# ## Was anything started twice?

# %%
fx.repeated(SINCE, workflow=WORKFLOW)

# %% [markdown]
# ## Findings

# %%
found = fx.findings(SINCE, workflow=WORKFLOW, effects=effects, about="delivery")
fx.tell(found)

# %%
assert (lag["delivered"] <= lag["dispatched"]).all(), "nothing is delivered that was not dispatched"
assert (duplicates["executions"] > 1).all(), "what was executed once did not happen twice"
assert ("worker_lost" in set(found["cause"])) == (len(lost) > 0), "attempts that were lost are a finding"
assert duplicates["key"].is_unique, "each key is judged once"
