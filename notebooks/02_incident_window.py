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
# # What happened in this window of time?
#
# Many runs: what failed, what was retried, what waited, which workers vanished, and the cause that explains most.

# %% tags=["parameters"]
SOURCE = None  # None: the configured database; "incident.ffz": a bundle; a profile; a Postgres URL
SINCE = None  # "1h", "2026-01-31T12:00:00Z"; None: all there is
UNTIL = None
WORKFLOW = None

# %%
from flowforge import forensics as fx

source = fx.connect(SOURCE)
window = {"until": UNTIL, "workflow": WORKFLOW}
runs = fx.runs(SINCE, **window)
bucket = fx.bucket(runs)
runs.groupby(["workflow", "version", "status"]).size().rename("runs").reset_index()

# %% [markdown]
# ## Is a version to blame?

# %%
versions = fx.versions(SINCE, **window)
versions

# %% [markdown]
# ## What failed, and how often?

# %%
clusters = fx.errors(SINCE, **window).pipe(fx.cluster_errors)
fx.plot.errors(clusters)

# %%
clusters[["code", "steps", "count", "final", "runs", "first_seen", "last_seen", "example_run", "message"]]

# %% [markdown]
# ## Was there a retry storm?
#
# Amplification is attempts for each one that was meant. The success of first attempts is what retries hide.

# %%
storms = fx.retry_storms(SINCE, window=bucket, **window)
fx.plot.retry_storm(storms)

# %%
storms.sort_values("amplification", ascending=False).head(20)

# %% [markdown]
# ## Waiting for a worker, or working?

# %%
latency = fx.latency(since=SINCE, **window)
fx.plot.latency(latency)

# %%
fx.plot.trend(fx.trend(since=SINCE, **window))

# %% [markdown]
# ## Who waited at a gate?

# %%
fx.gates(SINCE, **window)

# %% [markdown]
# ## Which workers were lost?

# %%
fx.workers(SINCE, **window)

# %%
lost = fx.lease_expiries(SINCE, **window)
lost.head(20)

# %% [markdown]
# ## Findings

# %%
found = fx.findings(SINCE, **window)
fx.tell(found)

# %%
assert len(found), "there is always something to say"
assert ("worker_lost" in set(found["cause"])) == (len(lost) > 0), "attempts that were lost are a finding"
assert (storms["amplification"].dropna() >= 1).all(), "nothing is tried less often than it was meant"
assert clusters["count"].sum() >= clusters["final"].sum(), "what failed for good has failed"
