"""`volnux run` runs a program exactly as `python` does."""

from __future__ import annotations

import os
import py_compile
import re
import signal
import zipapp

import pytest

SHOW = """
import sys
def show(thing):
    return type(thing).__name__ if hasattr(thing, "__dict__") else thing
print({k: show(v) for k, v in sorted(globals().items()) if k not in ("sys", "show")})
print(__name__, sys.modules["__main__"].__dict__ is globals())
print(sys.argv, sys.path[0])
print(__spec__ and (__spec__.name, __spec__.origin, __spec__.parent))
"""
FAILS = """
def inner():
    raise ValueError("wrong")
def outer():
    try:
        inner()
    except ValueError as error:
        raise RuntimeError("worse") from error
"""
ENDINGS = {
    "normal": "print('out')",
    "exit 3": "import sys; sys.exit(3)",
    "exit None": "import sys; sys.exit(None)",
    "exit text": "import sys; sys.exit('no such thing')",
    "exit tuple": "import sys; sys.exit((1, 2))",
    "exit below zero": "import sys; sys.exit(-1)",
    "exit True": "raise SystemExit(True)",
    "_exit": "import os, sys; print('x'); sys.stdout.flush(); os._exit(7)",
    "exec": "import os; os.execvp('sh', ['sh', '-c', 'echo replaced; exit 5'])",
    "exec of nothing": "import os; os.execvp('no-such-program', ['x'])",
    "failure": FAILS + "outer()",
    "failure in a thread": FAILS + "import threading; threading.Thread(target=inner).start()",
    "group": FAILS + "raise OSError(2, 'gone', 'file.txt')",
    "recursion": "import sys\ndef f(): f()\ntry: f()\nexcept RecursionError: sys.exit(9)",
    "syntax": "print(1)\ndef f(:\n    pass\n",
    "indentation": "if 1:\nprint(2)\n",
    "interrupt": "raise KeyboardInterrupt",
    "interrupt with text": "def f(): raise KeyboardInterrupt('stop')\nf()",
    "own hook": "import sys\nsys.excepthook = lambda *a: print('hook', a[0], a[2].tb_lineno)\n1/0",
    "hook that exits": "import sys\nsys.excepthook = lambda *a: sys.exit(42)\n1/0",
    "last": "import atexit, sys, traceback\n"
    "atexit.register(lambda: traceback.print_tb(sys.last_traceback))\n1/0",
    "atexit order": "import atexit, threading, time\n"
    "atexit.register(print, 'first registered')\natexit.register(print, 'second')\n"
    "threading.Thread(target=lambda: (time.sleep(0.1), print('thread'))).start()\nprint('end')",
    "atexit that fails": "import atexit\ndef late(): 1 / 0\natexit.register(late)\nprint('end')",
    "daemon thread": "import threading, time\n"
    "threading.Thread(target=time.sleep, args=(60,), daemon=True).start()",
    "killed": "import os, signal; os.kill(os.getpid(), signal.SIGTERM)",
    "asyncio": "import asyncio\nasync def main(): await asyncio.sleep(0); 1 / 0\nasyncio.run(main())",
    "warning": "import warnings; warnings.warn('old', DeprecationWarning)",
    "stdout closed": "import sys; sys.stdout.close()",
    "pickle": "import pickle\nclass A: pass\n"
    "a = pickle.loads(pickle.dumps(A()))\nprint(type(a) is A, A.__module__)",
    "import main": "import __main__\nx = 5\nprint(__main__.x)",
    "annotations": "x: int = 3\nprint(__annotations__)",
    "future": "def f(x: no_such_name): pass",
    "main gone": "import sys\ndel sys.modules['__main__']\nprint('still here')",
}


@pytest.mark.parametrize("name", ENDINGS)
def test_a_program_ends_as_it_would(machine, name):
    """Exit status, output and traceback are those of plain `python`, to the letter."""
    machine.write(ENDINGS[name])
    plain, ours = machine.both("program.py")
    # Two processes seldom have the same object at the same address.
    assert re.sub("0x[0-9a-f]+", "", ours.err) == re.sub("0x[0-9a-f]+", "", plain.err)
    assert (ours.status, ours.out) == (plain.status, plain.out)


def test_what_cannot_be_read_fails(machine):
    """Python words it differently for a file and for a text, and means the same."""
    machine.write("# coding: no-such-coding\nprint(1)")
    plain, ours = machine.both("program.py")
    assert (ours.status, ours.out) == (plain.status, plain.out) == (1, "")
    assert ours.err.splitlines()[-1].startswith("SyntaxError: ")


@pytest.mark.parametrize("words", [["program.py"], ["./program.py", "-v", "--", "-m", "x"]])
def test_a_script_finds_what_it_would(machine, words):
    """The globals, arguments and first path of a script are those of plain `python`."""
    machine.write(SHOW)
    plain, ours = machine.both(*words)
    assert ours == plain


@pytest.mark.parametrize("path", ["folder/program.py", "link.py"])
def test_the_folder_of_a_script_is_its_first_path(machine, path):
    """That holds for scripts elsewhere and, as in Python, for what a link points to."""
    machine.write(SHOW, "folder/program.py")
    (machine.folder / "link.py").symlink_to(machine.folder / "folder/program.py")
    plain, ours = machine.both(path, "a")
    assert ours == plain


@pytest.mark.parametrize("words", [["-m", "program", "-x", "--help"], ["-mprogram", "--", "1"]])
def test_a_module_finds_what_it_would(machine, words):
    """All that follows `-m MODULE` belongs to the module."""
    machine.write(SHOW)
    plain, ours = machine.both(*words)
    assert ours == plain


def test_a_package_runs_its_main(machine):
    """`-m package` runs `package.__main__`, after the package, which sees `-m` for its program."""
    machine.write("import sys; print('package', sys.argv)", "package/__init__.py")
    machine.write("from . import x\n" + SHOW, "package/__main__.py")
    machine.write("", "package/x.py")
    plain, ours = machine.both("-m", "package", "a")
    assert ours == plain


@pytest.mark.parametrize("name", ["no_such_module", "package", "failing"])
def test_a_module_that_cannot_run_says_so_as_python_does(machine, name):
    """A missing module, a package without `__main__` and a failing module."""
    machine.write("", "package/__init__.py")
    machine.write(FAILS + "outer()", "failing.py")
    plain, ours = machine.both("-m", name)
    assert ours == plain


def test_a_folder_and_a_zip_file_run_their_main(machine):
    """They stand first in `sys.path` themselves."""
    machine.write(SHOW + FAILS + "outer()", "app/__main__.py")
    zipapp.create_archive(machine.folder / "app", machine.folder / "app.pyz")
    for path in ("app", "app.pyz"):
        plain, ours = machine.both(path, "a")
        assert ours == plain


def test_a_folder_without_main_is_refused_as_python_does(machine):
    """The message and status are Python's."""
    (machine.folder / "empty").mkdir()
    plain, ours = machine.both("empty")
    assert ours == plain


def test_compiled_code_runs(machine):
    """A `.pyc` file is a program too."""
    machine.write(SHOW)
    py_compile.compile(str(machine.folder / "program.py"), str(machine.folder / "done.pyc"))
    plain, ours = machine.both("done.pyc", "a")
    assert ours == plain


@pytest.mark.parametrize("program", [SHOW, "import sys\nsys.exit(4)", "print(input())"])
def test_standard_input_is_a_program(machine, program):
    """`-` reads the program from there, and leaves nothing for it to read."""
    plain, ours = machine.both("-", "a", "-b", stdin=program)
    assert (ours.status, ours.out) == (plain.status, plain.out)
    assert ours.err.splitlines()[-1:] == plain.err.splitlines()[-1:]


def test_a_safe_path_stays_safe(machine):
    """With PYTHONSAFEPATH (from 3.11 on) the script's folder is not put first."""
    machine.env["PYTHONSAFEPATH"] = "1"
    machine.write(SHOW)
    plain, ours = machine.both("program.py")
    assert ours == plain


@pytest.mark.parametrize("report", ["--report", "--no-report"])
def test_ctrl_c_ends_it_by_the_signal(machine, report):
    """The traceback is the program's alone, and a shell sees 130 because the signal did it."""
    machine.write(
        # Ready is what sleeps already, so that the traceback is always the same.
        "import threading, time\ndef ready(): print('ready', flush=True)\n"
        "def wait(): time.sleep(60)\nthreading.Timer(0.3, ready).start()\nwait()"
    )
    ended = []
    for words in (["program.py"], ["-m", "volnux", "run", report, "program.py"]):
        process = machine.start(*words)
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
        ended.append((process.returncode, out, err))
    plain, ours = ended
    assert ours[:2] == plain[:2] == (-signal.SIGINT, "")
    assert ours[2].startswith(plain[2])
    assert ("volnux run: program.py" in ours[2]) is (report == "--report")


def test_ctrl_c_that_is_caught_is_the_programs_own_affair(machine):
    """A program that handles the interrupt goes on."""
    machine.write(
        # In short sleeps: an interrupt that comes just as one begins waits for its end.
        "import time\ntry:\n    print('ready', flush=True)\n    for _ in range(600): time.sleep(0.1)\n"
        "except KeyboardInterrupt:\n    print('caught')\n    raise SystemExit(5)"
    )
    process = machine.start("-m", "volnux", "run", "--no-report", "program.py")
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (5, "caught\n", "")


def test_a_reader_that_has_gone_is_no_different(machine):
    """A program whose output nobody reads fails as it would, and the report does not add to it."""
    machine.write("print('x' * 100_000)")
    ended = []
    for words in (["program.py"], ["-m", "volnux", "run", "--no-report", "program.py"]):
        process = machine.start(*words)
        process.stdout.close()
        err = process.stderr.read()
        process.stderr.close()
        ended.append((process.wait(60), err))
    plain, ours = ended
    assert ours == plain


@pytest.mark.parametrize(
    ("path", "reason"),
    [("gone.py", "No such file or directory"), ("secret/x.py", "Not a directory")],
)
def test_a_script_that_is_not_there_is_one_line_and_status_2(machine, path, reason):
    """As with Python, though the words are ours."""
    machine.write("", "secret")
    ended = machine.volnux("run", path)
    number = {"No such file or directory": 2, "Not a directory": 20}[reason]
    assert (ended.status, ended.out) == (2, "")
    assert ended.err == f"volnux run: can't open {path!r}: [Errno {number}] {reason}\n"
    assert machine.python(path).status == 2


def test_the_environment_is_left_as_it_was_but_for_one_name(machine):
    """A program finds its own environment, and the folder that its subprocesses report to."""
    machine.write("import os; print(sorted(os.environ))")
    plain, ours = machine.both("program.py")
    names = set(os.environ) | {"VOLNUX_RUN_DIR"}
    assert names >= {"VOLNUX_RUN_DIR"}
    assert set(eval(ours.out)) - set(eval(plain.out)) == {"VOLNUX_RUN_DIR"}


def test_a_folder_stands_first_also_in_a_safe_path(machine):
    """Python leaves out the folder of a script then, and never a folder that is the program."""
    machine.env["PYTHONSAFEPATH"] = "1"
    machine.write(SHOW, "app/__main__.py")
    plain, ours = machine.both("app")
    assert ours == plain


def test_a_program_may_have_lost_its_folder(machine):
    """Where Python runs without a working directory, so do we."""
    script = machine.folder / machine.write("import os\nprint('runs')")
    machine.write(
        "import os, subprocess, sys, tempfile\n"
        "folder = tempfile.mkdtemp()\n"
        "os.chdir(folder)\n"
        "os.rmdir(folder)\n"
        "sys.exit(subprocess.run([sys.executable, *sys.argv[1:]]).returncode)",
        "lost.py",
    )
    ended = machine.python("lost.py", "-m", "volnux", "run", "--no-report", str(script))
    assert (ended.status, ended.out, ended.err) == (0, "runs\n", "")


def test_an_error_that_was_caught_leaves_the_next_one_alone(machine):
    """Who runs a program inside of another one sees its own errors as ever, every frame of them."""
    machine.write("raise ValueError('the program')", "failing.py")
    machine.write(
        "from volnux.cli import main\n"
        "def own():\n"
        "    raise KeyError('mine')\n"
        "try:\n"
        "    main(['run', '--no-report', 'failing.py'])\n"
        "except ValueError as error:\n"
        "    print('caught', error)\n"
        "own()\n"
    )
    ended = machine.python("program.py")
    assert (ended.status, ended.out) == (1, "caught the program\n")
    assert ended.err.startswith("Traceback (most recent call last):\n")
    assert "in own\n" in ended.err
    assert ended.err.endswith("KeyError: 'mine'\n")
    assert "the program" not in ended.err
