import com.sun.net.httpserver.HttpServer;
import java.net.InetSocketAddress;

/** jdk.httpserver with small answers on port 8080, as it comes: one thread serves. */
public final class HttpSmall {
    public static void main(String[] args) throws Exception {
        byte[] body = "Hello, World!\n".getBytes();
        HttpServer server = HttpServer.create(new InetSocketAddress(8080), 0);
        server.createContext("/", exchange -> {
            exchange.sendResponseHeaders(200, body.length);
            exchange.getResponseBody().write(body);
            exchange.close();
        });
        server.start();
        System.out.println("listening");
    }
}
