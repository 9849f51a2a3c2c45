"""Many models: candidates x splits.

The way through the modules: `candidates` and `splits` say what is compared on whom; `plan` is the study on disk, `prepare`
checks and writes it; `run` starts Snakemake (``workflow/``), which calls `jobs`; `follow` and `status` tell how far it is.
Then `results`: `collect` gathers, `summary` tests, `tables`, `figures`, `comparison` and `claims` present, `render` writes.
"""
