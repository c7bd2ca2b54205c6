import com.sun.net.httpserver.HttpServer;
import java.net.InetSocketAddress;

/** An HTTP server: {@code moka run -p 8080:8080 HttpHello.jar}, then {@code curl http://127.0.0.1:8080/}. */
public class HttpHello {
    public static void main(String[] args) throws Exception {
        int port = args.length > 0 ? Integer.parseInt(args[0]) : 8080;
        HttpServer server = HttpServer.create(new InetSocketAddress(port), 0);
        server.createContext("/", exchange -> {
            byte[] request = exchange.getRequestBody().readAllBytes();
            byte[] body = request.length > 0 ? request : "Hello from Moka\n".getBytes();
            exchange.sendResponseHeaders(200, body.length);
            exchange.getResponseBody().write(body);
            exchange.close();
        });
        server.createContext("/quit", exchange -> {
            exchange.sendResponseHeaders(204, -1);
            exchange.close();
            System.exit(0);
        });
        server.start();
        System.out.println("listening on " + port);
    }
}
