/** Prints the guest's time at the first statement of main: nanoTime counts from boot. */
public final class Boot {
    public static void main(String[] args) {
        long now = System.nanoTime();
        System.out.println("boot_to_main " + now + " ns");
    }
}
