"""``uvx nox`` runs all tests on every supported Python; others: core, smoke, lowest, newest, attack."""

import nox

nox.options.default_venv_backend = "uv"
nox.options.sessions = ["tests"]

PYTHONS = ["3.11", "3.12", "3.13", "3.14"]
# what a short run of the plugin is: train and test one candidate, every touched name, the labels' index
SMOKE = (
    (
        "tests/hosts/ivadomed2/test_patches.py",
        "tests/hosts/ivadomed2/test_layouts.py",
        "tests/test_activation.py",
        "tests/test_environment.py",
    ),
    ("tests/hosts/ivadomed2/test_commands.py", "-k", "softseg_random and template"),
)
TOOLS = ("pytest>=8", "pytest-xdist>=3.6", "hypothesis>=6.100", "jsonschema>=4.20")
HOST = "ivadomed>=2.9.10,<3"


def install_locked(session, *groups):
    """Install the locked environment: all of it, or only some dependency groups."""
    chosen = [f"--group={group}" for group in groups]
    session.run_install(
        "uv",
        "sync",
        "--locked",
        "--active",
        f"--python={session.virtualenv.location}",
        *(["--no-default-groups", *chosen] if groups else []),
        env={"UV_PROJECT_ENVIRONMENT": session.virtualenv.location, "PYTHONDONTWRITEBYTECODE": ""},
    )


def install_resolved(session, *options):
    """Install what the metadata allow, not what the lock holds."""
    session.install(*options, "--override", "overrides.txt", ".[ivadomed,prepare]", HOST, *TOOLS)


def run_smoke(session):
    """Run the short selection."""
    session.run("ivadomed_labelfusion", "doctor")
    session.run("ivadomed_labelfusion", "check", "config_templates/ms_softseg_average.json")
    for selection in SMOKE:
        session.run("pytest", "-q", *selection)


@nox.session(python=PYTHONS)
def tests(session):
    """Run the whole test suite."""
    install_locked(session)
    session.run("pytest", *session.posargs)


@nox.session(python=PYTHONS)
def core(session):
    """Run the core's tests where neither ivadomed nor torch can be imported."""
    install_locked(session, "smoke")
    session.run("python", "-c", "import importlib.util as u; assert not any(map(u.find_spec, ('torch', 'ivadomed')))")
    session.run("pytest", "-q", *session.posargs)


@nox.session(python=PYTHONS)
def smoke(session):
    """Train and test with the plugin, and check every touched name of ivadomed."""
    install_locked(session, "plugin", "smoke")
    run_smoke(session)


@nox.session(python=PYTHONS[0])
def lowest(session):
    """The smoke run with the oldest versions that the metadata allow: pybids 0.15.5, pandas 2.2, torch 2.6."""
    install_resolved(session, "--resolution", "lowest-direct")
    run_smoke(session)


@nox.session(python=PYTHONS[-1])
def newest(session):
    """The smoke run with the newest versions that the metadata allow, whatever the lock says."""
    install_resolved(session, "--upgrade")
    run_smoke(session)


@nox.session(python=PYTHONS[0])
def attack(session):
    """Meet hundreds of bad inputs and kills with a new seed (docs/security.md); half an hour."""
    install_locked(session)
    session.run("python", "-m", "tests.attack", *session.posargs, env={"OMP_NUM_THREADS": "1"})
