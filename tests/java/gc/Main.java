import com.sun.management.HotSpotDiagnosticMXBean;
import java.lang.management.ManagementFactory;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import java.util.concurrent.atomic.AtomicLong;

/** Allocates many times the heap, keeps some of it alive and linked, and checks that nothing alive is ever lost. */
public final class Main {
    private static final class Node {
        final long value;
        Node next;
        final byte[] load;

        Node(long value, Node next, int size) {
            this.value = value;
            this.next = next;
            load = new byte[size];
            load[0] = (byte) value;
            load[size - 1] = (byte) ~value;
        }

        void check() {
            Suite.check(load[0] == (byte) value && load[load.length - 1] == (byte) ~value, "a live object is damaged");
        }
    }

    private static final AtomicLong allocated = new AtomicLong();

    private static void churn(long seed, long budget, int keep) {
        Random random = new Random(seed);
        Node[] kept = new Node[keep];
        long mine = 0;
        for (int i = 0; mine < budget; i++) {
            int slot = random.nextInt(keep);
            int size = random.nextInt(100) == 0 ? 50_000 : 16 + random.nextInt(2000);
            Node head = new Node(i, kept[slot], size);
            mine += size + 40;
            if (random.nextInt(4) == 0) { /* the list dies */
                for (Node n = head; n != null; n = n.next)
                    n.check();
                head.next = null;
            }
            kept[slot] = head;
        }
        for (Node n : kept)
            for (; n != null; n = n.next)
                n.check();
        allocated.addAndGet(mine);
    }

    private static void manyThreads() throws Exception {
        long heap = Runtime.getRuntime().maxMemory(), wanted = heap * 10;
        int threads = 4;
        allocated.set(0);
        /* Alive at a time: lists of 4 nodes of about 1.5 KiB on average; a quarter of the heap at most. */
        int keep = (int) Math.max(10, heap / 4 / threads / 4 / 1600);
        Suite.threads(threads, me -> churn(me + 1, wanted / threads + 1, keep));
        Suite.check(allocated.get() >= wanted, "ten times the heap");
    }

    private static void hugeArrays() {
        long heap = Runtime.getRuntime().maxMemory();
        int size = (int) Math.min(heap / 8, 1 << 30) / 8;
        long sum = 0;
        for (long done = 0; done < heap * 2; done += size * 8L) {
            long[] a = new long[size];
            a[size - 1] = done;
            sum += a[size - 1] - done + a[0] + a[size / 2];
        }
        Suite.equal(0L, sum, "fresh arrays are zero");
    }

    private static void hashesAndReferences() {
        List<java.lang.ref.WeakReference<Object>> weak = new ArrayList<>();
        List<Object> strong = new ArrayList<>();
        List<Integer> hashes = new ArrayList<>();
        for (int i = 0; i < 2000; i++) {
            Object o = new Object();
            weak.add(new java.lang.ref.WeakReference<>(o));
            if (i % 2 == 0) {
                strong.add(o);
                hashes.add(System.identityHashCode(o));
            }
        }
        System.gc();
        System.gc();
        int cleared = 0;
        for (int i = 0; i < 2000; i++) {
            if (weak.get(i).get() == null)
                cleared++;
            else if (i % 2 == 0)
                Suite.check(weak.get(i).get() == strong.get(i / 2), "a weak reference moved along");
        }
        Suite.check(cleared >= 990 && cleared <= 1000, "cleared " + cleared);
        for (int i = 0; i < 1000; i++)
            Suite.check(System.identityHashCode(strong.get(i)) == hashes.get(i), "hash codes stay");
    }

    /** Large pages that were asked for are in use, unless the machine has none: HotSpot switches the option off then. */
    private static void largePages() throws Exception {
        boolean asked = ManagementFactory.getRuntimeMXBean().getInputArguments().contains("-XX:+UseLargePages");
        boolean some = Files.readAllLines(Path.of("/proc/meminfo")).stream().anyMatch(l -> l.matches("HugePages_Total: +[1-9][0-9]*"));
        var bean = ManagementFactory.getPlatformMXBean(HotSpotDiagnosticMXBean.class);
        if (asked && some)
            Suite.equal("true", bean.getVMOption("UseLargePages").getValue(), "UseLargePages");
    }

    public static void main(String[] args) {
        new Suite().add("large-pages", Main::largePages)
            .add("many-threads", Main::manyThreads)
            .add("huge-arrays", Main::hugeArrays)
            .add("hashes-and-references", Main::hashesAndReferences)
            .run(args);
    }
}
