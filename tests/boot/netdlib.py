"""Conversations with netd.c in a VM: every byte is looked at."""
import errno
import re
import select
import socket
import struct
import sys
import threading
import time
import zlib

from netlib import LIMIT, pattern

GUEST, PORT = "10.9.0.2", 7777


def connect(address=GUEST, timeout=LIMIT):
    s = socket.create_connection((address, PORT), timeout)
    s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return s


def ask(line, address=GUEST):
    with connect(address) as s:
        s.sendall(line.encode() + b"\n")
        return read_all(s)


def read_all(s):
    parts = []
    while part := s.recv(1 << 18):
        parts.append(part)
    return b"".join(parts)


def figures(text):
    """What netd's M sends, each number by its name."""
    return {name: int(value) for name, value in re.findall(r"^(\w+):? +(\d+)", text, re.M)}


def give(length, address=GUEST):
    got = ask(f"G {length}", address)
    assert got == pattern(length), f"{len(got)} of {length} bytes, or changed ones"


def give_file(length, at):
    """By sendfile(): the segments refer to the file's pages."""
    got = ask(f"F plain {length} {at}")
    assert got == pattern(length, at) + b"\n%d 0 0\n" % length, f"{len(got)} of {length} bytes, or changed ones"


def take(length, address=GUEST):
    body = pattern(length, 99)
    with connect(address) as s:
        s.sendall(f"S {length}\n".encode() + body)
        said = read_all(s)
    assert said == b"%d\n" % zlib.crc32(body), f"{length} bytes: {said}"


def urgent(rounds=4, address=GUEST):
    """Both ways; netd's answers are those of Linux (tests/abi/net_urgent.c)."""
    with connect(address) as s:
        s.sendall(b"U %d\n" % rounds)
        for i in range(rounds):
            s.send(b"ab")
            s.send(b"cU", socket.MSG_OOB)
            s.send(b"de")
            want, got = (b"U abc 1 de ", b"- abc 1 Ude ")[i & 1], b""
            while len(got) < len(want) and (part := s.recv(100)):
                got += part
            assert got == want, f"round {i}: {got}, not {want}"
            poll = select.poll()
            poll.register(s, select.POLLPRI)
            assert poll.poll(LIMIT * 1000), "no urgent byte"
            s.settimeout(None)  # with one, Python waits for what poll() calls readable, which this is not
            assert s.recv(1, socket.MSG_OOB) == b"x", "the urgent byte"
            s.settimeout(LIMIT)


def reset_behind_bytes():
    """Bytes that came before a reset are read first, then the error, once; so it is on Linux."""
    with connect() as s:
        s.sendall(b"X\n")
        assert s.recv(1) == b"!"
        s.sendall(b"0123456789")
        time.sleep(0.05)
        s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    want, end = f"10 0\n-1 {errno.ECONNRESET}\n0 0\n".encode(), time.monotonic() + LIMIT
    while (got := ask("Y")) != want and time.monotonic() < end:
        time.sleep(0.05)
    assert got == want, got


def wait_until(condition, what):
    end = time.monotonic() + LIMIT
    while not condition():
        assert time.monotonic() < end, what
        time.sleep(0.02)


def joined(count=20, size=500):
    """UDP_GRO: what comes in datagrams of one size, and a smaller one, is echoed in as many or fewer, each byte once."""
    ask("J 1")
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
            s.settimeout(20)
            s.connect((GUEST, PORT))
            for sizes in [size] * count, [size] * count + [7], [1, 0, 0, 2, 2, 1]:
                parts = [pattern(n, i) for i, n in enumerate(sizes)]
                for part in parts:
                    s.send(part)
                got, most = b"", 0
                while len(got) < sum(sizes):
                    part = s.recv(1 << 16)
                    got, most = got + part, max(most, len(part))
                assert got == b"".join(parts), f"{sizes}: other bytes"
                print(f"{len(sizes)} datagrams: at most {most} bytes at once", file=sys.stderr)
    finally:
        ask("J 0")


def low_water():
    """SO_RCVLOWAT, TCP_NOTSENT_LOWAT: netd.c, low_water()."""
    with connect() as s:
        s.sendall(b"W\n")
        assert s.recv(1) == b"!"
        s.sendall(b"123456")
        assert not select.select([s], [], [], 0.2)[0], "readable by 6 bytes of 10"
        s.sendall(b"789012")
        assert s.recv(100) == b"12\n"
        for part in b"abc", b"def", b"ghi":
            s.sendall(part)
            assert not select.select([s], [], [], 0.1)[0], "9 bytes of 10 were enough"
        s.sendall(b"jkl")
        assert s.recv(3) == b"12\n"
        wait_until(lambda: ask("Y").count(b" ") == 1, "never full")
        writable, unsent = map(int, ask("Y").split())
        assert writable == 0 and 20000 <= unsent < 90000, (writable, unsent)
        assert read_all(s).endswith(b"end")


def deferred():
    """TCP_DEFER_ACCEPT: accepted are those who send, or who have waited."""
    ask("D 2")
    accepted = lambda: int(ask("A"))  # is one itself
    try:
        before = accepted()
        with connect() as silent, connect() as s, connect() as gone:
            assert accepted() == before + 1, "accepted who had sent nothing"
            s.sendall(b"E\nx")
            assert s.recv(1) == b"x"
            gone.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            gone.close()
            assert accepted() == before + 3
            asked = 3
            def came():
                nonlocal asked
                asked += 1
                return accepted() == before + asked + 1
            wait_until(came, "who says nothing is never accepted")
            silent.sendall(b"E\ny")
            assert silent.recv(1) == b"y"
    finally:
        ask("D 0")


def echo(length, address=GUEST):
    body = pattern(length, 5)
    with connect(address) as s:
        sender = threading.Thread(target=lambda: (s.sendall(b"E\n" + body), s.shutdown(socket.SHUT_WR)))
        sender.start()
        got = read_all(s)
        sender.join()
    assert got == body, f"{len(got)} of {length} bytes came back, or changed"


def datagrams(sizes, address=GUEST):
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as s:
        s.settimeout(20)
        s.connect(socket.getaddrinfo(address, PORT, type=socket.SOCK_DGRAM)[0][4])
        for size in sizes:
            s.send(pattern(size, size))
            try:
                got = s.recv(1 << 16)
            except TimeoutError:
                raise AssertionError(f"a datagram of {size} bytes to {address} did not come back") from None
            assert got == pattern(size, size), f"{size} bytes came back changed"
