import java.io.IOException;
import java.net.ConnectException;
import java.net.InetSocketAddress;
import java.net.SocketAddress;
import java.net.SocketException;
import java.net.StandardProtocolFamily;
import java.net.UnixDomainSocketAddress;
import java.nio.ByteBuffer;
import java.nio.channels.AsynchronousCloseException;
import java.nio.channels.AsynchronousServerSocketChannel;
import java.nio.channels.AsynchronousSocketChannel;
import java.nio.channels.ClosedByInterruptException;
import java.nio.channels.ClosedChannelException;
import java.nio.channels.CompletionHandler;
import java.nio.channels.FileChannel;
import java.nio.channels.InterruptedByTimeoutException;
import java.nio.channels.SelectionKey;
import java.nio.channels.Selector;
import java.nio.channels.ServerSocketChannel;
import java.nio.channels.SocketChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.Arrays;
import java.util.Iterator;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;

/** Channels and selectors. */
final class Channels {
    private static SocketChannel[] pair() throws IOException {
        try (ServerSocketChannel l = ServerSocketChannel.open().bind(Main.any())) {
            SocketChannel client = SocketChannel.open(l.getLocalAddress());
            return new SocketChannel[] {client, l.accept()};
        }
    }

    private static void close(SocketChannel[] pair) throws IOException {
        pair[0].close();
        pair[1].close();
    }

    // ---- one selector, a thousand connections ----

    private static final int CONNECTIONS = 1000, ROUNDS = 2;

    /** Serves echoes until `clients` connections have come and gone. */
    private static int serve(ServerSocketChannel l, int clients) throws IOException {
        ByteBuffer b = ByteBuffer.allocateDirect(4096);
        int open = 0, most = 0, gone = 0;
        try (Selector selector = Selector.open()) {
            l.configureBlocking(false);
            l.register(selector, SelectionKey.OP_ACCEPT);
            while (gone < clients) {
                Suite.check(selector.select(60_000) > 0, "the server waits for ever: " + open + " open, " + gone + " gone");
                for (Iterator<SelectionKey> i = selector.selectedKeys().iterator(); i.hasNext();) {
                    SelectionKey key = i.next();
                    i.remove();
                    if (key.isAcceptable()) {
                        for (SocketChannel c; (c = l.accept()) != null; most = Math.max(most, ++open))
                            c.configureBlocking(false).register(selector, SelectionKey.OP_READ);
                        continue;
                    }
                    SocketChannel c = (SocketChannel) key.channel();
                    b.clear();
                    int n = c.read(b);
                    b.flip();
                    while (b.hasRemaining())
                        c.write(b);
                    if (n < 0) {
                        c.close();
                        open--;
                        gone++;
                    }
                }
            }
        }
        return most;
    }

    private static final class Client {
        final byte[] message;
        int sent, got, round;

        Client(int number) {
            message = Main.bytes(number, 1 + number);
        }
    }

    /** One step of a client; true when it is done. */
    private static boolean step(SelectionKey key, ByteBuffer b) throws IOException {
        SocketChannel c = (SocketChannel) key.channel();
        Client me = (Client) key.attachment();
        if (key.isConnectable())
            Suite.check(c.finishConnect(), "connected");
        if (key.isReadable()) {
            b.clear();
            int n = c.read(b);
            Suite.check(n >= 0 && me.got + n <= me.sent, "no more than was sent: " + n);
            Suite.check(Arrays.equals(me.message, me.got, me.got + n, b.array(), 0, n), "the echo is the same");
            me.got += n;
            if (me.got == me.message.length) {
                me.got = me.sent = 0;
                if (++me.round == ROUNDS)
                    return true;
            }
        }
        if (me.sent < me.message.length)
            me.sent += c.write(ByteBuffer.wrap(me.message, me.sent, me.message.length - me.sent));
        key.interestOps(SelectionKey.OP_READ | (me.sent < me.message.length ? SelectionKey.OP_WRITE : 0));
        return false;
    }

    static void selectorThousand() throws Exception {
        try (ServerSocketChannel l = ServerSocketChannel.open().bind(Main.any(), CONNECTIONS); Selector selector = Selector.open()) {
            CompletableFuture<Integer> serving = Main.start(() -> serve(l, CONNECTIONS));
            SocketAddress at = l.getLocalAddress();
            SocketChannel[] all = new SocketChannel[CONNECTIONS];
            for (int i = 0; i < CONNECTIONS; i++) {
                all[i] = SocketChannel.open();
                all[i].configureBlocking(false);
                boolean done = all[i].connect(at);
                all[i].register(selector, done ? SelectionKey.OP_WRITE : SelectionKey.OP_CONNECT, new Client(i));
            }
            ByteBuffer b = ByteBuffer.allocate(4096);
            for (int left = CONNECTIONS; left > 0; selector.selectedKeys().clear()) {
                Suite.check(selector.select(60_000) > 0, "the clients wait for ever: " + left + " left");
                for (SelectionKey key : selector.selectedKeys())
                    if (step(key, b)) {
                        key.interestOps(0);
                        left--;
                    }
            }
            for (SocketChannel c : all)
                c.close();
            Suite.equal(CONNECTIONS, Main.get(serving), "open at once");
        }
    }

    // ---- connecting ----

    static void nonblockingConnect() throws Exception {
        try (ServerSocketChannel l = ServerSocketChannel.open().bind(Main.any()); Selector selector = Selector.open()) {
            SocketChannel c = SocketChannel.open();
            c.configureBlocking(false);
            if (!c.connect(l.getLocalAddress())) {
                Suite.check(c.isConnectionPending(), "pending");
                c.register(selector, SelectionKey.OP_CONNECT);
                Suite.equal(1, selector.select(10_000), "ready");
                Suite.check(c.finishConnect(), "finished");
            }
            Suite.check(c.isConnected() && !c.isConnectionPending(), "connected");
            Suite.equal(l.getLocalAddress(), c.getRemoteAddress(), "its peer");
            SocketChannel s = l.accept();
            s.write(ByteBuffer.wrap(new byte[3]));
            s.close();
            c.configureBlocking(false);
            c.close();
            SocketAddress gone = l.getLocalAddress();
            l.close();
            SocketChannel r = SocketChannel.open();
            r.configureBlocking(false);
            Suite.thrown(ConnectException.class, () -> {
                if (r.connect(gone))
                    throw new AssertionError("nobody listens");
                try (Selector two = Selector.open()) {
                    r.register(two, SelectionKey.OP_CONNECT);
                    Suite.equal(1, two.select(10_000), "ready");
                    r.finishConnect();
                }
            });
            Suite.check(!r.isOpen(), "a failed connect closes the channel");
        }
    }

    // ---- a peer that does not read ----

    static void backPressure() throws Exception {
        SocketChannel[] p = pair();
        try (Selector selector = Selector.open()) {
            p[0].configureBlocking(false);
            SelectionKey key = p[0].register(selector, SelectionKey.OP_WRITE);
            byte[] block = Main.bytes(9, 65536);
            long total = 0;
            for (int zero = 0; zero < 5;) { // until it stays full
                int n = p[0].write(ByteBuffer.wrap(block, (int) (total % 65536), 65536 - (int) (total % 65536)));
                total += n;
                zero = n == 0 ? zero + 1 : 0;
                if (n == 0)
                    Thread.sleep(20);
                Suite.check(total < 64 << 20, "it takes no end of bytes");
            }
            Suite.check(total > 65536, "some went: " + total);
            Suite.equal(0, selector.select(50), "not writable");
            long got = 0;
            ByteBuffer b = ByteBuffer.allocate(65536);
            while (got < total) {
                b.clear().limit((int) Math.min(65536, total - got));
                int n = p[1].read(b);
                Suite.check(n > 0, "all arrives");
                for (int i = 0; i < n; i += 97)
                    Suite.check(b.get(i) == block[(int) ((got + i) % 65536)], "in order");
                got += n;
            }
            Suite.equal(1, selector.select(10_000), "writable again");
            Suite.check(key.isWritable(), "writable again");
        } finally {
            close(p);
        }
    }

    // ---- ends of waiting ----

    static void closeWakes() throws Exception {
        SocketChannel[] p = pair();
        CompletableFuture<Integer> reading = Main.start(() -> p[0].read(ByteBuffer.allocate(1)));
        Main.pause();
        p[0].close();
        Suite.check(Main.failure(reading) instanceof AsynchronousCloseException, "close ends read");
        Suite.equal(-1, p[1].read(ByteBuffer.allocate(1)), "the peer sees the end");
        close(p);

        SocketChannel[] q = pair();
        CompletableFuture<Void> writing = Main.start(() -> {
            for (;;)
                q[0].write(ByteBuffer.allocateDirect(65536));
        });
        Main.pause();
        Suite.check(!writing.isDone(), "write waits");
        q[0].close();
        Suite.check(Main.failure(writing) instanceof ClosedChannelException, "close ends write");
        close(q);

        ServerSocketChannel l = ServerSocketChannel.open().bind(Main.any());
        CompletableFuture<SocketChannel> accepting = Main.start(l::accept);
        Main.pause();
        l.close();
        Suite.check(Main.failure(accepting) instanceof AsynchronousCloseException, "close ends accept");

        Selector selector = Selector.open();
        CompletableFuture<Integer> selecting = Main.start(selector::select);
        Main.pause();
        selector.wakeup();
        Suite.equal(0, Main.get(selecting), "wakeup ends select");
        selector.close();
    }

    static void interruptCloses() throws Exception {
        SocketChannel[] p = pair();
        Throwable[] got = new Throwable[1];
        Thread t = new Thread(() -> {
            try {
                p[0].read(ByteBuffer.allocate(1));
            } catch (IOException e) {
                got[0] = e;
            }
        });
        t.start();
        Main.pause();
        t.interrupt();
        t.join(10_000);
        Suite.check(got[0] instanceof ClosedByInterruptException, "got " + got[0]);
        Suite.check(!p[0].isOpen(), "closed");
        close(p);
    }

    // ---- several buffers, files ----

    static void gatherScatter() throws Exception {
        SocketChannel[] p = pair();
        ByteBuffer[] out = new ByteBuffer[40]; // more than one call takes
        int total = 0;
        for (int i = 0; i < out.length; i++) {
            out[i] = (i & 1) == 0 ? ByteBuffer.allocate(i * 10) : ByteBuffer.allocateDirect(i * 10);
            while (out[i].hasRemaining())
                out[i].put((byte) (total++ * 31));
            out[i].flip();
        }
        int all = total;
        CompletableFuture<Void> sending = Main.start(() -> {
            for (long n = 0; n < all;)
                n += p[0].write(out);
            p[0].shutdownOutput();
            return null;
        });
        ByteBuffer[] in = {ByteBuffer.allocate(7), ByteBuffer.allocateDirect(1000), ByteBuffer.allocate(1), ByteBuffer.allocate(100_000)};
        while (p[1].read(in) >= 0)
            ;
        Main.get(sending);
        int at = 0;
        for (ByteBuffer b : in)
            for (b.flip(); b.hasRemaining(); at++)
                Suite.equal((byte) (at * 31), b.get(), "byte " + at);
        Suite.equal(all, at, "all arrives");
        close(p);
    }

    static void transfer() throws Exception {
        Path file = Files.createTempFile("net", ".bin"), copy = Files.createTempFile("net", ".copy");
        byte[] all = Main.bytes(10, 2_000_001);
        Files.write(file, all);
        SocketChannel[] p = pair();
        try (FileChannel from = FileChannel.open(file); FileChannel to = FileChannel.open(copy, StandardOpenOption.WRITE)) {
            CompletableFuture<Void> sending = Main.start(() -> {
                for (long at = 0; at < all.length;)
                    at += from.transferTo(at, all.length - at, p[0]);
                p[0].close();
                return null;
            });
            for (long at = 0; at < all.length;)
                at += to.transferFrom(p[1], at, all.length - at);
            Main.get(sending);
            Suite.equal(-1, p[1].read(ByteBuffer.allocate(1)), "the end");
        }
        Suite.check(Arrays.equals(all, Files.readAllBytes(copy)), "the same");
        Files.delete(file);
        Files.delete(copy);
        close(p);
    }

    // ---- asynchronous ----

    /** Echoes until the peer is done, then closes. */
    private static void echo(AsynchronousSocketChannel c, ByteBuffer b) {
        c.read(b, null, new CompletionHandler<Integer, Void>() {
            @Override
            public void completed(Integer n, Void unused) {
                if (n < 0) {
                    failed(null, null);
                    return;
                }
                b.flip();
                c.write(b, null, new CompletionHandler<Integer, Void>() {
                    @Override
                    public void completed(Integer written, Void nothing) {
                        if (b.hasRemaining()) {
                            c.write(b, null, this);
                            return;
                        }
                        b.clear();
                        echo(c, b);
                    }

                    @Override
                    public void failed(Throwable e, Void nothing) {
                        failed(e, nothing);
                    }
                });
            }

            @Override
            public void failed(Throwable e, Void unused) {
                try {
                    c.close();
                } catch (IOException again) {
                    throw new AssertionError(again);
                }
            }
        });
    }

    static void asynchronous() throws Exception {
        try (AsynchronousServerSocketChannel l = AsynchronousServerSocketChannel.open().bind(Main.any(), 100)) {
            l.accept(null, new CompletionHandler<AsynchronousSocketChannel, Void>() {
                @Override
                public void completed(AsynchronousSocketChannel c, Void unused) {
                    l.accept(null, this);
                    echo(c, ByteBuffer.allocateDirect(10_000));
                }

                @Override
                public void failed(Throwable e, Void unused) {
                }
            });
            SocketAddress at = l.getLocalAddress();
            Suite.threads(8, n -> {
                byte[] all = Main.bytes(n, 100_000 + n);
                try (AsynchronousSocketChannel c = AsynchronousSocketChannel.open()) {
                    c.connect(at).get(30, TimeUnit.SECONDS);
                    CompletableFuture<Void> sending = Main.start(() -> {
                        for (ByteBuffer b = ByteBuffer.wrap(all); b.hasRemaining();)
                            c.write(b).get(30, TimeUnit.SECONDS);
                        c.shutdownOutput();
                        return null;
                    });
                    ByteBuffer in = ByteBuffer.allocate(all.length + 1);
                    while (c.read(in).get(30, TimeUnit.SECONDS) >= 0)
                        ;
                    Main.get(sending);
                    Suite.check(Arrays.equals(all, Arrays.copyOf(in.array(), in.position())), "the echo");
                } catch (Exception e) {
                    throw new AssertionError(e);
                }
            });
        }
    }

    static void asynchronousTimeouts() throws Exception {
        AsynchronousServerSocketChannel l = AsynchronousServerSocketChannel.open().bind(Main.any());
        AsynchronousSocketChannel c = AsynchronousSocketChannel.open();
        c.connect(l.getLocalAddress()).get(10, TimeUnit.SECONDS);
        AsynchronousSocketChannel s = l.accept().get(10, TimeUnit.SECONDS);
        CompletableFuture<Integer> timed = new CompletableFuture<>(), closed = new CompletableFuture<>();
        CompletionHandler<Integer, CompletableFuture<Integer>> tell = new CompletionHandler<>() {
            @Override
            public void completed(Integer n, CompletableFuture<Integer> f) {
                f.complete(n);
            }

            @Override
            public void failed(Throwable e, CompletableFuture<Integer> f) {
                f.completeExceptionally(e);
            }
        };
        c.read(ByteBuffer.allocate(1), 100, TimeUnit.MILLISECONDS, timed, tell);
        Suite.check(Main.failure(timed) instanceof InterruptedByTimeoutException, "a read times out");
        s.read(ByteBuffer.allocate(1), 0, TimeUnit.SECONDS, closed, tell);
        s.close();
        Suite.check(Main.failure(closed) instanceof AsynchronousCloseException, "close ends a read");
        java.util.concurrent.Future<AsynchronousSocketChannel> accepting = l.accept();
        InetSocketAddress gone = (InetSocketAddress) l.getLocalAddress();
        l.close();
        ExecutionException e = Suite.thrown(ExecutionException.class, () -> accepting.get(10, TimeUnit.SECONDS));
        Suite.check(e.getCause() instanceof AsynchronousCloseException, "close ends accept");
        c.close();
        AsynchronousSocketChannel r = AsynchronousSocketChannel.open();
        e = Suite.thrown(ExecutionException.class, () -> r.connect(gone).get(10, TimeUnit.SECONDS));
        Suite.check(e.getCause() instanceof ConnectException, "refused");
        r.close();
    }

    // ---- UNIX ----

    static void unixChannels() throws Exception {
        Path path = Files.createTempDirectory("net").resolve("socket");
        try (ServerSocketChannel l = ServerSocketChannel.open(StandardProtocolFamily.UNIX).bind(UnixDomainSocketAddress.of(path))) {
            SocketChannel c = SocketChannel.open(UnixDomainSocketAddress.of(path)), s = l.accept();
            Suite.equal(UnixDomainSocketAddress.of(path), c.getRemoteAddress(), "its peer");
            byte[] all = Main.bytes(11, 1_000_000);
            CompletableFuture<Void> sending = Main.start(() -> {
                for (ByteBuffer b = ByteBuffer.wrap(all); b.hasRemaining();)
                    c.write(b);
                c.shutdownOutput();
                return null;
            });
            ByteBuffer in = ByteBuffer.allocate(all.length + 1);
            while (s.read(in) >= 0)
                ;
            Main.get(sending);
            Suite.check(Arrays.equals(all, Arrays.copyOf(in.array(), in.position())), "all arrives");
            c.close();
            s.close();
        }
        Suite.thrown(SocketException.class, () -> SocketChannel.open(UnixDomainSocketAddress.of(path)));
        Files.delete(path);
    }
}
