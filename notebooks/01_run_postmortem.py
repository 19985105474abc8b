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
# # What happened to this run?
#
# One run: how it ended, where its time went, what was tried, and what happened around it.

# %% tags=["parameters"]
SOURCE = None  # None: the configured database; "incident.ffz": a bundle; a profile; a Postgres URL
RUN = "@last-failed"  # an id, 4 or more of its digits, @last, @last-failed

# %%
from flowforge import forensics as fx

fx.connect(SOURCE)
run = fx.run(RUN)
run

# %%
run.summary()

# %% [markdown]
# ## Which step took the time, and what was it waiting for?

# %%
fx.plot.gantt(run.id)

# %% [markdown]
# ## Where did the time go?
#
# The first row is the run as a whole; every row sums to the wall time. Making a step faster that is not on the critical
# path would not have helped: it had time to spare.

# %%
phases = fx.phases(run.id)
phases.loc[:, (phases != 0).any()]

# %%
critical = fx.critical_path(run.id)
critical

# %%
fx.slack(run.id)

# %% [markdown]
# ## What was tried?

# %%
attempts = run.attempts()
attempts[["step", "attempt", "outcome", "started_at", "queue_s", "exec_s", "worker", "code", "message"]]

# %% [markdown]
# ## The last events

# %%
run.events().tail(15)

# %% [markdown]
# ## Findings

# %%
found = fx.postmortem(run.id)
fx.tell(found)

# %%
parts = [column for column in phases if column.endswith("_s") and column != "wall_s"]
assert ((phases[parts].sum(axis=1) - phases["wall_s"]).abs() < 1e-6).all(), "the parts of a run sum to its wall time"
assert critical["seconds"].sum() <= run.wall_s + 1e-6, "the critical path is no longer than the run"
assert (run.status == "failed") == ("failed_step" in set(found["cause"])), "a run that failed has a step to blame"
