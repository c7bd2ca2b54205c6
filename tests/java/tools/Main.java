import com.sun.management.OperatingSystemMXBean;
import java.io.IOException;
import java.lang.management.GarbageCollectorMXBean;
import java.lang.management.ManagementFactory;
import java.lang.management.MemoryMXBean;
import java.lang.management.ThreadInfo;
import java.lang.management.ThreadMXBean;
import java.net.URI;
import java.net.URL;
import java.net.URLClassLoader;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import javax.management.MBeanServer;
import javax.management.ObjectName;
import jdk.jfr.Event;
import jdk.jfr.Label;
import jdk.jfr.Recording;
import jdk.jfr.consumer.RecordedEvent;
import jdk.jfr.consumer.RecordingFile;

/** What a JVM brings along: processes (none here), the compiler, the flight recorder, management, internationality. */
public final class Main {
    /** Says why: the message must name the program and carry the system's own words. */
    private static void process() throws Exception {
        if (System.getProperty("place", "host").equals("host"))
            return; /* Linux has processes */
        IOException e = Suite.thrown(IOException.class, () -> new ProcessBuilder("/bin/true").start());
        Suite.check(e.getMessage().contains("Cannot run program \"/bin/true\"") && e.getMessage().contains("error="),
            e.getMessage());
        System.err.println(e.getMessage());
        Suite.thrown(IOException.class, () -> Runtime.getRuntime().exec("ls"));
        Suite.check(ProcessHandle.current().pid() > 0 && ProcessHandle.current().isAlive(), "this process is one");
        Suite.equal(0L, ProcessHandle.current().children().count(), "children");
    }

    private static void compiler() throws Exception {
        Path dir = Files.createTempDirectory("javac"), source = dir.resolve("Answer.java");
        Files.writeString(source, "public class Answer implements java.util.function.Supplier<String> {\n"
            + "  record Point(int x, int y) { }\n"
            + "  public String get() { var p = new Point(6, 7); return \"answer \" + p.x() * p.y(); }\n}\n");
        int status = com.sun.tools.javac.Main.compile(new String[] { "-d", dir.toString(), source.toString() });
        Suite.equal(0, status, "javac's status");
        try (URLClassLoader loader = new URLClassLoader(new URL[] { dir.toUri().toURL() })) {
            Object o = loader.loadClass("Answer").getDeclaredConstructor().newInstance();
            Suite.equal("answer 42", ((java.util.function.Supplier<?>) o).get(), "the compiled class");
        }
        Files.writeString(source, "class Answer { int x = \"text\"; }");
        java.io.StringWriter out = new java.io.StringWriter();
        status = com.sun.tools.javac.Main.compile(new String[] { "-d", dir.toString(), source.toString() },
            new java.io.PrintWriter(out));
        Suite.check(status == 1 && out.toString().contains("incompatible types"), out.toString());
    }

    @Label("Tick")
    private static final class Tick extends Event {
        int number;
    }

    private static void recorder() throws Exception {
        Path file = Files.createTempFile("recording", ".jfr");
        try (Recording r = new Recording(jdk.jfr.Configuration.getConfiguration("profile"))) {
            r.start();
            List<byte[]> load = new ArrayList<>();
            for (int i = 0; i < 50; i++) {
                Tick t = new Tick();
                t.begin();
                t.number = i;
                load.add(new byte[100_000]);
                t.commit();
            }
            System.gc();
            Thread.sleep(200);
            r.stop();
            r.dump(file);
        }
        int ticks = 0, others = 0;
        boolean collected = false;
        for (RecordedEvent e : RecordingFile.readAllEvents(file)) {
            if (e.getEventType().getName().endsWith("Tick"))
                Suite.equal(ticks++, e.getInt("number"), "in order");
            else
                others++;
            collected |= e.getEventType().getName().equals("jdk.GarbageCollection");
        }
        Suite.equal(50, ticks, "own events");
        Suite.check(others > 20 && collected, "the JVM's events: " + others);
        Files.delete(file);
    }

    private static void management() throws Exception {
        MemoryMXBean memory = ManagementFactory.getMemoryMXBean();
        Suite.check(memory.getHeapMemoryUsage().getCommitted() > 0 && memory.getHeapMemoryUsage().getMax() > 0, "heap");
        ThreadMXBean threads = ManagementFactory.getThreadMXBean();
        Suite.check(threads.getThreadCount() >= 3 && threads.findDeadlockedThreads() == null, "threads");
        ThreadInfo me = threads.getThreadInfo(Thread.currentThread().getId(), 100);
        Suite.check(me.getStackTrace().length > 1, "a stack");
        long cpu = threads.getCurrentThreadCpuTime();
        for (int i = 0; i < 20_000_000; i++)
            if (i * 31 == -1)
                System.out.println("never");
        Suite.check(threads.getCurrentThreadCpuTime() >= cpu, "processor time");
        System.gc();
        long collections = 0;
        for (GarbageCollectorMXBean gc : ManagementFactory.getGarbageCollectorMXBeans())
            collections += gc.getCollectionCount();
        Suite.check(collections >= 1, "collections");
        OperatingSystemMXBean os = (OperatingSystemMXBean) ManagementFactory.getOperatingSystemMXBean();
        Suite.equal("Linux", os.getName(), "os");
        Suite.check(os.getTotalMemorySize() > 16 << 20 && os.getFreeMemorySize() > 0 && os.getCommittedVirtualMemorySize() > 0,
            "memory");
        Suite.check(os.getAvailableProcessors() >= 1 && os.getProcessCpuTime() > 0, "processors");
        double load = os.getProcessCpuLoad();
        Suite.check(load >= -1 && load <= 1 && os.getCpuLoad() <= 1, "load");
        Suite.check(ManagementFactory.getRuntimeMXBean().getUptime() > 0, "uptime");
        Suite.check(((com.sun.management.UnixOperatingSystemMXBean) os).getOpenFileDescriptorCount() > 2, "descriptors");
        MBeanServer server = ManagementFactory.getPlatformMBeanServer();
        Set<ObjectName> names = server.queryNames(null, null);
        Suite.check(names.size() > 15, "beans: " + names.size());
        Suite.check(server.getAttribute(new ObjectName("java.lang:type=Runtime"), "VmName") != null, "an attribute");
    }

    private static void place() throws Exception {
        Suite.equal("UTF-8", System.getProperty("file.encoding", "?").replace("ANSI_X3.4-1968", "UTF-8"), "encoding");
        Suite.check(System.getProperty("user.dir").startsWith("/") && System.getProperty("java.io.tmpdir").equals("/tmp"), "places");
        Suite.check(Files.isDirectory(Path.of(System.getProperty("java.home"))), "java.home");
        Suite.check(java.time.ZonedDateTime.now(java.time.ZoneId.of("Europe/Berlin")).getYear() > 2023, "time zones");
        Suite.equal("3,14", String.format(java.util.Locale.GERMANY, "%.2f", 3.14159), "locales");
        Suite.equal(32, new java.security.SecureRandom().generateSeed(32).length, "random");
        Suite.equal(64, java.util.HexFormat.of().formatHex(
            java.security.MessageDigest.getInstance("SHA-256").digest(new byte[10])).length(), "digest");
        Suite.check(Main.class.getResource("/Main.class") != null, "own resources");
        Suite.check(URI.create("file:///x").getPath().equals("/x"), "uri");
        Suite.check(StackWalker.getInstance().walk(s -> s.count()) >= 3, "stack walking");
    }

    public static void main(String[] args) {
        new Suite().add("process", Main::process)
            .add("compiler", Main::compiler)
            .add("recorder", Main::recorder)
            .add("management", Main::management)
            .add("place", Main::place)
            .run(args);
    }
}
