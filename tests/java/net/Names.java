import java.io.IOException;
import java.net.Inet4Address;
import java.net.Inet6Address;
import java.net.InetAddress;
import java.net.InterfaceAddress;
import java.net.NetworkInterface;
import java.net.UnknownHostException;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;

/** Interfaces, addresses and the names that need no server. */
final class Names {
    static void interfaces() throws Exception {
        List<NetworkInterface> all = Collections.list(NetworkInterface.getNetworkInterfaces());
        Suite.check(!all.isEmpty(), "there are some");
        NetworkInterface lo = NetworkInterface.getByName("lo");
        Suite.check(lo != null && lo.isLoopback() && lo.isUp() && !lo.isPointToPoint() && !lo.isVirtual(), "lo");
        Suite.equal(1, lo.getIndex(), "its index");
        Suite.equal(65536, lo.getMTU(), "its MTU");
        Suite.equal(null, lo.getHardwareAddress(), "its hardware address");
        Suite.check(Collections.list(lo.getInetAddresses()).contains(Main.V4), "127.0.0.1 is its");
        Suite.check(Collections.list(lo.getInetAddresses()).stream().anyMatch(a -> a.getHostAddress().startsWith("0:0:0:0:0:0:0:1")), "::1 is its");
        Suite.equal(lo, NetworkInterface.getByInetAddress(Main.V4), "found by address");
        Suite.equal(lo, NetworkInterface.getByIndex(lo.getIndex()), "found by index");
        Suite.equal(null, NetworkInterface.getByName("nosuch0"), "none of that name");
        for (InterfaceAddress a : lo.getInterfaceAddresses())
            Suite.equal(a.getAddress() instanceof Inet4Address ? 8 : 128, (int) a.getNetworkPrefixLength(), "its prefix");
        for (NetworkInterface n : all) {
            Suite.equal(n, NetworkInterface.getByIndex(n.getIndex()), n.getName() + " by index");
            if (!n.isLoopback() && n.getHardwareAddress() != null)
                Suite.equal(6, n.getHardwareAddress().length, n.getName() + ": hardware address");
            for (InetAddress a : Collections.list(n.getInetAddresses()))
                Suite.equal(n, NetworkInterface.getByInetAddress(a), n.getName() + " by " + a);
        }
        long ids = all.stream().map(NetworkInterface::getIndex).distinct().count();
        Suite.equal((long) all.size(), ids, "each index once");
    }

    static void addresses() throws Exception {
        InetAddress[] local = InetAddress.getAllByName("localhost");
        Suite.check(Arrays.asList(local).contains(Main.V4), "localhost is 127.0.0.1: " + Arrays.toString(local));
        Suite.equal("localhost", InetAddress.getByAddress(new byte[] {127, 0, 0, 1}).getHostName(), "and the other way round");
        InetAddress me = InetAddress.getLocalHost();
        Suite.check(me.getHostName().length() > 0 && me.getAddress().length > 0, "this machine");
        Suite.check(InetAddress.getAllByName(me.getHostName()).length > 0, "its name has addresses");
        Suite.check(InetAddress.getByName("::1") instanceof Inet6Address, "a literal");
        Suite.equal(Main.V4, InetAddress.getByName("::ffff:127.0.0.1"), "a mapped address");
        Suite.thrown(UnknownHostException.class, () -> InetAddress.getByName("1.2.3.400.5:x"));
        Suite.check(Main.V4.isReachable(2000), "127.0.0.1 answers");
        Suite.check(Main.V6.isReachable(2000), "::1 answers");
        Suite.check(InetAddress.getLoopbackAddress().isLoopbackAddress(), "the loopback address");
        Suite.thrown(IOException.class, () -> new java.net.Socket("localhost", 1).close());
    }
}
