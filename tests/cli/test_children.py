"""What all processes of a program record comes home to one report, exactly."""

from __future__ import annotations

import json
import os
import pickle
import signal
import sys
from pathlib import Path

import pytest

from volnux.cli._children import _Invitation, states, unreported
from volnux.telemetry import Registry

STEP = """
import os, sys, time
from volnux.telemetry import network_op, propagate, traced_event

@traced_event
def step(n=0):
    return n * n

@traced_event
def fail():
    raise ValueError("wrong")
"""
POOL = (
    STEP
    + """
import multiprocessing
from concurrent.futures import ProcessPoolExecutor

if __name__ == "__main__":
    context = multiprocessing.get_context(sys.argv[1])
"""
)
METHODS = ("fork", "spawn", "forkserver")
ENDINGS = {
    "return": "pass",
    "exit": "sys.exit(3)",
    "_exit": "os._exit(4)",
    "error": "raise RuntimeError('child')",
    "exec": "os.execv(sys.executable, [sys.executable, '-c', 'raise SystemExit(6)'])",
}
STATUSES = {"return": 0, "exit": 3, "_exit": 4, "error": 1, "exec": 6}


def counts(report):
    return {row["name"]: row["count"] for row in report["events"]}


def whole(report, *, processes):
    """Whether so many processes have reported, and none is missed."""
    source = report["source"]
    return (source["processes"], source["unreported"]) == (processes, 0)


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_forked_child_reports_however_it_ends(machine, ending):
    """By returning, `sys.exit`, `os._exit`, an exception, or by becoming another program."""
    machine.write(f"""{STEP}
step()
pid = os.fork()
step()
if not pid:
    step()
    {ENDINGS[ending]}
else:
    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
""")
    ended = machine.volnux("run", "--format", "json", "program.py")
    assert (ended.status, ended.out) == (0, f"{STATUSES[ending]}\n")
    assert counts(ended.report) == {"step": 4}
    assert whole(ended.report, processes=2)


def test_only_the_parent_reports(machine):
    """There is one report, at the end, also where the child outlives nothing and says something."""
    machine.write(f"{STEP}\npid = os.fork()\nstep()\nif pid: os.waitpid(pid, 0)\nprint('end')")
    ended = machine.volnux("run", "program.py")
    assert ended.err.count("volnux run: program.py") == 1
    assert ended.out == "end\nend\n"


def test_grandchildren_report_too(machine):
    """Every process leaves its own records and nobody else's."""
    machine.write(f"""{STEP}
step()
if not os.fork():
    step()
    if not os.fork():
        step()
        os._exit(0)
    os.wait()
    os._exit(0)
os.wait()
""")
    report = machine.counted("program.py")
    assert counts(report) == {"step": 3}
    assert whole(report, processes=3)


def test_a_child_that_is_killed_is_missed(machine):
    """What it recorded is lost, and the report says that there was one."""
    machine.write(f"""{STEP}
import signal
pid = os.fork()
if not pid:
    step()
    os.kill(os.getpid(), signal.SIGKILL)
os.waitpid(pid, 0)
""")
    ended = machine.volnux("run", "program.py")
    assert ended.status == 0
    assert "  1 process did not report: killed, or still running\n" in ended.err


def test_a_call_whose_process_was_killed_is_missed(machine):
    """`propagate` counts what it sent, and so what did not come back."""
    machine.write(
        POOL
        + """
    import signal
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        call = pool.submit(propagate(signal.raise_signal), signal.SIGKILL)
        print(type(call.exception()).__name__)
"""
    )
    ended = machine.volnux("run", "program.py", "fork")
    assert (ended.status, ended.out) == (0, "BrokenProcessPool\n")
    assert "  1 of 1 call to other processes did not report\n" in ended.err


def test_a_subprocess_is_not_missed(machine):
    """A child that forks only to become another program has nothing to report."""
    machine.write(f"""{STEP}
import subprocess
subprocess.run([sys.executable, "-c", ""], preexec_fn=step, check=True)
""")
    assert whole(machine.counted("program.py"), processes=1)


def test_what_a_parent_has_open_is_not_its_childs(machine):
    """The event that a fork happens in is the parent's; the child's own steps count once."""
    machine.write(f"""{STEP}
with traced_event("outer"):
    if not os.fork():
        step()
        os._exit(0)
    os.wait()
""")
    report = machine.counted("program.py")
    assert counts(report) == {"outer": 1, "step": 1}
    assert report["health"]["errors"] == {}


@pytest.mark.parametrize("call", ["execv('./data', ['data'])", "execve('./data', ['data'], {})"])
def test_a_program_that_may_not_become_another_one_goes_on(machine, call):
    """What the system refuses to run ends nothing, and all of the program counts."""
    machine.write("", "data")
    machine.write(f"""{STEP}
step()
try:
    os.{call}
except OSError as error:
    print(error.strerror)
step()
""")
    ended = machine.volnux("run", "--format", "json", "program.py")
    assert (ended.status, ended.out) == (0, "Permission denied\n")
    assert counts(ended.report) == {"step": 2}


@pytest.mark.parametrize("call", ["execv('./data', ['data'])", "execve('./data', ['data'], {})"])
def test_a_program_that_fails_to_become_another_one_reports_once(machine, call):
    """The system may find out late that it cannot run a file; the program sees its error."""
    machine.write("no program at all", "data")
    (machine.folder / "data").chmod(0o755)
    machine.write(f"""{STEP}
step()
try:
    os.{call}
except OSError as error:
    print(error.strerror)
""")
    ended = machine.volnux("run", "program.py")
    assert (ended.status, ended.out) == (0, "Exec format error\n")
    assert ended.err.count("volnux run: program.py\n  1 event\n") == 1
    assert ended.err.count("volnux run: ") == 1


@pytest.mark.parametrize("method", METHODS)
def test_a_pool_reports(machine, method):
    """The workers are ended by SIGTERM, as `Pool.terminate` does it."""
    machine.write(
        POOL
        + """
    with context.Pool(2) as pool:
        print(pool.map(step, range(20)))
"""
    )
    ended = machine.volnux("run", "--format", "json", "program.py", method)
    assert ended.out == f"{[n * n for n in range(20)]}\n"
    assert counts(ended.report) == {"step": 20}
    assert ended.report["source"]["unreported"] == 0


@pytest.mark.parametrize("method", METHODS)
def test_an_executor_reports(machine, method):
    """The workers leave by themselves; one task failed."""
    machine.write(
        POOL
        + """
    with ProcessPoolExecutor(2, mp_context=context) as pool:
        print(sum(pool.map(step, range(20))))
        print(type(pool.submit(fail).exception()).__name__)
"""
    )
    ended = machine.volnux("run", "--format", "json", "program.py", method)
    assert ended.out == "2470\nValueError\n"
    assert counts(ended.report) == {"step": 20, "fail": 1}
    [failure] = ended.report["failures"]["groups"]
    assert (failure["name"], failure["error"], failure["count"]) == ("fail", "wrong", 1)


@pytest.mark.parametrize("method", METHODS)
def test_what_propagate_brings_home_counts_once(machine, method):
    """The records come back with the results, and not by way of the worker's end as well."""
    machine.write(
        POOL
        + """
    with traced_event("outer"), ProcessPoolExecutor(2, mp_context=context) as pool:
        print(sum(pool.map(propagate(step), range(20))))
"""
    )
    report = machine.counted("program.py", method)
    assert counts(report) == {"outer": 1, "step": 20}
    assert report["health"]["remote"] == {"sent": 20, "reported": 20, "missing": 0}


@pytest.mark.parametrize("method", METHODS)
def test_what_is_defined_in_main_reaches_the_worker(machine, method):
    """A class of the program's `__main__` pickles both ways, and the program runs once as such."""
    machine.write(
        POOL.replace("import os", "print('read as', __name__)\nimport os", 1)
        + """
    class Local: pass
    process = context.Process(target=step, args=(2,))
    process.start()
    process.join()
    print(process.exitcode)
"""
    )
    plain, ours = machine.both("program.py", method)
    assert ours == plain
    assert counts(machine.counted("program.py", method)) == {"step": 1}


@pytest.mark.parametrize("method", METHODS)
def test_a_module_of_a_package_starts_workers(machine, method):
    """`__main__.__spec__` tells them what to import."""
    machine.write("", "package/__init__.py")
    machine.write(
        POOL.replace("import os", "from . import other\nimport os", 1)
        + """
    with context.Pool(1) as pool:
        print(pool.map(step, [other.value]), __spec__.name)
""",
        "package/work.py",
    )
    machine.write("value = 7", "package/other.py")
    ended = machine.volnux("run", "--format", "json", "-m", "package.work", method)
    assert ended.out == "[49] package.work\n"
    assert counts(ended.report) == {"step": 1}


@pytest.mark.parametrize("method", METHODS)
def test_every_record_of_every_process_is_in_the_file(machine, method):
    """With `--out` all processes append whole lines to one file, which tells the same story."""
    machine.write(
        POOL
        + """
    step()
    with context.Pool(2) as pool:
        pool.map(step, range(50))
    with ProcessPoolExecutor(2, mp_context=context) as executor:
        list(executor.map(propagate(step), range(50)))
"""
    )
    ended = machine.volnux("run", "--format", "json", "--out", "all.jsonl", "program.py", method)
    assert ended.status == 0, ended.err
    assert counts(ended.report) == {"step": 101}
    lines = (machine.folder / "all.jsonl").read_text("utf-8").splitlines()
    ids = [json.loads(line)["task_id"] for line in lines if line]
    assert (len(ids), len(set(ids))) == (101, 101)
    again = machine.volnux("report", "--format", "json", "all.jsonl")
    assert counts(json.loads(again.out)) == {"step": 101}


def test_a_program_that_runs_volnux_itself_adds_it_up(machine):
    """The inner one reports as it was asked to, and the outer one counts its records too."""
    machine.write(f"{STEP}\nstep()", "inner.py")
    machine.write(f"""{STEP}
import subprocess
step()
command = [sys.executable, "-m", "volnux", "run", "inner.py"]
print(subprocess.run(command, capture_output=True, text=True).stderr)
""")
    ended = machine.volnux("run", "--format", "json", "program.py")
    assert "volnux run: inner.py\n  1 event" in ended.out
    assert counts(ended.report) == {"step": 2}
    assert whole(ended.report, processes=2)


def test_a_run_inside_of_one_that_is_over_is_its_own(machine):
    """A program that outlives the run it came from reports all the same."""
    machine.env["VOLNUX_RUN_DIR"] = str(machine.folder / "gone")
    machine.write(f"{STEP}\nstep()")
    assert counts(machine.counted("program.py")) == {"step": 1}


@pytest.fixture(name="invited")
def _invited(machine):
    """Runs a program that unpickles, as spawned workers do, what has it join a run."""
    folder = machine.folder / "run"
    folder.mkdir()
    invitation = pickle.dumps(_Invitation(str(folder), None))

    def run(code, before=""):
        machine.write(f"{STEP}\nimport pickle\n{before}\npickle.loads({invitation})\n{code}")
        return machine.python("program.py")

    return run


def test_a_process_that_joins_leaves_what_it_recorded(machine, invited):
    """One file in the folder of the run, when it ends, is all that it leaves."""
    ended = invited("step()\nstep()")
    assert (ended.status, ended.out, ended.err) == (0, "", "")
    folder = str(machine.folder / "run")
    [state] = states(folder)
    registry = Registry()
    registry.merge(state["registry"])
    assert registry.event_stats()["step"].count == 2
    assert (state["processes"], unreported(folder)) == (1, 0)


def test_a_process_that_joined_is_missed_until_it_ends(machine, invited):
    """Had it been killed instead, the run would know."""
    ended = invited("print([name[-5:] for name in os.listdir('run')])")
    assert ended.out == "['.open']\n"
    assert unreported(str(machine.folder / "run")) == 0


def test_a_process_that_joined_may_outlive_the_run(machine, invited):
    """Nobody is asking any more, and it ends in peace."""
    ended = invited("import shutil\nstep()\nshutil.rmtree('run')")
    assert (ended.status, ended.out, ended.err) == (0, "", "")
    assert not (machine.folder / "run").exists()


def test_a_process_that_joined_handles_sigterm_as_it_would(machine, invited):
    """Its own handler is the one that is called, and what it recorded is there."""
    ended = invited(
        "step()\nos.kill(os.getpid(), signal.SIGTERM)",
        before="import signal\nsignal.signal(signal.SIGTERM, lambda *_: sys.exit(7))",
    )
    assert (ended.status, ended.out, ended.err) == (7, "", "")
    [state] = states(str(machine.folder / "run"))
    registry = Registry()
    registry.merge(state["registry"])
    assert registry.event_stats()["step"].count == 1


def test_nothing_stays_behind(machine):
    """The folder through which the processes report is gone at the end."""
    machine.env["TMPDIR"] = str(machine.folder / "tmp")
    (machine.folder / "tmp").mkdir()
    machine.write(f"{STEP}\nstep()\nif not os.fork(): os._exit(0)\nos.wait()")
    assert whole(machine.counted("program.py"), processes=2)
    assert list((machine.folder / "tmp").iterdir()) == []


def test_sigterm_ends_a_worker_as_it_would(machine):
    """The status of a terminated worker is that of the signal."""
    machine.write(
        POOL
        + """
    process = context.Process(target=time.sleep, args=(60,))
    process.start()
    time.sleep(0.5)
    process.terminate()
    process.join()
    print(process.exitcode)
"""
    )
    ended = machine.volnux("run", "--no-report", "program.py", "fork")
    assert (ended.status, ended.out) == (0, f"{-signal.SIGTERM}\n")


def test_ctrl_c_still_reports_what_the_workers_did(machine):
    """Parent and workers are interrupted together, as a terminal does it."""
    machine.write(
        POOL
        + """
    def work(n):
        step(n)
        os.write(1, b"ready\\n")
        for _ in range(600):  # an interrupt that comes just as a sleep begins waits for its end
            time.sleep(0.1)
    processes = [context.Process(target=work, args=(n,)) for n in range(2)]
    for process in processes:
        process.start()
    os.write(1, b"ready\\n")  # during a fork, Python lets interrupts get lost
    for process in processes:
        process.join()
"""
    )
    words = ["-m", "volnux", "run", "--format", "json", "program.py", "fork"]
    process = machine.start(*words, start_new_session=True)
    assert [process.stdout.readline() for _ in range(3)] == ["ready\n"] * 3
    os.killpg(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == -signal.SIGINT
    report = json.loads(err[err.index('{\n  "schema"') :])
    assert counts(report) == {"step": 2}


def test_children_are_waited_for_whoever_imported_multiprocessing(machine):
    """Python joins them at the exit, before the report, also if it learned of them before us."""
    machine.write("import multiprocessing.util\n", "sitecustomize.py")
    machine.env["PYTHONPATH"] = str(machine.folder)
    machine.write(
        POOL
        + """
    def work():
        os.read(ours, 1)
        step(0)
    ours, theirs = os.pipe()
    context.Process(target=work).start()
    import atexit
    atexit.register(os.write, theirs, b"x")
"""
    )
    assert counts(machine.counted("program.py", "fork")) == {"step": 1}


def test_telemetry_that_is_off_stays_off(machine):
    """`VOLNUX_TELEMETRY=off` wins, and the report says that there is nothing."""
    machine.env["VOLNUX_TELEMETRY"] = "off"
    machine.write(f"{STEP}\nstep()")
    ended = machine.volnux("run", "program.py")
    assert ended.status == 0
    assert "VOLNUX_TELEMETRY" in ended.err


def test_the_command_needs_its_extra(machine):
    """Without typer one line says what to install."""
    code = "import sys; sys.modules['typer'] = None; from volnux.cli import main; sys.exit(main())"
    ended = machine.python("-c", code)
    assert (ended.status, ended.out) == (2, "")
    assert ended.err == ('volnux: the command line needs typer: run pip install "volnux[cli]"\n')


def test_the_command_is_a_module_and_a_script(machine):
    """`python -m volnux`, `python -m volnux.cli` and `volnux` are the same."""
    helps = {
        machine.python("-m", "volnux", "-h").out,
        machine.python("-m", "volnux.cli", "-h").out,
    }
    script = Path(sys.executable).with_name("volnux")
    if script.exists():
        helps.add(machine.python(str(script), "-h").out)
    [text] = helps
    assert text.startswith("Usage: volnux [OPTIONS] COMMAND [ARGS]...\n")
