import java.nio.file.Files;
import java.nio.file.Path;

/** Does what its arguments say, one after the other; the tests of the moka command run it. */
public class Show {
    public static void main(String[] args) throws Exception {
        for (String arg : args)
            act(arg);
    }

    private static void act(String arg) throws Exception {
        String[] words = arg.split("=", 2);
        switch (words[0]) {
        case "exit" -> System.exit(Integer.parseInt(words[1]));
        case "halt" -> Runtime.getRuntime().halt(Integer.parseInt(words[1]));
        case "throw" -> throw new IllegalStateException("thrown");
        case "env" -> System.out.println(System.getenv(words[1]));
        case "err" -> System.err.println(words[1]);
        case "hook" -> Runtime.getRuntime().addShutdownHook(new Thread(() -> System.out.println("hook ran")));
        case "late" -> new Thread(() -> {
            pause(300);
            System.out.println("late");
        }).start();
        case "daemon" -> daemon();
        case "copy" -> System.in.transferTo(System.out);
        case "flood" -> flood(Long.parseLong(words[1]));
        case "sleep" -> {
            System.out.println("ready");
            pause(Long.parseLong(words[1]));
        }
        case "heap" -> System.out.println(Runtime.getRuntime().maxMemory() >> 20);
        case "cpus" -> System.out.println(Runtime.getRuntime().availableProcessors());
        case "host" -> System.out.println(Files.readString(Path.of("/etc/hostname")).strip());
        case "directory" -> System.out.println(System.getProperty("user.dir"));
        case "read" -> System.out.print(Files.readString(Path.of(words[1])));
        case "write" -> Files.writeString(Path.of(words[1]), "written in the guest\n");
        case "zone" -> System.out.println(java.util.TimeZone.getDefault().getID());
        case "locale" -> System.out.println(java.util.Locale.getDefault());
        default -> System.out.println("[" + arg + "]");
        }
        System.out.flush();
    }

    private static void pause(long ms) {
        try {
            Thread.sleep(ms);
        } catch (InterruptedException e) {
            throw new AssertionError(e);
        }
    }

    private static void daemon() {
        Thread t = new Thread(() -> {
            while (true)
                Thread.onSpinWait();
        });
        t.setDaemon(true);
        t.start();
    }

    /** Byte i of the output is (i * 7 + (i >> 8)) & 0xff, so that a lost or doubled piece shows. */
    private static void flood(long size) {
        byte[] block = new byte[1 << 16];
        for (int i = 0; i < block.length; i++)
            block[i] = (byte) (i * 7 + (i >> 8));
        for (long left = size; left > 0; left -= block.length)
            System.out.write(block, 0, (int) Math.min(left, block.length));
        System.out.flush();
    }
}
