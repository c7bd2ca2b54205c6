"""Starts the same program or JAR on Moka and on the Linux guest, for benchmarks that compare them."""
import contextlib
import os
import pathlib
import re
import shlex
import signal
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import threading
import time

TOP = pathlib.Path(__file__).resolve().parents[2]
BUILD = TOP / "build"
GUESTS = ("linux", "moka")
# Under TCG each step of a `rep movsb` costs an instruction a byte: without these two flags nobody prefers it.
CPU = "max,-erms,-fsrm"

# Ended from outside (timeout(1)), a benchmark ends its VMs, too: they are sessions of their own.
signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))

if not (BUILD / "benchmarks/count.so").exists():
    sys.exit("the benchmarks are not built: run `make bench-built` first")


def free_port(kind=socket.SOCK_STREAM):
    with socket.socket(socket.AF_INET, kind) as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class What:
    """A program to run: a static executable, a JAR, or a class path and a main class, with its arguments."""

    def __init__(self, program=None, jar=None, classpath=None, main=None, args=(), jvm=()):
        self.program, self.jar, self.classpath, self.main = program, jar, classpath, main
        self.args, self.jvm = [str(a) for a in args], list(jvm)

    def moka(self):
        options = [word for option in self.jvm for word in ("-J", option)]
        if self.program:
            return options + ["--exec", str(self.program), *self.args]
        if self.jar:
            return options + [str(self.jar), *self.args]
        return options + ["--classpath", self.classpath, "--main", self.main, "--", *self.args]

    def linux(self):
        options = [word for option in self.jvm for word in ("-J", option)]
        if self.program:
            return [str(self.program), *self.args]
        if self.jar:
            return options + ["--java", str(self.jar), *self.args]
        return options + ["--java", "--classpath", self.classpath, "--main", self.main, "--", *self.args]


def command(guest, what, cpus=1, memory=1024, ports=(), squeeze=False, count=None, counted=False):
    """The command line for WHAT on GUEST ("moka" or "linux"). PORTS: "HOST:GUEST[/udp]". SQUEEZE: all vCPUs on the host's
    CPU 0. COUNT: file for lib/count.c's figures. COUNTED: one instruction is one nanosecond."""
    publish = [word for p in ports for word in ("-p", p)]
    extra = ["-plugin", f"{BUILD}/benchmarks/count.so,out={count}"] if count else []
    pin = ["taskset", "-c", "0"] if squeeze else []
    if guest == "linux":
        return pin + [str(TOP / "benchmarks/linux-guest/run"), *(["--counted"] if counted else []), "--cpu", CPU, "-m",
                      str(memory), "-c", str(cpus), *publish, *[w for e in extra for w in ("--qemu", e)], *what.linux()]
    still = ["--idle-poll", "0"] if count else []  # looking for work is idle time, which counts nothing
    done = subprocess.run([BUILD / "moka", "run", *still, "--dry-run", "--accel", "tcg", "-m", f"{memory}M", "-c", str(cpus),
                           *publish, *what.moka()], check=True, capture_output=True, text=True)
    line = shlex.split(done.stdout.strip().splitlines()[-1].replace("\\\n", " ")) + extra
    line[line.index("-cpu") + 1] = CPU
    if counted:
        line[line.index("-accel") + 1] = "tcg"
        line += ["-icount", "shift=0,sleep=off"]
    return pin + line


def output(guest, what, timeout=600, **options):
    """Runs WHAT to its end; its standard output."""
    with subprocess.Popen(command(guest, what, **options), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.DEVNULL, text=True, start_new_session=True) as vm:
        try:
            return vm.communicate(timeout=timeout)[0]
        finally:
            stop(vm)


def stop(vm):
    """Ends a VM and the shell around it: a session of its own."""
    try:
        os.killpg(vm.pid, signal.SIGTERM)
        vm.wait(timeout=10)
    except ProcessLookupError:
        pass
    except subprocess.TimeoutExpired:
        os.killpg(vm.pid, signal.SIGKILL)


def cpu_seconds(session):
    """CPU time so far of all processes of a session: of one VM."""
    ticks = 0
    for stat in pathlib.Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(fields[3]) == session:
            ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def instructions_of(file):
    """What lib/count.c has written to FILE so far: instructions (of programs, of the kernel)."""
    return struct.unpack("<QQ", os.pread(file.fileno(), 16, 0))


def phases(guest, what, timeout=900, counting=False, **options):
    """Runs WHAT to its end. It prints `begin NAME`, and `end NAME COUNT [SECONDS]` when it has done COUNT operations (in
    SECONDS of its own clock): a dictionary of operations per second of the host's clock, and per second of CPU time
    that the VM got from the host. The latter does not mind other work on the host, as long as the VM has always
    something to do. Counted, only operations per 10^9 instructions make sense. COUNTING: instructions per operation
    instead (lib/count.c), of programs and of the kernel; with several vCPUs only when they share one CPU of the host."""
    if counting:
        with tempfile.NamedTemporaryFile() as file:
            return run_phases(guest, what, timeout, file, **options | {"count": file.name})
    return run_phases(guest, what, timeout, None, **options)


def run_phases(guest, what, timeout, file, **options):
    result, started = {}, {}
    with subprocess.Popen(command(guest, what, **options), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, start_new_session=True) as vm:
        watchdog = threading.Timer(timeout, stop, [vm])
        watchdog.start()
        said = []
        for line in vm.stdout:
            words = line.split()
            if words[:1] == ["begin"] and len(words) == 2:
                started[words[1]] = time.monotonic(), cpu_seconds(vm.pid), file and instructions_of(file)
            elif words[:1] == ["end"] and len(words) == 4 and options.get("counted"):
                result[f"{words[1]} /G instr"] = float(words[2]) / float(words[3])
            elif words[:1] == ["end"] and len(words) >= 3 and words[1] in started and file:
                for whose, before, after in zip(("program", "kernel"), started[words[1]][2], instructions_of(file)):
                    result[f"{words[1]} {whose} instr"] = (after - before) / float(words[2])
            elif words[:1] == ["end"] and len(words) >= 3 and words[1] in started:
                wall, cpu, _ = started[words[1]]
                result[f"{words[1]} /s"] = float(words[2]) / (time.monotonic() - wall)
                result[f"{words[1]} /CPU s"] = float(words[2]) / max(cpu_seconds(vm.pid) - cpu, 0.01)
            else:
                said.append(line)
        watchdog.cancel()
    if not result:
        raise RuntimeError(f"no figures on {guest}: {''.join(said)[-1000:]}")
    return result


def figures(text):
    """The `NAME VALUE UNIT` lines of a program as a dictionary."""
    return {m[1]: float(m[2]) for m in re.finditer(r"^(\w+) (-?[\d.]+) \S+\s*$", text, re.M)}


class Server:
    """A VM that serves until the `with` block ends; it has printed a line with READY when the block begins."""

    def __init__(self, guest, what, ready="listening", timeout=300, counting=False, **options):
        self.file = tempfile.NamedTemporaryFile() if counting else None
        self.line = command(guest, what, count=self.file.name if counting else None, **options)
        self.ready, self.timeout, self.text, self.is_ready = ready, timeout, [], threading.Event()

    def __enter__(self):
        self.vm = subprocess.Popen(self.line, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                   text=True, start_new_session=True)
        threading.Thread(target=self.read, daemon=True).start()
        if not self.is_ready.wait(self.timeout) or self.vm.poll() is not None:
            stop(self.vm)
            raise RuntimeError(f"the server did not start: {''.join(self.text)[-500:]}")
        return self

    def read(self):
        for line in self.vm.stdout:
            self.text.append(line)
            if self.ready in line:
                self.is_ready.set()
        self.is_ready.set()

    def instructions(self):
        """Instructions so far: (programs, kernel)."""
        return instructions_of(self.file)

    def __exit__(self, *error):
        stop(self.vm)
        self.vm.stdout.close()


@contextlib.contextmanager
def company(count, cpu=0):
    """COUNT busy loops on the host's CPU while the block runs, each in a session of its own: to a scheduler that shares
    a CPU among sessions each is worth a whole VM."""
    loops = [subprocess.Popen(["taskset", "-c", str(cpu), "sh", "-c", "while :; do :; done"], start_new_session=True)
             for _ in range(count)]
    try:
        yield
    finally:
        for loop in loops:
            loop.kill()
            loop.wait()


def in_turn(runs, measure):
    """Calls MEASURE(guest), which gives a dictionary of figures, RUNS times for each guest in turn; the medians."""
    samples = {guest: [] for guest in GUESTS}
    for _ in range(runs):
        for guest in GUESTS:
            samples[guest].append(measure(guest))
    return {guest: {name: statistics.median(s[name] for s in all_of if name in s) for name in all_of[0]}
            for guest, all_of in samples.items()}


def table(medians, unit=""):
    print(f"{'figure':34}{'Linux guest':>14}{'Moka':>14}{'Moka / Linux':>14}")
    for name, linux in medians["linux"].items():
        moka = medians["moka"].get(name)
        shown = "missing" if moka is None else f"{moka:14.1f}{moka / linux if linux else float('nan'):14.2f}"
        print(f"{name:34}{linux:14.1f}{shown}{unit}", flush=True)


def settle(seconds=1):
    time.sleep(seconds)
