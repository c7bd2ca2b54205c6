"""Java programs whose whole output and status count: each runs on the host's java and on Moka and must look the same."""
import os
import tempfile
import threading
import time

WORDS = ["one", "two words", "", "qu'ote\"s", "$HOME *", "tab\there", "ümläut €", "100%", "--flag=-x", "a\\b"]

# name, options of moka, arguments of the program; "status" compares the exit status alone.
RUNS = [
    ("hello", [], ["hello"]),
    ("arguments", [], ["arguments", *WORDS]),
    ("environment", ["-e", "GREETING=hello you", "-e", "EMPTY=", "-J-Dsome.property=a b"], ["environment"]),
    ("exit-0", [], ["exit", "0"]),
    ("exit-3", [], ["exit", "3"]),
    ("exit-255", [], ["exit", "255"]),
    ("halt", [], ["halt", "9"]),
    ("uncaught", [], ["uncaught"]),
    ("uncaught-in-thread", [], ["uncaught-in-thread"]),
    ("hooks", [], ["hooks"]),
    ("last-thread", [], ["last-thread"]),
    ("streams", [], ["streams"]),
    ("abort status", [], ["abort"]),
]


def host_environment(options):
    return dict(zip([o.split("=", 1)[0] for o in options if "=" in o and not o.startswith("-")],
                    [o.split("=", 1)[1] for o in options if "=" in o and not o.startswith("-")]))


host_lock = threading.Lock()
host_results = {}


def on_host(t, log, options, arguments, **more):
    """Once for all numbers of CPUs."""
    jar, key = t.BUILD / "tests/java/hello.jar", (*options, "", *arguments, *more)
    with host_lock, tempfile.TemporaryDirectory() as d:
        if key not in host_results:
            host_results[key] = t.execute(log, t.host_java(options, jar, arguments), t.VM_LIMIT, cwd=d,
                                          env=dict(host_environment(options), LC_ALL="C.UTF-8"), **more)
        return host_results[key]


def on_moka(t, log, cpus, options, arguments, **more):
    return t.vm(log, cpus, options, [t.BUILD / "tests/java/hello.jar"], arguments, memory="256M", **more)


def compare(t, wanted, got, status_only=False):
    if not status_only and wanted.out != got.out:
        lines = [x.out.decode(errors="replace").splitlines() for x in (wanted, got)]
        return "%s; %s" % (t.first_difference(*lines), t.why_of(got))
    if t.host_status(wanted.status) != t.host_status(got.status):
        return "wanted status %s, got %s" % (t.host_status(wanted.status), t.why_of(got))
    if not status_only and b"Exception" in wanted.err and wanted.err.strip() not in got.err:
        return "the stack trace differs"
    if not status_only and b"to err" in wanted.err and got.err != wanted.err:
        return "standard error differs"
    return None


def stdin_bytes():
    return b"".join(b"line %d of the input\r\n\x00\xff" % i for i in range(150_000))


def hello(t, log, cpus):
    """Yields the results of every run; t is the runner's module."""
    prefix = "java/hello@%s/" % (cpus or "host")

    def both(options, arguments, **more):
        wanted = on_host(t, log, options, arguments, **more)
        if "stdin" in more:
            more["stdin"].seek(0)
        return wanted, wanted if cpus is None else on_moka(t, log, cpus, options, arguments, **more)

    for name, options, arguments in RUNS:
        yield prefix + name.split()[0], compare(t, *both(options, arguments), name.endswith("status"))
    with tempfile.TemporaryFile() as f:
        f.write(stdin_bytes())
        f.seek(0)
        yield prefix + "stdin", compare(t, *both([], ["stdin"], stdin=f))
    yield prefix + "stdin-at-end", compare(t, *both([], ["stdin"]))
    wanted, got = both([], ["big", "100"])
    if len(wanted.out) == len(got.out) == 100_000_000 and wanted.out == got.out and got.status == 0:
        yield prefix + "stdout-100MB", None
    else:
        at = next((i for i in range(0, len(wanted.out), 4096) if wanted.out[i:i + 4096] != got.out[i:i + 4096]), None)
        yield prefix + "stdout-100MB", "%d bytes, differs near %s; %s" % (len(got.out), at, t.why_of(got))
    begin = time.time()
    got = on_host(t, log, [], ["clock"]) if cpus is None else on_moka(t, log, cpus, [], ["clock"])
    text = got.out.split()
    # The program ran between begin and now: its clock may be off by one second on either side.
    good = len(text) == 2 and begin - 1 <= int(text[1]) / 1000 <= time.time() + 1
    yield prefix + "clock", None if good else "%r at %.1f; %s" % (got.out, begin, t.why_of(got))
