import java.util.LinkedHashMap;
import java.util.Map;

/**
 * Several cases in one JVM. Each prints "NAME: ok", or "NAME: FAIL why"; the runner compares the lines, case by case,
 * with those the host's own java prints. Arguments name the cases to run; without any, all run. The exit status is 1
 * when a case has failed.
 */
final class Suite {
    interface Body {
        void run() throws Throwable;
    }

    private final Map<String, Body> cases = new LinkedHashMap<>();

    Suite add(String name, Body body) {
        cases.put(name, body);
        return this;
    }

    void run(String... names) {
        boolean failed = false;
        for (String name : names.length > 0 ? names : cases.keySet().toArray(new String[0])) {
            Body body = cases.get(name);
            if (body == null)
                throw new IllegalArgumentException("no such case: " + name);
            long begin = System.nanoTime();
            try {
                body.run();
                System.out.println(name + ": ok");
                System.err.println(name + " took " + (System.nanoTime() - begin) / 1_000_000 + " ms");
            } catch (Throwable t) {
                failed = true;
                System.out.println(name + ": FAIL " + t);
                t.printStackTrace();
            }
        }
        System.out.flush();
        System.exit(failed ? 1 : 0);
    }

    static void check(boolean fact, String what) {
        if (!fact)
            throw new AssertionError(what);
    }

    static void equal(Object wanted, Object got, String what) {
        if (!java.util.Objects.equals(wanted, got))
            throw new AssertionError(what + ": wanted " + wanted + ", got " + got);
    }

    /** Runs the body, which must throw an exception of the class, and returns that. */
    static <T extends Throwable> T thrown(Class<T> type, Body body) {
        try {
            body.run();
        } catch (Throwable t) {
            if (type.isInstance(t))
                return type.cast(t);
            throw new AssertionError("wanted " + type.getName() + ", got " + t, t);
        }
        throw new AssertionError("wanted " + type.getName() + ", got nothing");
    }

    /** Runs the body in n threads; the first failure of any is thrown here. */
    static void threads(int n, java.util.function.IntConsumer body) throws InterruptedException {
        Thread[] all = new Thread[n];
        Throwable[] failure = new Throwable[1];
        for (int i = 0; i < n; i++) {
            int me = i;
            all[i] = new Thread(() -> {
                try {
                    body.accept(me);
                } catch (Throwable t) {
                    synchronized (failure) {
                        if (failure[0] == null)
                            failure[0] = t;
                    }
                }
            });
            all[i].start();
        }
        for (Thread t : all)
            t.join();
        if (failure[0] != null)
            throw new AssertionError("in a thread: " + failure[0], failure[0]);
    }
}
