import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpServer;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.net.InetSocketAddress;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.zip.CRC32;

/**
 * Three servers in one JVM: the JDK's (port 8080), Tomcat (8081), Netty (8082 echoes bytes, 8083 speaks HTTP). All that
 * speak HTTP answer alike:
 *
 *     GET /hello            a line
 *     GET /bytes?N          N bytes of the pattern that the tests know; /chunked?N the same without a length
 *     POST /echo            the body
 *     POST /sum             "LENGTH CRC32" of the body
 *     GET /memory           bytes of heap in use after a collection, and the kernel's figures
 *     GET /quit             ends the program
 */
public final class Main {
    static final byte[] HELLO = "Hello from Moka\n".getBytes();
    static final byte[] PATTERN = new byte[65521]; // a prime: no alignment hides a byte in the wrong place

    static {
        int x = 12345;
        for (int i = 0; i < PATTERN.length; i++) {
            x = x * 1103515245 + 12345;
            PATTERN[i] = (byte) (x >>> 16);
        }
    }

    /** What the servers have in common: a request's target and body in, a status of 200 and bytes out. */
    interface Answer {
        /** length -1: not told in advance. */
        OutputStream begin(long length) throws IOException;
    }

    static void answer(String path, String query, InputStream body, Answer answer) throws IOException {
        switch (path) {
        case "/bytes":
        case "/chunked":
            long n = Long.parseLong(query);
            try (OutputStream out = answer.begin(path.equals("/bytes") ? n : -1)) {
                for (; n > 0; n -= Math.min(n, PATTERN.length))
                    out.write(PATTERN, 0, (int) Math.min(n, PATTERN.length));
            }
            break;
        case "/echo":
            byte[] all = body.readAllBytes();
            whole(answer, all);
            break;
        case "/sum":
            CRC32 crc = new CRC32();
            byte[] part = new byte[65536];
            long length = 0;
            for (int got; (got = body.read(part)) > 0; length += got)
                crc.update(part, 0, got);
            whole(answer, (length + " " + crc.getValue() + "\n").getBytes());
            break;
        case "/quit":
            whole(answer, HELLO);
            new Thread(() -> {
                pause(200);
                System.exit(0);
            }).start();
            break;
        case "/memory":
            System.gc();
            Runtime r = Runtime.getRuntime();
            String kernel = new String(new java.io.FileInputStream("/proc/meminfo").readAllBytes());
            whole(answer, ("Heap: " + (r.totalMemory() - r.freeMemory()) + "\n" + kernel).getBytes());
            break;
        default:
            whole(answer, HELLO);
        }
    }

    private static void pause(int ms) {
        try {
            Thread.sleep(ms);
        } catch (InterruptedException e) {
            throw new AssertionError(e);
        }
    }

    private static void whole(Answer answer, byte[] bytes) throws IOException {
        try (OutputStream out = answer.begin(bytes.length)) {
            out.write(bytes);
        }
    }

    private static void handle(HttpExchange x) throws IOException {
        answer(x.getRequestURI().getPath(), x.getRequestURI().getQuery(), x.getRequestBody(), length -> {
            x.sendResponseHeaders(200, length < 0 ? 0 : length == 0 ? -1 : length);
            return x.getResponseBody();
        });
        x.close();
    }

    private static void jdk(int port, ExecutorService pool) throws IOException {
        HttpServer server = HttpServer.create(new InetSocketAddress(port), 1000);
        server.createContext("/", Main::handle);
        server.setExecutor(pool);
        server.start();
    }

    /** "tls PORT KEYSTORE CLEAR_PORT": Tomcat on 127.0.0.1, with TLS (HTTP/1.1 and 2) and without; "jdk": the JDK's server alone. */
    private static void start(String[] args) throws Exception {
        if (args.length == 4 && args[0].equals("tls")) {
            Tomcats.startTls(Integer.parseInt(args[1]), args[2], Integer.parseInt(args[3]));
            return;
        }
        jdk(8080, Executors.newFixedThreadPool(8));
        if (args.length == 0) {
            Tomcats.start(8081);
            Nettys.start(8082, 8083);
        }
    }

    public static void main(String[] args) throws Exception {
        try {
            start(args);
            System.out.println("listening");
        } catch (Throwable e) { // threads that live on must not hide it
            e.printStackTrace();
            System.exit(1);
        }
    }
}
