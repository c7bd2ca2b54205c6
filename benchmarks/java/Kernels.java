import java.io.RandomAccessFile;
import java.nio.ByteBuffer;
import java.nio.MappedByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.security.MessageDigest;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import java.util.concurrent.SynchronousQueue;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.locks.LockSupport;
import java.util.concurrent.locks.ReentrantLock;
import java.util.stream.IntStream;

/** What Java programs do, a kernel at a time: rates of each. Usage: Kernels SECONDS [NAME...]; see README.md beside this file. */
public final class Kernels {
    private interface Kernel {
        /** Does a piece of work; how many operations it was. */
        long step() throws Exception;
    }

    private static double seconds;
    private static List<String> wanted;
    private static volatile long sink;

    private static long repeat(Kernel kernel, double duration) throws Exception {
        long done = 0;
        for (long end = System.nanoTime() + (long) (duration * 1e9); System.nanoTime() - end < 0;)
            done += kernel.step();
        return done;
    }

    private static void measure(String name, Kernel kernel) throws Exception {
        if (!wanted.isEmpty() && !wanted.contains(name))
            return;
        repeat(kernel, seconds);
        System.out.println("begin " + name);
        long begin = System.nanoTime(), count = repeat(kernel, seconds);
        System.out.println("end " + name + " " + count + " " + (System.nanoTime() - begin) / 1e9);
    }

    // ---- computing and memory ----

    private static long matrix() {
        int n = 64;
        double[][] a = new double[n][n], b = new double[n][n], c = new double[n][n];
        for (int i = 0; i < n; i++)
            for (int k = 0; k < n; k++)
                for (int j = 0; j < n; j++)
                    c[i][j] += a[i][k] * b[k][j];
        sink += (long) c[1][1];
        return 1;
    }

    private static final byte[] TEXT = new byte[65536];

    private static long digest() throws Exception {
        sink += MessageDigest.getInstance("SHA-256").digest(TEXT)[0];
        return 1;
    }

    private static long garbage() {
        long sum = 0;
        for (int i = 0; i < 10000; i++)
            sum += new byte[100 + (i & 63)].length;
        sink += sum;
        return 10000;
    }

    /** 64 MiB, here and there: what big heaps do to the caches of translations. */
    private static int[] big;

    private static long scattered() {
        if (big == null)
            big = RANDOM.ints(1 << 24).toArray();
        int at = (int) sink;
        for (int i = 0; i < 10000; i++)
            at = at * 1664525 + big[at >>> 8];
        sink += at;
        return 10000;
    }

    /** A live set that changes: what makes a generational collector copy. */
    private static final Object[][] LIVE = new Object[4096][];
    private static final Random RANDOM = new Random(1);

    private static long survivors() {
        for (int i = 0; i < 100; i++) {
            Object[] row = new Object[64];
            for (int j = 0; j < row.length; j++)
                row[j] = new byte[48];
            LIVE[RANDOM.nextInt(LIVE.length)] = row;
        }
        return 100;
    }

    private static long collect() {
        System.gc();
        return 1;
    }

    private static long forkJoin() {
        sink += IntStream.range(0, 200_000).parallel().mapToLong(i -> (long) i * i ^ i >>> 3).sum();
        return 1;
    }

    // ---- threads ----

    private static long uncontended(ReentrantLock lock) {
        for (int i = 0; i < 10000; i++) {
            lock.lock();
            sink++;
            lock.unlock();
        }
        return 10000;
    }

    /** Two threads that hand a value back and forth: each waits for the other. */
    private static void handOver(String name, boolean park) throws Exception {
        SynchronousQueue<Integer> there = new SynchronousQueue<>(), back = new SynchronousQueue<>();
        AtomicBoolean turn = new AtomicBoolean(), stop = new AtomicBoolean();
        Thread main = Thread.currentThread();
        Thread other = new Thread(() -> {
            try {
                if (!park) {
                    while (true)
                        back.put(there.take());
                }
                while (!stop.get()) {
                    if (turn.get()) {
                        turn.set(false);
                        LockSupport.unpark(main);
                    } else {
                        LockSupport.park();
                    }
                }
            } catch (InterruptedException end) {
                // the signal to stop
            }
        });
        other.start();
        measure(name, () -> {
            for (int i = 0; i < 100; i++) {
                if (!park) {
                    there.put(i);
                    sink += back.take();
                    continue;
                }
                turn.set(true);
                LockSupport.unpark(other);
                while (turn.get())
                    LockSupport.park();
            }
            return 100;
        });
        stop.set(true);
        LockSupport.unpark(other);
        other.interrupt();
        other.join();
    }

    private static long waitNotify(Object monitor, int[] turn) throws Exception {
        synchronized (monitor) {
            for (int i = 0; i < 100; i++) {
                turn[0] = 1;
                monitor.notifyAll();
                while (turn[0] == 1)
                    monitor.wait();
            }
        }
        return 100;
    }

    private static void monitors() throws Exception {
        Object monitor = new Object();
        int[] turn = new int[1];
        Thread other = new Thread(() -> {
            try {
                synchronized (monitor) {
                    while (true) {
                        while (turn[0] == 0)
                            monitor.wait();
                        turn[0] = 0;
                        monitor.notifyAll();
                    }
                }
            } catch (InterruptedException end) {
                // the signal to stop
            }
        });
        other.start();
        measure("wait_notify", () -> waitNotify(monitor, turn));
        other.interrupt();
        other.join();
    }

    private static long startThreads() throws Exception {
        Thread[] all = new Thread[10];
        for (int i = 0; i < all.length; i++) {
            all[i] = new Thread(() -> sink++);
            all[i].start();
        }
        for (Thread t : all)
            t.join();
        return all.length;
    }

    private static long yields() {
        for (int i = 0; i < 1000; i++)
            Thread.yield();
        return 1000;
    }

    private static long clock() {
        for (int i = 0; i < 10000; i++)
            sink += System.nanoTime() + System.currentTimeMillis();
        return 20000;
    }

    private static long sleeps() throws Exception {
        LockSupport.parkNanos(1000);
        return 1;
    }

    /** The JVM lets the page at zero fault and makes an exception of the signal. */
    private static long nullChecks(String[] none) {
        int caught = 0;
        for (int i = 0; i < 100; i++) {
            try {
                sink += none[i & 1].length();
            } catch (NullPointerException expected) {
                caught++;
            }
        }
        return caught;
    }

    // ---- files ----

    private static void files() throws Exception {
        Path path = Files.createTempFile("kernels", ".bin");
        byte[] block = new byte[1 << 20];
        Files.write(path, block);
        try (RandomAccessFile file = new RandomAccessFile(path.toFile(), "rw");
                FileChannel channel = FileChannel.open(path, StandardOpenOption.READ, StandardOpenOption.WRITE)) {
            byte[] piece = new byte[4096];
            measure("file_read_4k", () -> {
                file.seek(0);
                for (int i = 0; i < 256; i++)
                    file.readFully(piece);
                return 256;
            });
            measure("file_write_4k", () -> {
                file.seek(0);
                for (int i = 0; i < 256; i++)
                    file.write(piece);
                return 256;
            });
            ByteBuffer direct = ByteBuffer.allocateDirect(1 << 20);
            measure("channel_read_1m", () -> channel.read(direct.clear(), 0) >> 20);
            measure("map_1m", () -> {
                MappedByteBuffer map = channel.map(FileChannel.MapMode.READ_ONLY, 0, 1 << 20);
                for (int i = 0; i < 1 << 20; i += 4096)
                    sink += map.get(i);
                return 1;
            });
        }
        measure("file_open_stat", () -> {
            for (int i = 0; i < 50; i++) {
                sink += Files.size(path);
                Files.newByteChannel(path).close();
            }
            return 50;
        });
        measure("file_create_delete", () -> {
            Files.delete(Files.write(path.resolveSibling("x.bin"), TEXT));
            return 1;
        });
        Files.delete(path);
    }

    public static void main(String[] args) throws Exception {
        seconds = Double.parseDouble(args[0]);
        wanted = new ArrayList<>(List.of(args).subList(1, args.length));
        measure("matrix", Kernels::matrix);
        measure("digest_64k", Kernels::digest);
        measure("garbage", Kernels::garbage);
        measure("survivors", Kernels::survivors);
        measure("scattered_64m", Kernels::scattered);
        big = null;
        measure("full_collection", Kernels::collect);
        measure("fork_join", Kernels::forkJoin);
        ReentrantLock lock = new ReentrantLock();
        measure("lock_uncontended", () -> uncontended(lock));
        handOver("park_unpark", true);
        handOver("synchronous_queue", false);
        monitors();
        measure("thread_start_join", Kernels::startThreads);
        measure("thread_yield", Kernels::yields);
        measure("clock", Kernels::clock);
        measure("sleep_1us", Kernels::sleeps);
        measure("null_check", () -> nullChecks(new String[2]));
        files();
    }
}
