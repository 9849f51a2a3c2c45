"""The long form of the attack: ``python -m tests.attack [--seed N] [--only FAMILY ...] [--share X]``."""

import argparse
import collections
import secrets
import shutil
import sys
import tempfile
import warnings

import numpy as np

from tests.attack import kills, outcome
from tests.attack.families import FAMILIES
from tests.attack.world import World


def attack(family, world, seed, count):
    """Run the cases of one family; yield ``(case, Outcome)``."""
    make = FAMILIES[family][0]
    rng = np.random.default_rng([seed, list(FAMILIES).index(family)])
    for case in make(world, rng, count):
        yield case, outcome.observe(case.command, executed=case.executed)


def kill(count, seed):
    """Kill each command in turn; print the figures and return what was wrong."""
    rng, wrong, done = np.random.default_rng([seed, 99]), [], collections.Counter()
    root = tempfile.mkdtemp(prefix="attack-")
    try:
        world = World(root)
        world.trained()
        chosen = list(kills.targets(world).values())
        for number in range(count):
            target = chosen[number % len(chosen)]
            trouble = target.kill(world.root / "kills" / target.name, rng)
            done[target.name] += 1
            if trouble:
                wrong.append(trouble)
                print(f"  kill: {trouble}", flush=True)
    finally:
        shutil.rmtree(root, ignore_errors=True)
    print(f"{sum(done.values())} kills ({dict(done)}): {len(wrong)} with something lost, half or left", flush=True)
    return wrong


def main(arguments=None):
    """Run the attack and print the figures; return 1 if anything was executed, hung, or ended in a traceback."""
    parser = argparse.ArgumentParser(prog="python -m tests.attack", description=__doc__)
    parser.add_argument(
        "--seed", type=int, default=secrets.randbelow(10**6), help="default: a new one, which is printed"
    )
    parser.add_argument(
        "--only", nargs="+", choices=[*FAMILIES, "kills"], help="families (default: all, and the kills)"
    )
    parser.add_argument("--share", type=float, default=1.0, help="of the cases of the long form (default: 1)")
    parser.add_argument("--kills", type=int, default=66, help="how many kills (default: 66)")
    parsed = parser.parse_args(arguments)
    warnings.simplefilter("ignore")
    # a process that is forked after torch has used several threads waits for them for ever
    import torch

    torch.set_num_threads(1)
    print(f"seed {parsed.seed}", flush=True)
    root = tempfile.mkdtemp(prefix="attack-")
    totals, bad = collections.Counter(), []
    try:
        world = World(root)
        for family in parsed.only or FAMILIES:
            if family == "kills":
                continue
            counts = collections.Counter()
            count = max(1, round(FAMILIES[family][2] * parsed.share))
            for case, result in attack(family, world, parsed.seed, count):
                counts[result.kind] += 1
                if result.kind in outcome.BAD:
                    bad.append((family, case.name, result))
                    print(f"  {result.kind}: {family}: {case.name}\n{result.text[-1500:]}", flush=True)
            totals.update(counts)
            print(f"{family}: {sum(counts.values())} cases, {dict(counts)}", flush=True)
    finally:
        shutil.rmtree(root, ignore_errors=True)
    if parsed.only is None or "kills" in parsed.only:
        bad += kill(parsed.kills, parsed.seed)
    kinds = {kind: totals[kind] for kind in (outcome.ACCEPTED, outcome.REFUSED, *outcome.BAD)}
    print(f"{sum(totals.values())} cases: " + ", ".join(f"{count} {kind}" for kind, count in kinds.items()))
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
