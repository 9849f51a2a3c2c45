"""``uvx nox`` runs all tests on every supported Python, ``-s smoke`` a short selection, ``-s attack`` bad input."""

import nox

nox.options.default_venv_backend = "uv"
nox.options.sessions = ["tests"]

PYTHONS = ["3.10", "3.11", "3.12"]


def install(session):
    """Install the locked environment, tests included, into the session."""
    session.run_install(
        "uv",
        "sync",
        "--locked",
        "--active",
        f"--python={session.virtualenv.location}",
        env={"UV_PROJECT_ENVIRONMENT": session.virtualenv.location, "PYTHONDONTWRITEBYTECODE": ""},
    )


@nox.session(python=PYTHONS)
def tests(session):
    """Run the whole test suite."""
    install(session)
    session.run("pytest", *session.posargs)


@nox.session(python=PYTHONS)
def smoke(session):
    """Import everything and run the plugin's core tests."""
    install(session)
    session.run("ivadomed_labelfusion", "doctor")
    session.run("ivadomed_labelfusion", "check", "config_templates/ms_softseg_average.json")
    session.run("pytest", "-q", "tests/host/test_patches.py", "tests/test_activation.py", "tests/test_sampling.py")
    session.run("pytest", "-q", "tests/host/test_commands.py", "-k", "softseg_random and template")


@nox.session(python=PYTHONS[1])
def attack(session):
    """Meet hundreds of bad inputs and kills with a new seed (docs/security.md); half an hour."""
    install(session)
    session.run("python", "-m", "tests.attack", *session.posargs, env={"OMP_NUM_THREADS": "1"})
