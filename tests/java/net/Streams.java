import java.io.IOException;
import java.io.OutputStream;
import java.net.BindException;
import java.net.ConnectException;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.net.SocketException;
import java.net.SocketTimeoutException;
import java.net.StandardSocketOptions;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import jdk.net.ExtendedSocketOptions;

/** java.net.Socket and ServerSocket. */
final class Streams {
    private static int closedPort() throws IOException {
        try (ServerSocket s = new ServerSocket(0, 1, Main.V4)) {
            return s.getLocalPort();
        }
    }

    static void refused() throws Exception {
        int port = closedPort();
        ConnectException e = Suite.thrown(ConnectException.class, () -> new Socket(Main.V4, port).close());
        Suite.equal("Connection refused", e.getMessage(), "message");
        Suite.thrown(ConnectException.class, () -> new Socket(Main.V6, port).close());
        try (Socket s = new Socket()) {
            Suite.thrown(ConnectException.class, () -> s.connect(new InetSocketAddress(Main.V4, port), 5000));
        }
        try (ServerSocket a = new ServerSocket(0, 1, Main.V4)) {
            Suite.thrown(BindException.class, () -> new ServerSocket(a.getLocalPort(), 1, Main.V4).close());
        }
        Suite.thrown(BindException.class, () -> new ServerSocket(0, 1, Main.address(192, 0, 2, 1)).close());
    }

    /** A listener that accepts nothing more: SYNs are dropped, and only a timeout ends connect(). */
    private static void fill(ServerSocket full, List<Socket> held) throws IOException {
        boolean late = false;
        for (int i = 0; i < 20; i++) {
            Socket s = new Socket();
            held.add(s);
            try {
                s.connect(full.getLocalSocketAddress(), 300);
            } catch (SocketTimeoutException e) {
                Suite.equal("Connect timed out", e.getMessage(), "message");
                if (late)
                    return;
                late = true; // perhaps the machine was: once more
            }
        }
        throw new AssertionError("a listener with a backlog of 1 took 20 connections");
    }

    static void connectTimeout() throws Exception {
        List<Socket> held = new ArrayList<>();
        try (ServerSocket full = new ServerSocket(0, 1, Main.V4)) {
            fill(full, held);
            Socket blocked = new Socket();
            CompletableFuture<Void> connecting = Main.start(() -> {
                blocked.connect(full.getLocalSocketAddress());
                return null;
            });
            Main.pause();
            Suite.check(!connecting.isDone(), "connect waits");
            blocked.close();
            Suite.check(Main.failure(connecting) instanceof SocketException, "close ends connect");
            int accepted = 0;
            full.setSoTimeout(200);
            try {
                for (;; accepted++)
                    full.accept().close();
            } catch (SocketTimeoutException e) {
                Suite.check(accepted >= 1, "those that were connected can be accepted");
            }
        } finally {
            for (Socket s : held)
                s.close();
        }
    }

    static void readTimeout() throws Exception {
        try (Main.Pair p = new Main.Pair()) {
            p.client.setSoTimeout(100);
            long begin = System.nanoTime();
            SocketTimeoutException e = Suite.thrown(SocketTimeoutException.class, () -> Main.read(p.client));
            Suite.equal("Read timed out", e.getMessage(), "message");
            Suite.check(System.nanoTime() - begin >= 99_000_000, "not too early");
            Main.send(p.server, (byte) 7);
            Suite.equal(7, Main.read(p.client), "usable after the timeout");
            CompletableFuture<Void> later = Main.start(() -> {
                Thread.sleep(50);
                Main.send(p.server, (byte) 8);
                return null;
            });
            p.client.setSoTimeout(20000);
            Suite.equal(8, Main.read(p.client), "arrives in time");
            Main.get(later);
        }
        try (ServerSocket l = new ServerSocket(0, 1, Main.V4)) {
            l.setSoTimeout(50);
            Suite.thrown(SocketTimeoutException.class, l::accept);
            try (Socket c = new Socket(Main.V4, l.getLocalPort()); Socket s = l.accept()) {
                Suite.equal(c.getLocalPort(), s.getPort(), "usable after the timeout");
            }
        }
    }

    static void reset() throws Exception {
        try (Main.Pair p = new Main.Pair()) {
            p.server.setSoLinger(true, 0);
            p.server.close();
            SocketException e = Suite.thrown(SocketException.class, () -> Main.read(p.client));
            Suite.equal("Connection reset", e.getMessage(), "message");
            Suite.thrown(SocketException.class, () -> Main.read(p.client));
            Suite.thrown(SocketException.class, () -> Main.send(p.client, (byte) 1));
        }
        try (Main.Pair p = new Main.Pair()) { // a reset ends a read that waits
            CompletableFuture<Integer> reading = Main.start(() -> Main.read(p.client));
            Main.pause();
            p.server.setSoLinger(true, 0);
            p.server.close();
            Suite.check(Main.failure(reading) instanceof SocketException, "a waiting read ends");
        }
        try (Main.Pair p = new Main.Pair()) { // writing to one who has gone
            p.server.close();
            SocketException e = Suite.thrown(SocketException.class, () -> {
                for (int i = 0; i < 100; i++) {
                    Main.send(p.client, new byte[1000]);
                    Thread.sleep(10);
                }
            });
            Suite.check(List.of("Broken pipe", "Connection reset", "Connection reset by peer").contains(e.getMessage()), e.getMessage());
        }
    }

    static void halfClose() throws Exception {
        try (Main.Pair p = new Main.Pair()) {
            Main.send(p.client, (byte) 1, (byte) 2);
            p.client.shutdownOutput();
            Suite.check(p.client.isOutputShutdown() && !p.client.isInputShutdown(), "output alone");
            Suite.thrown(SocketException.class, () -> Main.send(p.client, (byte) 3));
            Suite.equal(2, Main.receive(p.server, 10).length, "what was sent before arrives");
            Suite.equal(-1, Main.read(p.server), "then the end");
            byte[] answer = Main.bytes(5, 300_000);
            CompletableFuture<Void> answering = Main.start(() -> {
                Main.send(p.server, answer);
                p.server.close();
                return null;
            });
            Suite.check(Arrays.equals(answer, p.client.getInputStream().readAllBytes()), "the other way stays open");
            Main.get(answering);
        }
        try (Main.Pair p = new Main.Pair()) {
            CompletableFuture<Integer> reading = Main.start(() -> Main.read(p.client));
            Main.pause();
            p.client.shutdownInput();
            Suite.equal(-1, Main.get(reading), "shutdownInput ends a read");
            Main.send(p.client, (byte) 9);
            Suite.equal(9, Main.read(p.server), "the other way stays open");
        }
    }

    static void linger() throws Exception {
        byte[] all = Main.bytes(6, 2_000_000);
        try (Main.Pair p = new Main.Pair()) { // close() waits for a slow reader
            p.client.setSoLinger(true, 20);
            CompletableFuture<byte[]> reading = Main.start(() -> {
                Thread.sleep(200);
                return p.server.getInputStream().readAllBytes();
            });
            Main.send(p.client, all);
            p.client.close();
            Suite.check(Arrays.equals(all, Main.get(reading)), "all arrives");
        }
        try (Main.Pair p = new Main.Pair()) { // and without the option, all arrives as well
            CompletableFuture<byte[]> reading = Main.start(() -> {
                Thread.sleep(200);
                return p.server.getInputStream().readAllBytes();
            });
            Main.send(p.client, all);
            p.client.close();
            Suite.check(Arrays.equals(all, Main.get(reading)), "all arrives without lingering");
        }
        try (Main.Pair p = new Main.Pair()) {
            Suite.equal(-1, p.client.getSoLinger(), "off at first");
            p.client.setSoLinger(true, 3);
            Suite.equal(3, p.client.getSoLinger(), "as set");
            p.client.setSoLinger(false, 0);
            Suite.equal(-1, p.client.getSoLinger(), "off again");
        }
    }

    static void closeWakesThreads() throws Exception {
        ServerSocket l = new ServerSocket(0, 1, Main.V4);
        CompletableFuture<Socket> accepting = Main.start(l::accept);
        Main.pause();
        l.close();
        Suite.check(Main.failure(accepting) instanceof SocketException, "close ends accept");
        try (Main.Pair p = new Main.Pair()) {
            CompletableFuture<Integer> reading = Main.start(() -> Main.read(p.client));
            Main.pause();
            p.client.close();
            Throwable e = Main.failure(reading);
            Suite.check(e instanceof SocketException && e.getMessage().equals("Socket closed"), "close ends read: " + e);
            Suite.equal(-1, Main.read(p.server), "the peer sees the end");
        }
        try (Main.Pair p = new Main.Pair()) {
            CompletableFuture<Void> writing = Main.start(() -> {
                OutputStream out = p.client.getOutputStream();
                for (;;)
                    out.write(new byte[65536]);
            });
            Main.pause();
            Suite.check(!writing.isDone(), "write waits for a peer that does not read");
            p.client.close();
            Suite.check(Main.failure(writing) instanceof SocketException, "close ends write");
        }
    }

    static void ipv6Loopback() throws Exception {
        try (Main.Pair p = new Main.Pair(Main.V6)) {
            Suite.equal(Main.V6, p.server.getInetAddress(), "the peer's address");
            Suite.equal(Main.V6, p.client.getLocalAddress(), "one's own");
            byte[] all = Main.bytes(7, 200_000);
            CompletableFuture<Void> sending = Main.start(() -> {
                Main.send(p.client, all);
                return null;
            });
            Suite.check(Arrays.equals(all, Main.receive(p.server, all.length)), "all arrives");
            Main.get(sending);
        }
        try (ServerSocket l = new ServerSocket(0)) { // one listener, both protocols
            for (InetAddress a : new InetAddress[] {Main.V4, Main.V6})
                try (Socket c = new Socket(a, l.getLocalPort()); Socket s = l.accept()) {
                    Suite.equal(a, s.getInetAddress(), "the peer's address");
                    Suite.equal(a, s.getLocalAddress(), "one's own");
                }
        }
    }

    static void options() throws Exception {
        try (Socket s = new Socket(); ServerSocket l = new ServerSocket()) {
            Suite.equal(false, s.getTcpNoDelay(), "no delay at first");
            Suite.equal(false, s.getKeepAlive(), "keep-alive at first");
            Suite.equal(false, s.getReuseAddress(), "reuse at first");
            Suite.equal(true, l.getReuseAddress(), "a listener's reuse");
            s.setTcpNoDelay(true);
            s.setKeepAlive(true);
            s.setReuseAddress(true);
            s.setTrafficClass(0x10);
            s.setSendBufferSize(50_000);
            s.setReceiveBufferSize(60_000);
            Suite.check(s.getTcpNoDelay() && s.getKeepAlive() && s.getReuseAddress(), "as set");
            Suite.equal(0x10, s.getTrafficClass(), "traffic class");
            Suite.check(s.getSendBufferSize() >= 50_000 && s.getReceiveBufferSize() >= 60_000, "buffers");
            s.setOption(StandardSocketOptions.SO_REUSEPORT, true);
            Suite.equal(true, s.getOption(StandardSocketOptions.SO_REUSEPORT), "reuse port");
            s.setOption(ExtendedSocketOptions.TCP_KEEPIDLE, 11);
            s.setOption(ExtendedSocketOptions.TCP_KEEPINTERVAL, 12);
            s.setOption(ExtendedSocketOptions.TCP_KEEPCOUNT, 13);
            s.setOption(ExtendedSocketOptions.TCP_QUICKACK, true);
            Suite.equal(11, s.getOption(ExtendedSocketOptions.TCP_KEEPIDLE), "idle");
            Suite.equal(12, s.getOption(ExtendedSocketOptions.TCP_KEEPINTERVAL), "interval");
            Suite.equal(13, s.getOption(ExtendedSocketOptions.TCP_KEEPCOUNT), "count");
        }
    }

    /** Urgent bytes are discarded, or with SO_OOBINLINE read like others. */
    static void urgent() throws Exception {
        for (InetAddress at : List.of(Main.V4, Main.V6)) {
            try (Main.Pair pair = new Main.Pair(at)) {
                Suite.equal(false, pair.server.getOOBInline(), "in line at first");
                OutputStream out = pair.client.getOutputStream();
                out.write(new byte[] {1, 2});
                pair.client.sendUrgentData(3);
                out.write(new byte[] {4, 5});
                Suite.equal(List.of(1, 2, 4, 5), bytesOf(pair.server, 4), "without the urgent byte");
                pair.server.setOOBInline(true);
                pair.client.sendUrgentData(0x1ff);
                out.write(6);
                Suite.equal(List.of(255, 6), bytesOf(pair.server, 2), "with it");
                pair.client.close();
                Suite.equal(-1, pair.server.getInputStream().read(), "the end");
            }
        }
    }

    private static List<Integer> bytesOf(Socket s, int n) throws IOException {
        List<Integer> got = new ArrayList<>();
        for (int i = 0; i < n; i++)
            got.add(s.getInputStream().read());
        return got;
    }

    static void manyInTurn() throws Exception {
        try (ServerSocket l = new ServerSocket(0, 50, Main.V4)) {
            CompletableFuture<Void> serving = Main.start(() -> {
                for (int i = 0; i < 500; i++)
                    try (Socket s = l.accept()) {
                        Main.send(s, (byte) Main.read(s));
                    }
                return null;
            });
            for (int i = 0; i < 500; i++)
                try (Socket c = new Socket(Main.V4, l.getLocalPort())) {
                    Main.send(c, (byte) i);
                    Suite.equal(i & 0xff, Main.read(c), "the echo");
                }
            Main.get(serving);
        }
    }

    static void bulk() throws Exception {
        byte[] all = Main.bytes(8, 4 << 20);
        try (Main.Pair p = new Main.Pair()) { // both ways at once
            Socket[] ends = {p.client, p.server};
            Suite.threads(4, n -> {
                Socket s = ends[n & 1];
                try {
                    if (n < 2) {
                        Main.send(s, all);
                        s.shutdownOutput();
                    } else {
                        Suite.check(Arrays.equals(all, s.getInputStream().readAllBytes()), "all arrives, in order");
                    }
                } catch (IOException e) {
                    throw new AssertionError(e);
                }
            });
        }
    }
}
