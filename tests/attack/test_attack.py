"""The short form of the attack, with a fixed seed: nothing is executed, nothing hangs, nothing ends in a traceback."""

import numpy as np
import pytest

from tests.attack import outcome
from tests.attack.families import FAMILIES
from tests.attack.world import World

SEED = 20260101
pytestmark = pytest.mark.xdist_group("attack")


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return World(tmp_path_factory.mktemp("attack"))


@pytest.mark.parametrize("family", [name for name, (_, count, _) in FAMILIES.items() if count])
def test_bad_input_is_refused_or_harmless(world, family):
    make, count, _ = FAMILIES[family]
    rng = np.random.default_rng([SEED, list(FAMILIES).index(family)])
    ended = [(case, outcome.observe(case.command, executed=case.executed)) for case in make(world, rng, count)]
    assert len(ended) >= 5
    bad = [f"{result.kind}: {case.name}\n{result.text[-2000:]}" for case, result in ended if result.kind in outcome.BAD]
    assert not bad, "\n\n".join(bad)
    # the attack meets the checks: some of it is refused
    assert any(result.kind == outcome.REFUSED for _, result in ended) or family in ("configurations", "studies")


def test_the_observer_sees_every_bad_end(tmp_path, monkeypatch):
    """What the attack counts, it also notices."""

    def fail():
        raise KeyError("x")

    def wait():
        while True:
            pass

    def run_payload():
        (tmp_path / "executed").touch()
        return 2

    assert outcome.observe(fail).kind == outcome.TRACEBACK
    assert outcome.observe(wait, limit=0.2).kind == outcome.HANG
    assert outcome.observe(lambda: print("Traceback (most recent call last)") or 0).kind == outcome.TRACEBACK
    assert outcome.observe(lambda: 2).kind == outcome.TRACEBACK
    assert outcome.observe(run_payload, executed=tmp_path / "executed").kind == outcome.EXECUTED
    monkeypatch.setattr(outcome, "LIMIT_BYTES", 2**24)
    # more than this process ever had
    size = outcome.peak_bytes() + 2**25
    assert outcome.observe(lambda: np.ones(size, np.uint8) is None).kind == outcome.MEMORY
    assert outcome.observe(lambda: 0).kind == outcome.ACCEPTED
    assert outcome.observe(lambda: print("x must be y") or 2).kind == outcome.REFUSED
