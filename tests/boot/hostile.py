"""Frames that no honest neighbour sends, onto an interface that a VM's network is bridged to. Each kind is a function that
sends some; the VM must neither panic nor keep memory, and go on to serve others. Numbers come from a fixed seed."""
import random
import socket
import struct
import time

GUEST_MAC, GUEST = bytes.fromhex("525400123456"), "10.9.0.2"
MAC, SELF = bytes.fromhex("020000000066"), "10.9.0.66"
PORT = 7777
FIN, SYN, RST, PSH, ACK, URG = 1, 2, 4, 8, 16, 32


def checksum(data):
    if len(data) & 1:
        data += b"\0"
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xffff) + (total >> 16)
    return total ^ 0xffff


def packed(ip):
    return socket.inet_pton(socket.AF_INET6 if ":" in ip else socket.AF_INET, ip)


def ethernet(body, kind=0x0800, source=MAC, to=GUEST_MAC):
    return to + source + struct.pack("!H", kind) + body


def ipv4(body, protocol, source=SELF, to=GUEST, ident=1, fragment=0, length=None, header_words=5, ttl=64, options=b"", version=4):
    head = struct.pack("!BBHHHBBH4s4s", version << 4 | header_words, 0, 20 + len(options) + len(body) if length is None else length,
                       ident, fragment, ttl, protocol, 0, packed(source), packed(to)) + options
    return head[:10] + struct.pack("!H", checksum(head)) + head[12:] + body


def pseudo(source, to, protocol, body):
    if ":" in source:
        return packed(source) + packed(to) + struct.pack("!II", len(body), protocol) + body
    return packed(source) + packed(to) + struct.pack("!BBH", 0, protocol, len(body)) + body


def tcp(flags, seq=0, ack=0, data=b"", source_port=1000, port=PORT, window=65535, options=b"", offset=None, source=SELF,
        to=GUEST, bad=0, urgent=0):
    words = 5 + len(options) // 4 if offset is None else offset
    head = struct.pack("!HHIIBBHHH", source_port, port, seq & 0xffffffff, ack & 0xffffffff, words << 4 & 0xff, flags, window, 0, urgent)
    body = head + options + data
    body = body[:16] + struct.pack("!H", (checksum(pseudo(source, to, 6, body)) + bad) & 0xffff) + body[18:]
    return body


def udp(data, port=PORT, source_port=2000, length=None, source=SELF, to=GUEST, sum_=None):
    head = struct.pack("!HHHH", source_port, port, 8 + len(data) if length is None else length, 0)
    total = checksum(pseudo(source, to, 17, head + data)) or 0xffff if sum_ is None else sum_
    return head[:6] + struct.pack("!H", total) + data


def icmp(kind, code, rest, bad=0):
    body = struct.pack("!BBH", kind, code, 0) + rest
    return body[:2] + struct.pack("!H", checksum(body) ^ bad) + body[4:]


def ipv6(body, next_header, source="fe80::66", to="fe80::5054:ff:fe12:3456", length=None, hops=255):
    return struct.pack("!IHBB", 6 << 28, len(body) if length is None else length, next_header, hops) + packed(source) + packed(to) + body


def icmp6(kind, code, rest, source="fe80::66", to="fe80::5054:ff:fe12:3456"):
    body = struct.pack("!BBH", kind, code, 0) + rest
    return body[:2] + struct.pack("!H", checksum(pseudo(source, to, 58, body))) + body[4:]


def arp(operation=1, sender=SELF, target=GUEST, hardware=1, protocol=0x0800, sizes=(6, 4), sender_mac=MAC):
    return struct.pack("!HHBBH", hardware, protocol, *sizes, operation) + sender_mac + packed(sender) + bytes(6) + packed(target)


class Hostile:
    def __init__(self, interface):
        self.socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
        self.socket.bind((interface, 0))
        self.random = random.Random(20)

    def close(self):
        self.socket.close()

    def kinds(self):
        return [(name[5:].replace("_", "-"), getattr(self, name)) for name in sorted(dir(self)) if name.startswith("send_")]

    def put(self, frame):
        try:
            self.socket.send(frame)
        except OSError:  # too short or too long for the interface
            pass

    def put4(self, body, protocol, **more):
        self.put(ethernet(ipv4(body, protocol, **more)))

    def put6(self, body, next_header, **more):
        self.put(ethernet(ipv6(body, next_header, **more), 0x86dd))

    # ---- kinds ----

    def send_arp(self):
        for sizes in (0, 0), (255, 255), (6, 16), (1, 4):
            self.put(ethernet(arp(sizes=sizes), 0x0806))
        for operation in 0, 3, 8, 65535:
            self.put(ethernet(arp(operation), 0x0806))
        for n in range(28):
            self.put(ethernet(arp()[:n], 0x0806))
        self.put(ethernet(arp(hardware=7), 0x0806))
        self.put(ethernet(arp(protocol=0x86dd), 0x0806))
        self.put(ethernet(arp(2, sender=GUEST), 0x0806))  # "your address is mine"
        self.put(ethernet(arp(2, sender="255.255.255.255", sender_mac=b"\xff" * 6), 0x0806))
        self.put(ethernet(arp(2, sender="0.0.0.0"), 0x0806))
        for i in range(2000):  # a table of neighbours has an end
            self.put(ethernet(arp(1, sender=f"10.9.0.{100 + i % 150}", sender_mac=struct.pack("!HI", 0x0200, i)), 0x0806))

    def send_garbage(self):
        for i in range(3000):
            kind = self.random.choice([0x0800, 0x86dd, 0x0806, 0x8100, 0, 46, 1500, 0xffff])
            self.put(ethernet(self.random.randbytes(self.random.randrange(1500)), kind))
        for i in range(3000):  # headers that begin well
            protocol = self.random.choice([0, 1, 2, 6, 17, 41, 58, 255])
            self.put4(self.random.randbytes(self.random.randrange(200)), protocol)
            self.put6(self.random.randbytes(self.random.randrange(200)), protocol)

    def send_ip_headers(self):
        whole = tcp(SYN)
        for words in range(16):
            self.put4(whole, 6, header_words=words)
        for length in 0, 1, 19, 20, 21, 39, 41, 1500, 65535:
            self.put4(whole, 6, length=length)
        for version in 0, 3, 5, 6, 15:
            self.put4(whole, 6, version=version)
        for source in "0.0.0.0", "255.255.255.255", "127.0.0.1", "224.0.0.1", GUEST:
            self.put4(tcp(SYN, source=source), 6, source=source)
            self.put4(udp(b"x", source=source), 17, source=source)
        for to in "255.255.255.255", "127.0.0.1", "10.9.0.255", "10.9.0.3", "224.0.0.1":
            self.put4(tcp(SYN, to=to), 6, to=to)
        self.put4(whole, 6, ttl=0)
        for options in b"\x44\0\0\0", b"\x83\xff\0\0", b"\x07\x27" + bytes(38), b"\x94\x04\0\0":
            self.put4(whole, 6, options=options, header_words=5 + len(options) // 4)
        for n in range(len(ipv4(whole, 6))):
            self.put(ethernet(ipv4(whole, 6)[:n]))
        for n in range(60):
            self.put(ethernet(ipv6(tcp(SYN), 6)[:n], 0x86dd))

    def send_fragments(self):
        body = bytes(range(256)) * 10
        for ident in range(300):  # first parts that nothing follows
            self.put4(body[:800], 17, ident=ident, fragment=0x2000)
        for ident in range(300, 500):  # last parts without a first
            self.put4(body[:800], 17, ident=ident, fragment=100)
        for ident in range(500, 600):  # overlapping, each way
            self.put4(body[:800], 17, ident=ident, fragment=0x2000)
            self.put4(body[:800], 17, ident=ident, fragment=0x2000 | 50)
            self.put4(body[:16], 17, ident=ident, fragment=0x2000 | 3)
            self.put4(body[:400], 17, ident=ident, fragment=20)
        for ident in range(600, 700):  # beyond 65,535; of no length; of odd lengths
            self.put4(body[:1400], 17, ident=ident, fragment=8191)
            self.put4(b"", 17, ident=ident, fragment=0x2000 | 8)
            self.put4(body[:13], 17, ident=ident, fragment=0x2000)
        for ident in range(700, 720):  # all of a datagram that is longer than it may be
            for at in range(0, 66000, 1000):
                self.put4(body[:1000], 17, ident=ident, fragment=(0x2000 | at // 8) & 0x3fff)
        for ident in range(300):
            for offset, more in (0, 1), (8, 1), (0, 1), (65528, 0), (8, 0):
                self.put6(struct.pack("!BBHI", 17, 0, offset | more, ident) + body[:800], 44)
        time.sleep(1)

    def send_icmp(self):
        quoted = ipv4(tcp(SYN), 6, source=GUEST, to=SELF)
        for kind in range(256):
            self.put4(icmp(kind, 0, bytes(4) + quoted), 1)
            self.put4(icmp(kind, 255, b""), 1)
        for code in range(16):
            for n in range(0, len(quoted), 3):
                self.put4(icmp(3, code, bytes(4) + quoted[:n]), 1)
        for n in 0, 1, 3, 4, 7, 8, 1472:
            self.put4(icmp(8, 0, bytes(n)), 1)
            self.put4(icmp(8, 0, bytes(n), bad=1), 1)
        self.put4(icmp(8, 0, bytes(8)), 1, to="255.255.255.255")

    def send_ipv6(self):
        for n in range(0, 64, 4):
            self.put6(bytes([58, n]) + bytes(n * 8 + 6), 0)  # hop-by-hop, of any length
            self.put6(bytes([58, 255]) + bytes(n), 0)
            self.put6(bytes([6, 2, 0, 255]) + bytes(20), 43)
        for option in b"\xc2\4\0\1\0\0", b"\x05\xff\0\0\0\0", b"\1\xff\0\0\0\0", b"\x3e\0\0\0\0\0":
            self.put6(bytes([58, 0]) + option, 0)
        chain = tcp(SYN)
        for _ in range(150):
            chain = bytes([60, 0, 1, 4, 0, 0, 0, 0]) + chain
        self.put6(chain, 60)
        for length in 0, 1, 39, 65535:
            self.put6(tcp(SYN), 6, length=length)
        for kind in range(256):
            self.put6(icmp6(kind, 0, b""), 58)
            self.put6(icmp6(kind, 0, self.random.randbytes(40)), 58)
        target = packed("fe80::5054:ff:fe12:3456")
        for options in b"", b"\1\0" + bytes(6), b"\1\xff" + bytes(6), b"\1\1\xff\xff\xff\xff\xff\xff", b"\2", b"\2\1" + MAC:
            for kind in 135, 136:
                self.put6(icmp6(kind, 0, bytes(4) + target + options), 58)
                self.put6(icmp6(kind, 0, bytes(4) + target[:9] + options), 58)
            for prefix in 0, 64, 129, 255:
                information = struct.pack("!BBBBIII", 3, 4, prefix, 0xc0, 1, 1, 0) + self.random.randbytes(16)
                self.put6(icmp6(134, 0, struct.pack("!BBHII", 64, 0, 1, 0, 0) + options + information), 58)
        for i in range(500):  # neighbours, routers and prefixes without end
            source = f"fe80::{i + 1:x}"
            self.put6(icmp6(135, 0, bytes(4) + target + b"\1\1" + MAC, source), 58, source=source)
            self.put6(icmp6(134, 0, struct.pack("!BBHII", 64, 0, 1, 0, 0), source), 58, source=source)

    def send_dhcp(self):
        """Answers nobody asked for."""
        for i in range(200):
            options = b"\x63\x82\x53\x63" + self.random.choice([b"", b"\x35\1\5", b"\x35\xff", b"\x36\0", b"\x06\xfe", b"\x35\0\xff"])
            bootp = struct.pack("!BBBBI", 2, 1, 6, 0, i) + self.random.randbytes(self.random.randrange(240)) + options
            self.put4(udp(bootp, port=68, source_port=67), 17)
            self.put4(udp(bootp, port=68, source_port=67, to="255.255.255.255"), 17, to="255.255.255.255")

    def send_udp(self):
        for length in 0, 1, 7, 8, 9, 13, 14, 65535:
            self.put4(udp(b"hello", length=length), 17)
        for sum_ in 0, 1, 0xffff:
            self.put4(udp(b"hello", sum_=sum_), 17)
        for n in range(8):
            self.put4(udp(b"hello")[:n], 17)
        for port in range(1, 2000, 7):
            self.put4(udp(b"hello", port=port), 17)
        for i in range(3000):  # more than anybody reads
            self.put4(udp(bytes(1000)), 17)

    def send_tcp_headers(self):
        for flags in range(256):
            for port in PORT, 1, 0:
                self.put4(tcp(flags, 1, 1, port=port, source_port=3000 + flags), 6)
        for offset in range(16):
            self.put4(tcp(SYN, offset=offset, source_port=4000 + offset), 6)
            self.put4(tcp(ACK, 1, 1, b"data", offset=offset, source_port=4000 + offset), 6)
        for i in range(50):
            self.put4(tcp(SYN, bad=i + 1, source_port=4100 + i), 6)
        for options in (b"\2\0\0\0", b"\2\xff\5\xb4", b"\2\4\0\0", b"\3\0\0\0", b"\3\3\xff\0", b"\5\x0a\0\0" * 3, b"\xff\1\0\0", b"\1\1\1\2",
                        b"\x08\x0a\0\0", b"\x05\xfe" + bytes(34), b"\2\4\0\1", b"\x1e\x14" + bytes(18)):
            self.put4(tcp(SYN, options=options, source_port=4200), 6)
            self.put4(tcp(RST, 1, source_port=4200), 6)
        for n in range(20):
            self.put4(tcp(SYN)[:n], 6)
        self.put4(tcp(SYN, source=GUEST, source_port=PORT), 6, source=GUEST)  # land

    def answer(self, port, seconds=5):
        """What the guest sends to our port next: (seq, ack, flags); None: nothing."""
        end = time.time() + seconds
        while (left := end - time.time()) > 0:
            self.socket.settimeout(left)
            try:
                frame = self.socket.recv(2000)
            except TimeoutError:
                return None
            if frame[6:12] == GUEST_MAC and frame[12:14] == b"\x08\0" and frame[30:34] == packed(SELF) and len(frame) >= 54:
                to, seq, ack, flags = struct.unpack("!HIIxB", frame[36:48])
                if to == port:
                    return seq, ack, flags
        return None

    def handshake(self, port, seq):
        self.put(ethernet(arp(), 0x0806))  # where we are
        time.sleep(0.02)
        while self.answer(0, 0.01):
            pass
        for _ in range(3):
            self.put4(tcp(SYN, seq, source_port=port), 6)
            got = self.answer(port)
            if got and got[2] & (SYN | ACK) == SYN | ACK and got[1] == seq + 1:
                self.put4(tcp(ACK, seq + 1, got[0] + 1, source_port=port), 6)
                return got[0] + 1
        raise AssertionError("no answer to a SYN")

    def send_tcp_states(self):
        """Connections whose peer lies: overlaps, other data for the same bytes, numbers outside the window, a second SYN."""
        for i in range(20):
            port, seq = 5000 + i, 1000 * i + 1
            theirs = self.handshake(port, seq - 1)
            to = {"source_port": port}
            for start, data in (0, b"E\nab"), (2, b"XY"), (6, b"gh"), (4, b"efGH"), (1, b"Z" * 5), (8, b"ij" * 300), (3, b""), (20, b"k" * 100):
                self.put4(tcp(ACK | PSH, seq + start, theirs, data, **to), 6)
            for far in 70_000, 1 << 20, 1 << 30, 1 << 31, -1, -70_000, -(1 << 30):
                self.put4(tcp(ACK | PSH, seq + far, theirs, b"far", **to), 6)
                self.put4(tcp(ACK, seq + 8, theirs + far, **to), 6)
            self.put4(tcp(RST, seq + (1 << 30), **to), 6)
            self.put4(tcp(SYN, seq + 5, **to), 6)
            self.put4(tcp(SYN | ACK, seq + 5, theirs, **to), 6)
            self.put4(tcp(URG | ACK, seq + 8, theirs, b"u" * 10, urgent=65535, **to), 6)
            self.put4(tcp(ACK, seq + 8, theirs, window=0, **to), 6)
            for k in range(200):  # holes that are never filled
                self.put4(tcp(ACK, seq + 2000 + 200 * k, theirs, b"hole", **to), 6)
            self.put4(tcp(FIN | ACK, seq + 60_000, theirs, **to), 6)
            for end in range(0, 70_000, 1000):
                self.put4(tcp(RST | ACK, seq + end, theirs, **to), 6)
            self.put4(tcp(RST, seq + 8, **to), 6)
            for k in range(0, 1300, 1):
                if k in (1, 2, 4, 6, 8, 608, 618, 120):
                    self.put4(tcp(RST, seq + k, **to), 6)

    def send_syn_flood(self, pause=0.005):
        for i in range(20_000):
            source = f"10.9.{self.random.randrange(1, 255)}.{self.random.randrange(1, 255)}"
            self.put4(tcp(SYN, self.random.getrandbits(32), source_port=1024 + i % 60_000, source=source, options=b"\2\4\5\xb4"), 6, source=source)
            if i % 50 == 0:
                time.sleep(pause)
