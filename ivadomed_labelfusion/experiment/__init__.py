"""Many models: candidates x splits.

The way through the modules: `candidates` and `splits` say what is compared on whom; `plan` is the study on disk, which
`prepare` checks and writes; `run` starts Snakemake (``workflow/``), which calls `jobs`; `follow` and `status` tell how
far it is; `collect` gathers what the models left, `summary` compares the candidates.
"""
