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
# # Start here: what can be asked?
#
# This notebook shows the whole of `fx` on the newest run. No run yet? `flowforge demo` makes one in ten seconds, and
# its worker dies on the way. Everything is read-only.

# %% tags=["parameters"]
SOURCE = None  # None: the configured database; "incident.ffz": a bundle, without any server; a profile; a Postgres URL
RUN = "@last"

# %%
from flowforge import forensics as fx

source = fx.connect(SOURCE)
source

# %% [markdown]
# ## Which runs are there?
#
# The filters are those of `flowforge ps`: `since`, `until`, `workflow`, `status`, `label`.

# %%
runs = fx.runs(limit=20)
runs[["run", "workflow", "version", "status", "created_at", "gate_wait_s", "duration_s", "code"]]

# %% [markdown]
# ## One run
#
# A run shows itself as a card: what became of it, and what each step did over time. Steps in bold, marked `*`, are on
# the critical path.

# %%
run = fx.run(RUN)
run

# %% [markdown]
# ## Its attempts, and where its time went
#
# Every frame has the same columns with the same types, also when it is empty; `fx.columns` says what they mean.

# %%
run.attempts()[["step", "attempt", "outcome", "queue_s", "exec_s", "worker", "code"]]

# %%
fx.columns("attempts")

# %%
phases = fx.phases(run.id)
phases

# %% [markdown]
# ## All runs together
#
# Aggregates are computed in Postgres; a million runs take seconds.

# %%
fx.latency()[["workflow", "step", "attempts", "failed", "queue_p95_s", "exec_p50_s", "exec_p95_s", "exec_share"]]

# %% [markdown]
# ## Findings
#
# What the figures come to, in words. The other notebooks look closer: `01` at one run, `02` at a window of time, `03`
# at a good run and a bad one, `04` at latency and capacity, `05` at deliveries and effects.

# %%
found = fx.findings()
fx.tell(found)

# %%
parts = [column for column in phases if column.endswith("_s") and column != "wall_s"]
assert ((phases[parts].sum(axis=1) - phases["wall_s"]).abs() < 1e-6).all(), "the parts of a run sum to its wall time"
assert len(runs), "there is at least one run"
assert len(found), "there is always something to say"
