import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;

/** Moka maps what a JVM uses most by 2 MiB pages, without an option: asked of /proc/self/smaps. */
public final class Main {
    private static final boolean moka = "moka".equals(System.getProperty("place"));
    private static volatile Object kept;

    /** In kB, of the anonymous areas with these rights that lie in [from, to): what is resident, and by 2 MiB pages. */
    private static long[] usage(String rights, long from, long to) throws Exception {
        long[] sum = new long[2];
        boolean inside = false;
        for (String line : Files.readAllLines(Path.of("/proc/self/smaps"))) {
            String[] words = line.trim().split("\\s+");
            if (words[0].matches("[0-9a-f]+-[0-9a-f]+")) {
                String[] range = words[0].split("-");
                inside = words.length == 5 && words[1].equals(rights) && Long.parseUnsignedLong(range[0], 16) >= from
                    && Long.parseUnsignedLong(range[1], 16) <= to;
            } else if (inside && (words[0].equals("Rss:") || words[0].equals("AnonHugePages:"))) {
                sum[words[0].equals("Rss:") ? 0 : 1] += Long.parseLong(words[1]);
            }
        }
        System.err.println(rights + ": " + sum[0] + " kB resident, " + sum[1] + " kB by 2 MiB pages");
        return sum;
    }

    private static void check(boolean fact, String what) {
        Suite.check(fact || !moka, what);
    }

    /** 64 MiB of it, in the low 32 GiB, where compressed references need it. */
    private static void heap() throws Exception {
        List<byte[]> blocks = new ArrayList<>();
        for (int i = 0; i < 64; i++)
            blocks.add(new byte[1 << 20]);
        kept = blocks;
        long[] use = usage("rw-p", 0, 1L << 35);
        check(use[0] >= 64 << 10, "the heap is where it was looked for");
        check(use[1] >= use[0] / 2, "half of the heap by 2 MiB pages: " + use[1] + " of " + use[0] + " kB");
    }

    /** Where several emulated CPUs write and execute code in turns, page by page, the pages must be small. */
    private static void codeCache() throws Exception {
        boolean turns = Runtime.getRuntime().availableProcessors() > 1
            && Files.readString(Path.of("/proc/cpuinfo")).contains("TCG");
        long[] use = usage("rwxp", 0, Long.MAX_VALUE);
        check(turns ? use[1] == 0 && use[0] > 0 : use[1] >= 2048, "code in a 2 MiB page");
    }

    private static int deep(int n) {
        return n == 0 ? 0 : 1 + deep(n - 1);
    }

    /** A stack large enough to hold an aligned 2 MiB, used that deep. */
    private static void stack() throws Exception {
        long[] grown = new long[1];
        long before = usage("rw-p", 1L << 35, Long.MAX_VALUE)[1];
        Throwable[] failure = new Throwable[1];
        Thread t = new Thread(null, () -> {
            try {
                deep(60_000);
                grown[0] = usage("rw-p", 1L << 35, Long.MAX_VALUE)[1] - before;
            } catch (Throwable e) {
                failure[0] = e;
            }
        }, "deep", 32 << 20);
        t.start();
        t.join();
        if (failure[0] != null)
            throw new AssertionError(failure[0]);
        check(grown[0] >= 2048, "the stack by 2 MiB pages");
    }

    public static void main(String[] args) {
        new Suite().add("heap", Main::heap).add("code-cache", Main::codeCache).add("stack", Main::stack).run(args);
    }
}
