import java.io.RandomAccessFile;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Method;
import java.nio.ByteBuffer;
import java.nio.MappedByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CountDownLatch;
import java.util.function.IntUnaryOperator;
import java.util.function.LongUnaryOperator;

/** What HotSpot makes of signals and of failing system calls. */
public final class Main {
    private static final class Box {
        int value = 1;
        Box next;
    }

    private static Box none;
    private static volatile int sink;

    /** The check for null is the fault itself: HotSpot compiles none in. */
    private static int touch(Box b) {
        return b.value;
    }

    private static int storm(int n) {
        int caught = 0;
        Box some = new Box();
        for (int i = 0; i < n; i++) {
            try {
                sink = touch(i % 4 == 3 ? some : none);
            } catch (NullPointerException e) {
                caught++;
            }
        }
        return caught;
    }

    /** A million in all, over several threads. Without the flag -OmitStackTraceInFastThrow each one is a real fault. */
    private static void nullPointers() throws Exception {
        int threads = 4, each = 1_000_000 * 4 / 3 / threads + 4;
        each -= each % 4;
        int n = each;
        java.util.concurrent.atomic.AtomicInteger sum = new java.util.concurrent.atomic.AtomicInteger();
        Suite.threads(threads, me -> sum.addAndGet(storm(n)));
        Suite.equal(threads * each / 4 * 3, sum.get(), "caught");
        Suite.check(sum.get() >= 1_000_000, "a million");
    }

    private static int depth;

    private static int dig(int n) {
        depth = n;
        return dig(n + 1) + 1;
    }

    private static void stackOverflow() throws Exception {
        for (int i = 0; i < 20; i++) {
            Suite.thrown(StackOverflowError.class, () -> dig(0));
            Suite.check(depth > 500, "deep: " + depth);
        }
        Thread t = new Thread(null, () -> Suite.thrown(StackOverflowError.class, () -> dig(0)), "small", 256 << 10);
        t.start();
        t.join();
        Suite.threads(4, me -> {
            for (int i = 0; i < 5; i++)
                Suite.thrown(StackOverflowError.class, () -> dig(0));
        });
    }

    private static Method through;

    /** Each level is a frame of Java, of the interpreter's native wrapper, and of libjava's C code. */
    public static Object digThroughNative(Integer n) throws Throwable {
        depth = n;
        try {
            return through.invoke(null, n + 1);
        } catch (InvocationTargetException e) {
            throw e.getCause();
        }
    }

    private static void stackOverflowThroughNative() throws Exception {
        through = Main.class.getMethod("digThroughNative", Integer.class);
        for (int i = 0; i < 5; i++) {
            try {
                digThroughNative(0);
                throw new AssertionError("no overflow");
            } catch (StackOverflowError e) {
                Suite.check(depth > 50, "deep: " + depth);
            } catch (Throwable t) {
                throw new AssertionError("another error: " + t, t);
            }
        }
    }

    private static void outOfHeap() {
        for (int i = 0; i < 3; i++) {
            OutOfMemoryError e = Suite.thrown(OutOfMemoryError.class, () -> {
                List<byte[]> all = new ArrayList<>();
                for (;;)
                    all.add(new byte[1 << 20]);
            });
            Suite.check(e.getMessage().contains("Java heap space") || e.getMessage().contains("GC overhead"),
                e.getMessage());
        }
        OutOfMemoryError e = Suite.thrown(OutOfMemoryError.class, () -> sink = new long[Integer.MAX_VALUE].length);
        Suite.check(e.getMessage() != null, "a message");
    }

    private static void outOfDirectMemory() {
        OutOfMemoryError e = Suite.thrown(OutOfMemoryError.class, () -> {
            List<ByteBuffer> all = new ArrayList<>();
            for (;;)
                all.add(ByteBuffer.allocateDirect(4 << 20));
        });
        Suite.check(e.getMessage().contains("direct"), e.getMessage());
        ByteBuffer.allocateDirect(1 << 20).put(0, (byte) 1); /* the others are garbage by now */
    }

    /** Defines the same class again and again, each time in a new loader, until the metaspace is full. */
    private static void outOfMetaspace() throws Exception {
        byte[] code;
        try (var in = Main.class.getResourceAsStream("Suite.class")) {
            code = in.readAllBytes();
        }
        OutOfMemoryError e = Suite.thrown(OutOfMemoryError.class, () -> {
            List<Object> all = new ArrayList<>();
            for (;;) {
                ClassLoader loader = new ClassLoader(null) {
                    @Override
                    protected Class<?> findClass(String name) {
                        return defineClass("Suite", code, 0, code.length);
                    }
                };
                all.add(Class.forName("Suite", false, loader));
            }
        });
        Suite.check(e.getMessage().contains("Metaspace") || e.getMessage().contains("Compressed class space"),
            e.getMessage());
    }

    /** A stack that the address space has no room for: pthread_create fails. */
    private static void outOfThreads() throws Exception {
        for (int i = 0; i < 3; i++) {
            OutOfMemoryError e = Suite.thrown(OutOfMemoryError.class,
                () -> new Thread(null, () -> { }, "huge", 1L << 47).start());
            Suite.check(e.getMessage().contains("unable to create native thread"), e.getMessage());
        }
        CountDownLatch done = new CountDownLatch(1);
        new Thread(done::countDown).start();
        done.await();
    }

    private static int divide(int a, int b) {
        return a / b;
    }

    private static long remainder(long a, long b) {
        return a % b;
    }

    private static void divisions() throws Exception {
        Suite.threads(3, me -> {
            int caught = 0;
            for (int i = 0; i < 60_000; i++) {
                try {
                    sink = divide(i, i % 3 == 0 ? 0 : 3);
                } catch (ArithmeticException e) {
                    caught++;
                }
                try {
                    sink = (int) remainder(i, i % 3 == 1 ? 0 : 5);
                } catch (ArithmeticException e) {
                    caught++;
                }
            }
            Suite.equal(40_000, caught, "caught");
        });
        Suite.equal(Integer.MIN_VALUE, divide(Integer.MIN_VALUE, -1), "the quotient that overflows");
        Suite.equal(0L, remainder(Long.MIN_VALUE, -1), "the remainder that overflows");
    }

    private static void truncatedMapping() throws Exception {
        Path file = Files.createTempFile("mapped", null);
        try (RandomAccessFile f = new RandomAccessFile(file.toFile(), "rw")) {
            f.setLength(1 << 20);
            MappedByteBuffer m = f.getChannel().map(FileChannel.MapMode.READ_WRITE, 0, 1 << 20);
            m.put(1 << 19, (byte) 7);
            f.setLength(4096);
            Suite.equal(100, readersThatFail(m, 1 << 19), "errors");
            sink = m.get(100);
            f.setLength(1 << 20);
            Suite.equal((byte) 0, m.get(1 << 19), "after growing again");
        }
        Files.delete(file);
    }

    /**
     * How many of a hundred threads end by InternalError when they read there. The error comes at some transition into the
     * JVM after the access (in the interpreter only a call of its run-time is one, as for a new array), so in whatever
     * method or handler the thread is by then: only the end of the thread's stack is sure to see it.
     */
    private static int readersThatFail(MappedByteBuffer m, int at) throws InterruptedException {
        int[] errors = new int[1];
        for (int n = 0; n < 100; n++) {
            Thread reader = new Thread(() -> {
                for (int i = 0; i < 10_000; i++) {
                    sink = m.get(at) + new int[1 + (sink & 1)].length;
                    Thread.yield();
                }
            });
            reader.setUncaughtExceptionHandler((t, e) -> errors[0] += e instanceof InternalError ? 1 : 0);
            reader.start();
            reader.join();
        }
        return errors[0];
    }

    private static void interruption() throws Exception {
        CountDownLatch ready = new CountDownLatch(1);
        boolean[] seen = new boolean[4];
        Object lock = new Object();
        Thread t = new Thread(() -> {
            ready.countDown();
            try {
                Thread.sleep(60_000);
            } catch (InterruptedException e) {
                seen[0] = true;
            }
            try {
                synchronized (lock) {
                    for (;;) /* wait() may return for nothing: HotSpot's interrupt() unparks a sleeper's monitor event last */
                        lock.wait();
                }
            } catch (InterruptedException e) {
                seen[1] = true;
            }
            while (!Thread.interrupted()) /* earlier interrupts may have left a permit */
                java.util.concurrent.locks.LockSupport.park();
            seen[2] = true;
            while (!Thread.currentThread().isInterrupted())
                sink++;
            seen[3] = true;
        });
        t.start();
        ready.await();
        for (int i = 0; i < 4; i++) {
            Thread.sleep(50);
            t.interrupt();
            while (i < 3 && !seen[i])
                Thread.sleep(5);
        }
        t.join();
        Suite.check(seen[0] && seen[1] && seen[2] && seen[3], "every way of waiting");
        java.nio.channels.Pipe pipe = java.nio.channels.Pipe.open();
        Thread r = new Thread(() -> Suite.thrown(java.nio.channels.ClosedByInterruptException.class,
            () -> pipe.source().read(ByteBuffer.allocate(1))));
        Throwable[] failure = new Throwable[1];
        r.setUncaughtExceptionHandler((x, e) -> failure[0] = e);
        r.start();
        Thread.sleep(100);
        r.interrupt();
        r.join();
        Suite.check(failure[0] == null, "an interrupted read: " + failure[0]);
    }

    /** Compiled on the belief that there is one implementation; each new class proves it wrong. */
    private static void deoptimisations() throws Exception {
        IntUnaryOperator[] all = { x -> x + 1, x -> x * 3, x -> x ^ 5, x -> x - 7, x -> x >> 1, x -> ~x, x -> x | 1,
            x -> x & 0xff };
        Suite.threads(3, me -> {
            long sum = 0;
            for (int round = 0; round < 40; round++) {
                int kinds = 1 + round % all.length;
                for (int i = 0; i < 3000; i++)
                    sum += apply(all[i % kinds], i, round % 10 == 9 && i == 2999 ? null : all);
            }
            sink = (int) sum;
        });
        int caught = 0;
        for (int i = 0; i < 200_000; i++) {
            Object o = i % 20_000 == 19_999 ? (Object) "text" : (Object) i;
            try {
                sink += (Integer) o;
            } catch (ClassCastException e) {
                caught++;
            }
        }
        Suite.equal(10, caught, "wrong casts");
    }

    /** Whose methods are compiled anew, and their old code's entries overwritten, while several threads call them. */
    public static final class Hot implements LongUnaryOperator {
        private static long mix(long x, int i) {
            return x * 31 + i;
        }

        private static long fold(long x, int i) {
            return (x ^ i) + (x >>> 7);
        }

        private static Object either(Object o, int i) {
            return (i & 1) == 0 ? o : (Object) Integer.valueOf(i);
        }

        private static long add(Object o, long x) {
            return o instanceof Integer ? x + (Integer) o : x - 1;
        }

        @Override
        public long applyAsLong(long n) {
            long x = 1;
            Object o = "text";
            for (int i = 0; i < n; i++) {
                x = fold(mix(x, i), i);
                o = either(o, i);
                x = add(o, x);
            }
            return x;
        }
    }

    private static void replacements() throws Exception {
        byte[] code;
        try (var in = Main.class.getResourceAsStream("Main$Hot.class")) {
            code = in.readAllBytes();
        }
        for (int round = 0; round < 60; round++) {
            Class<?> c = new ClassLoader(Main.class.getClassLoader()) {
                Class<?> define() {
                    return defineClass("Main$Hot", code, 0, code.length);
                }
            }.define();
            LongUnaryOperator hot = (LongUnaryOperator) c.getDeclaredConstructor().newInstance();
            long[] sums = new long[4];
            Suite.threads(sums.length, me -> {
                for (int i = 0; i < 600; i++)
                    sums[me] += hot.applyAsLong(100);
            });
            for (long sum : sums)
                Suite.equal(sums[0], sum, "the same calls' sum");
        }
    }

    private static int apply(IntUnaryOperator f, int x, Object rare) {
        if (rare == null)
            return rareCase(x);
        return f.applyAsInt(x);
    }

    private static int rareCase(int x) {
        return new StringBuilder().append(x).reverse().length();
    }

    private static void bounds() {
        int[] a = new int[10];
        int caught = 0;
        for (int i = 0; i < 100_000; i++) {
            try {
                a[i % 13] = i;
            } catch (ArrayIndexOutOfBoundsException e) {
                caught++;
            }
        }
        Suite.equal(23_076, caught, "caught");
        Suite.thrown(NegativeArraySizeException.class, () -> sink = new int[sink - sink - 1].length);
        Suite.thrown(ArrayStoreException.class, () -> ((Object[]) new String[1])[0] = 1);
    }

    public static void main(String[] args) {
        new Suite().add("null-pointers", Main::nullPointers)
            .add("stack-overflow", Main::stackOverflow)
            .add("stack-overflow-through-native", Main::stackOverflowThroughNative)
            .add("out-of-heap", Main::outOfHeap)
            .add("out-of-direct-memory", Main::outOfDirectMemory)
            .add("out-of-metaspace", Main::outOfMetaspace)
            .add("out-of-threads", Main::outOfThreads)
            .add("divisions", Main::divisions)
            .add("truncated-mapping", Main::truncatedMapping)
            .add("interruption", Main::interruption)
            .add("deoptimisations", Main::deoptimisations)
            .add("replacements", Main::replacements)
            .add("bounds", Main::bounds)
            .run(args);
    }
}
