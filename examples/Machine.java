import java.io.IOException;
import java.lang.management.ManagementFactory;
import java.nio.file.Files;
import java.nio.file.Path;

/** Says what machine the program finds itself on. */
public class Machine {
    public static void main(String[] args) throws IOException {
        Runtime rt = Runtime.getRuntime();
        show("Java", System.getProperty("java.vm.name") + " " + System.getProperty("java.runtime.version"));
        show("system", System.getProperty("os.name") + " " + System.getProperty("os.version") + " "
                + System.getProperty("os.arch"));
        show("processors", rt.availableProcessors());
        show("heap", mib(rt.totalMemory()) + " now, " + mib(rt.maxMemory()) + " at most");
        show("collectors", ManagementFactory.getGarbageCollectorMXBeans().stream().map(b -> b.getName()).toList());
        show("up since", ManagementFactory.getRuntimeMXBean().getUptime() + " ms");
        show("directory", Path.of("").toAbsolutePath());
        Path meminfo = Path.of("/proc/meminfo");
        if (Files.exists(meminfo))
            show("memory", Files.readAllLines(meminfo).get(0).replaceAll("\\s+", " "));
        for (String arg : args)
            show("argument", arg);
    }

    private static String mib(long bytes) {
        return (bytes >> 20) + " MiB";
    }

    private static void show(String what, Object value) {
        System.out.printf("%-11s %s%n", what, value);
    }
}
