import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.util.Random;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;

/** Sockets as Java programs use them, over loopback: each case passes on Linux, and must on Moka. */
public final class Main {
    static final InetAddress V4 = address(127, 0, 0, 1);
    static final InetAddress V6 = address(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1);

    public static void main(String[] args) {
        new Suite()
            .add("refused", Streams::refused)
            .add("connect-timeout", Streams::connectTimeout)
            .add("read-timeout", Streams::readTimeout)
            .add("reset", Streams::reset)
            .add("half-close", Streams::halfClose)
            .add("linger", Streams::linger)
            .add("close-wakes-threads", Streams::closeWakesThreads)
            .add("ipv6-loopback", Streams::ipv6Loopback)
            .add("stream-options", Streams::options)
            .add("urgent", Streams::urgent)
            .add("many-in-turn", Streams::manyInTurn)
            .add("bulk", Streams::bulk)
            .add("selector-1000", Channels::selectorThousand)
            .add("nonblocking-connect", Channels::nonblockingConnect)
            .add("back-pressure", Channels::backPressure)
            .add("close-wakes-channels", Channels::closeWakes)
            .add("interrupt-closes-channel", Channels::interruptCloses)
            .add("gather-scatter", Channels::gatherScatter)
            .add("transfer", Channels::transfer)
            .add("async-channels", Channels::asynchronous)
            .add("async-timeouts", Channels::asynchronousTimeouts)
            .add("unix-channels", Channels::unixChannels)
            .add("datagrams", Datagrams::sockets)
            .add("datagram-channels", Datagrams::channels)
            .add("datagram-port-unreachable", Datagrams::portUnreachable)
            .add("datagram-selector", Datagrams::selector)
            .add("datagram-options", Datagrams::options)
            .add("interfaces", Names::interfaces)
            .add("addresses", Names::addresses)
            .run(args);
    }

    // ---- what the cases share ----

    static InetAddress address(int... bytes) {
        byte[] raw = new byte[bytes.length];
        for (int i = 0; i < raw.length; i++)
            raw[i] = (byte) bytes[i];
        try {
            return InetAddress.getByAddress(raw);
        } catch (IOException e) {
            throw new AssertionError(e);
        }
    }

    static InetSocketAddress any() {
        return new InetSocketAddress(V4, 0);
    }

    /** Two ends of a TCP connection over loopback. */
    static final class Pair implements AutoCloseable {
        final Socket client, server;

        Pair() throws IOException {
            this(V4);
        }

        Pair(InetAddress at) throws IOException {
            try (ServerSocket listener = new ServerSocket(0, 5, at)) {
                client = new Socket(at, listener.getLocalPort());
                server = listener.accept();
            }
        }

        @Override
        public void close() throws IOException {
            client.close();
            server.close();
        }
    }

    static byte[] bytes(long seed, int n) {
        byte[] all = new byte[n];
        new Random(seed).nextBytes(all);
        return all;
    }

    interface Task<T> {
        T run() throws Throwable;
    }

    /** Runs the task in a thread of its own; what it throws is the future's failure. */
    static <T> CompletableFuture<T> start(Task<T> task) {
        CompletableFuture<T> result = new CompletableFuture<>();
        Thread t = new Thread(() -> {
            try {
                result.complete(task.run());
            } catch (Throwable e) {
                result.completeExceptionally(e);
            }
        });
        t.setDaemon(true);
        t.start();
        return result;
    }

    /** Long enough for a thread to begin waiting in a call: a tenth of a second during which the machine had time for us. */
    static void pause() throws InterruptedException {
        for (int all = 0, good = 0; good < 10 && all < 1000; all++) {
            long begin = System.nanoTime();
            Thread.sleep(10);
            if (System.nanoTime() - begin < 15_000_000)
                good++;
        }
    }

    static <T> T get(CompletableFuture<T> future) throws Exception {
        return future.get(60, TimeUnit.SECONDS);
    }

    /** The exception the task ended with; null when it ended well. */
    static Throwable failure(CompletableFuture<?> future) throws Exception {
        try {
            get(future);
            return null;
        } catch (java.util.concurrent.ExecutionException e) {
            return e.getCause();
        }
    }

    static void send(Socket s, byte... all) throws IOException {
        OutputStream out = s.getOutputStream();
        out.write(all);
        out.flush();
    }

    static byte[] receive(Socket s, int n) throws IOException {
        return s.getInputStream().readNBytes(n);
    }

    static int read(Socket s) throws IOException {
        InputStream in = s.getInputStream();
        return in.read();
    }
}
