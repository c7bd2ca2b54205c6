import java.util.concurrent.atomic.AtomicLong;

/** Threads that contend for Java monitors. Usage: Monitors SECONDS [THREADS] */
public final class Monitors {
    /** Pads nothing and hides nothing: what the monitor guards. */
    private static final class Account {
        long balance;
    }

    /** The classical bounded buffer: who finds it full or empty waits in its monitor. */
    private static final class Buffer {
        private final long[] items = new long[4];
        private int count, first;

        synchronized void put(long item) throws InterruptedException {
            while (count == items.length)
                wait();
            items[(first + count++) % items.length] = item;
            notifyAll();
        }

        synchronized long take() throws InterruptedException {
            while (count == 0)
                wait();
            long item = items[first];
            first = (first + 1) % items.length;
            count--;
            notifyAll();
            return item;
        }
    }

    private static volatile boolean stop;
    private static int inside, outside;
    private static int onlyThreads; // 0: as many as the kind says

    /** Arithmetic that the compiler cannot leave out. */
    private static long work(long seed, int turns) {
        for (int i = 0; i < turns; i++)
            seed = seed * 6364136223846793005L + 1442695040888963407L;
        return seed;
    }

    private static long pass(Account[] accounts, long seed) {
        Account account = accounts[(int) (seed >>> 33) % accounts.length];
        synchronized (account) {
            account.balance = work(account.balance + seed, inside);
        }
        return work(seed, outside);
    }

    private static long run(int threads, Account[] accounts, double seconds) throws InterruptedException {
        AtomicLong passes = new AtomicLong();
        Thread[] all = new Thread[threads];
        stop = false;
        for (int i = 0; i < threads; i++) {
            long start = i + 1;
            all[i] = new Thread(() -> {
                long seed = start, done = 0;
                for (; !stop; done++)
                    seed = pass(accounts, seed);
                passes.addAndGet(done);
            });
            all[i].start();
        }
        Thread.sleep((long) (seconds * 1000));
        stop = true;
        for (Thread t : all)
            t.join();
        return passes.get();
    }

    /** Items that half of the threads hand to the other half. */
    private static long handOver(int threads, double seconds) throws InterruptedException {
        Buffer buffer = new Buffer();
        AtomicLong taken = new AtomicLong();
        Thread[] all = new Thread[threads];
        for (int i = 0; i < threads; i++) {
            boolean puts = i % 2 == 0;
            all[i] = new Thread(() -> {
                long done = 0;
                try {
                    for (;; done++) {
                        if (puts)
                            buffer.put(done);
                        else
                            buffer.take();
                    }
                } catch (InterruptedException e) {
                    taken.addAndGet(puts ? 0 : done);
                }
            });
            all[i].start();
        }
        Thread.sleep((long) (seconds * 1000));
        for (Thread t : all)
            t.interrupt();
        for (Thread t : all)
            t.join();
        return taken.get();
    }

    private static void measure(String name, double seconds, int threads, int monitors, int in, int out)
            throws InterruptedException {
        Account[] accounts = new Account[monitors];
        for (int i = 0; i < accounts.length; i++)
            accounts[i] = new Account();
        if (onlyThreads > 0)
            threads = onlyThreads;
        inside = in;
        outside = out;
        run(threads, accounts, 1); // compiles the loop
        System.out.println("begin " + name);
        System.out.println("end " + name + " " + run(threads, accounts, seconds));
    }

    public static void main(String[] args) throws InterruptedException {
        double seconds = Double.parseDouble(args[0]);
        onlyThreads = args.length > 1 ? Integer.parseInt(args[1]) : 0;
        measure("hot", seconds, 8, 1, 50, 0);
        measure("many", seconds, 32, 4, 50, 200);
        measure("long", seconds, 8, 1, 1000, 3000);
        measure("light", seconds, 8, 1, 20, 60);
        measure("tiny", seconds, 4, 1, 1, 0); // last: the compiler goes by what loops did
        if (onlyThreads > 0)
            return; // nobody waits for himself
        handOver(8, 1);
        System.out.println("begin waits");
        System.out.println("end waits " + handOver(8, seconds));
    }
}
