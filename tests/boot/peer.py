"""A TCP peer made of single frames: it sends the segments it is told to, and says what was acknowledged, and when."""
import socket
import struct
import time

from hostile import ACK, GUEST, MAC, PORT, PSH, RST, SELF, SYN, arp, ethernet, ipv4, packed, tcp

MSS = 1460


class Peer:
    def __init__(self, interface, source_port, mss=MSS):
        self.socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
        self.socket.bind((interface, 0))
        self.port, self.seq, self.ack = source_port, 1000, 0
        self.put(SYN, options=struct.pack("!BBH", 2, 4, mss))
        self.seq += 1
        flags, seq, ack, _ = self.segment(5)
        assert flags == SYN | ACK and ack == self.seq, f"flags {flags:#x}, acknowledged {ack} instead of {self.seq}"
        self.ack = seq + 1 & 0xffffffff
        self.put(ACK)

    def put(self, flags, data=b"", seq=None, options=b""):
        body = tcp(flags, self.seq if seq is None else seq, self.ack, data, self.port, PORT, options=options)
        self.socket.send(ethernet(ipv4(body, 6)))

    def send(self, data):
        """The next bytes of the stream."""
        self.put(ACK | PSH, data)
        self.seq += len(data)

    def segment(self, patience):
        """(flags, sequence number, acknowledgement, length) of the next segment to us; None after PATIENCE seconds."""
        until = time.monotonic() + patience
        while (left := until - time.monotonic()) > 0:
            self.socket.settimeout(left)
            try:
                frame = self.socket.recv(4096)
            except TimeoutError:
                return None
            if frame[12:14] == b"\x08\x06" and frame[20:22] == b"\0\1" and frame[38:42] == packed(SELF):
                self.socket.send(ethernet(arp(2), 0x0806))
            if frame[:6] != MAC or frame[12:14] != b"\x08\0" or frame[23] != 6 or frame[26:30] != packed(GUEST):
                continue
            head = struct.unpack("!HHIIBB", frame[34:48])
            if head[1] == self.port:
                return head[5], head[2], head[3], struct.unpack("!H", frame[16:18])[0] - 20 - (head[4] >> 4) * 4
        return None

    def acknowledgements(self, upto, patience):
        """[(seconds from now, acknowledged)] until UPTO is, or PATIENCE ends."""
        begin, seen = time.monotonic(), []
        while (left := begin + patience - time.monotonic()) > 0:
            segment = self.segment(left)
            if segment:
                seen.append((time.monotonic() - begin, segment[2]))
                if segment[2] == upto:
                    break
        return seen

    def close(self):
        self.put(RST | ACK)
        self.socket.close()


def acknowledged(interface, rounds=20, burst=12):
    """In order: everything, once, at the latest by the timer. Behind a gap: the gap, for each segment (RFC 5681, 4.2)."""
    peer = Peer(interface, 3210)
    block = bytes(MSS)
    peer.send(b"S %d\n" % (rounds * (burst + 5 + 1) * MSS))
    peer.acknowledgements(peer.seq, 1)
    for _ in range(rounds):
        for _ in range(burst):
            peer.send(block)
        seen = [ack for _, ack in peer.acknowledgements(peer.seq, 1)]
        assert seen[-1:] == [peer.seq], f"{peer.seq} was not acknowledged: {seen}"
        assert seen == sorted(set(seen)), f"acknowledged twice: {seen}"

        gap = peer.seq
        for i in range(1, 5):
            peer.put(ACK, block, gap + i * MSS)
        seen = [ack for _, ack in peer.acknowledgements(None, 0.2)]
        assert seen == [gap] * 4, f"4 segments behind {gap}: {seen}"
        peer.put(ACK, block)
        peer.seq = gap + 5 * MSS
        seen = [ack for _, ack in peer.acknowledgements(peer.seq, 1)]
        assert seen == [peer.seq], f"the gap was filled up to {peer.seq}: {seen}"

        peer.send(block)
        seen = peer.acknowledgements(peer.seq, 1)
        assert len(seen) == 1 and seen[0][1] == peer.seq and seen[0][0] < 0.2, f"one segment up to {peer.seq}: {seen}"
    peer.close()
