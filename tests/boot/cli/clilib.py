"""What the tests of the `moka` command share: a place of their own, fake-qemu, how the command is run, and how tests are."""
import os
import pathlib
import shlex
import shutil
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
TOP = HERE.parents[2]
MOKA = os.environ.get("MOKA", str(TOP / "build/moka"))
HELLO = str(TOP / "build/examples/Hello.jar")
JDK = "/usr/lib/jvm/java-17-openjdk-amd64"
tmp = pathlib.Path(tempfile.mkdtemp(prefix="moka-cli."))
env = dict(os.environ, XDG_CACHE_HOME=str(tmp / "cache"), JAVA_HOME=JDK)
env.pop("LD_LIBRARY_PATH", None)
fake = tmp / "fake-bin"
fake.mkdir()
os.symlink(HERE / "fake-qemu", fake / "qemu-system-x86_64")
kernel = tmp / "kernel"
kernel.write_bytes(b"not booted here")
TESTS = []


def test(function):
    TESTS.append(function)
    return function


def moka(*args, environ=None, before=(), **more):
    """BEFORE: words of a command that runs ours."""
    more.setdefault("stdin", subprocess.DEVNULL)
    return subprocess.run([*map(str, before), MOKA, *map(str, args)], env=environ or env, capture_output=True,
                          text=more.pop("text", True), timeout=300, check=False, **more)


def fails(*args, says, environ=None, status=125, **more):
    """The command ends with the status after one line on standard error that holds the words."""
    done = moka(*args, environ=environ, **more)
    lines = done.stderr.splitlines()
    assert done.returncode == status, f"status {done.returncode}: {done.stderr}"
    assert len(lines) == 1 and lines[0].startswith("moka: "), f"not one line: {done.stderr!r}"
    for word in [says] if isinstance(says, str) else says:
        assert word in lines[0], f"{word!r} is not in {lines[0]!r}"
    assert done.stdout == "", f"something on standard output: {done.stdout!r}"


def dry(*args, **more):
    done = moka("run", "--kernel", kernel, "--dry-run", *args, **more)
    assert done.returncode == 0, done.stderr
    return shlex.split(done.stdout)


def value(line, option):
    return line[line.index(option) + 1]


def image_of(line):
    drive = next(w for w in line if w.startswith("id=root"))
    return drive.split("file=")[1].replace(",,", ",")


def fake_environment(vm):
    """fake-qemu as QEMU, and what it is to do."""
    return dict(env, FAKE_VM=vm, PATH=f"{fake}:{env['PATH']}")


def run_chosen(prefix, suffix="", tests=None):
    """Those that the command line names, or all. Has any failed?"""
    failed = False
    for t in TESTS if tests is None else tests:
        if sys.argv[1:] and t.__name__ not in sys.argv[1:]:
            continue
        name = prefix + t.__name__.replace("_", "-") + suffix
        try:
            t()
            print(f"ok {name}", flush=True)
        except Exception as e:  # whatever went wrong is the test's result
            failed = True
            print(f"not ok {name}: {type(e).__name__} {str(e)[:1500]}".replace("\n", "\\n"), flush=True)
    return failed


def end(failed):
    """Ends the process."""
    subprocess.run(["chmod", "-R", "u+w", tmp], check=False, stderr=subprocess.DEVNULL)
    shutil.rmtree(tmp, ignore_errors=True)
    sys.exit(failed)


def run_tests(prefix):
    end(run_chosen(prefix))
