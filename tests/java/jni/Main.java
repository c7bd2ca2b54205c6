import com.sun.jna.Callback;
import com.sun.jna.Library;
import com.sun.jna.Memory;
import com.sun.jna.Native;
import com.sun.jna.Pointer;
import java.util.Arrays;
import java.util.Random;
import net.jpountz.lz4.LZ4Compressor;
import net.jpountz.lz4.LZ4Factory;
import net.jpountz.xxhash.XXHashFactory;

/** Other people's native libraries, as Debian ships them: lz4 (plain JNI) and JNA (which makes calls at run time). */
public final class Main {
    private static void lz4() {
        byte[] data = new byte[1_000_000];
        Random random = new Random(1);
        for (int i = 0; i < data.length; i++)
            data[i] = (byte) (random.nextInt(10) == 0 ? random.nextInt() : i / 100);
        LZ4Factory factory = LZ4Factory.nativeInstance();
        LZ4Compressor compressor = factory.fastCompressor();
        byte[] packed = compressor.compress(data);
        Suite.check(packed.length < data.length / 2, "smaller: " + packed.length);
        Suite.check(Arrays.equals(data, factory.fastDecompressor().decompress(packed, data.length)), "the same again");
        byte[] high = factory.highCompressor().compress(data);
        Suite.check(high.length <= packed.length, "higher compression");
        Suite.equal(XXHashFactory.safeInstance().hash32().hash(data, 0, data.length, 7),
            XXHashFactory.nativeInstance().hash32().hash(data, 0, data.length, 7), "hash");
    }

    public interface C extends Library {
        interface Compare extends Callback {
            int invoke(Pointer a, Pointer b);
        }

        int getpid();
        long strlen(String s);
        double atof(String s);
        int snprintf(byte[] to, long size, String format, Object... arguments);
        void qsort(Pointer base, long n, long size, Compare compare);
    }

    private static void jna() {
        C c = Native.load("c", C.class);
        Suite.equal(5L, c.strlen("hello"), "strlen");
        Suite.equal(2.5, c.atof("2.5"), "atof");
        Suite.equal((long) c.getpid(), ProcessHandle.current().pid(), "getpid");
        byte[] text = new byte[64];
        c.snprintf(text, 64, "%d %s %.1f", 42, "text", 1.5);
        Suite.equal("42 text 1.5", Native.toString(text), "snprintf");
        Memory m = new Memory(4 * 1000);
        for (int i = 0; i < 1000; i++)
            m.setInt(i * 4L, i * 7919 % 1000);
        c.qsort(m, 1000, 4, (a, b) -> Integer.compare(a.getInt(0), b.getInt(0))); /* native code calls Java back */
        for (int i = 1; i < 1000; i++)
            Suite.check(m.getInt(i * 4L - 4) <= m.getInt(i * 4L), "sorted");
    }

    private static int depth;

    /** Java, native qsort, Java again: a stack of mixed frames that overflows and unwinds. */
    private static void overflowThroughNative() {
        C c = Native.load("c", C.class);
        Native.setCallbackExceptionHandler((cb, e) -> {
            if (!(e instanceof StackOverflowError))
                throw new AssertionError(e);
        });
        Memory m = new Memory(8);
        C.Compare[] self = new C.Compare[1];
        boolean[] overflowed = new boolean[1];
        self[0] = (a, b) -> {
            depth++;
            if (depth < 100)
                c.qsort(m, 2, 4, self[0]);
            else
                overflowed[0] = Suite.thrown(StackOverflowError.class, () -> dig(0)) != null;
            depth--;
            return 0;
        };
        c.qsort(m, 2, 4, self[0]);
        Suite.check(overflowed[0], "overflowed above a hundred native frames");
    }

    private static int dig(int n) {
        return dig(n + 1) + 1;
    }

    public static void main(String[] args) {
        new Suite().add("lz4", Main::lz4).add("jna", Main::jna).add("overflow-through-native", Main::overflowThroughNative).run(args);
    }
}
