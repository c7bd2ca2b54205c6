import java.io.BufferedOutputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.security.MessageDigest;
import java.util.Arrays;

/** What a program sees of its start, and what is seen of its end. The first argument says which. */
public final class Main {
    public static void main(String[] args) throws Exception {
        String what = args.length > 0 ? args[0] : "hello";
        switch (what) {
        case "hello":
            System.out.println("Hello, world");
            break;
        case "arguments":
            for (String a : args)
                System.out.println("[" + a + "]");
            break;
        case "environment":
            System.out.println(System.getenv("GREETING") + " " + System.getenv("EMPTY") + "|" + System.getenv("NOT_SET"));
            System.out.println(System.getProperty("some.property"));
            System.out.println(System.getProperty("os.name") + " " + System.getProperty("os.arch") + " "
                + System.getProperty("file.separator") + " " + System.getProperty("java.specification.version"));
            break;
        case "stdin":
            stdin();
            break;
        case "big":
            big(Integer.parseInt(args[1]));
            break;
        case "exit":
            System.out.println("leaving");
            System.exit(Integer.parseInt(args[1]));
            break;
        case "halt":
            Runtime.getRuntime().addShutdownHook(new Thread(() -> System.out.println("never seen")));
            Runtime.getRuntime().halt(Integer.parseInt(args[1]));
            break;
        case "uncaught":
            System.out.println("before");
            throw new IllegalStateException("nobody catches this");
        case "uncaught-in-thread":
            Thread t = new Thread(() -> { throw new IllegalStateException("in a thread"); });
            t.start();
            t.join();
            System.out.println("main goes on");
            break;
        case "hooks":
            Runtime.getRuntime().addShutdownHook(new Thread(() -> System.out.println("hook")));
            System.out.println("main returns");
            break;
        case "last-thread":
            new Thread(() -> {
                sleep(300);
                System.out.println("the last thread");
            }).start();
            System.out.println("main returns");
            break;
        case "wait-for-term":
            Runtime.getRuntime().addShutdownHook(new Thread(() -> {
                System.out.println("hook ran");
                System.out.flush();
            }));
            System.out.println("waiting");
            System.out.flush();
            sleep(60_000);
            System.out.println("nobody came");
            break;
        case "ignore-term":
            Runtime.getRuntime().addShutdownHook(new Thread(() -> sleep(60_000)));
            System.out.println("waiting");
            System.out.flush();
            sleep(60_000);
            break;
        case "clock":
            System.out.println("clock " + System.currentTimeMillis());
            System.out.flush();
            break;
        case "abort":
            abort();
            break;
        case "streams":
            System.out.println("to out");
            System.err.println("to err");
            break;
        default:
            throw new IllegalArgumentException(what);
        }
    }

    private static void sleep(long ms) {
        try {
            Thread.sleep(ms);
        } catch (InterruptedException e) {
            System.out.println("interrupted");
        }
    }

    private static void stdin() throws Exception {
        InputStream in = System.in;
        MessageDigest digest = MessageDigest.getInstance("SHA-256");
        byte[] block = new byte[10_000];
        long total = 0;
        for (int n; (n = in.read(block)) >= 0; total += n)
            digest.update(block, 0, n);
        System.out.println(total + " bytes, " + Arrays.hashCode(digest.digest()));
        System.out.println("at the end still: " + in.read());
    }

    /** Lines that count, so that a lost, doubled or swapped block shows; of odd lengths, so that blocks never align. */
    private static void big(int megabytes) throws IOException {
        byte[] line = new byte[997];
        Arrays.fill(line, (byte) '.');
        line[996] = '\n';
        long left = megabytes * 1_000_000L;
        try (OutputStream out = new BufferedOutputStream(System.out, 65_536)) {
            for (long i = 0; left > 0; i++) {
                byte[] number = Long.toString(i).getBytes();
                System.arraycopy(number, 0, line, 0, number.length);
                int n = (int) Math.min(left, line.length);
                out.write(line, 0, n);
                left -= n;
            }
        }
    }

    /** Crashes the JVM itself. */
    private static void abort() throws Exception {
        java.lang.reflect.Field f = Class.forName("sun.misc.Unsafe").getDeclaredField("theUnsafe");
        f.setAccessible(true);
        ((sun.misc.Unsafe) f.get(null)).putAddress(16, 1);
    }
}
