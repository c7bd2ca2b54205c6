import java.net.DatagramPacket;
import java.net.DatagramSocket;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.PortUnreachableException;
import java.net.SocketAddress;
import java.net.SocketException;
import java.net.SocketTimeoutException;
import java.net.StandardSocketOptions;
import java.nio.ByteBuffer;
import java.nio.channels.AsynchronousCloseException;
import java.nio.channels.DatagramChannel;
import java.nio.channels.SelectionKey;
import java.nio.channels.Selector;
import java.util.Arrays;
import java.util.concurrent.CompletableFuture;

/** UDP. */
final class Datagrams {
    static void sockets() throws Exception {
        for (InetAddress at : new InetAddress[] {Main.V4, Main.V6})
            try (DatagramSocket a = new DatagramSocket(0, at); DatagramSocket b = new DatagramSocket(0, at)) {
                for (int size : new int[] {0, 1, 1472, 1473, 9000, 65507 - (at == Main.V6 ? 20 : 0)}) {
                    byte[] body = Main.bytes(size, size);
                    a.send(new DatagramPacket(body, size, b.getLocalSocketAddress()));
                    DatagramPacket p = new DatagramPacket(new byte[70000], 70000);
                    b.receive(p);
                    Suite.equal(size, p.getLength(), "its length");
                    Suite.check(Arrays.equals(body, Arrays.copyOf(p.getData(), size)), "its bytes");
                    Suite.equal(a.getLocalSocketAddress(), p.getSocketAddress(), "its sender");
                }
                a.send(new DatagramPacket(new byte[100], 100, b.getLocalSocketAddress()));
                DatagramPacket small = new DatagramPacket(new byte[10], 10);
                b.receive(small);
                Suite.equal(10, small.getLength(), "cut to the room there is");
                b.setSoTimeout(50);
                Suite.thrown(SocketTimeoutException.class, () -> b.receive(small));
                Suite.thrown(java.io.IOException.class, () -> a.send(new DatagramPacket(new byte[65536], 65536, b.getLocalSocketAddress())));
            }
        DatagramSocket waiting = new DatagramSocket(0, Main.V4);
        CompletableFuture<Void> receiving = Main.start(() -> {
            waiting.receive(new DatagramPacket(new byte[1], 1));
            return null;
        });
        Main.pause();
        waiting.close();
        Suite.check(Main.failure(receiving) instanceof SocketException, "close ends receive");
    }

    static void channels() throws Exception {
        try (DatagramChannel a = DatagramChannel.open().bind(Main.any()); DatagramChannel b = DatagramChannel.open().bind(Main.any())) {
            ByteBuffer in = ByteBuffer.allocateDirect(100);
            b.configureBlocking(false);
            Suite.equal(null, b.receive(in), "nothing there yet");
            Suite.equal(5, a.send(ByteBuffer.wrap("hello".getBytes()), b.getLocalAddress()), "sent");
            b.configureBlocking(true);
            SocketAddress from = b.receive(in);
            Suite.equal(a.getLocalAddress(), from, "its sender");
            Suite.equal(5, in.position(), "its length");
            b.connect(from);
            a.connect(b.getLocalAddress());
            Suite.equal(3, b.write(new ByteBuffer[] {ByteBuffer.wrap(new byte[1]), ByteBuffer.wrap(new byte[2])}) == 3 ? 3 : 0, "gathered");
            ByteBuffer one = ByteBuffer.allocate(1), rest = ByteBuffer.allocate(10);
            Suite.equal(3L, a.read(new ByteBuffer[] {one, rest}), "scattered");
            Suite.equal(2, rest.position(), "the second buffer");
            try (DatagramChannel stranger = DatagramChannel.open()) { // a connected socket hears its peer alone
                stranger.send(ByteBuffer.wrap(new byte[50]), a.getLocalAddress());
                b.write(ByteBuffer.wrap(new byte[4]));
                in.clear();
                Suite.equal(4, a.read(in), "the stranger's is dropped");
            }
            a.disconnect();
            Suite.equal(null, a.getRemoteAddress(), "disconnected");
            CompletableFuture<SocketAddress> waiting = Main.start(() -> a.receive(ByteBuffer.allocate(1)));
            Main.pause();
            a.close();
            Suite.check(Main.failure(waiting) instanceof AsynchronousCloseException, "close ends receive");
        }
    }

    static void portUnreachable() throws Exception {
        int port;
        try (DatagramSocket gone = new DatagramSocket(0, Main.V4)) {
            port = gone.getLocalPort();
        }
        try (DatagramSocket s = new DatagramSocket(0, Main.V4)) {
            s.connect(new InetSocketAddress(Main.V4, port));
            s.setSoTimeout(5000);
            Suite.thrown(PortUnreachableException.class, () -> {
                s.send(new DatagramPacket(new byte[1], 1));
                s.receive(new DatagramPacket(new byte[1], 1));
            });
        }
        try (DatagramChannel c = DatagramChannel.open().connect(new InetSocketAddress(Main.V4, port))) {
            c.write(ByteBuffer.wrap(new byte[1]));
            Suite.thrown(PortUnreachableException.class, () -> c.read(ByteBuffer.allocate(1)));
        }
    }

    static void selector() throws Exception {
        try (Selector selector = Selector.open(); DatagramChannel server = DatagramChannel.open().bind(Main.any())) {
            server.configureBlocking(false);
            server.register(selector, SelectionKey.OP_READ);
            Suite.equal(0, selector.selectNow(), "nothing yet");
            SocketAddress at = server.getLocalAddress();
            CompletableFuture<Integer> clients = Main.start(() -> {
                int echoes = 0;
                try (DatagramSocket s = new DatagramSocket()) {
                    DatagramPacket p = new DatagramPacket(new byte[4], 4);
                    for (int i = 0; i < 500; i++) {
                        s.send(new DatagramPacket(new byte[] {1, 2, 3, (byte) i}, 4, at));
                        s.receive(p);
                        echoes += p.getData()[3] == (byte) i ? 1 : 0;
                    }
                }
                return echoes;
            });
            ByteBuffer b = ByteBuffer.allocate(100);
            for (int seen = 0; seen < 500;) {
                selector.select(10_000);
                selector.selectedKeys().clear();
                b.clear();
                for (SocketAddress from; (from = server.receive(b)) != null; seen++, b.clear())
                    server.send(b.flip(), from);
            }
            Suite.equal(500, Main.get(clients), "echoes");
        }
    }

    static void options() throws Exception {
        try (DatagramChannel c = DatagramChannel.open()) {
            Suite.equal(false, c.getOption(StandardSocketOptions.SO_BROADCAST), "broadcast at first");
            c.setOption(StandardSocketOptions.SO_BROADCAST, true);
            Suite.equal(true, c.getOption(StandardSocketOptions.SO_BROADCAST), "as set");
            c.setOption(StandardSocketOptions.SO_RCVBUF, 30_000);
            Suite.check(c.getOption(StandardSocketOptions.SO_RCVBUF) >= 30_000, "buffer");
            c.setOption(StandardSocketOptions.IP_MULTICAST_TTL, 3);
            Suite.equal(3, c.getOption(StandardSocketOptions.IP_MULTICAST_TTL), "multicast TTL");
            c.setOption(StandardSocketOptions.IP_MULTICAST_LOOP, false);
            Suite.equal(false, c.getOption(StandardSocketOptions.IP_MULTICAST_LOOP), "multicast loop");
            c.setOption(StandardSocketOptions.IP_TOS, 8);
            Suite.equal(8, c.getOption(StandardSocketOptions.IP_TOS), "type of service");
            c.setOption(StandardSocketOptions.SO_REUSEADDR, true);
            c.setOption(StandardSocketOptions.SO_REUSEPORT, true);
            c.bind(Main.any());
            try (DatagramChannel d = DatagramChannel.open()) {
                d.setOption(StandardSocketOptions.SO_REUSEADDR, true);
                d.setOption(StandardSocketOptions.SO_REUSEPORT, true);
                d.bind(c.getLocalAddress());
            }
            try (DatagramChannel d = DatagramChannel.open()) {
                Suite.thrown(java.net.BindException.class, () -> d.bind(c.getLocalAddress()));
            }
        }
    }
}
