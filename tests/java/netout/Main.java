import java.io.FileInputStream;
import java.io.InputStream;
import java.io.OutputStream;
import java.net.ConnectException;
import java.net.HttpURLConnection;
import java.net.InetAddress;
import java.net.Socket;
import java.net.URI;
import java.net.URL;
import java.net.URLConnection;
import java.net.UnknownHostException;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.security.KeyStore;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.zip.CRC32;
import javax.net.ssl.HttpsURLConnection;
import javax.net.ssl.SSLContext;
import javax.net.ssl.SSLHandshakeException;
import javax.net.ssl.TrustManagerFactory;

/**
 * A client of servers on the host: Main TLS_PORT CLEAR_PORT STORE. The name server of the test knows host.test (the host),
 * two.test (two addresses), six.test (no IPv4 address) and nothing else.
 */
public final class Main {
    private static String secure, clear;
    private static SSLContext trusting;

    public static void main(String[] args) throws Exception {
        secure = "https://host.test:" + args[0];
        clear = "http://host.test:" + args[1];
        KeyStore store = KeyStore.getInstance("PKCS12");
        try (InputStream in = new FileInputStream(args[2])) {
            store.load(in, "secret".toCharArray());
        }
        TrustManagerFactory trust = TrustManagerFactory.getInstance(TrustManagerFactory.getDefaultAlgorithm());
        trust.init(store);
        trusting = SSLContext.getInstance("TLS");
        trusting.init(null, trust.getTrustManagers(), null);
        new Suite()
            .add("dns", Main::names)
            .add("url-connection", Main::urlConnection)
            .add("https-url-connection", Main::secureUrlConnection)
            .add("http-client-1", () -> httpClient(HttpClient.Version.HTTP_1_1))
            .add("http-client-2", () -> httpClient(HttpClient.Version.HTTP_2))
            .add("http-client-2-streams", Main::manyStreams)
            .add("untrusted", Main::untrusted)
            .add("nobody-listens", Main::nobodyListens)
            .run();
    }

    private static void names() throws Exception {
        Suite.equal("host.test", InetAddress.getByName("host.test").getHostName(), "the name asked for");
        Suite.check(InetAddress.getAllByName("two.test").length >= 2, "two addresses");
        Suite.thrown(UnknownHostException.class, () -> InetAddress.getByName("nothing.test"));
        Suite.equal("0:0:0:0:0:0:0:1", InetAddress.getByName("six.test").getHostAddress(), "an IPv6 address");
    }

    /** The pattern of tests/java/servers. */
    private static byte[] pattern(int n) {
        byte[] all = new byte[n];
        int x = 12345;
        for (int i = 0; i < n; i++) {
            x = i % 65521 == 0 ? 12345 * 1103515245 + 12345 : x * 1103515245 + 12345;
            all[i] = (byte) (x >>> 16);
        }
        return all;
    }

    private static String sum(byte[] all) {
        CRC32 crc = new CRC32();
        crc.update(all);
        return all.length + " " + crc.getValue() + "\n";
    }

    private static void exchange(URLConnection got, URLConnection posted, int n) throws Exception {
        Suite.check(Arrays.equals(pattern(n), got.getInputStream().readAllBytes()), n + " bytes");
        posted.setDoOutput(true);
        ((HttpURLConnection) posted).setChunkedStreamingMode(5000);
        try (OutputStream out = posted.getOutputStream()) {
            out.write(pattern(n));
        }
        Suite.equal(sum(pattern(n)), new String(posted.getInputStream().readAllBytes()), "sum");
    }

    private static void urlConnection() throws Exception {
        for (int n : new int[] {1, 1460, 500_000})
            exchange(new URL(clear + "/bytes?" + n).openConnection(), new URL(clear + "/sum").openConnection(), n);
    }

    private static void secureUrlConnection() throws Exception {
        HttpsURLConnection get = (HttpsURLConnection) new URL(secure + "/bytes?100000").openConnection();
        HttpsURLConnection post = (HttpsURLConnection) new URL(secure + "/sum").openConnection();
        get.setSSLSocketFactory(trusting.getSocketFactory());
        post.setSSLSocketFactory(trusting.getSocketFactory());
        exchange(get, post, 100_000);
        Suite.check(get.getCipherSuite().length() > 0, "a cipher");
    }

    private static void httpClient(HttpClient.Version version) throws Exception {
        HttpClient client = HttpClient.newBuilder().sslContext(trusting).version(version).build();
        for (int n : new int[] {1, 16_384, 400_000}) {
            HttpResponse<byte[]> got = client.send(HttpRequest.newBuilder(URI.create(secure + "/bytes?" + n)).build(),
                                                   HttpResponse.BodyHandlers.ofByteArray());
            Suite.equal(200, got.statusCode(), "status");
            Suite.equal(version, got.version(), "version");
            Suite.check(Arrays.equals(pattern(n), got.body()), n + " bytes");
            HttpResponse<String> posted = client.send(HttpRequest.newBuilder(URI.create(secure + "/sum"))
                                                          .POST(HttpRequest.BodyPublishers.ofByteArray(pattern(n))).build(),
                                                      HttpResponse.BodyHandlers.ofString());
            Suite.equal(sum(pattern(n)), posted.body(), "sum of " + n + " bytes");
        }
    }

    /** Many at once on the one connection that HTTP/2 needs. */
    private static void manyStreams() throws Exception {
        HttpClient client = HttpClient.newBuilder().sslContext(trusting).version(HttpClient.Version.HTTP_2).build();
        List<CompletableFuture<HttpResponse<byte[]>>> all = new ArrayList<>();
        for (int i = 0; i < 40; i++)
            all.add(client.sendAsync(HttpRequest.newBuilder(URI.create(secure + "/chunked?" + (20_000 + i))).build(),
                                     HttpResponse.BodyHandlers.ofByteArray()));
        for (int i = 0; i < 40; i++)
            Suite.check(Arrays.equals(pattern(20_000 + i), all.get(i).get().body()), "stream " + i);
    }

    private static void untrusted() throws Exception {
        Suite.thrown(SSLHandshakeException.class, () -> new URL(secure + "/hello").openConnection().getInputStream());
    }

    private static void nobodyListens() throws Exception {
        Suite.thrown(ConnectException.class, () -> new Socket("host.test", 1).close());
    }
}
