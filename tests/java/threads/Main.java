import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.concurrent.ArrayBlockingQueue;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.CyclicBarrier;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.ForkJoinPool;
import java.util.concurrent.Future;
import java.util.concurrent.RecursiveTask;
import java.util.concurrent.ScheduledExecutorService;
import java.util.concurrent.SynchronousQueue;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicLong;
import java.util.concurrent.locks.Condition;
import java.util.concurrent.locks.LockSupport;
import java.util.concurrent.locks.ReentrantLock;
import java.util.concurrent.locks.ReentrantReadWriteLock;
import java.util.stream.LongStream;

/** Threads, waiting, locks, pools, clocks. */
public final class Main {
    private static void twoThousand() throws Exception {
        int n = 2000;
        CountDownLatch alive = new CountDownLatch(n), leave = new CountDownLatch(1);
        AtomicInteger sum = new AtomicInteger();
        Thread[] all = new Thread[n];
        for (int i = 0; i < n; i++) {
            int me = i;
            all[i] = new Thread(() -> {
                alive.countDown();
                try {
                    leave.await();
                } catch (InterruptedException e) {
                    return;
                }
                sum.addAndGet(me);
            });
            all[i].start();
        }
        alive.await();
        Suite.check(Thread.activeCount() >= n, "all alive at once");
        leave.countDown();
        for (Thread t : all)
            t.join();
        Suite.equal(n * (n - 1) / 2, sum.get(), "each ran");
    }

    private static void parking() throws Exception {
        int rounds = 5000;
        Thread[] pair = new Thread[2];
        AtomicInteger turn = new AtomicInteger();
        for (int i = 0; i < 2; i++) {
            int me = i;
            pair[i] = new Thread(() -> {
                for (int r = 0; r < rounds; r++) {
                    while (turn.get() != me)
                        LockSupport.park();
                    turn.set(1 - me);
                    LockSupport.unpark(pair[1 - me]);
                }
            });
        }
        pair[0].start();
        pair[1].start();
        pair[0].join();
        pair[1].join();
    }

    private static void monitors() throws Exception {
        Object lock = new Object();
        int[] count = new int[1], turn = new int[1];
        Suite.threads(4, me -> {
            for (int i = 0; i < 2000; i++) {
                synchronized (lock) {
                    while (turn[0] % 4 != me) {
                        try {
                            lock.wait();
                        } catch (InterruptedException e) {
                            throw new AssertionError(e);
                        }
                    }
                    turn[0]++;
                    count[0]++;
                    lock.notifyAll();
                }
            }
        });
        Suite.equal(8000, count[0], "in turn");
    }

    private interface Waiting {
        void forNanos(long ns) throws Exception;
    }

    /** One good round of several will do: a busy host takes the CPU away at times. */
    private static void timed(String what, Waiting w) throws Exception {
        long median = Long.MAX_VALUE;
        for (int tries = 0; tries < 100 && median >= LATE_NS; tries++)
            median = medianLateness(what, w);
        Suite.check(median < LATE_NS, what + " was late by " + median + " ns at the median");
    }

    private static long medianLateness(String what, Waiting w) throws Exception {
        int n = 31;
        long[] late = new long[n];
        for (int i = 0; i < n; i++) {
            long ns = 2_000_000 + i % 5 * 500_000, begin = System.nanoTime();
            w.forNanos(ns);
            late[i] = System.nanoTime() - begin - ns;
        }
        Arrays.sort(late);
        Suite.check(late[0] >= 0, what + " was early by " + -late[0] + " ns");
        return late[n / 2];
    }

    private static final long LATE_NS = 2_000_000;

    private static void timedWaits() throws Exception {
        ReentrantLock lock = new ReentrantLock();
        Condition never = lock.newCondition();
        CountDownLatch latch = new CountDownLatch(1);
        timed("sleep", ns -> Thread.sleep((ns + 999_999) / 1_000_000));
        timed("parkNanos", ns -> {
            long end = System.nanoTime() + ns;
            for (long left; (left = end - System.nanoTime()) > 0;)
                LockSupport.parkNanos(left);
        });
        timed("await", ns -> {
            lock.lock();
            try {
                for (long left = ns; left > 0;)
                    left = never.awaitNanos(left);
            } finally {
                lock.unlock();
            }
        });
        timed("latch", ns -> latch.await(ns, TimeUnit.NANOSECONDS));
        Object monitor = new Object();
        long begin = System.nanoTime();
        synchronized (monitor) {
            monitor.wait(20);
        }
        Suite.check(System.nanoTime() - begin >= 19_000_000, "Object.wait was early");
    }

    private static void locks() throws Exception {
        ReentrantLock fair = new ReentrantLock(true), unfair = new ReentrantLock();
        ReentrantReadWriteLock shared = new ReentrantReadWriteLock();
        long[] counts = new long[4];
        Suite.threads(6, me -> {
            for (int i = 0; i < 3000; i++) {
                unfair.lock();
                try {
                    unfair.lock();
                    counts[0]++;
                    unfair.unlock();
                } finally {
                    unfair.unlock();
                }
                if (i % 10 == 0) {
                    fair.lock();
                    counts[1]++;
                    fair.unlock();
                }
                if (i % 7 == me) {
                    shared.writeLock().lock();
                    counts[2]++;
                    counts[3]++;
                    shared.writeLock().unlock();
                } else {
                    shared.readLock().lock();
                    Suite.check(counts[2] == counts[3], "a reader saw half a write");
                    shared.readLock().unlock();
                }
            }
        });
        Suite.equal(18_000L, counts[0], "unfair");
        Suite.equal(1800L, counts[1], "fair");
        unfair.lock();
        CompletableFuture<Boolean> other = CompletableFuture.supplyAsync(() -> {
            try {
                return unfair.tryLock(20, TimeUnit.MILLISECONDS);
            } catch (InterruptedException e) {
                return true;
            }
        });
        Suite.equal(false, other.get(), "tryLock of a lock that is held");
        unfair.unlock();
    }

    private static final class Fibonacci extends RecursiveTask<Integer> {
        private final int n;

        Fibonacci(int n) {
            this.n = n;
        }

        @Override
        protected Integer compute() {
            if (n < 8)
                return n < 2 ? n : new Fibonacci(n - 1).compute() + new Fibonacci(n - 2).compute();
            Fibonacci left = new Fibonacci(n - 1);
            left.fork();
            return new Fibonacci(n - 2).compute() + left.join();
        }
    }

    private static void forkJoin() throws Exception {
        Suite.equal(46_368, new ForkJoinPool(4).invoke(new Fibonacci(24)), "fibonacci");
        Suite.equal(500_000_500_000L, LongStream.rangeClosed(1, 1_000_000).parallel().sum(), "parallel sum");
    }

    private static void futures() throws Exception {
        List<CompletableFuture<Integer>> all = new ArrayList<>();
        for (int i = 0; i < 200; i++) {
            int me = i;
            all.add(CompletableFuture.supplyAsync(() -> me).thenApplyAsync(x -> x * 2).thenCombine(
                CompletableFuture.supplyAsync(() -> 1), Integer::sum));
        }
        int sum = 0;
        for (CompletableFuture<Integer> f : all)
            sum += f.get();
        Suite.equal(40_000, sum, "sum");
        Suite.thrown(java.util.concurrent.TimeoutException.class,
            () -> new CompletableFuture<String>().get(10, TimeUnit.MILLISECONDS));
        Suite.equal("late", new CompletableFuture<String>().completeOnTimeout("late", 10, TimeUnit.MILLISECONDS).get(),
            "completeOnTimeout");
    }

    private static void queues() throws Exception {
        ArrayBlockingQueue<Integer> q = new ArrayBlockingQueue<>(10);
        SynchronousQueue<Integer> hand = new SynchronousQueue<>();
        AtomicLong sum = new AtomicLong();
        Suite.threads(6, me -> {
            try {
                for (int i = 0; i < 1000; i++) {
                    if (me < 2)
                        q.put(i);
                    else if (me < 4)
                        hand.put(q.take());
                    else
                        sum.addAndGet(hand.take());
                }
            } catch (InterruptedException e) {
                throw new AssertionError(e);
            }
        });
        Suite.equal(999_000L, sum.get(), "sum");
    }

    private static void pools() throws Exception {
        ExecutorService pool = Executors.newCachedThreadPool();
        List<Future<Integer>> all = new ArrayList<>();
        CyclicBarrier meet = new CyclicBarrier(20);
        for (int i = 0; i < 20; i++)
            all.add(pool.submit(() -> {
                meet.await();
                return 1;
            }));
        int sum = 0;
        for (Future<Integer> f : all)
            sum += f.get();
        Suite.equal(20, sum, "all met");
        pool.shutdown();
        Suite.check(pool.awaitTermination(10, TimeUnit.SECONDS), "the pool ends");
        ScheduledExecutorService timer = Executors.newScheduledThreadPool(1);
        CountDownLatch ticks = new CountDownLatch(5);
        timer.scheduleAtFixedRate(ticks::countDown, 5, 5, TimeUnit.MILLISECONDS);
        Suite.check(ticks.await(10, TimeUnit.SECONDS), "five ticks");
        timer.shutdownNow();
    }

    private static void nanoTime() throws Exception {
        AtomicLong last = new AtomicLong(System.nanoTime());
        Suite.threads(4, me -> {
            for (int i = 0; i < 50_000; i++) {
                long before = last.get(), now = System.nanoTime();
                Suite.check(now - before >= 0, "went back by " + (before - now) + " ns");
                last.accumulateAndGet(now, Math::max);
            }
        });
    }

    /** How far the wall clock is ahead of nanoTime(), ms: by two looks between which little time passed. */
    private static long ahead() {
        long least = Long.MAX_VALUE, ahead = 0;
        for (int i = 0; i < 50; i++) {
            long before = System.nanoTime(), wall = System.currentTimeMillis(), took = System.nanoTime() - before;
            if (took < least) {
                least = took;
                ahead = wall - before / 1_000_000;
            }
        }
        return ahead;
    }

    private static void wallClock() throws Exception {
        Suite.check(System.currentTimeMillis() > 1_700_000_000_000L, "after 2023");
        long before = ahead();
        Thread.sleep(500);
        long off = ahead() - before;
        Suite.check(Math.abs(off) < 20, "the clocks drift apart by " + off + " ms in half a second");
    }

    private static void threadLocals() throws Exception {
        ThreadLocal<Integer> local = ThreadLocal.withInitial(() -> 7);
        ConcurrentHashMap<String, Integer> seen = new ConcurrentHashMap<>();
        Suite.threads(20, me -> {
            Thread.currentThread().setName("worker-" + me);
            Suite.equal(7, local.get(), "fresh");
            local.set(me);
            Thread.yield();
            seen.put(Thread.currentThread().getName(), local.get());
        });
        for (int i = 0; i < 20; i++)
            Suite.equal(i, seen.get("worker-" + i), "own value");
    }

    private static void processors() {
        int wanted = Integer.getInteger("cpus", 0), n = Runtime.getRuntime().availableProcessors();
        Suite.check(wanted == 0 || wanted == n, "wanted " + wanted + " processors, got " + n);
    }

    public static void main(String[] args) {
        new Suite().add("two-thousand", Main::twoThousand)
            .add("parking", Main::parking)
            .add("monitors", Main::monitors)
            .add("timed-waits", Main::timedWaits)
            .add("locks", Main::locks)
            .add("fork-join", Main::forkJoin)
            .add("futures", Main::futures)
            .add("queues", Main::queues)
            .add("pools", Main::pools)
            .add("nano-time", Main::nanoTime)
            .add("wall-clock", Main::wallClock)
            .add("thread-locals", Main::threadLocals)
            .add("processors", Main::processors)
            .run(args);
    }
}
