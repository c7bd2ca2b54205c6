"""A TCP peer made of single frames: it sends the segments it is told to, and says what was acknowledged, and when."""
import time

from hostile import ACK, PSH, RST, Hostile, tcp
from netlib import Late

MSS, PATIENCE = 1460, 20


class Peer(Hostile):
    def __init__(self, interface, source_port):
        super().__init__(interface)
        self.port, self.seq = source_port, 1001
        self.ack = self.handshake(source_port, self.seq - 1)

    def segment(self, flags, data=b"", seq=None):
        self.put4(tcp(flags, self.seq if seq is None else seq, self.ack, data, self.port), 6)

    def send(self, data):
        """The next bytes of the stream."""
        self.segment(ACK | PSH, data)
        self.seq += len(data)

    def acknowledgements(self, upto=None, count=None):
        """[(seconds from now, acknowledged)] until UPTO is, or COUNT have come, or PATIENCE ends."""
        begin, seen = time.monotonic(), []
        while len(seen) != count and (left := begin + PATIENCE - time.monotonic()) > 0:
            answer = self.answer(self.port, left)
            if answer:
                seen.append((time.monotonic() - begin, answer[1]))
                if answer[1] == upto:
                    break
        return seen

    def close(self):
        self.segment(RST | ACK)
        super().close()


def acknowledged(interface, rounds=20, burst=12):
    """In order: everything, once, at the latest by the timer. Behind a gap: the gap, for each segment; what fills it, at once (RFC 5681, 4.2)."""
    peer = Peer(interface, 3210)
    block, filled, single = bytes(MSS), [], []
    peer.send(b"S %d\n" % (rounds * (burst + 5 + 1) * MSS))
    peer.acknowledgements(peer.seq)
    for _ in range(rounds):
        for _ in range(burst):
            peer.send(block)
        seen = [ack for _, ack in peer.acknowledgements(peer.seq)]
        assert seen[-1:] == [peer.seq], f"{peer.seq} was not acknowledged: {seen}"
        assert seen == sorted(set(seen)), f"acknowledged twice: {seen}"

        gap = peer.seq
        for i in range(1, 5):
            peer.segment(ACK, block, gap + i * MSS)
        seen = [ack for _, ack in peer.acknowledgements(count=4)]
        assert seen == [gap] * 4, f"4 segments behind {gap}: {seen}"
        peer.segment(ACK, block)
        peer.seq = gap + 5 * MSS
        took, seen = zip(*peer.acknowledgements(peer.seq) or [(PATIENCE, None)])
        assert list(seen) == [peer.seq], f"the gap was filled up to {peer.seq}: {seen}"
        filled.append(took[0])

        peer.send(block)
        took, seen = zip(*peer.acknowledgements(peer.seq) or [(PATIENCE, None)])
        assert list(seen) == [peer.seq], f"one segment up to {peer.seq}: {seen}"
        single.append(took[0])
    peer.close()
    fill, one = (sorted(times)[rounds // 2] for times in (filled, single))
    if fill >= 0.03:
        raise Late(f"a gap that was filled was acknowledged after {fill * 1000:.0f} ms, as late as any")
    if one >= 0.2:
        raise Late(f"one segment was acknowledged after {one * 1000:.0f} ms")
