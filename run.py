"""Sets volnux up in this clone, then runs its example or its tests: `python3 run.py demo|tests`.

Needs nothing but Python 3.10 or newer with its venv module. Whatever is installed goes
into `.run/` beside this file; delete that folder to start over.
"""

# No syntax newer than Python 3.6 here, so that an old Python can say what is wrong.
import hashlib
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent
VENV = ROOT / ".run" / platform.python_version()
BIN = VENV / ("Scripts" if os.name == "nt" else "bin")
PYTHON = str(BIN / "python")

# What has changed since the environment was made, if one of these has.
INSTALLED_FROM = ("pyproject.toml", "src/volnux/telemetry/_speedups.c")
# What each command installs, and what it then runs; further arguments are passed on.
COMMANDS = {
    "demo": (
        ["-e", ".[cli]", "--group", "demo"],
        [str(BIN / "volnux"), "run", "--report", "examples/telemetry/pipeline.py"],
    ),
    "tests": (
        ["-e", ".[cli]", "--group", "test"],
        [PYTHON, "-m", "pytest", "-n", "auto", "--dist", "worksteal"],
    ),
}


def say(text: str) -> None:
    """Print one line of progress."""
    print(f"run.py: {text}", file=sys.stderr, flush=True)


def stop(text: str) -> None:
    """Say why it cannot go on, and end with status 2."""
    say(text)
    sys.exit(2)


def check_python() -> None:
    """Stop, naming the way out, when this Python cannot make the environment."""
    if sys.version_info < (3, 10):
        stop(f"volnux needs Python 3.10 or newer; {sys.executable} is {platform.python_version()}")
    try:
        import ensurepip  # noqa: F401
        import venv  # noqa: F401
    except ImportError:
        stop(f"{sys.executable} has no venv; on Debian and Ubuntu: apt install python3-venv")


def pip_install(*arguments: str) -> None:
    """Run the environment's pip, and end with its status when it fails."""
    quiet = ["-q", "--disable-pip-version-check", "--no-input"]
    command = [PYTHON, "-m", "pip", "install", *quiet, *arguments]
    status = subprocess.call(command, stdin=subprocess.DEVNULL)
    if status:
        say("installing failed, as said above; it was: " + " ".join(command))
        sys.exit(status)


def set_up(name: str, requirements: list) -> None:
    """Make the environment and install into it, unless that has been done."""
    files = [ROOT / name for name in INSTALLED_FROM]
    made_from = [path.read_text("utf-8") for path in files if path.is_file()]
    made_from += [str(ROOT), *requirements]
    mark = hashlib.sha256("\n".join(made_from).encode()).hexdigest()
    stamp = VENV / (name + ".stamp")
    if stamp.is_file() and stamp.read_text() == mark and BIN.is_dir():
        return
    if not any(VENV.glob("*.stamp")):
        say(f"making a virtual environment in {VENV.relative_to(ROOT)}")
        shutil.rmtree(str(VENV), ignore_errors=True)
        subprocess.check_call([sys.executable, "-m", "venv", str(VENV)])
        # Python's own pip is older than dependency groups, which came with 25.1.
        pip_install("pip>=25.1")
    say(f"installing volnux and what `{name}` needs (a minute or so, this once)")
    pip_install(*requirements)
    stamp.write_text(mark)


def main(arguments: list) -> None:
    """Set up what the command needs, then become the command."""
    check_python()
    if not arguments or arguments[0] not in COMMANDS:
        stop(f"say what to run: python3 run.py {'|'.join(COMMANDS)} [arguments]")
    os.chdir(str(ROOT))
    requirements, command = COMMANDS[arguments[0]]
    set_up(arguments[0], requirements)
    command = command + arguments[1:]
    say(" ".join(["$", os.path.relpath(command[0]), *command[1:]]))
    if os.name == "nt":
        sys.exit(subprocess.call(command))
    os.execv(command[0], command)  # noqa: S606


if __name__ == "__main__":
    main(sys.argv[1:])
