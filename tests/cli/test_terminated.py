"""SIGTERM ends a program as it would, and what was recorded is there."""

from __future__ import annotations

import json
import signal

import pytest

STEP = """
import multiprocessing, os, signal, sys, threading, time
from multiprocessing.connection import wait
from volnux.telemetry import traced_event

@traced_event
def step():
    pass

def ready():
    print("ready", flush=True)

def rest():
    # In short sleeps: a signal that Python handles, and that comes just as one begins, waits for its end.
    for _ in range(600):
        time.sleep(0.1)
"""
METHODS = ("fork", "spawn", "forkserver")


def counts(report):
    return {row["name"]: row["count"] for row in report["events"]}


@pytest.fixture(name="terminated")
def _terminated(machine):
    """Runs a program and sends it SIGTERM when it is ready; returns status, output and report."""

    def run(code):
        machine.write(STEP + code)
        words = ["-m", "volnux", "run", "--format", "json", "--out", "all.jsonl", "program.py"]
        process = machine.start(*words)
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=60)
        return process.returncode, out, json.loads(err)

    return run


def test_a_program_that_is_terminated_is_reported(terminated):
    """The signal has ended it, as a shell can see, and the report is whole."""
    status, out, report = terminated("for _ in range(300): step()\nready()\nrest()")
    assert (status, out) == (-signal.SIGTERM, "")
    assert counts(report) == {"step": 300}


def test_the_records_of_a_program_that_is_terminated_are_in_the_file(machine, terminated):
    """All of them: none was on its way only."""
    terminated("for _ in range(300): step()\nready()\nrest()")
    assert len((machine.folder / "all.jsonl").read_text("utf-8").splitlines()) == 300


def test_a_program_that_is_terminated_leaves_nothing_behind(machine, terminated):
    """The folder for its processes goes with it."""
    machine.env["TMPDIR"] = str(machine.folder / "tmp")
    (machine.folder / "tmp").mkdir()
    terminated("ready()\nrest()")
    assert list((machine.folder / "tmp").iterdir()) == []


def test_a_program_that_records_without_a_pause_is_reported(terminated):
    """The signal comes in the middle of recording, where locks are held."""
    status, _, report = terminated("step()\nready()\nwhile True: step()")
    assert status == -signal.SIGTERM
    assert counts(report)["step"] >= 1


def test_a_handler_of_the_programs_own_is_the_one_that_is_called(terminated):
    """It may end the program as it likes, and that is reported as ever."""
    status, out, report = terminated(
        "signal.signal(signal.SIGTERM, lambda *_: sys.exit(7))\nstep()\nready()\nrest()"
    )
    assert (status, out) == (7, "")
    assert counts(report) == {"step": 1}


def test_a_program_may_clean_up_and_end_by_the_signal_after_all(terminated):
    """Setting the default and sending the signal again is how that is done."""
    status, out, report = terminated("""
def clean_up(number, frame):
    os.write(1, b"clean\\n")  # a print would not like to interrupt another one
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)

signal.signal(signal.SIGTERM, clean_up)
step()
ready()
rest()
""")
    assert (status, out) == (-signal.SIGTERM, "clean\n")
    assert counts(report) == {"step": 1}


def test_a_program_that_is_terminated_while_it_reports_finishes_that_first(machine):
    """The report is whole, and the signal ends the process all the same."""
    machine.write(
        STEP
        + """
import io
class Out(io.StringIO):
    def flush(self):  # called for the report
        os.kill(os.getpid(), signal.SIGTERM)
sys.stdout = Out()
step()
"""
    )
    ended = machine.volnux("run", "--format", "json", "program.py")
    assert ended.status == -signal.SIGTERM
    assert counts(ended.report) == {"step": 1}


def test_a_program_that_failed_to_become_another_one_can_be_terminated(machine, terminated):
    """It has reported by then, and goes on until the signal comes."""
    machine.write("no program at all", "data")
    (machine.folder / "data").chmod(0o755)
    status, out, report = terminated("""
step()
try:
    os.execv("./data", ["data"])
except OSError:
    ready()
rest()
""")
    assert (status, out) == (-signal.SIGTERM, "")
    assert counts(report) == {"step": 1}


def test_a_program_finds_the_handlers_that_it_would(machine):
    """It can ask for them, set its own and put back the ones before, and sees nothing of ours."""
    machine.write("""
import os, pickle, signal
def own(number, frame): pass
def show(): print(signal.getsignal(signal.SIGTERM), signal.pthread_sigmask(signal.SIG_BLOCK, []))
show()
print(signal.signal(signal.SIGTERM, signal.SIG_DFL))
before = signal.signal(signal.SIGTERM, own)
print(before, signal.getsignal(signal.SIGTERM) is own)
print(signal.signal(signal.SIGTERM, before) is own)
show()
print(signal.signal(signal.SIGTERM, signal.SIG_IGN))
show()
print(signal.signal(signal.SIGTERM, signal.SIG_DFL))
if not os.fork():
    show()
    os._exit(0)
os.wait()
show()
print(pickle.loads(pickle.dumps(signal.signal)) is signal.signal)
""")
    plain, ours = machine.both("program.py")
    assert ours == plain


def test_a_program_that_was_started_deaf_stays_so(machine):
    """Who starts it may have it ignore the signal."""
    machine.write("import signal; print(signal.getsignal(signal.SIGTERM))")
    machine.write(
        "import os, signal, sys\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "os.execv(sys.executable, [sys.executable, *sys.argv[1:]])",
        "deaf.py",
    )
    plain = machine.python("deaf.py", "program.py")
    assert machine.python("deaf.py", "-m", "volnux", "run", "--no-report", "program.py") == plain


def test_a_plain_fork_is_killed_by_the_signal(machine):
    """Nothing of ours is in its way, and the report says that it is missed."""
    machine.write(
        STEP
        + """
pid = os.fork()
if not pid:
    time.sleep(60)
os.kill(pid, signal.SIGTERM)
print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
"""
    )
    ended = machine.volnux("run", "--format", "json", "program.py")
    assert (ended.status, ended.out) == (0, f"{-signal.SIGTERM}\n")
    assert ended.report["source"]["unreported"] == 1


# -- workers ------------------------------------------------------------------------------------------

WORKER = (
    STEP
    + """
def work(told): {work}

if __name__ == "__main__":
    context = multiprocessing.get_context(sys.argv[1])
    ours, theirs = context.Pipe()
    process = context.Process(target=work, args=(theirs,))
    process.start()
    ours.recv()
    kill, sent = os.kill, []
    os.kill = lambda *what: (sent.append(what), kill(*what))
    process.terminate()
{then}
    process.join()
    print(process.exitcode, sent == [(process.pid, signal.SIGTERM)])
"""
)
#: The signal comes to another thread, and so does not interrupt the sleep of the first one: what
#: happens as well when it comes just before the sleep begins.
UNNOTICED = """
    go = threading.Lock()
    go.acquire()
    def tell():
        go.acquire()
        told.send("asleep")
        time.sleep(60)
    threading.Thread(target=tell, daemon=True).start()
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
    step()
    sys.setswitchinterval(60)  # now nothing else runs until this thread sleeps
    go.release()
    time.sleep(60)
"""


@pytest.mark.parametrize("method", METHODS)
def test_a_worker_that_has_not_noticed_is_woken(machine, method):
    """Plain Python would have killed it; whoever waits for it waits no longer than that."""
    machine.write(WORKER.format(work=UNNOTICED, then=""))
    ended = machine.volnux("run", "--format", "json", "program.py", method)
    assert ended.status == 0, ended.err
    assert ended.out.split()[0] == str(-signal.SIGTERM)
    assert counts(ended.report) == {"step": 1}
    assert ended.report["source"]["unreported"] == 0


@pytest.mark.parametrize("method", METHODS)
def test_a_worker_that_takes_its_time_to_end_is_told_once(machine, method):
    """A handler of its own is not disturbed by a second signal, however often it is woken."""
    work = """
    calls, wakes = [], []
    signal.signal(signal.SIGURG, lambda *_: wakes.append(1))
    signal.signal(signal.SIGTERM, lambda *_: calls.append(1))
    told.send("ready")
    while len(wakes) < 2:
        signal.pause()
    sys.exit(len(calls))
"""
    machine.write(WORKER.format(work=work, then=""))
    ended = machine.volnux("run", "--no-report", "program.py", method)
    assert ended.status == 0, ended.err
    assert ended.out.split()[0] == "1"


@pytest.mark.parametrize("method", METHODS)
def test_a_worker_that_ends_at_once_gets_one_signal(machine, method):
    """There is nobody left to be woken."""
    work = "told.send('ready'), time.sleep(60)"
    machine.write(WORKER.format(work=work, then="    wait([process.sentinel])"))
    ended = machine.volnux("run", "--no-report", "program.py", method)
    assert (ended.status, ended.out) == (0, f"{-signal.SIGTERM} True\n")


def test_a_worker_that_has_ended_gets_no_signal_for_what_it_leaves_behind(machine):
    """A child of its own, which holds open what says that the worker lives."""
    work = """
    if os.fork():
        told.send("ready")
        time.sleep(60)
    else:
        wait([multiprocessing.parent_process().sentinel])
"""
    then = "    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)"
    machine.write(WORKER.format(work=work, then=then))
    ended = machine.volnux("run", "--no-report", "program.py", "fork")
    assert (ended.status, ended.out) == (0, f"{-signal.SIGTERM} True\n")


@pytest.mark.parametrize("method", METHODS)
def test_a_worker_finds_the_handlers_that_it_would(machine, method):
    """What wakes it, and what ends it, is not to be seen."""
    work = """
    numbers = signal.SIGTERM, signal.SIGURG
    print([signal.getsignal(number) for number in numbers], flush=True)
    print(signal.pthread_sigmask(signal.SIG_BLOCK, []), flush=True)
    told.send("ready")
"""
    machine.write(WORKER.format(work=work, then="    wait([process.sentinel])"))
    plain, ours = machine.both("program.py", method)
    assert ours.out.splitlines()[:2] == plain.out.splitlines()[:2]
