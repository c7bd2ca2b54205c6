import jakarta.servlet.http.HttpServlet;
import jakarta.servlet.http.HttpServletRequest;
import jakarta.servlet.http.HttpServletResponse;
import java.io.IOException;
import java.nio.file.Files;
import java.util.logging.Level;
import java.util.logging.Logger;
import org.apache.catalina.connector.Connector;
import org.apache.catalina.core.StandardContext;
import org.apache.catalina.startup.Tomcat;
import org.apache.coyote.http2.Http2Protocol;
import org.apache.tomcat.SimpleInstanceManager;
import org.apache.tomcat.util.net.SSLHostConfig;
import org.apache.tomcat.util.net.SSLHostConfigCertificate;

/** Tomcat, embedded. */
final class Tomcats {
    private static final class Servlet extends HttpServlet {
        private static final long serialVersionUID = 1;

        @Override
        protected void service(HttpServletRequest in, HttpServletResponse out) throws IOException {
            out.setHeader("X-Protocol", in.getProtocol());
            Main.answer(in.getRequestURI(), in.getQueryString(), in.getInputStream(), length -> {
                if (length >= 0)
                    out.setContentLengthLong(length);
                return out.getOutputStream();
            });
        }
    }

    private static final Logger[] quiet = {Logger.getLogger("org.apache"), Logger.getLogger("org.apache.catalina")};

    private static Tomcat server() throws IOException {
        for (Logger l : quiet)
            l.setLevel(Level.SEVERE);
        Tomcat tomcat = new Tomcat();
        tomcat.setBaseDir(Files.createTempDirectory("tomcat").toString());
        tomcat.setSilent(true);
        // Not Tomcat.addContext(): Debian's Tomcat comes without jakarta.annotation, which that looks for.
        StandardContext context = new StandardContext();
        context.setPath("");
        context.setName("");
        context.setIgnoreAnnotations(true);
        context.setInstanceManager(new SimpleInstanceManager());
        context.addLifecycleListener(event -> context.setConfigured(true));
        tomcat.getHost().addChild(context);
        Tomcat.addServlet(context, "all", new Servlet());
        context.addServletMappingDecoded("/", "all");
        return tomcat;
    }

    static void start(int port) throws Exception {
        Tomcat tomcat = server();
        Connector c = new Connector("HTTP/1.1");
        c.setPort(port);
        c.setProperty("maxKeepAliveRequests", "-1");
        c.setProperty("maxThreads", "10");
        tomcat.getService().addConnector(c);
        tomcat.setConnector(c);
        tomcat.start();
    }

    /** TLS with HTTP/1.1 and, as the client and ALPN agree, HTTP/2; and a port in the clear. On 127.0.0.1 alone. */
    static void startTls(int port, String keyStore, int clearPort) throws Exception {
        Tomcat tomcat = server();
        Connector c = new Connector("HTTP/1.1");
        SSLHostConfig tls = new SSLHostConfig();
        SSLHostConfigCertificate own = new SSLHostConfigCertificate(tls, SSLHostConfigCertificate.Type.UNDEFINED);
        own.setCertificateKeystoreFile(keyStore);
        own.setCertificateKeystorePassword("secret");
        tls.addCertificate(own);
        c.setPort(port);
        c.setProperty("address", "127.0.0.1");
        c.setProperty("SSLEnabled", "true");
        c.setSecure(true);
        c.setScheme("https");
        c.addSslHostConfig(tls);
        c.addUpgradeProtocol(new Http2Protocol());
        tomcat.setConnector(c);
        Connector clear = new Connector("HTTP/1.1");
        clear.setPort(clearPort);
        clear.setProperty("address", "127.0.0.1");
        tomcat.getService().addConnector(clear);
        tomcat.start();
    }
}
