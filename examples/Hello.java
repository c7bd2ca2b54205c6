/** The smallest program: says hello, and to whom, if anyone is named. */
public class Hello {
    public static void main(String[] args) {
        System.out.println(args.length == 0 ? "Hello from Moka" : "Hello " + String.join(" ", args));
    }
}
