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
# # Why did this run go wrong, and that one did not?
#
# Two runs, aligned by step: where they part, and in what their versions, definitions and inputs differ.

# %% tags=["parameters"]
SOURCE = None  # None: the configured database; "incident.ffz": a bundle; a profile; a Postgres URL
GOOD = None  # None: the newest run of the same workflow that completed, of an earlier version if there is one
BAD = None  # None: the newest run that failed; else the one that took longest

# %%
from flowforge import forensics as fx

fx.connect(SOURCE)
good, bad = fx.pair(GOOD, BAD)
fx.run(good)

# %%
fx.run(bad)

# %% [markdown]
# ## Where do they part?

# %%
compared = fx.compare(good, bad)
fx.plot.compare(compared)

# %%
compared

# %% [markdown]
# ## In what do they differ?

# %%
differences = fx.differences(good, bad)
differences

# %% [markdown]
# ## Findings

# %%
found = fx.contrast(good, bad)
fx.tell(found)

# %%
assert compared["step"].is_unique, "every step is compared once"
assert len(found), "there is always something to say"
failed = fx.run(bad).status == "failed"
assert not failed or {"failed_step", "bad_deploy"} & set(found["cause"]), "a run that failed has a step to blame"
