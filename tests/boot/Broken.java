/* Breaks inside a native method: `load=LIBRARY` and then `crash` or `panic`. */
public class Broken {
    static native void crash();

    static native void panic();

    static void deep(int n, boolean crash) {
        if (n > 0)
            deep(n - 1, crash);
        else if (crash)
            crash();
        else
            panic();
    }

    public static void main(String[] args) {
        System.load(args[0]);
        System.out.println("before");
        System.out.flush();
        deep(3, args[1].equals("crash"));
    }
}
