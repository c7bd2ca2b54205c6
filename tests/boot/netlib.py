"""What the network tests share: a VM that listens, ports, the pattern of tests/java/servers, and `ok` lines."""
import os
import pathlib
import re
import shlex
import socket
import subprocess
import sys
import tempfile
import threading
import time

TOP = pathlib.Path(__file__).resolve().parents[2]
MOKA = str(TOP / "build/moka")
JAVA = "/usr/lib/jvm/java-17-openjdk-amd64/bin/java"
SERVERS = str(TOP / "build/tests/java/servers.jar")
JARS = ":".join(f"/usr/share/java/{name}.jar" for name in [
    "tomcat10-embed-core", "netty-buffer", "netty-codec", "netty-codec-http", "netty-common", "netty-handler",
    "netty-resolver", "netty-transport"])
LIMIT = 400  # seconds one step may take on a busy machine: a new image's runtime has to be linked


def pattern_block():
    x, block = 12345, bytearray()
    for _ in range(65521):
        x = (x * 1103515245 + 12345) & 0xffffffff
        block.append(x >> 16 & 0xff)
    return bytes(block)


PATTERN = pattern_block()


def pattern(length, start=0):
    start %= len(PATTERN)
    return (PATTERN * ((start + length) // len(PATTERN) + 1))[start:start + length]


def free_port(kind=socket.SOCK_STREAM):
    with socket.socket(socket.AF_INET, kind) as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Late(AssertionError):
    """Something took too long: perhaps the host's fault."""


def patiently(body, *arguments, tries=6):
    """Runs what judges times: it must be in time once. A busy host may spoil some tries, what always waits spoils all."""
    for tried in range(1, tries + 1):
        try:
            return body(*arguments)
        except Late as late:
            if tried == tries:
                raise
            print(f"try {tried}: {late}", file=sys.stderr, flush=True)


class Vm:
    """`moka run` with these words; its standard error goes to a file. End it with finish() or kill()."""

    def __init__(self, *words, stdin=subprocess.DEVNULL, limit=1800, command=None):
        self.err = tempfile.TemporaryFile()
        self.process = subprocess.Popen(list(map(str, command or [MOKA, "run", *words])), stdin=stdin,
                                        stdout=subprocess.PIPE, stderr=self.err)
        self.timer = threading.Timer(limit, self.process.kill)
        self.timer.daemon = True
        self.timer.start()

    def line(self):
        slow = threading.Timer(LIMIT, self.process.terminate)
        slow.start()
        try:
            return self.process.stdout.readline().decode(errors="replace").rstrip("\n")
        finally:
            slow.cancel()

    def expect(self, wanted):
        got = self.line()
        if got != wanted:
            self.kill()
            raise AssertionError(f"the VM said {got!r}, not {wanted!r}: {self.said()}")

    def said(self):
        self.err.seek(0)
        return self.err.read()[-800:].decode(errors="replace")

    def finish(self, status=0):
        try:
            got = self.process.wait(LIMIT)
        except subprocess.TimeoutExpired:
            got = "still running"
        self.kill()
        assert got == status, f"status {got}: {self.said()}"

    def kill(self):
        self.timer.cancel()
        if self.process.poll() is None:
            self.process.terminate()  # moka ends its VM
            try:
                self.process.wait(5)
            except subprocess.TimeoutExpired:
                self.process.kill()
        self.process.stdout.close()


class MonitoredVm(Vm):
    """The same, and QEMU's monitor listens. `changed`, a function of a word, may change QEMU's command line."""

    def __init__(self, *words, changed=lambda word: word, **more):
        self.directory = tempfile.TemporaryDirectory(prefix="moka-monitor.")
        self.monitor = os.path.join(self.directory.name, "monitor")
        line = subprocess.run([MOKA, "run", "--dry-run", *map(str, words)], check=True, capture_output=True, text=True).stdout
        super().__init__(command=[*map(changed, shlex.split(line)), "-monitor", f"unix:{self.monitor},server=on,wait=off"],
                         **more)

    def ask_qemu(self, line):
        with socket.socket(socket.AF_UNIX) as s:
            s.settimeout(LIMIT)
            s.connect(self.monitor)
            got = b""
            for text in b"", line.encode() + b"\n":
                s.sendall(text)
                got = b""
                while not got.endswith(b"(qemu) "):
                    part = s.recv(1 << 16)
                    assert part, "QEMU is gone"
                    got += part
        return got.decode(errors="replace")

    def kill(self):
        super().kill()
        self.directory.cleanup()


# ---- network namespaces ----

def enter_namespace():
    """Starts this script anew, with a network namespace of its own, unless that has been done."""
    if sys.argv[1:] != ["inside"]:
        script = os.path.abspath(sys.argv[0])
        os.execvp("unshare", ["unshare", "--user", "--map-root-user", "--net", sys.executable, script, "inside"])


def ip(words):
    subprocess.run(["ip", *words.split()], check=True)


def tap(name, kind=""):
    """A tap device; the VM at it has 52:54:00:12:34:56."""
    ip(f"tuntap add dev {name} mode tap {kind}")
    ip(f"link set {name} address fe:54:00:12:34:56")


def without_ipv6(name):
    with open(f"/proc/sys/net/ipv6/conf/{name}/disable_ipv6", "w") as f:
        f.write("1\n")


class Results:
    """Prints a line a test. ONLY in the environment, a regular expression, chooses some."""
    failed = False

    def run(self, name, body, *arguments):
        if not re.search(os.environ.get("ONLY", ""), name) and not name.startswith(("vm", "namespace", "quit", "end")):
            return
        begin = time.time()
        try:
            body(*arguments)
            print(f"ok {name}", flush=True)
        except Exception as e:  # the next test may still tell something
            self.failed = True
            text = " ".join(str(e).split())
            print(f"not ok {name}: {type(e).__name__} {text}", flush=True)
        print(f"{name} took {time.time() - begin:.1f} s", file=sys.stderr, flush=True)

    def exit(self):
        sys.exit(self.failed)


def cpus_wanted(default="1 2 4"):
    return os.environ.get("CPUS", default).split()
